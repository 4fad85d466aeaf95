//! `verbatim version`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

/// Print the version
#[derive(Clone, Debug, Args)]
pub(crate) struct VersionArgs {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verbatim {}", self.version)
    }
}

pub(crate) fn run(_: &VersionArgs, console: &Console) -> Result<ExitStatus, Failure> {
    console.result(&Version { version: env!("CARGO_PKG_VERSION") })?;
    Ok(ExitStatus::Done)
}
