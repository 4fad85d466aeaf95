//! `verbatim-policy`: the commands on policies as a program of their own.

use std::process::ExitCode;

use clap::Parser;
use verbatim::cli::{KEPT_VARIABLES, PolicyCommand, policy};
use verbatim_console::ConsoleArgs;

/// Check, explain, test and push the rules of a project
#[derive(Parser)]
#[command(version)]
struct Tool {
    #[command(subcommand)]
    command: PolicyCommand,
    #[command(flatten)]
    console: ConsoleArgs,
}

fn main() -> ExitCode {
    let tool: Tool = match verbatim_console::parse(KEPT_VARIABLES) {
        Ok(tool) => tool,
        Err(told) => return told,
    };
    verbatim_console::main(&tool.console, async move |console| policy(tool.command, &console).await)
}
