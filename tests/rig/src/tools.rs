//! The programs that are built from the pinned Go modules under `tests/rig`: Argo CD with its Dex, the Kubernetes control
//! plane, helm, the peers (registry, crane, cosign, …), and the judge of texts that tests compare themselves with. Built on
//! demand into a cache that all clones share.
//!
//! Nothing here starts a service. What is not written in Go comes from `needs`.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

/// The Go release that builds everything. Older `go` commands (1.21 and later) fetch it by themselves.
const GO_TOOLCHAIN: &str = "go1.27.3";

/// Part of every cache key: raise it when the flags of the build change in a way the key does not see.
const RECIPE: &str = "1";

const KUBERNETES_VERSION: &str = "v1.37.2";
const ARGOCD_VERSION: &str = "3.6.1";

/// A program built from one of the pinned Go modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Tool {
    /// `argocd`: the command line client, and by its name every server part of Argo CD.
    Argocd,
    /// What identities from elsewhere come into Argo CD through.
    Dex,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kwok,
    Helm,
    Kustomize,
    /// The reference registry (CNCF distribution).
    Registry,
    Crane,
    Cosign,
    Regctl,
    Oras,
    /// What in-toto and Sigstore in Go think of a text; its own source is beside its pins.
    Vectors,
}

/// The Go module that pins a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Rig,
    Dex,
    Helm,
    Peers,
    Vectors,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Self::Rig => "rig",
            Self::Dex => "dex",
            Self::Helm => "helm",
            Self::Peers => "peers",
            Self::Vectors => "vectors",
        }
    }

    fn dir(self) -> PathBuf {
        let rig = needs::workspace_root().join("tests/rig");
        match self {
            Self::Rig => rig,
            Self::Dex => rig.join("dex"),
            Self::Helm => rig.join("helm"),
            Self::Peers => rig.join("peers"),
            Self::Vectors => rig.join("vectors"),
        }
    }

    /// What go is told about C. Dex names its SQLite storage whether it is used or not, and that is C; nothing of it runs
    /// here, so no time is spent on making it fast.
    fn c(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Dex => [("CGO_ENABLED", "1"), ("CGO_CFLAGS", "-O0")],
            Self::Rig | Self::Helm | Self::Peers | Self::Vectors => {
                [("CGO_ENABLED", "0"), ("CGO_CFLAGS", "")]
            }
        }
    }
}

impl Module {
    /// What building it takes besides Go.
    fn needs(self) -> &'static [needs::Program] {
        match self {
            Self::Dex => &[needs::Program::Cc],
            Self::Rig | Self::Helm | Self::Peers | Self::Vectors => &[],
        }
    }
}

impl Tool {
    /// The name of the program's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argocd => "argocd",
            Self::Dex => "dex",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
            Self::Kustomize => "kustomize",
            Self::Registry => "registry",
            Self::Crane => "crane",
            Self::Cosign => "cosign",
            Self::Regctl => "regctl",
            Self::Oras => "oras",
            Self::Vectors => "vectors",
        }
    }

    fn module(self) -> Module {
        match self {
            Self::Argocd
            | Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kwok => Module::Rig,
            Self::Dex => Module::Dex,
            Self::Helm => Module::Helm,
            Self::Kustomize
            | Self::Registry
            | Self::Crane
            | Self::Cosign
            | Self::Regctl
            | Self::Oras => Module::Peers,
            Self::Vectors => Module::Vectors,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Argocd => "github.com/argoproj/argo-cd/v3/cmd",
            Self::Dex => "github.com/dexidp/dex/cmd/dex",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kwok => "sigs.k8s.io/kwok/cmd/kwok",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kustomize => "sigs.k8s.io/kustomize/kustomize/v5",
            Self::Registry => "github.com/distribution/distribution/v3/cmd/registry",
            Self::Crane => "github.com/google/go-containerregistry/cmd/crane",
            Self::Cosign => "github.com/sigstore/cosign/v3/cmd/cosign",
            Self::Regctl => "github.com/regclient/regclient/cmd/regctl",
            Self::Oras => "oras.land/oras/cmd/oras",
            Self::Vectors => ".",
        }
    }

    /// What the program must be told about itself. A plain `go build` of Kubernetes calls itself `v0.0.0-master`, which
    /// Argo CD hands to helm, and then every chart with a `kubeVersion` fails.
    fn ldflags(self) -> String {
        let set = match self {
            Self::KubeApiserver | Self::KubeControllerManager | Self::KubeScheduler => {
                let package = "k8s.io/component-base/version";
                let minor = KUBERNETES_VERSION.split('.').nth(1).unwrap_or_default();
                format!(
                    "-X {package}.gitVersion={KUBERNETES_VERSION} -X {package}.gitMajor=1 -X {package}.gitMinor={minor} \
                     -X {package}.gitTreeState=clean"
                )
            }
            Self::Argocd => {
                let package = "github.com/argoproj/argo-cd/v3/common";
                // Argo CD calls itself by its tag only when a commit is there too, and a module does not know its commit.
                format!(
                    "-X {package}.version={ARGOCD_VERSION} -X {package}.gitTag=v{ARGOCD_VERSION} \
                     -X {package}.gitCommit=unknown -X {package}.gitTreeState=clean"
                )
            }
            _ => String::new(),
        };
        format!("-s -w {set}").trim_end().to_owned()
    }
}

/// Paths of tools that were built.
#[derive(Debug, Clone)]
pub struct Tools {
    paths: Vec<(Tool, PathBuf)>,
}

impl Tools {
    /// Where `tool` is. It is an error to ask for one that was not given to [`ensure_built`].
    pub fn path(&self, tool: Tool) -> anyhow::Result<&Path> {
        self.paths
            .iter()
            .find(|(known, _)| *known == tool)
            .map(|(_, path)| path.as_path())
            .with_context(|| format!("{} was not asked for", tool.name()))
    }
}

/// Builds what is missing of `tools`, prints one line a build on stderr, and returns where they are.
///
/// Blocks: about eight minutes for the whole rig on two cores with nothing cached, milliseconds after that. Another
/// process that builds the same module is waited for.
pub fn ensure_built(tools: &[Tool]) -> anyhow::Result<Tools> {
    let mut paths = Vec::new();
    for &tool in tools {
        paths.push((tool, ensure_one(tool)?));
    }
    Ok(Tools { paths })
}

/// The path of one tool, built if it is missing. See [`ensure_built`].
pub fn tool(tool: Tool) -> anyhow::Result<PathBuf> {
    ensure_one(tool)
}

fn ensure_one(tool: Tool) -> anyhow::Result<PathBuf> {
    let module = tool.module();
    let dir = cache_root()?.join(format!("{}-{}", module.name(), key(module)?)).join("bin");
    let path = dir.join(tool.name());
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let _lock =
        lock(&dir.join(".lock"), || eprintln!("waiting for another build of {}", tool.name()))?;
    if path.is_file() {
        return Ok(path);
    }
    build(tool, &path)?;
    Ok(path)
}

fn build(tool: Tool, path: &Path) -> anyhow::Result<()> {
    go_version()?;
    needs::install(tool.module().needs())?;
    eprintln!("building {} (needed once; Go may download modules)", tool.name());
    let started = Instant::now();
    // Built beside its final name, so that a killed build leaves nothing that looks finished.
    let unfinished = path.with_extension("unfinished");
    let mut command = go(tool.module());
    command
        .args(["build", "-trimpath", "-ldflags", &tool.ldflags(), "-o"])
        .arg(&unfinished)
        .arg(tool.package());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run go")?;
    for line in child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let line = line.context("cannot read the messages of go")?;
        // Some hundred lines for the first build on a machine.
        if !line.starts_with("go: downloading ") {
            eprintln!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for go")?;
    ensure!(
        status.success(),
        "go build of {} failed ({status}); its messages are above. To build it by hand: cd {} && \
         GOTOOLCHAIN={GO_TOOLCHAIN} {} go build {}",
        tool.name(),
        tool.module().dir().display(),
        tool.module().c().map(|(name, value)| format!("{name}={value}")).join(" "),
        tool.package()
    );
    fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))?;
    let size = fs::metadata(path)?.len() / (1 << 20);
    eprintln!("built {} in {:.0} s ({size} MiB)", tool.name(), started.elapsed().as_secs_f64());
    Ok(())
}

/// The folder of a Go module that the rig needs, such as `github.com/argoproj/argo-cd/v3`: Go's own cache, read only.
/// Downloads the module if it is missing.
pub(super) fn module_source(path: &str) -> anyhow::Result<PathBuf> {
    source_of(Module::Rig, path)
}

/// The modules whose test data tests read, by the names that their folders get.
const VECTORS: [(&str, &str); 3] = [
    ("dsse", "github.com/secure-systems-lab/go-securesystemslib"),
    ("in-toto", "github.com/in-toto/attestation"),
    ("sigstore-go", "github.com/sigstore/sigstore-go"),
];

/// A folder with the test data of other implementations, each in a folder of its own, and `bin/vectors`, which tells their
/// verdicts.
pub fn vectors() -> anyhow::Result<PathBuf> {
    let program = ensure_one(Tool::Vectors)?;
    let dir = program.ancestors().nth(2).context("a tool has a folder")?.to_owned();
    let _lock = lock(&dir.join(".lock"), || eprintln!("waiting for another look at the vectors"))?;
    for (name, module) in VECTORS {
        let link = dir.join(name);
        let source = source_of(Module::Vectors, module)?;
        if fs::read_link(&link).is_ok_and(|there| there == source) {
            continue;
        }
        // Go's cache may have moved.
        fs::remove_file(&link).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        std::os::unix::fs::symlink(&source, &link)
            .with_context(|| format!("cannot write {}", link.display()))?;
    }
    Ok(dir)
}

fn source_of(module: Module, path: &str) -> anyhow::Result<PathBuf> {
    let output = go(module)
        .args(["mod", "download", "-json", path])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run go")?;
    ensure!(output.status.success(), "go mod download of {path} failed");
    #[derive(serde::Deserialize)]
    struct Download {
        #[serde(rename = "Dir")]
        dir: PathBuf,
    }
    let download: Download =
        serde_json::from_slice(&output.stdout).context("go mod download answered no JSON")?;
    Ok(download.dir)
}

/// What govulncheck says of the modules that tests build, in a line. `None`: its database cannot be had.
///
/// # Errors
/// If Go cannot be started.
pub fn known_faults() -> anyhow::Result<Option<String>> {
    let mut command = go(Module::Rig);
    // A program of another module, so `-mod=readonly` has nothing to say.
    command.env("GOFLAGS", "-buildvcs=false");
    command.args(["run", "golang.org/x/vuln/cmd/govulncheck@v1.1.4", "-scan", "module"]);
    let output = command.output().context("cannot run go")?;
    let said = String::from_utf8_lossy(&output.stdout);
    // 3: it found some.
    let is_known = output.status.success() || output.status.code() == Some(3);
    Ok(is_known.then(|| said.trim().lines().last().unwrap_or("none are known").to_owned()))
}

fn go(module: Module) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module.dir())
        .env("GOTOOLCHAIN", GO_TOOLCHAIN)
        // What is pinned is what is built, whatever the caller's own Go work looks like.
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        .envs(module.c())
        .env_remove("GOOS")
        .env_remove("GOARCH");
    command
}

/// Refuses early what would fail in the middle of a build.
fn go_version() -> anyhow::Result<()> {
    let advice = "install Go 1.21 or later (Debian 13: apt-get install golang-go; else https://go.dev/doc/install); \
                  it fetches the pinned release by itself";
    let Ok(output) =
        Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output()
    else {
        bail!("go is not installed; {advice}");
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match minor_of(&version) {
        Some(minor) if minor >= 21 => Ok(()),
        _ => bail!("go calls itself `{version}`, which is too old; {advice}"),
    }
}

fn minor_of(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Identifies what a module builds: its pins, the compiler, and the flags.
fn key(module: Module) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let own = if module == Module::Vectors { &["main.go"][..] } else { &[] };
    for name in ["go.mod", "go.sum"].iter().chain(own) {
        let path = module.dir().join(name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", path.display()))?;
        // Lengths keep two different pairs of files from hashing alike.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(&bytes);
    }
    for part in [
        GO_TOOLCHAIN,
        RECIPE,
        KUBERNETES_VERSION,
        ARGOCD_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
    ] {
        hash.update(part);
        hash.update([0]);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// `$XDG_CACHE_HOME/verbatim-rig`, or `~/.cache/verbatim-rig`.
fn cache_root() -> anyhow::Result<PathBuf> {
    xdg_dir("XDG_CACHE_HOME", ".cache")
}

/// The project's folder below one of the XDG base directories.
pub(super) fn xdg_dir(variable: &str, fallback: &str) -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = match set(variable) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home: OsString =
                set("HOME").with_context(|| format!("neither {variable} nor HOME is set"))?;
            PathBuf::from(home).join(fallback)
        }
    };
    Ok(base.join("verbatim-rig"))
}

/// Takes an exclusive lock on `path`; calls `waiting` once if another process holds it. Released on drop, and by the
/// kernel when the process dies.
pub(super) fn lock(path: &Path, waiting: impl FnOnce()) -> anyhow::Result<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        waiting();
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn reads_go_versions() {
        for (version, want) in [
            ("go1.27.3", Some(27)),
            ("go1.21rc2", Some(21)),
            ("go1.19.8", Some(19)),
            ("devel go1.28-abc", None),
            ("", None),
        ] {
            assert_eq!(minor_of(version), want, "{version}");
        }
    }

    #[test]
    fn every_tool_is_pinned_by_its_module() {
        // The program of the vectors is in its module.
        for &tool in Tool::value_variants().iter().filter(|tool| **tool != Tool::Vectors) {
            let module = std::fs::read_to_string(tool.module().dir().join("go.mod")).unwrap();
            assert!(
                module
                    .lines()
                    .any(|line| line.trim().trim_start_matches("tool ") == tool.package()),
                "{tool:?}"
            );
        }
    }

    #[test]
    fn versions_told_to_the_linker_are_the_pinned_ones() {
        let module = std::fs::read_to_string(Module::Rig.dir().join("go.mod")).unwrap();
        for pin in [
            format!("k8s.io/kubernetes {KUBERNETES_VERSION}"),
            format!("github.com/argoproj/argo-cd/v3 v{ARGOCD_VERSION}"),
        ] {
            assert!(module.lines().any(|line| line.trim() == pin), "{pin}");
        }
    }
}
