//! One run of a program: how long it took and how much memory it had at most.
//!
//! A process of ours starts the program and nothing else, so that the kernel's count for "my children" is of this
//! program alone. It knows nothing about what is measured.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use rig::engine::children;
use rig::lease;

/// The arguments of the process that measures.
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

/// What the process that measures does: starts the program, waits for it, and writes down the sample.
pub(super) fn run_here(args: &RunArgs) -> Result<()> {
    let [program, arguments @ ..] = &args.command[..] else { bail!("no program to run") };
    let mut command = Command::new(program);
    command.args(arguments);
    let start = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("failed to start {}", program.display()))?;
    let watch = watch(child.id());
    let status = child.wait();
    let took = start.elapsed();
    let status = status.with_context(|| format!("failed to wait for {}", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    let watched = watch.join().unwrap_or_default();
    let (floor, counted) = (usage(UsageWho::RUSAGE_SELF)?, usage(UsageWho::RUSAGE_CHILDREN)?);
    // The kernel's count for a child begins with the memory of the process that started it, until the program takes
    // the child over. Below that, only what was seen from outside tells anything.
    let peak_kib = if counted > floor { counted } else { watched };
    let sample = Sample { seconds: took.as_secs_f64(), peak_kib };
    fs::write(&args.result, serde_json::to_vec(&sample)?).context("failed to write the sample")
}

/// The largest resident set so far, in KiB.
fn usage(who: UsageWho) -> Result<u64> {
    let usage = getrusage(who).context("failed to ask for the memory of a process")?;
    Ok(u64::try_from(usage.max_rss()).unwrap_or_default())
}

/// Looks at the high-water mark of a process until it ends. What comes in its last fraction of a millisecond is missed.
fn watch(pid: u32) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let path = format!("/proc/{pid}/status");
        let mut highest = 0;
        // A zombie has a status and no memory.
        while let Some(kib) = fs::read_to_string(&path).ok().as_deref().and_then(high_water) {
            highest = kib;
            thread::sleep(Duration::from_micros(200));
        }
        highest
    })
}

/// `VmHWM` of `/proc/PID/status` (proc(5)), in KiB.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
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
/// order changes from round to round. `program` makes what is run next, of ours or of the peer.
pub(super) fn in_turn(
    mut program: impl FnMut(bool) -> Program,
    rounds: usize,
    folder: &Path,
) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
    // The first run of each fills the caches of the machine and does not count.
    for is_ours in [true, false] {
        program(is_ours).sample(folder)?;
    }
    for round in 0..rounds {
        let first = round % 2 == 0;
        for is_ours in [first, !first] {
            let sample = program(is_ours).sample(folder)?;
            if is_ours { of_ours.push(sample) } else { of_peer.push(sample) }
        }
    }
    Ok((of_ours, of_peer))
}

/// Runs a program without a peer.
pub(super) fn alone(program: &Program, rounds: usize, folder: &Path) -> Result<Vec<Sample>> {
    // The first run fills the caches of the machine and does not count.
    program.sample(folder)?;
    (0..rounds).map(|_| program.sample(folder)).collect()
}

/// The longest that a deployment may take before it counts as stuck.
pub(super) const STUCK: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(high_water("Name:\tx\nVmHWM:\t    9048 kB\nVmRSS:\t 1 kB\n"), Some(9048));
        assert_eq!(high_water("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_run_has_a_time_and_a_peak() {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("sample.json");
        let args = |command: &[&str]| RunArgs {
            result: result.clone(),
            command: command.iter().map(Into::into).collect(),
        };
        run_here(&args(&["sleep", "0.05"])).unwrap();
        let sample: Sample = serde_json::from_slice(&fs::read(&result).unwrap()).unwrap();
        assert!(sample.seconds >= 0.05 && sample.peak_kib > 100, "{sample:?}");
        assert!(run_here(&args(&["false"])).is_err());
    }
}
