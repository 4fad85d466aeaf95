//! `cargo xtask test fuzz`: libFuzzer chooses the inputs of everything that reads a document of somebody else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args as ClapArgs;
use needs::{Program, cargo, workspace_root};
use rig::engine::children;

/// The arguments of this suite.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask test fuzz                              # as many inputs as the evidence wants: an hour
  cargo xtask test fuzz --seconds 10                 # each target for ten seconds
  cargo xtask test fuzz manifest link --runs 100000
  cargo xtask test fuzz --seconds 60 --keep          # and adds to tests/fuzz/corpus what reaches new code")]
pub(super) struct Args {
    /// The targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How many inputs each target gets [default: what it is worth]
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// How long each target is tried at most
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u32>,
    /// Add the inputs that reach new code to tests/fuzz/corpus
    #[arg(long)]
    keep: bool,
}

/// What a target was tried with.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// The name of the target.
    pub(crate) target: &'static str,
    /// How many inputs it got.
    pub(crate) inputs: u64,
    /// How long that took.
    pub(crate) took: Duration,
    /// Where the input is that broke it.
    pub(crate) broken_by: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let unknown =
        args.targets.iter().find(|name| !fuzz::TARGETS.iter().any(|it| it.name == **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        bail!("no target `{name}`; there are {}", known.join(", "));
    }
    let tried = fuzz(0, args)?;
    let broken: Vec<&str> = tried.iter().filter_map(|it| it.broken_by.as_deref()).collect();
    ensure!(broken.is_empty(), "broken by {}", broken.join(", "));
    Ok(())
}

/// Tries every target with as many inputs as it is worth.
pub(crate) fn fuzz_all(seed: u64) -> Result<Vec<Tried>> {
    fuzz(seed, &Args { targets: Vec::new(), runs: None, seconds: None, keep: false })
}

fn fuzz(seed: u64, args: &Args) -> Result<Vec<Tried>> {
    needs::install(&[Program::Cxx])?;
    let binary = build()?;
    let mut all = Vec::new();
    for target in fuzz::TARGETS {
        if !args.targets.is_empty() && !args.targets.iter().any(|name| name == target.name) {
            continue;
        }
        let tried = attempt(&binary, target, seed, args)?;
        let end = tried.broken_by.as_deref().unwrap_or("ok");
        eprintln!(
            "{:<14} {:>9} inputs {:>5} s  {end}",
            tried.target,
            tried.inputs,
            tried.took.as_secs()
        );
        if args.keep && tried.broken_by.is_none() {
            keep(&binary, target)?;
        }
        all.push(tried);
    }
    Ok(all)
}

/// What makes the compiler count which code an input reaches, as cargo-fuzz says it.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Builds the fuzzer. With `--target`, so that the flags are not those of build scripts.
fn build() -> Result<PathBuf> {
    let folder = folder();
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = cargo();
    command.args([
        "build",
        "--locked",
        "--package",
        "fuzz",
        "--features",
        "libfuzzer",
        "--profile",
        "fuzz",
    ]);
    command.args(["--target", &host, "--target-dir"]).arg(&folder).env("RUSTFLAGS", INSTRUMENTED);
    let status = children::run(&mut command)?;
    ensure!(status.success(), "the fuzzer cannot be built");
    Ok(folder.join(host).join("fuzz/fuzz"))
}

fn folder() -> PathBuf {
    workspace_root().join("target/fuzz")
}

/// Where the inputs of a target are kept in the tree.
fn corpus(target: &fuzz::Target) -> PathBuf {
    workspace_root().join("tests/fuzz/corpus").join(target.name)
}

/// Where the fuzzer keeps what it finds.
fn found(target: &fuzz::Target) -> Result<PathBuf> {
    let folder = folder().join("found").join(target.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn attempt(binary: &Path, target: &'static fuzz::Target, seed: u64, args: &Args) -> Result<Tried> {
    let broken = folder().join(format!("broken-{}-", target.name));
    let mut command = Command::new(binary);
    command.env("FUZZ_TARGET", target.name).env("RUST_BACKTRACE", "0");
    command.arg(format!("-runs={}", args.runs.unwrap_or(target.runs)));
    command.arg(format!("-max_len={}", target.longest));
    // 0 stands for a seed of libFuzzer's own.
    command.arg(format!("-seed={}", seed & 0xffff_ffff));
    command.args(["-timeout=10", "-print_final_stats=1", "-rss_limit_mb=2048"]);
    command.arg(format!("-artifact_prefix={}", broken.display()));
    if let Some(seconds) = args.seconds {
        command.arg(format!("-max_total_time={seconds}"));
    }
    command.arg(found(target)?).arg(corpus(target));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut said = Said::default();
    let status = children::run_with(&mut command, |child| {
        let Some(lines) = child.stderr.take() else { return };
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            said.listen(&line);
        }
    })?;
    let took = start.elapsed();
    if !status.success() && said.broken_by.is_none() {
        bail!("{}: {status}\n{}", target.name, said.last.join("\n"));
    }
    if said.broken_by.is_some() {
        eprintln!("{}", said.last.join("\n"));
    }
    Ok(Tried { target: target.name, inputs: said.inputs, took, broken_by: said.broken_by })
}

/// What libFuzzer said.
#[derive(Debug, Default)]
struct Said {
    inputs: u64,
    broken_by: Option<String>,
    /// Its last lines.
    last: Vec<String>,
}

impl Said {
    fn listen(&mut self, line: &str) {
        if let Some((_, count)) = line.split_once("stat::number_of_executed_units:") {
            self.inputs = count.trim().parse().unwrap_or_default();
        } else if let Some((_, file)) = line.split_once("Test unit written to ") {
            self.broken_by = Some(file.to_owned());
        }
        if !line.starts_with('#') {
            self.last.push(line.to_owned());
            let excess = self.last.len().saturating_sub(20);
            self.last.drain(..excess);
        }
    }
}

/// Adds to the corpus what of the found inputs reaches code that its own do not.
fn keep(binary: &Path, target: &fuzz::Target) -> Result<()> {
    let mut command = Command::new(binary);
    command.env("FUZZ_TARGET", target.name);
    command
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .arg(format!("-max_len={}", target.longest));
    command.arg(corpus(target)).arg(found(target)?);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = children::run(&mut command)?;
    ensure!(status.success(), "{}: the inputs cannot be merged: {status}", target.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_run_is_read() {
        let mut said = Said::default();
        for line in [
            "#2 INITED cov: 1",
            "thread panicked",
            "artifact_prefix='./'; Test unit written to ./crash-5c",
            "stat::number_of_executed_units: 1200",
        ] {
            said.listen(line);
        }
        assert_eq!((said.inputs, said.broken_by.as_deref()), (1200, Some("./crash-5c")));
        assert_eq!(said.last.len(), 3);
    }
}
