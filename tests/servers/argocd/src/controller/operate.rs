//! Operating: takes an operation out of the slot, has it carried out, tries again where it says so, and writes the
//! outcome. What carrying out means is in [`super::tasks`].

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::tasks::{carry_out, delete_hooks, hook_results};
use super::{extend, is_skipped, now, revision_members, source_members, sources, sources_of};
use crate::objects::{items, number, set, text, unset};
use crate::repo::Rendered;
use crate::{Server, pause, windows};

/// Carries out the operations of one application, until it is gone.
pub(super) async fn run(server: Arc<Server>, name: String, uid: String) {
    let mut changes = server.store.changes_of(&name);
    while let Some(app) = server.same_app(&name, &uid) {
        if app.get("operation").is_some() && !is_skipped(&app) {
            pause(server.pace().pickup_ms).await;
            operate(&server, &name).await;
            continue;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// An operation that was taken up.
pub(super) struct Run {
    pub(super) operation: Value,
    pub(super) sync: Value,
    pub(super) sources: Vec<Value>,
    is_multi: bool,
    began: String,
}

pub(super) struct Outcome {
    pub(super) phase: &'static str,
    pub(super) message: String,
    pub(super) results: Vec<Value>,
    pub(super) rendered: Vec<Rendered>,
}

impl Outcome {
    pub(super) fn error(message: String) -> Self {
        Self { phase: "Error", message, results: Vec::new(), rendered: Vec::new() }
    }

    fn terminated(results: Vec<Value>) -> Self {
        Self {
            phase: "Failed",
            message: "Operation terminated".to_owned(),
            results,
            rendered: Vec::new(),
        }
    }
}

async fn operate(server: &Server, name: &str) {
    let Some(app) = server.store.app(name) else { return };
    let operation = app["operation"].clone();
    let sync = operation.get("sync").cloned().unwrap_or_default();
    let (sources, is_multi) = match sources_of(&sync) {
        (own, _) if own.is_empty() => sources(&app),
        own => own,
    };
    let run = Run { operation, sync, sources, is_multi, began: now() };
    server.store.update(name, |app| {
        let state =
            json!({ "operation": run.operation, "phase": "Running", "startedAt": run.began });
        set(app, "/status/operationState", state);
    });
    let outcome = tokio::select! {
        outcome = attempts(server, &app, &run) => outcome,
        () = terminating(server, name) => {
            // The pods of a hook that waits go away with it.
            delete_hooks(server, name);
            Outcome::terminated(hook_results(server, &app, &run).await)
        }
    };
    server.store.update(name, |app| finish(app, &run, &outcome));
    pause(server.pace().settle_ms).await;
    server.controller.compare_again(name);
}

/// Carries the operation out, and again after a while as often as its `retry` allows.
async fn attempts(server: &Server, app: &Value, run: &Run) -> Outcome {
    let name = text(app, "/metadata/name");
    let limit = number(&run.operation, "/retry/limit").unwrap_or(0);
    let mut retried = 0;
    loop {
        let mut outcome = carry_out(server, app, run).await;
        if outcome.phase == "Succeeded" {
            return outcome;
        }
        // A negative limit is none.
        if limit >= 0 && retried >= limit {
            if retried > 0 {
                outcome.message.push_str(&format!(" (retried {retried} times)."));
            }
            return outcome;
        }
        let wait = back_off(&run.operation, retried);
        retried += 1;
        server.store.update(name, |app| {
            // Finished, it says, and is not: the phase is Running still.
            let at = Timestamp::now() + wait;
            let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
            outcome.message.push_str(&format!(". Retrying attempt #{retried} at {at}."));
            outcome.phase = "Running";
            write_state(app, run, &outcome, &now());
            set(app, "/status/operationState/retryCount", retried);
        });
        tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
        server.store.update(name, |app| {
            set(
                app,
                "/status/operationState/message",
                format!("Retrying operation. Attempt #{retried}"),
            );
            unset(app, "/status/operationState/finishedAt");
            unset(app, "/status/operationState/syncResult");
        });
    }
}

/// `backoff.duration`, multiplied by its factor at each retry; 5 s, doubled, at most 3 minutes by default.
fn back_off(operation: &Value, retried: i64) -> SignedDuration {
    let of = |name: &str| windows::duration(text(operation, &format!("/retry/backoff/{name}")));
    let first = of("duration").unwrap_or(SignedDuration::from_secs(5));
    let longest = of("maxDuration").unwrap_or(SignedDuration::from_mins(3));
    let factor = number(operation, "/retry/backoff/factor").unwrap_or(2).max(1);
    let factor = i32::try_from(factor.saturating_pow(u32::try_from(retried).unwrap_or(u32::MAX)))
        .unwrap_or(i32::MAX);
    first.checked_mul(factor).unwrap_or(longest).min(longest)
}

/// Resolves when somebody terminates the running operation.
async fn terminating(server: &Server, name: &str) {
    let mut changes = server.store.changes_of(name);
    loop {
        let app = server.store.app(name);
        let phase = app.as_ref().map(|app| text(app, "/status/operationState/phase"));
        if phase.is_none_or(|phase| phase == "Terminating") || changes.changed().await.is_err() {
            return;
        }
    }
}

/// Writes the operation's state with the results so far; how often it was tried stays.
fn write_state(app: &mut Value, run: &Run, outcome: &Outcome, finished: &str) -> Vec<String> {
    let mut revisions: Vec<String> =
        outcome.rendered.iter().map(|one| one.revision.clone()).collect();
    if revisions.is_empty() {
        revisions = vec![text(&run.sync, "/revision").to_owned()];
    }
    let mut result = json!({ "revision": "" });
    extend(&mut result, source_members(&run.sources, run.is_multi));
    extend(&mut result, revision_members(&revisions, run.is_multi));
    if !outcome.results.is_empty() {
        set(&mut result, "/resources", outcome.results.clone());
    }
    let mut state = json!({
        "operation": run.operation, "phase": outcome.phase, "message": outcome.message, "syncResult": result,
        "startedAt": run.began, "finishedAt": finished,
    });
    if let Some(retried) = number(app, "/status/operationState/retryCount") {
        set(&mut state, "/retryCount", retried);
    }
    set(app, "/status/operationState", state);
    revisions
}

/// Writes the end of an operation: history first, then the state, and the slot is free.
fn finish(app: &mut Value, run: &Run, outcome: &Outcome) {
    let finished = now();
    let revisions = write_state(app, run, outcome, &finished);
    let is_partial = !items(&run.sync, "/resources").is_empty();
    let is_dry = run.sync.get("dryRun") == Some(&true.into());
    if outcome.phase == "Succeeded" && !is_partial && !is_dry {
        let mut entry = json!({
            "deployedAt": finished, "deployStartedAt": run.began, "id": next_id(app),
            "initiatedBy": run.operation["initiatedBy"],
        });
        extend(&mut entry, source_members(&run.sources, run.is_multi));
        extend(&mut entry, revision_members(&revisions, run.is_multi));
        remember(app, entry);
    }
    unset(app, "/operation");
}

fn next_id(app: &Value) -> i64 {
    items(app, "/status/history")
        .iter()
        .filter_map(|entry| entry["id"].as_i64())
        .max()
        .map_or(0, |id| id + 1)
}

fn remember(app: &mut Value, entry: Value) {
    let limit = number(app, "/spec/revisionHistoryLimit").unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut history = items(app, "/status/history").to_vec();
    history.push(entry);
    let surplus = history.len().saturating_sub(limit);
    history.drain(..surplus);
    if history.is_empty() {
        unset(app, "/status/history");
    } else {
        set(app, "/status/history", history);
    }
}
