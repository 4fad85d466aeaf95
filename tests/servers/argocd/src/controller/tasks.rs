//! The tasks of one attempt: manifests are applied in their phases and waves, hooks are waited for, the surplus is pruned.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::keyed;
use super::operate::{Outcome, Run};
use crate::health::{Status, health};
use crate::objects::{Key, group_version, hook, images, items, set, text};
use crate::{Server, pause, tree, windows};

/// Resolves when nobody holds the operations of this application.
async fn not_held(server: &Server, name: &str) {
    let mut moved = server.controller.moved.subscribe();
    while server.controller.lock().held.contains(name) {
        if moved.changed().await.is_err() {
            return;
        }
    }
}

/// How often a window that holds an operation is looked at again.
const WINDOW_LOOK: Duration = Duration::from_millis(100);

/// Whether a sync window holds the operation now. Then its state is Running and says so: `SyncAppState` in
/// controller/sync.go of Argo CD 3.6.1 looks at the windows each time that it goes on.
fn is_blocked(server: &Server, name: &str, run: &Run) -> bool {
    let Some(app) = server.store.app(name) else { return false };
    let is_manual = run.operation.pointer("/initiatedBy/automated") != Some(&true.into());
    let project = server.store.project(text(&app, "/spec/project")).unwrap_or_default();
    if windows::can_sync(&project, &app, Timestamp::now(), is_manual) {
        return false;
    }
    let message = "/status/operationState/message";
    let told = "Sync operation blocked by sync window";
    if text(&app, message) != told {
        server.store.update(name, |app| set(app, message, told));
    }
    true
}

/// Resolves when no sync window holds the operation.
async fn not_blocked(server: &Server, name: &str, run: &Run) {
    while is_blocked(server, name, run) {
        tokio::time::sleep(WINDOW_LOOK).await;
    }
}

/// Tells of the windows for as long as the tasks take. Those that have begun go on.
async fn tell_of_windows(server: &Server, name: &str, run: &Run) -> std::convert::Infallible {
    loop {
        is_blocked(server, name, run);
        tokio::time::sleep(WINDOW_LOOK).await;
    }
}

/// One attempt: renders, and applies phase by phase.
pub(super) async fn carry_out(server: &Server, app: &Value, run: &Run) -> Outcome {
    let sync = &run.sync;
    let name = text(app, "/metadata/name");
    not_blocked(server, name, run).await;
    let revisions: Vec<String> = match items(sync, "/revisions") {
        [] => vec![text(sync, "/revision").to_owned()],
        many => many.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect(),
    };
    let rendered = match server.render_all(app, &run.sources, &revisions).await {
        Ok(rendered) => rendered,
        Err(error) => {
            return Outcome::error(format!(
                "ComparisonError: Failed to load target state: {error}"
            ));
        }
    };
    let namespace = text(app, "/spec/destination/namespace");
    let wanted = items(sync, "/resources");
    let tasks: Vec<(Key, Value)> = rendered
        .iter()
        .flat_map(|one| &one.manifests)
        .map(|manifest| keyed(manifest, namespace))
        .filter(|(key, _)| wanted.is_empty() || wanted.iter().any(|one| selects(one, key)))
        .collect();
    let is_dry = sync.get("dryRun") == Some(&true.into());
    // Applied at the end of the operation's time, so that its end comes before the status that shows it.
    pause(server.pace().operation_ms).await;
    let mut results = Vec::new();
    let failed = if is_dry {
        None
    } else {
        tokio::select! {
            failed = phases(server, name, &tasks, sync, &mut results) => failed,
            never = tell_of_windows(server, name, run) => match never {},
        }
    };
    // Who holds it has it go on, so that it looks at the windows.
    tokio::select! {
        () = not_held(server, name) => {}
        never = tell_of_windows(server, name, run) => match never {},
    }
    not_blocked(server, name, run).await;
    match failed {
        Some(reason) => Outcome {
            phase: "Failed",
            message: format!(
                "one or more synchronization tasks completed unsuccessfully, reason: {reason}"
            ),
            results,
            rendered,
        },
        None => Outcome {
            phase: "Succeeded",
            message: (if is_dry {
                "successfully synced (dry run)"
            } else {
                "successfully synced (all tasks run)"
            })
            .to_owned(),
            results,
            rendered,
        },
    }
}

fn selects(wanted: &Value, key: &Key) -> bool {
    text(wanted, "/kind") == key.kind
        && text(wanted, "/name") == key.name
        && text(wanted, "/group") == key.group
}

/// Applies all tasks, phase by phase and wave by wave. The first failure ends it and is returned.
async fn phases(
    server: &Server,
    app: &str,
    tasks: &[(Key, Value)],
    sync: &Value,
    results: &mut Vec<Value>,
) -> Option<String> {
    let partial = !items(sync, "/resources").is_empty();
    for phase in ["PreSync", "Sync", "PostSync"] {
        let of_phase = |manifest: &Value| match hook(manifest) {
            Some(hook) => !partial && hook == phase,
            None => phase == "Sync",
        };
        let mut waves: Vec<i64> = tasks
            .iter()
            .filter(|(_, manifest)| of_phase(manifest))
            .map(|(_, manifest)| wave(manifest))
            .collect();
        waves.sort_unstable();
        waves.dedup();
        let last = waves.last().copied();
        let more_phases =
            tasks.iter().any(|(_, manifest)| phase == "Sync" && hook(manifest) == Some("PostSync"));
        for number in waves {
            let batch: Vec<&(Key, Value)> = tasks
                .iter()
                .filter(|(_, manifest)| of_phase(manifest) && wave(manifest) == number)
                .collect();
            for (key, manifest) in &batch {
                if let Err(reason) = apply(server, key, manifest, phase, results) {
                    return Some(reason);
                }
            }
            // The last wave of plain resources is not waited for.
            let wait = Some(number) != last || phase != "Sync" || more_phases;
            if !wait {
                continue;
            }
            let ended = completed(server, app, &batch, phase).await;
            end_hooks(&batch, &ended, results);
            if let Err(reason) = ended {
                return Some(reason);
            }
            for (key, _) in batch.iter().filter(|(_, hook)| deletes_itself(hook)) {
                server.cluster.delete(key);
            }
        }
    }
    prune(server, app, tasks, sync, results);
    None
}

fn wave(manifest: &Value) -> i64 {
    text(manifest, "/metadata/annotations/argocd.argoproj.io~1sync-wave").parse().unwrap_or(0)
}

fn result_entry(
    key: &Key,
    manifest: &Value,
    status: &str,
    message: &str,
    phase: &str,
    hook_phase: &str,
) -> Value {
    let (group, version) = group_version(manifest);
    let mut entry = json!({
        "group": group, "version": version, "kind": key.kind, "namespace": key.namespace, "name": key.name,
        "status": status, "message": message, "hookPhase": hook_phase, "syncPhase": phase,
    });
    if let Some(hook) = hook(manifest) {
        set(&mut entry, "/hookType", hook);
    }
    let images = images(manifest);
    if !images.is_empty() {
        set(&mut entry, "/images", images);
    }
    entry
}

fn apply(
    server: &Server,
    key: &Key,
    manifest: &Value,
    phase: &str,
    results: &mut Vec<Value>,
) -> Result<(), String> {
    if hook(manifest).is_some() {
        // `BeforeHookCreation` is the default delete policy.
        server.cluster.delete(key);
    }
    match server.cluster.apply(key, manifest) {
        Ok(applied) => {
            let kind = key.kind.to_lowercase();
            let kind = if key.group.is_empty() { kind } else { format!("{kind}.{}", key.group) };
            let message = format!("{kind}/{} {}", key.name, applied.word());
            results.push(result_entry(key, manifest, "Synced", &message, phase, "Running"));
            Ok(())
        }
        Err(reason) => {
            results.push(result_entry(key, manifest, "SyncFailed", &reason, phase, "Failed"));
            Err(reason)
        }
    }
}

/// Waits until every object of a batch is healthy, or one is degraded.
async fn completed(
    server: &Server,
    app: &str,
    batch: &[&(Key, Value)],
    phase: &str,
) -> Result<(), String> {
    let mut changes = server.cluster.changes();
    loop {
        let mut waits_for = None;
        for (key, manifest) in batch {
            let live = server.cluster.get(key);
            let status = live.as_ref().and_then(health);
            match status.as_ref().map(|health| health.status) {
                Some(Status::Degraded) if hook(manifest).is_some() => {
                    return Err(status.map(|health| health.message).unwrap_or_default());
                }
                Some(Status::Progressing | Status::Degraded) => waits_for = Some(key),
                _ => {}
            }
        }
        let Some(key) = waits_for else { return Ok(()) };
        let what = if phase == "Sync" { "healthy state of" } else { "completion of hook" };
        let group = if key.group.is_empty() { String::new() } else { format!("{}/", key.group) };
        let message = format!("waiting for {what} {group}{}/{}", key.kind, key.name);
        server.store.update(app, |app| {
            if text(app, "/status/operationState/phase") == "Running" {
                set(app, "/status/operationState/message", message);
            }
        });
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Writes how the hooks of a batch ended into their results: the health's message takes the place of the other one
/// (`setResourceResult` in gitops-engine/pkg/sync/sync_context.go of Argo CD 3.6.1).
fn end_hooks(batch: &[&(Key, Value)], ended: &Result<(), String>, results: &mut [Value]) {
    let hooks = batch.iter().filter(|(_, manifest)| hook(manifest).is_some());
    for (key, _) in hooks {
        let of_hook = |result: &&mut Value| {
            result.get("hookType").is_some()
                && text(result, "/kind") == key.kind
                && text(result, "/name") == key.name
        };
        let Some(result) = results.iter_mut().rev().find(of_hook) else { continue };
        match ended {
            Ok(()) => set(result, "/hookPhase", "Succeeded"),
            Err(reason) => {
                set(result, "/hookPhase", "Failed");
                set(result, "/message", reason.clone());
            }
        }
    }
}

/// Whether a hook that succeeded is deleted.
fn deletes_itself(manifest: &Value) -> bool {
    let own = text(manifest, "/metadata/annotations/argocd.argoproj.io~1hook-delete-policy");
    hook(manifest).is_some() && own.split(',').any(|one| one.trim() == "HookSucceeded")
}

/// Deletes what is live and not wanted any more, or says that it would have to be.
fn prune(
    server: &Server,
    app: &str,
    tasks: &[(Key, Value)],
    sync: &Value,
    results: &mut Vec<Value>,
) {
    if !items(sync, "/resources").is_empty() {
        return;
    }
    let objects = server.cluster.objects();
    let extra = tree::managed(app, &objects)
        .into_iter()
        .filter(|(key, _)| !tasks.iter().any(|(one, _)| one == key));
    for (key, object) in extra.filter(|(_, object)| hook(object).is_none()) {
        if sync.get("prune") == Some(&true.into()) {
            server.cluster.delete(key);
            results.push(result_entry(key, object, "Pruned", "pruned", "Sync", "Succeeded"));
        } else {
            results.push(result_entry(
                key,
                object,
                "PruneSkipped",
                "ignored (requires pruning)",
                "Sync",
                "Succeeded",
            ));
        }
    }
}

/// Deletes what the hooks of an application left.
pub(super) fn delete_hooks(server: &Server, app: &str) {
    let objects = server.cluster.objects();
    for (key, _) in
        tree::managed(app, &objects).into_iter().filter(|(_, object)| hook(object).is_some())
    {
        server.cluster.delete(key);
    }
}

/// The entries of the hooks of an operation that was terminated.
pub(super) async fn hook_results(server: &Server, app: &Value, run: &Run) -> Vec<Value> {
    let revision = text(&run.sync, "/revision").to_owned();
    let Ok(rendered) = server.render_all(app, &run.sources, &[revision]).await else {
        return Vec::new();
    };
    let namespace = text(app, "/spec/destination/namespace");
    let manifests = rendered
        .iter()
        .flat_map(|one| &one.manifests)
        .filter(|manifest| hook(manifest) == Some("PreSync"));
    manifests
        .map(|manifest| {
            let (key, manifest) = keyed(manifest, namespace);
            result_entry(&key, &manifest, "Synced", "Terminated", "PreSync", "Failed")
        })
        .collect()
}
