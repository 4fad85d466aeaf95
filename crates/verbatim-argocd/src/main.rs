//! `verbatim-argocd`: the command line of this crate as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use verbatim_argocd::cli::{self, ArgocdCommand};
use verbatim_console::ConsoleArgs;

/// Work with Argo CD applications: override, sync, wait, prove
#[derive(Parser)]
#[command(version)]
struct Tool {
    #[command(subcommand)]
    command: ArgocdCommand,
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
