//! `verbatim-image`: the command line of this crate as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use verbatim_console::ConsoleArgs;
use verbatim_image::cli::{self, ImageCommand};

/// Build and push container images over the Docker Engine's API
#[derive(Parser)]
#[command(version)]
struct Tool {
    #[command(subcommand)]
    command: ImageCommand,
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
