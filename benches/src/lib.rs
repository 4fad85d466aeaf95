//! `cargo xtask bench`: whole processes of ours against those of the peers that a team would use otherwise.
//!
//! What is compared: [`cases`]; how one run is measured: [`measure`]; what the figures say: [`compare`]. Only ratios
//! of one and the same run of the task mean anything; nothing is compared with figures of another day.

mod application;
mod argocd;
mod cases;
mod compare;
mod deploy;
mod fleet;
mod measure;
mod policy;
mod policy_scene;
mod report;

use std::path::{Path, PathBuf};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use needs::cargo;
use needs::workspace_root;
use rig::engine::children;

use self::cases::Bench;
use self::report::{Report, Size};

/// What the release binary must stay under, in MB.
const BINARY_LIMIT: f64 = 30.0;

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench startup resolve --rounds 100\n  cargo xtask bench policy\n  cargo xtask bench --write"
)]
pub struct Args {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// What to measure; everything without it
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// Runs of each program; without it as many as the case needs
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Measure this binary, and not a release build of this workspace
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write docs/performance.md
    #[arg(long)]
    write: bool,
}

#[derive(Debug, Subcommand)]
enum Inner {
    #[command(hide = true)]
    Run(measure::RunArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// `verbatim --version` and `crane version`
    Startup,
    /// `verbatim registry resolve` and `crane digest`
    Resolve,
    /// `verbatim image build` and `docker build` of 1 GiB in 20,000 files
    Build,
    /// `verbatim argocd deploy` and `argocd app set`, `sync`, `wait` on the rig
    Deploy,
    /// `verbatim promote` to many applications, and `argocd` under `xargs`, on the rig and simulated
    Fleet,
    /// Single commands of `verbatim argocd` and of `argocd`, on the rig
    Argocd,
    /// Decisions over many records, and `cosign verify-attestation`
    Policy,
}

/// Runs the task.
pub fn run(args: Args) -> Result<()> {
    if let Some(Inner::Run(args)) = &args.inner {
        return measure::run_here(args);
    }
    children::catch_signals()?;
    let cases = if args.cases.is_empty() { Case::value_variants() } else { &args.cases[..] };
    let binary = match &args.binary {
        Some(binary) => {
            binary.canonicalize().with_context(|| format!("there is no {}", binary.display()))?
        }
        None => build()?,
    };
    let mut bench = Bench::new(binary.clone(), args.rounds)?;
    for case in cases {
        bench.run(*case)?;
    }
    let (versions, rows) = bench.finish();
    let megabytes =
        fs::metadata(&binary).context("failed to look at the binary")?.len() as f64 / 1e6;
    let size = args.binary.is_none().then_some(Size { megabytes, limit: BINARY_LIMIT });
    let report = Report { schema_version: 1, machine: machine(), versions, rows, binary: size };
    match args.format {
        Format::Human => println!("{}", report.page()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if args.write {
        let path = workspace_root().join("docs/performance.md");
        fs::write(&path, report.page())
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let broken = report.broken();
    if !broken.is_empty() {
        bail!("not as fast or as small as it should be:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

/// A release build of the binary that is shipped.
fn build() -> Result<PathBuf> {
    eprintln!("Building verbatim for release …");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "verbatim", "--bin", "verbatim"]);
    let status = children::run(command.current_dir(workspace_root()))?;
    if !status.success() {
        bail!("the release build failed: {status}");
    }
    Ok(target_folder()?.join("release/verbatim"))
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf> {
    // This program lies in TARGET/debug.
    let program = rig::lease::this_program()?;
    program
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("this program does not lie in a target folder")
}

/// The processor and the number of cores that this process may use.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}
