//! One run of a program: how long it took and how much memory it had at most.
//!
//! A small process of ours starts the program, so that the kernel's count for "my children" is of this program alone
//! and does not begin with the memory of a large parent. It knows nothing about what is measured.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::engine::children;
use crate::lease;

/// The arguments of the small process.
#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// Where the result is written, as JSON
    result: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// From before the start to after the end.
    pub(super) seconds: f64,
    /// The largest resident set, in KiB.
    pub(super) peak_kib: u64,
}

/// What the small process does: starts the program, waits for it, and writes down the sample.
pub(super) fn run_here(args: &RunArgs) -> Result<()> {
    let [program, arguments @ ..] = &args.command[..] else { bail!("no program to run") };
    let start = Instant::now();
    let status = Command::new(program).args(arguments).status();
    let took = start.elapsed();
    let status = status.with_context(|| format!("failed to start {}", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .context("failed to ask for the memory of the program")?;
    let sample = Sample {
        seconds: took.as_secs_f64(),
        peak_kib: u64::try_from(usage.max_rss()).unwrap_or_default(),
    };
    fs::write(&args.result, serde_json::to_vec(&sample)?).context("failed to write the sample")
}

/// A program that is measured, with what it needs around it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) env: Vec<(String, String)>,
}

impl Program {
    pub(super) fn new<A: Into<OsString>>(
        path: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Program {
        Program {
            path: path.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            env: Vec::new(),
        }
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Program {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it once. What it prints is kept for the message when it fails.
    pub(super) fn sample(&self, folder: &Path) -> Result<Sample> {
        let (result, log) = (folder.join("sample.json"), folder.join("output.log"));
        let out = File::create(&log).context("failed to create a log")?;
        let mut command = Command::new(lease::this_program()?);
        command.args(["bench", "run"]).arg(&result).arg("--").arg(&self.path).args(&self.arguments);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let status = children::run(&mut command)?;
        children::stop_if_interrupted()?;
        if !status.success() {
            bail!(
                "{} failed:\n{}",
                self.path.display(),
                fs::read_to_string(&log).unwrap_or_default().trim()
            );
        }
        let text = fs::read(&result).context("failed to read the sample")?;
        serde_json::from_slice(&text).context("failed to read the sample")
    }

    /// The first line of what it prints about its version.
    pub(super) fn version(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.path)
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .map_err(|error| missing(&self.path, &error))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.lines().next().map(str::to_owned).context("a program does not tell its version")
    }
}

fn missing(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "the peer {} cannot be run ({error}); a comparison without it is none",
        path.display()
    )
}

/// Runs two programs in turn, so that both meet the same moods of the machine: each round runs both, and the
/// order changes from round to round. `between` comes before every run.
pub(super) fn in_turn(
    ours: &Program,
    peer: &Program,
    rounds: usize,
    folder: &Path,
    mut between: impl FnMut() -> Result<()>,
) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
    // The first run of each fills the caches of the machine and does not count.
    for program in [ours, peer] {
        between()?;
        program.sample(folder)?;
    }
    for round in 0..rounds {
        let mut pair = [(ours, &mut of_ours), (peer, &mut of_peer)];
        if round % 2 == 1 {
            pair.reverse();
        }
        for (program, samples) in pair {
            between()?;
            samples.push(program.sample(folder)?);
        }
    }
    Ok((of_ours, of_peer))
}

/// The longest that a deployment may take before it counts as stuck.
pub(super) const STUCK: Duration = Duration::from_secs(120);
