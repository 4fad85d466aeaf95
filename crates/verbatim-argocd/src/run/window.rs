//! Waits until the sync windows of an application let a sync by hand begin. Nothing is written meanwhile, and nothing is
//! held.

use std::fmt;

use jiff::SignedDuration;
use tokio::time::{Duration, Instant, sleep};

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::judge::preflight::closing_windows;

/// Pause between two looks. The server's answer has no time zone of a window, so only asking tells when one opens.
const LOOK: Duration = Duration::from_secs(15);

/// How often it is told what is waited for.
const TELL: Duration = Duration::from_secs(60);

/// A wait for a sync window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowWait {
    /// The application.
    pub app: AppRef,
    /// The windows that forbid syncing now, if the server names them.
    pub windows: Vec<String>,
    /// How long it is still waited for.
    pub left: Duration,
}

impl fmt::Display for WindowWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: a sync window forbids syncing now", self.app)?;
        if !self.windows.is_empty() {
            write!(f, " ({})", self.windows.join("; "))?;
        }
        let seconds = self.left.as_millis().div_ceil(1000).try_into().unwrap_or(i64::MAX);
        let left = SignedDuration::from_secs(seconds);
        write!(f, "; waiting for one that allows it, for {left:#} at most")
    }
}

/// Waits for at most `limit` until a sync by hand is allowed, and tells it at once and then every minute. Whether one is
/// allowed in the end, and what else forbids the deployment, the deployment itself finds out.
pub async fn wait_for_window(
    client: &Client,
    app: &AppRef,
    limit: Duration,
    tell: &(dyn Fn(WindowWait) + Sync),
) {
    let deadline = Instant::now() + limit;
    let mut tell_at = Instant::now();
    loop {
        let closed = match client.sync_windows(app).await {
            Ok(windows) => closing_windows(&windows),
            // The windows may be closed as before.
            Err(error) if error.kind.may_pass() => Some(Vec::new()),
            Err(_) => None,
        };
        let (Some(windows), now) = (closed, Instant::now()) else { return };
        if now >= deadline {
            return;
        }
        let left = deadline - now;
        if now >= tell_at {
            tell_at = now + TELL;
            tell(WindowWait { app: app.clone(), windows, left });
        }
        sleep(LOOK.min(left)).await;
    }
}
