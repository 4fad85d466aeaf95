//! The binary: parse, run, end. Everything else is in the library.

use std::process::ExitCode;

use verbatim::cli::{Cli, KEPT_VARIABLES};
use verbatim_console::Failure;

fn main() -> ExitCode {
    let cli: Cli = match verbatim_console::parse(KEPT_VARIABLES) {
        Ok(cli) => cli,
        Err(told) => return told,
    };
    let withheld = cli.withhold_secrets();
    verbatim_console::main(&cli.console.clone(), |console| async move {
        withheld.map_err(|error| {
            Failure::usage(error).context("cannot keep the secrets of this job from its tests")
        })?;
        cli.run(console).await
    })
}
