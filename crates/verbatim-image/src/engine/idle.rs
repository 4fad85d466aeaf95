//! Detects an engine that stopped working: measures how long it was silent. Does not know what the engine reports.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time since the last sign of life.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    limit: Duration,
    since: Instant,
    sent: u64,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), sent: 0 }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn broken(&mut self) {
        self.since = Instant::now();
    }

    /// Takes the bytes sent so far; more than before means that the engine still reads.
    pub(crate) fn sent(&mut self, bytes: u64) {
        if bytes != self.sent {
            self.sent = bytes;
            self.broken();
        }
    }

    /// Returns when the silence has lasted for too long.
    pub(crate) async fn too_long(&self) {
        sleep_until(self.since + self.limit).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whatever_is_heard_or_taken_breaks_it() {
        let limit = Duration::from_secs(10);
        let began = Instant::now();
        let mut idle = IdleTimer::new(limit);
        idle.too_long().await;
        assert_eq!(began.elapsed(), limit);

        idle.broken();
        idle.too_long().await;
        assert_eq!(began.elapsed(), 2 * limit);

        idle.sent(1);
        tokio::time::advance(limit / 2).await;
        idle.sent(1);
        idle.too_long().await;
        assert_eq!(began.elapsed(), 3 * limit);
    }
}
