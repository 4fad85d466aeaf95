//! `cargo xtask test SUITE`: suites that need services. One file a suite; `cargo test` runs all the others.

mod attach;
mod failures;
mod fuzz;
mod servers;

pub(crate) use attach::attach;
pub(crate) use fuzz::fuzz_all;

use clap::{Args as ClapArgs, Subcommand};

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Let many processes attach to one image at the same moment
    Attach(attach::Args),
    /// Run the tests that docs/failure-modes.md names
    Failures(failures::Args),
    /// Have a fuzzer choose what is read of what strangers write
    Fuzz(fuzz::Args),
    /// Run the shared cases against the simulated and the real Argo CD
    Servers(servers::Args),
}

/// Runs the task.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.suite {
        Suite::Attach(args) => attach::run(&args),
        Suite::Failures(args) => failures::run(&args),
        Suite::Fuzz(args) => fuzz::run(&args),
        Suite::Servers(args) => servers::run(args),
    }
}
