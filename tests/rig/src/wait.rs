//! Waiting for a service to come up.

use std::time::{Duration, Instant};

use anyhow::bail;

/// A part that does not come up in this time never will. Cold starts take a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again, 25 ms apart, until `look` answers true. An error of `look` ends the waiting.
pub(super) async fn until<F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let deadline = Instant::now() + PATIENCE;
    while !look().await? {
        if Instant::now() >= deadline {
            bail!("{what} did not come up within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}
