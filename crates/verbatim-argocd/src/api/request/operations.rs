//! Requests that start an operation: a sync, a rollback.

use serde_json::{Value, json};

use super::applications::{application, name_app};
use super::{ApiRequest, AppRef, Method, NONCE, Revisions};

/// What a sync is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncRequest {
    /// Marks the operation as ours.
    pub nonce: String,
    /// More pairs for people: the release, the run.
    pub infos: Vec<(String, String)>,
    /// Delete what is no longer in the sources.
    pub prune: bool,
    /// Other revisions than the application's.
    pub revisions: Revisions,
    /// Apply nothing; the server tells what it would do.
    pub dry_run: bool,
    /// How the manifests are applied.
    pub strategy: Strategy,
    /// Replace objects that cannot be changed in place.
    pub force: bool,
    /// Only these resources. Then no hook runs, and no history is written.
    pub resources: Vec<ResourceRef>,
    /// Options like `ServerSideApply=true`. If there is any, the server leaves out those of the application.
    pub sync_options: Vec<String>,
    /// What to do when the operation fails.
    pub retry: Option<RetryStrategy>,
}

/// How the manifests are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    Hook,
    Apply,
}

/// A managed resource, as operations name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceRef {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// What the controller does when an operation fails. Durations are Go's: `5s`, `3m0s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryStrategy {
    /// How often it tries again.
    pub limit: i64,
    /// The pause before the first time.
    pub duration: String,
    /// By how much each further pause is longer.
    pub factor: i64,
    pub max_duration: String,
    /// From 3.2: resolve the revision again.
    pub refresh: bool,
}

/// Starts a sync. Exactly one caller gets the operation slot.
pub(crate) fn sync(app: &AppRef, sync: &SyncRequest) -> ApiRequest {
    let mut infos = vec![json!({ "name": NONCE, "value": sync.nonce })];
    infos.extend(sync.infos.iter().map(|(name, value)| json!({ "name": name, "value": value })));
    let how = if sync.force { json!({ "force": true }) } else { json!({}) };
    let strategy = match sync.strategy {
        Strategy::Hook => json!({ "hook": how }),
        Strategy::Apply => json!({ "apply": how }),
    };
    let mut body =
        json!({ "name": app.name, "infos": infos, "prune": sync.prune, "strategy": strategy });
    if sync.dry_run {
        body["dryRun"] = json!(true);
    }
    if let Some(revision) = &sync.revisions.single {
        body["revision"] = json!(revision);
    }
    if !sync.revisions.by_position.is_empty() {
        let (positions, revisions): (Vec<_>, Vec<_>) =
            sync.revisions.by_position.iter().cloned().unzip();
        body["sourcePositions"] = json!(positions);
        body["revisions"] = json!(revisions);
    }
    if !sync.resources.is_empty() {
        body["resources"] = sync.resources.iter().map(resource).collect();
    }
    if !sync.sync_options.is_empty() {
        body["syncOptions"] = json!({ "items": sync.sync_options });
    }
    if let Some(retry) = &sync.retry {
        body["retryStrategy"] = json!({
            "limit": retry.limit,
            "backoff": {
                "duration": retry.duration, "factor": retry.factor, "maxDuration": retry.max_duration,
            },
        });
        if retry.refresh {
            body["retryStrategy"]["refresh"] = json!(true);
        }
    }
    start(app, "/sync", body, format!("sync application {app}"))
}

fn resource(resource: &ResourceRef) -> Value {
    let mut value = json!({ "kind": resource.kind, "name": resource.name });
    if !resource.group.is_empty() {
        value["group"] = json!(resource.group);
    }
    if !resource.namespace.is_empty() {
        value["namespace"] = json!(resource.namespace);
    }
    value
}

/// Deploys an entry of the history again. The application's own sources stay as they are, so it is out of sync then.
pub(crate) fn rollback(app: &AppRef, id: i64, prune: bool) -> ApiRequest {
    let body = json!({ "name": app.name, "id": id, "prune": prune });
    start(app, "/rollback", body, format!("roll application {app} back to {id}"))
}

fn start(app: &AppRef, tail: &str, mut body: Value, action: String) -> ApiRequest {
    name_app(&mut body, app);
    ApiRequest {
        method: Method::Post,
        path: application(app, tail),
        query: Vec::new(),
        body: Some(body),
        action,
    }
}
