//! `verbatim-registry`: the command line of this crate as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use verbatim_console::ConsoleArgs;
use verbatim_registry::cli::{self, RegistryCommand};

/// Look up, copy and attach in container registries
#[derive(Parser)]
#[command(version)]
struct Tool {
    #[command(subcommand)]
    command: RegistryCommand,
    #[command(flatten)]
    console: ConsoleArgs,
}

fn main() -> ExitCode {
    let tool: Tool = match verbatim_console::parse(&[]) {
        Ok(tool) => tool,
        Err(told) => return told,
    };
    verbatim_console::main(&tool.console, async move |console| {
        cli::run(tool.command, &console).await
    })
}
