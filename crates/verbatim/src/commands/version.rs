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
    /// The commit of a release.
    commit: Option<&'static str>,
    target: &'static str,
}

/// What this program is. `cargo xtask dist` says for which commit; other builds may be of files that are in none.
const THIS: Version = Version {
    version: env!("CARGO_PKG_VERSION"),
    commit: option_env!("VERBATIM_COMMIT"),
    target: env!("VERBATIM_TARGET"),
};

/// What `--version` says after the name.
pub(crate) fn long() -> String {
    let commit = THIS.commit.unwrap_or("no release");
    format!("{} ({commit}, {})", THIS.version, THIS.target)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verbatim {}", long())
    }
}

pub(crate) fn run(_: &VersionArgs, console: &Console) -> Result<ExitStatus, Failure> {
    console.result(&THIS)?;
    Ok(ExitStatus::Done)
}
