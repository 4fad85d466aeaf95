//! `cargo xtask dist`: the files of a release, from a clean tag, on one Linux machine.
//!
//! Everything that a build could take from the machine is named here: the linker and the C library (zig), the paths in the
//! binaries, the times in the archives. So the same commit should give the same bytes anywhere.

mod archive;
mod pages;
mod sign;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args as ClapArgs;
use needs::{Program, cargo, workspace_root};
use rig::engine::children;

use self::archive::Archive;
use self::sign::ReleaseKey;
use crate::cargo_tools::{CARGO_CYCLONEDX, CARGO_DEB};
use crate::git::git;

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A release is made from a commit with the tag `v` and the version, and without changes. Its key, a PEM of an ECDSA key on P-256, is
in RELEASE_KEY. A snapshot is made from anything, and signed with a key that is thrown away.

Examples:
  cargo xtask dist                                                  # into target/dist
  cargo xtask dist --snapshot --target x86_64-unknown-linux-musl    # a try")]
pub(crate) struct Args {
    /// Where the files go [default: target/dist]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Build only for this target; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// Take a commit without a tag, files with changes, and a key of no worth
    #[arg(long)]
    snapshot: bool,
}

/// What binaries are built for: a static one runs on every Linux of its processor.
const TARGETS: &[Target] = &[
    Target { name: "x86_64-unknown-linux-musl", debian: "amd64", emulator: Program::QemuX86 },
    Target { name: "aarch64-unknown-linux-musl", debian: "arm64", emulator: Program::QemuAarch64 },
];

/// The most bytes of a binary: a CI job downloads it before it does anything.
const LARGEST: u64 = 30_000_000;

#[derive(Debug)]
struct Target {
    name: &'static str,
    /// The name of the processor in Debian.
    debian: &'static str,
    /// What runs it on another processor.
    emulator: Program,
}

impl Target {
    fn is_native(&self) -> bool {
        self.name.starts_with(std::env::consts::ARCH)
    }

    /// A command that starts a binary of this target.
    fn command(&self, binary: &Path) -> Command {
        if self.is_native() {
            return Command::new(binary);
        }
        let mut command = self.emulator.command();
        command.arg(binary);
        command
    }
}

/// What is released.
#[derive(Debug)]
struct Release {
    version: &'static str,
    commit: String,
    /// When the commit was made, in seconds since 1970: the time of every file.
    time: u64,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    let targets = chosen(&args.targets)?;
    needs::install(&[Program::Git, Program::Cc, Program::Python3, Program::Rustup])?;
    let release = Release::read(args.snapshot)?;
    let key = if args.snapshot { ReleaseKey::throw_away()? } else { ReleaseKey::of_environment()? };
    let out = args.out.unwrap_or_else(|| workspace_root().join("target/dist"));
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", out.display()));
        }
        _ => fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?,
    }
    for target in targets {
        let binary = build(target, &release)?;
        check(target, &release, &binary)?;
        archive(target, &release, &binary)?.write(&out, release.time)?;
        debian(target, &release, &out)?;
    }
    bill_of_materials(&release, &out)?;
    sign::finish(&out, &key, &pages::installer(release.version, &key.public_pem()?))?;
    println!("{} in {:.0} s:", out.display(), start.elapsed().as_secs_f64());
    for name in names(&out)? {
        let size = fs::metadata(out.join(&name))?.len();
        println!("  {:>11} {name}", size);
    }
    Ok(())
}

/// The names of the files in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        let known = || TARGETS.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
        let found = TARGETS.iter().find(|target| target.name == name);
        found.with_context(|| format!("no target `{name}`; there are {}", known()))
    };
    names.iter().map(find).collect()
}

impl Release {
    fn read(snapshot: bool) -> Result<Self> {
        let version = env!("CARGO_PKG_VERSION");
        let commit = git(&["rev-parse", "HEAD"])?;
        let time = git(&["show", "--no-patch", "--format=%ct", "HEAD"])?;
        let time = time.parse().context("git knows no time of the commit")?;
        if !snapshot {
            let changed = git(&["status", "--porcelain"])?;
            ensure!(
                changed.is_empty(),
                "files differ from the commit; `--snapshot` takes them as they are:\n{changed}"
            );
            let tag = format!("v{version}");
            let tags = git(&["tag", "--points-at", "HEAD"])?;
            ensure!(
                tags.lines().any(|it| it == tag),
                "the commit has no tag {tag}; set it (`git tag {tag}`), or use `--snapshot`"
            );
        }
        Ok(Self { version, commit, time })
    }

    /// The name of an archive, and of the folder in it.
    fn name(&self, target: &Target) -> String {
        format!("verbatim-{}-{}", self.version, target.name)
    }
}

/// Builds the binary of a target, with the list of its dependencies in it.
fn build(target: &Target, release: &Release) -> Result<PathBuf> {
    let root = workspace_root();
    let path = tools::install(target.name)?;
    let mut command = cargo();
    command.args(["auditable", "zigbuild", "--locked", "--release", "--target", target.name]);
    command.args(["--package", "verbatim", "--bin", "verbatim"]).current_dir(&root);
    command.env("PATH", path).env("RUSTFLAGS", remapped(&root)?);
    command.env("CARGO_INCREMENTAL", "0").env("VERBATIM_COMMIT", &release.commit);
    command.env("SOURCE_DATE_EPOCH", release.time.to_string());
    let status = children::run(&mut command)?;
    ensure!(status.success(), "{} does not build: {status}", target.name);
    Ok(target_folder(&root).join(target.name).join("release/verbatim"))
}

fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Paths of this machine are replaced in panics, so that they are the same everywhere and tell nothing.
fn remapped(root: &Path) -> Result<String> {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(home()?.join(".cargo"))).context("no home")?;
    let pairs = [(root, "/verbatim"), (cargo_home.as_path(), "/cargo")];
    let flags = pairs.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    ensure!(flags.iter().all(|flag| !flag.contains(' ')), "a folder has a space in its name");
    Ok(flags.join(" "))
}

/// That a binary is what it should be: it starts, says so, needs nothing of the system, and is not too large.
fn check(target: &Target, release: &Release, binary: &Path) -> Result<()> {
    if !target.is_native() {
        needs::install(&[target.emulator])?;
    }
    let size = fs::metadata(binary).with_context(|| format!("no {}", binary.display()))?.len();
    ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", binary.display());
    let output = target.command(binary).arg("--version").output();
    let output = output.with_context(|| format!("cannot start {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let want = format!("verbatim {} ({}, {})", release.version, release.commit, target.name);
    ensure!(said == want, "{} says that it is `{said}`, and not `{want}`", binary.display());
    Ok(())
}

fn archive(target: &Target, release: &Release, binary: &Path) -> Result<Archive> {
    let root = workspace_root();
    let mut archive = Archive::new(release.name(target));
    archive.program("verbatim", fs::read(binary)?);
    for name in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        archive.file(name, fs::read(root.join(name)).with_context(|| format!("no {name}"))?);
    }
    for (name, text) in pages::all(release.time)? {
        archive.file(&name, text);
    }
    Ok(archive)
}

/// The package for Debian and what comes from it.
fn debian(target: &Target, release: &Release, out: &Path) -> Result<()> {
    let root = workspace_root();
    let pages = root.join("target/dist-pages");
    for (name, text) in pages::all(release.time)? {
        let path = pages.join(name);
        fs::create_dir_all(path.parent().context("a page without a folder")?)?;
        fs::write(path, text)?;
    }
    let mut command = Command::new(CARGO_DEB.get()?);
    command.args(["--no-build", "--no-strip", "--locked", "--package", "verbatim"]);
    command.args(["--target", target.name, "--output"]);
    command.arg(out.join(format!("verbatim_{}_{}.deb", release.version, target.debian)));
    command.env("SOURCE_DATE_EPOCH", release.time.to_string()).current_dir(&root);
    let status = children::run(&mut command)?;
    ensure!(status.success(), "no package for {}: {status}", target.debian);
    Ok(())
}

/// What the program is made of, as CycloneDX.
fn bill_of_materials(release: &Release, out: &Path) -> Result<()> {
    let root = workspace_root();
    let name = format!("verbatim-{}.cdx", release.version);
    let mut command = Command::new(CARGO_CYCLONEDX.get()?);
    command.args([
        "cyclonedx",
        "--format",
        "json",
        "--spec-version",
        "1.5",
        "--no-build-deps",
        "--target",
    ]);
    command.args([TARGETS[0].name, "--override-filename", &name]);
    command.arg("--manifest-path").arg(root.join("crates/verbatim/Cargo.toml"));
    command.env("SOURCE_DATE_EPOCH", release.time.to_string()).current_dir(&root);
    let status = children::run(&mut command)?;
    ensure!(status.success(), "no bill of materials: {status}");
    // It writes one beside every manifest of the workspace.
    let file = format!("{name}.json");
    let mut found = false;
    for manifest in git(&["ls-files", "--", "*Cargo.toml"])?.lines() {
        let folder =
            root.join(manifest).parent().context("a manifest without a folder")?.to_owned();
        let path = folder.join(&file);
        if !path.exists() {
            continue;
        }
        if folder.ends_with("crates/verbatim") {
            // It names packages of the workspace by their folders.
            let text = fs::read_to_string(&path).context("cannot read the bill of materials")?;
            let text = text.replace(&root.display().to_string(), "/verbatim");
            fs::write(out.join(&file), text).context("cannot keep the bill of materials")?;
            found = true;
        }
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if !found {
        bail!("cargo-cyclonedx wrote no {file}");
    }
    Ok(())
}
