//! Tells an engine that works from one that is lost: how long nothing was heard of it. Must not know what was heard.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long nothing has happened.
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

    /// How long it may last.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn broken(&mut self) {
        self.since = Instant::now();
    }

    /// So many bytes were sent so far; more than before means that somebody takes them.
    pub(crate) fn sent(&mut self, bytes: u64) {
        if bytes != self.sent {
            self.sent = bytes;
            self.broken();
        }
    }

    /// Ends when it has lasted for too long.
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
