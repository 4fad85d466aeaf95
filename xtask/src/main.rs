//! The tasks of this workspace, as `cargo xtask TASK`.
//!
//! One folder a task; a file beside them is what two of them read. A task may know every crate and every tool; nothing in the product may know a task.

mod cargo_tools;
mod ci;
mod codegen;
mod dist;
mod failure_modes;
mod git;
mod testing;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the verbatim workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Carry one release through dev, staging and production on this machine
    Pipeline(demo::Args),
    /// Start, stop or reset a real Argo CD with a real Kubernetes API server
    Rig(rig::Args),
    /// Run test suites that need services
    Test(testing::Args),
    /// Run everything that a change must pass
    Ci(ci::Args),
    /// Check the rules of the workspace that the compiler does not know
    Tidy(tidy::Args),
    /// Write the generated files, or check that they are current
    Codegen(codegen::Args),
    /// Make the files of a release
    Dist(dist::Args),
    /// Measure verbatim against its peers
    Bench(benches::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Pipeline(args) => demo::run(args),
        Task::Rig(args) => rig::run(args),
        Task::Test(args) => testing::run(args),
        Task::Ci(args) => ci::run(args),
        Task::Tidy(args) => tidy::run(args),
        Task::Codegen(args) => codegen::run(args),
        Task::Dist(args) => dist::run(args),
        Task::Bench(args) => benches::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `-> anyhow::Result` from main: with RUST_BACKTRACE set it would drown the reason in a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
