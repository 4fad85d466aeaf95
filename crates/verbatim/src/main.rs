//! The binary: parse, run, end. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use verbatim::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    verbatim_console::main(&cli.console.clone(), |console| cli.run(console))
}
