//! The API server's own copy of the Applications, which follows them in the order of their versions and may be behind. Lists,
//! watches, the end of a refresh and what is rendered come from it; a write waits until its own result is there (`waitSync`
//! in `server/application/application.go` of Argo CD 3.6.1).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep_until, timeout};

use super::Server;
use super::objects::text;
use super::store::AppEvent;

/// How long a write waits at most.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Cache {
    state: Mutex<State>,
    events: broadcast::Sender<AppEvent>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    apps: BTreeMap<String, Value>,
    version: u64,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            events: broadcast::Sender::new(1000),
            changed: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All Applications, and the version that it has come to.
    pub(crate) fn apps(&self) -> (Vec<Value>, u64) {
        let state = self.lock();
        (state.apps.values().cloned().collect(), state.version)
    }

    pub(crate) fn app(&self, name: &str) -> Option<Value> {
        self.lock().apps.get(name).cloned()
    }

    /// Every change from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<AppEvent> {
        self.events.subscribe()
    }

    /// Wakes at every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until it shows what a write has made, but not for ever.
    pub(crate) async fn shows(&self, app: &Value) {
        let (wanted, mut changes) = (version(app), self.changes());
        let _ = timeout(PATIENCE, changes.wait_for(|now| *now >= wanted)).await;
    }

    fn apply(&self, event: AppEvent) {
        let version = version(&event.app);
        let mut state = self.lock();
        state.version = version;
        let name = text(&event.app, "/metadata/name").to_owned();
        match event.kind {
            "DELETED" => drop(state.apps.remove(&name)),
            _ => drop(state.apps.insert(name, event.app.clone())),
        }
        let _ = self.events.send(event);
        self.changed.send_replace(version);
    }
}

fn version(app: &Value) -> u64 {
    text(app, "/metadata/resourceVersion").parse().unwrap_or_default()
}

/// Follows the Applications, until the task is aborted.
pub(crate) async fn run(server: Arc<Server>) {
    let Some(mut feed) = server.store.feed() else { return };
    while let Some(event) = feed.recv().await {
        sleep_until(event.at + Duration::from_millis(server.pace().cache_ms)).await;
        server.cache.apply(event);
    }
}
