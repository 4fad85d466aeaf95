//! Reads several applications at the price of one: a list comes from the server's cache, and costs Kubernetes nothing. What
//! makes it as good as a live read is a change of ours that the cache must show. Decides nothing about what it reads.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout};

use crate::api::client::Client;
use crate::api::error::Error;
use crate::api::request::{AppRef, Refresh};
use crate::model::Application;
use crate::run::follow::version;

/// So many applications are read one by one, as the two requests of a refresh would cost as much.
const FEW: usize = 2;

/// Live reads at once.
const READS: usize = 8;

/// How long a controller may take to answer to a refresh, before the applications are read one by one instead.
const BUSY: Duration = Duration::from_secs(10);

/// How long the cache may take to show what was just written. The server itself waits for so long after a write
/// (`informerSyncTimeout` in `server/application/application.go` of Argo CD 3.6.1); another replica may be later.
const LAG: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Reads applications as they are now, in their order.
pub async fn read_together(client: &Client, apps: &[AppRef]) -> Vec<Result<Application, Error>> {
    let listed = match apps.len() {
        0..=FEW => None,
        _ => list_now(client, apps).await,
    };
    let mut listed = listed.unwrap_or_default();
    let found = apps.iter().map(|app| (app, listed.take(app)));
    let reads = stream::iter(found).map(|(app, found)| async move {
        match found {
            Some(found) => Ok(found),
            // Why it is not in the list, only reading it tells.
            None => client.get(app).await,
        }
    });
    reads.buffered(READS).collect().await
}

/// Reads an application as it was at a version, or later. The list is enough where it is not older: the version is that of
/// a state that was seen.
pub async fn read_since(
    client: &Client,
    app: &AppRef,
    namespace: &str,
    seen: &str,
) -> Result<Application, Error> {
    let wanted = [(app.clone(), namespace.to_owned())];
    let listed = client.list_several(&wanted).await.unwrap_or_default();
    let is_it = |found: &&Application| {
        let metadata = &found.metadata;
        metadata.name == app.name && metadata.namespace == namespace && is_since(found, seen)
    };
    match listed.iter().find(is_it) {
        Some(found) => Ok(found.clone()),
        None => client.get(app).await,
    }
}

fn is_since(app: &Application, seen: &str) -> bool {
    version(app).zip(seen.parse().ok()).is_some_and(|(found, seen): (u64, u64)| found >= seen)
}

/// Applications of a list, by namespace and name.
#[derive(Debug, Default)]
struct Listed {
    found: BTreeMap<(String, String), Application>,
    /// The namespace of those that are named without one.
    own: Option<String>,
}

impl Listed {
    fn new(found: Vec<Application>, own: Option<String>) -> Self {
        let key = |app: &Application| (app.metadata.namespace.clone(), app.metadata.name.clone());
        Self { found: found.into_iter().map(|app| (key(&app), app)).collect(), own }
    }

    fn key(&self, app: &AppRef) -> Option<(String, String)> {
        Some((app.namespace.clone().or(self.own.clone())?, app.name.clone()))
    }

    fn of(&self, app: &AppRef) -> Option<&Application> {
        self.found.get(&self.key(app)?)
    }

    /// Gives one of them away: of many, a second copy is much.
    fn take(&mut self, app: &AppRef) -> Option<Application> {
        self.found.remove(&self.key(app)?)
    }
}

/// Lists applications as they are now; `None` if that cannot be had. The cache follows one watch of all applications, in the
/// order of their versions. So once it shows what a refresh has just written to one of them, it shows everything that was
/// written to any of them before.
async fn list_now(client: &Client, apps: &[AppRef]) -> Option<Listed> {
    // One without a namespace also tells which that is.
    let fence = apps.iter().find(|app| app.namespace.is_none()).or(apps.first())?;
    let refreshed = timeout(BUSY, client.refresh(fence, Refresh::Normal)).await.ok()?;
    let refreshed = refreshed.inspect_err(|error| tracing::debug!(%error, "reading one by one"));
    let refreshed = refreshed.ok()?;
    let metadata = &refreshed.metadata;
    let own = fence.namespace.is_none().then(|| metadata.namespace.clone());
    let named = |app: &AppRef| Some((app.clone(), app.namespace.clone().or(own.clone())?));
    let named: Vec<(AppRef, String)> = apps.iter().map(named).collect::<Option<_>>()?;
    let until = Instant::now() + LAG;
    loop {
        let found = client.list_several(&named).await.ok()?;
        let listed = Listed::new(found, own.clone());
        if listed.of(fence).is_some_and(|found| is_since(found, &metadata.resource_version)) {
            return Some(listed);
        }
        if Instant::now() >= until {
            return None;
        }
        sleep(PAUSE).await;
    }
}
