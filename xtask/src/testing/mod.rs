//! `cargo xtask test`.

use clap::Args as ClapArgs;

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

/// Runs the task.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
