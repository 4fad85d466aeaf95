//! The comparison of deployments.
use super::cases::Bench;
pub(super) fn run(_bench: &mut Bench) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
