//! Operations: sync, rollback, terminate, and whether a window lets them start.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Call, GoJson, object_of};
use crate::controller::compare::automated;
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{items, set, text};
use crate::{Server, controller, windows};

pub(super) async fn sync(call: Call) -> Answer {
    let (server, body) = (&call.server, call.body()?);
    let (app, claims) = call.app_by(&body, "get")?;
    let project = server.store.project(text(&app, "/spec/project")).unwrap_or_default();
    if !windows::can_sync(&project, &app, Timestamp::now(), true) {
        return Err(ApiError::new(Code::PermissionDenied, "cannot sync: blocked by sync window"));
    }
    claims.enforce("applications", "sync", &object_of(&app))?;
    if !items(&body, "/manifests").is_empty() {
        claims.enforce("applications", "override", &object_of(&app))?;
        return Err(ApiError::new(Code::Unimplemented, "local manifests are not simulated"));
    }
    if !text(&app, "/metadata/deletionTimestamp").is_empty() {
        return Err(ApiError::precondition("application is deleting"));
    }
    let sync = sync_part(server, &app, &body).await?;
    let mut operation =
        json!({ "sync": sync, "initiatedBy": { "username": claims.name }, "retry": {} });
    if let Some(infos) = body.get("infos").filter(|infos| !infos.is_null()) {
        set(&mut operation, "/info", infos.clone());
    }
    if let Some(retry) = body.get("retryStrategy").filter(|retry| !retry.is_null()) {
        set(&mut operation, "/retry", retry.clone());
    }
    place(&call, &operation)
}

/// Puts the operation into the slot, or says that it is taken.
fn place(call: &Call, operation: &Value) -> Answer {
    match call.server.set_operation(&call.name, operation) {
        Some((app, true)) => Ok(GoJson(app)),
        Some((_, false)) => Err(ApiError::precondition("another operation is already in progress")),
        None => Err(ApiError::app_not_found(&call.name)),
    }
}

/// The `sync` part of the operation: the request, the resolved revisions, and the sources as the spec has them now.
async fn sync_part(server: &Server, app: &Value, body: &Value) -> ApiResult<Value> {
    let (sources, is_multi) = controller::sources(app);
    let asked = text(body, "/revision");
    let tracked = sources.first().map(|source| text(source, "/targetRevision")).unwrap_or_default();
    let is_dry = body.get("dryRun") == Some(&true.into());
    if automated(app) && !is_dry && !asked.is_empty() && asked != tracked {
        return Err(ApiError::precondition(format!(
            "Cannot sync to {asked}: auto-sync currently set to {tracked}"
        )));
    }
    let mut revisions = Vec::new();
    for source in &sources {
        let wanted =
            if is_multi || asked.is_empty() { text(source, "/targetRevision") } else { asked };
        let found = server.repo.repositories().resolve(text(source, "/repoURL"), wanted).await;
        revisions.push(found.map_err(ApiError::precondition)?);
    }
    let mut sync = json!({});
    if is_multi {
        set(&mut sync, "/sources", sources);
        set(&mut sync, "/revisions", revisions);
    } else {
        set(&mut sync, "/source", sources.into_iter().next().unwrap_or_default());
        set(&mut sync, "/revision", revisions.into_iter().next().unwrap_or_default());
    }
    for flag in ["dryRun", "prune"] {
        if body.get(flag) == Some(&true.into()) {
            set(&mut sync, &format!("/{flag}"), true);
        }
    }
    for (from, to) in [
        ("/strategy", "/syncStrategy"),
        ("/resources", "/resources"),
        ("/syncOptions/items", "/syncOptions"),
    ] {
        if let Some(value) = body.pointer(from).filter(|value| !value.is_null()) {
            set(&mut sync, to, value.clone());
        }
    }
    if let Some(options) =
        app.pointer("/spec/syncPolicy/syncOptions").filter(|_| body.get("syncOptions").is_none())
    {
        set(&mut sync, "/syncOptions", options.clone());
    }
    Ok(sync)
}

pub(super) async fn rollback(call: Call) -> Answer {
    let body = call.body()?;
    let (app, claims) = call.app_by(&body, "sync")?;
    if !text(&app, "/metadata/deletionTimestamp").is_empty() {
        return Err(ApiError::precondition("application is deleting"));
    }
    if automated(&app) {
        return Err(ApiError::precondition(
            "rollback cannot be initiated when auto-sync is enabled",
        ));
    }
    let id = body.get("id").and_then(Value::as_i64).unwrap_or(0);
    let found = items(&app, "/status/history").iter().find(|entry| entry["id"] == id);
    let Some(entry) = found else {
        let words =
            format!("application argocd/{} does not have deployment with id {id}", call.name);
        return Err(ApiError::invalid(words));
    };
    let mut sync = json!({ "syncStrategy": { "apply": {} } });
    for part in ["revision", "revisions", "source", "sources"] {
        let value = entry
            .get(part)
            .filter(|value| !text(value, "/repoURL").is_empty() || !value.is_object());
        if let Some(value) = value {
            set(&mut sync, &format!("/{part}"), value.clone());
        }
    }
    for flag in ["dryRun", "prune"] {
        if body.get(flag) == Some(&true.into()) {
            set(&mut sync, &format!("/{flag}"), true);
        }
    }
    let operation =
        json!({ "sync": sync, "initiatedBy": { "username": claims.name }, "retry": {} });
    place(&call, &operation)
}

pub(super) async fn terminate(call: Call) -> Answer {
    call.app("sync")?;
    let stopped = call.server.store.update(&call.name, |app| {
        let running =
            app.get("operation").is_some() && app.pointer("/status/operationState").is_some();
        if running {
            set(app, "/status/operationState/phase", "Terminating");
        }
        running
    });
    match stopped {
        Some((_, true)) => Ok(GoJson(json!({}))),
        _ => Err(ApiError::invalid("Unable to terminate operation. No operation is in progress")),
    }
}

pub(super) async fn windows(call: Call) -> Answer {
    let (app, _) = call.app("get")?;
    let project = call.server.store.project(text(&app, "/spec/project")).unwrap_or_default();
    Ok(GoJson(windows::answer(&project, &app, Timestamp::now())))
}
