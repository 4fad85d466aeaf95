//! Comparing: target state against live state, health, conditions, auto-sync, deletion.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Compared, extend, is_skipped, now, revision_members, source_members, sources};
use crate::health::{Status, health, of_application};
use crate::objects::{Key, group_version, hook, set, text, unset};
use crate::{Server, pause, tree, windows};

const REFRESH: &str = "/metadata/annotations/argocd.argoproj.io~1refresh";

/// Keeps the status of one application, until it is gone.
///
/// A change of the spec, a refresh and the end of an operation lead to a full comparison; a change in the cluster only
/// to a cheap look, and a little later. Nothing else moves the status: so long it is stale.
pub(super) async fn run(server: Arc<Server>, name: String, uid: String) {
    let mut apps = server.store.changes_of(&name);
    let mut objects = server.cluster.changes();
    let mut moved = server.controller.moved.subscribe();
    let mut look_at: Option<Instant> = None;
    let mut places = places(&server, &name);
    let mut seen = 0;
    while let Some(app) = server.same_app(&name, &uid) {
        if !text(&app, "/metadata/deletionTimestamp").is_empty() {
            delete(&server, &app, &name);
            break;
        }
        if is_skipped(&app) {
            look_at = None;
        } else if needs_full(&server, &app, &name) {
            pause(server.pace().compare_ms).await;
            compare(&server, &name).await;
            places = self::places(&server, &name);
        } else if look_at.is_some_and(|at| at <= Instant::now()) {
            look_at = None;
            write_status(&server, &name);
        }
        if !is_skipped(&app) {
            auto_sync(&server, &name).await;
        }
        loop {
            tokio::select! {
                changed = apps.changed() => if changed.is_err() { break },
                changed = objects.changed() => {
                    if changed.is_err() { break }
                    // In a fleet most changes are of others.
                    let version = server.cluster.version_in(&places);
                    if std::mem::replace(&mut seen, version) == version {
                        continue;
                    }
                    look_at.get_or_insert(Instant::now() + Duration::from_millis(server.pace().live_ms));
                }
                changed = moved.changed() => if changed.is_err() { break },
                () = sleep_until_some(look_at) => {}
            }
            break;
        }
    }
    server.controller.forget(&name);
}

/// The namespaces that an application has objects in, and those without one.
fn places(server: &Server, name: &str) -> BTreeSet<String> {
    let compared = server.controller.compared(name);
    let targets = compared.iter().flat_map(|compared| compared.targets());
    let own = compared.iter().map(|compared| text(&compared.destination, "/namespace").to_owned());
    targets.map(|(key, _)| key.namespace).chain(own.clone()).chain([String::new()]).collect()
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn needs_full(server: &Server, app: &Value, name: &str) -> bool {
    let refresh = !text(app, REFRESH).is_empty();
    let state = server.controller.lock();
    refresh
        || state.due.contains(name)
        || state.compared.get(name).is_none_or(|compared| !compared.same_spec(app))
}

/// A full comparison: revisions are resolved and manifests rendered anew.
async fn compare(server: &Server, name: &str) {
    server.controller.lock().due.remove(name);
    let Some(app) = server.store.app(name) else { return };
    let asked = text(&app, REFRESH).to_owned();
    if asked == "hard" {
        server.repo.forget();
    }
    let (sources, is_multi) = sources(&app);
    let began = now();
    let rendered = server.render_all(&app, &sources, &[]).await;
    let destination = app.pointer("/spec/destination").cloned().unwrap_or_default();
    let compared = Compared { sources, is_multi, destination, began, rendered };
    server.controller.lock().compared.insert(name.to_owned(), compared);
    server.store.update(name, |app| {
        write(server, app);
        if let Some(compared) = server.controller.compared(name) {
            set(app, "/status/reconciledAt", compared.began);
        }
        if !asked.is_empty() {
            unset(app, REFRESH);
        }
    });
}

/// A cheap look: the last target state against what is live now.
fn write_status(server: &Server, name: &str) {
    server.store.update(name, |app| write(server, app));
}

fn write(server: &Server, app: &mut Value) {
    let name = text(app, "/metadata/name").to_owned();
    let Some(compared) = server.controller.compared(&name) else { return };
    let objects = server.cluster.objects();
    let resources = resources(server, &name, &compared, &objects);
    let sync = sync_status(&compared, &resources);
    let health =
        of_application(resources.iter().filter(|one| !one.is_hook).map(|one| one.health_status()));
    let before = text(app, "/status/health/status").to_owned();
    if before != health.name() {
        set(app, "/status/health", json!({ "status": health.name(), "lastTransitionTime": now() }));
    }
    let mut entries: Vec<Value> = resources.into_iter().map(|one| one.entry).collect();
    entries.sort_by_key(|entry| {
        let part = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (part("group"), part("kind"), part("namespace"), part("name"))
    });
    set(app, "/status/resources", entries);
    set(app, "/status/sync", sync);
    let images = tree::pod_images(&tree::family(&name, &objects));
    set(
        app,
        "/status/summary",
        if images.is_empty() { json!({}) } else { json!({ "images": images }) },
    );
    set(app, "/status/resourceHealthSource", "appTree");
    set(app, "/status/controllerNamespace", "argocd");
    source_types(app, &compared);
    conditions(app, &compared);
}

fn source_types(app: &mut Value, compared: &Compared) {
    let Ok(rendered) = &compared.rendered else { return };
    let kinds: Vec<&str> = rendered.iter().map(|one| one.kind).collect();
    if compared.is_multi {
        set(app, "/status/sourceTypes", kinds);
    } else if let Some(kind) = kinds.first() {
        set(app, "/status/sourceType", *kind);
    }
}

fn conditions(app: &mut Value, compared: &Compared) {
    let Err(error) = &compared.rendered else {
        unset(app, "/status/conditions");
        return;
    };
    let message = format!("Failed to load target state: {error}");
    if app.pointer("/status/conditions/0/message").and_then(Value::as_str) != Some(&message) {
        let condition =
            json!({ "type": "ComparisonError", "message": message, "lastTransitionTime": now() });
        set(app, "/status/conditions", json!([condition]));
    }
}

/// One managed object of the status.
struct Resource {
    entry: Value,
    is_hook: bool,
    in_sync: Option<bool>,
}

impl Resource {
    fn health_status(&self) -> Option<Status> {
        let all = [
            Status::Healthy,
            Status::Suspended,
            Status::Progressing,
            Status::Missing,
            Status::Degraded,
            Status::Unknown,
        ];
        let name = text(&self.entry, "/health/status");
        all.into_iter().find(|status| status.name() == name)
    }
}

fn resources(
    server: &Server,
    name: &str,
    compared: &Compared,
    objects: &[(Key, Value)],
) -> Vec<Resource> {
    let targets = compared.targets();
    let live = tree::managed(name, objects);
    let failed = compared.rendered.is_err();
    let mut all: Vec<Resource> = Vec::new();
    for (key, manifest) in targets.iter().filter(|(_, manifest)| hook(manifest).is_none()) {
        let object = live.iter().find(|(one, _)| one == key).map(|(_, object)| object);
        let in_sync =
            object.is_some() && server.cluster.last_applied(key).as_ref() == Some(manifest);
        all.push(resource(key, manifest, object, Some(in_sync), false));
    }
    for (key, object) in live.into_iter().filter(|(key, _)| {
        !targets.iter().any(|(one, manifest)| one == key && hook(manifest).is_none())
    }) {
        let is_hook = hook(object).is_some();
        let in_sync = if failed { None } else { Some(false) };
        all.push(resource(key, object, Some(object), in_sync, is_hook));
        if let Some(last) = all.last_mut() {
            set(&mut last.entry, "/requiresPruning", true);
        }
    }
    all
}

fn resource(
    key: &Key,
    manifest: &Value,
    live: Option<&Value>,
    in_sync: Option<bool>,
    is_hook: bool,
) -> Resource {
    let (group, version) = group_version(manifest);
    let mut entry = Map::new();
    for (name, value) in [
        ("group", group),
        ("version", version),
        ("kind", &key.kind),
        ("namespace", &key.namespace),
        ("name", &key.name),
    ] {
        if !value.is_empty() {
            entry.insert(name.to_owned(), value.into());
        }
    }
    if is_hook {
        entry.insert("hook".into(), true.into());
    } else {
        let status = match in_sync {
            Some(true) => "Synced",
            Some(false) => "OutOfSync",
            None => "Unknown",
        };
        entry.insert("status".into(), status.into());
    }
    match live {
        None => {
            entry.insert("health".into(), json!({ "status": "Missing" }));
        }
        Some(live) => {
            if let Some(health) = health(live) {
                entry.insert("health".into(), health.to_json());
            }
        }
    }
    Resource { entry: entry.into(), is_hook, in_sync }
}

fn sync_status(compared: &Compared, resources: &[Resource]) -> Value {
    let status = match &compared.rendered {
        Err(_) => "Unknown",
        Ok(_)
            if resources.iter().filter(|one| !one.is_hook).all(|one| one.in_sync == Some(true)) =>
        {
            "Synced"
        }
        Ok(_) => "OutOfSync",
    };
    let mut compared_to = source_members(&compared.sources, compared.is_multi);
    set(&mut compared_to, "/destination", compared.destination.clone());
    let mut sync = json!({ "status": status, "comparedTo": compared_to });
    let revisions: Vec<String> = match &compared.rendered {
        Ok(rendered) => rendered.iter().map(|one| one.revision.clone()).collect(),
        // Argo CD writes what the source tracks when it could not go on.
        Err(_) => compared
            .sources
            .iter()
            .map(|source| text(source, "/targetRevision").to_owned())
            .collect(),
    };
    extend(&mut sync, revision_members(&revisions, compared.is_multi));
    sync
}

/// Starts an operation of its own when the spec says so. The same sources and revisions are tried once.
async fn auto_sync(server: &Server, name: &str) {
    let Some(app) = server.store.app(name) else { return };
    if !automated(&app)
        || app.get("operation").is_some()
        || text(&app, "/status/sync/status") != "OutOfSync"
    {
        return;
    }
    let Some(compared) =
        server.controller.compared(name).filter(|compared| compared.same_spec(&app))
    else {
        return;
    };
    let Ok(rendered) = &compared.rendered else { return };
    let revisions: Vec<String> = rendered.iter().map(|one| one.revision.clone()).collect();
    let mut sync = json!({});
    extend(&mut sync, revision_members(&revisions, compared.is_multi));
    extend(
        &mut sync,
        if compared.is_multi {
            json!({ "sources": compared.sources })
        } else {
            json!({ "source": compared.sources.first() })
        },
    );
    if app.pointer("/spec/syncPolicy/automated/prune") == Some(&true.into()) {
        set(&mut sync, "/prune", true);
    }
    if server.controller.lock().attempted.get(name) == Some(&sync) {
        return;
    }
    let project = server.store.project(text(&app, "/spec/project")).unwrap_or_default();
    if !windows::can_sync(&project, &app, Timestamp::now(), false) {
        return;
    }
    server.controller.lock().attempted.insert(name.to_owned(), sync.clone());
    let operation =
        json!({ "sync": sync, "initiatedBy": { "automated": true }, "retry": { "limit": 5 } });
    server.set_operation(name, &operation);
}

pub(crate) fn automated(app: &Value) -> bool {
    app.pointer("/spec/syncPolicy/automated")
        .is_some_and(|automated| automated.get("enabled") != Some(&false.into()))
}

/// Deletes the resources of an application that asks for it with its finalizer, and then the application.
fn delete(server: &Server, app: &Value, name: &str) {
    let finalizers = crate::objects::items(app, "/metadata/finalizers");
    if finalizers
        .iter()
        .filter_map(Value::as_str)
        .any(|one| one.starts_with("resources-finalizer.argocd.argoproj.io"))
    {
        let objects = server.cluster.objects();
        for (key, _) in tree::managed(name, &objects) {
            server.cluster.delete(key);
        }
    }
    server.store.remove(name);
}
