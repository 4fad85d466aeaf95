//! `cargo xtask rig`: a real Argo CD and a real Kubernetes API server on loopback, without containers.

pub(crate) mod tools;

use clap::Args as ClapArgs;

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

/// Runs the task.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
