//! Operations: sync, rollback, terminate, and whether a window lets them start.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Access, Query, Shared, body, object_of, ok};
use crate::controller::compare::automated;
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{items, set, text};
use crate::{Server, controller, windows};

pub(super) async fn sync(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    match start(&server, &name, &headers, &bytes).await {
        Ok(app) => ok(&app),
        Err(error) => error.into_response(),
    }
}

async fn start(
    server: &Server,
    name: &str,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> ApiResult<Value> {
    let body = body(bytes)?;
    let access = Access {
        server,
        headers,
        action: "get",
        name,
        project: Some(text(&body, "/project")),
        namespace: text(&body, "/appNamespace"),
    };
    let (app, claims) = access.app()?;
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
    place(server, name, &operation)
}

/// Puts the operation into the slot, or says that it is taken.
fn place(server: &Server, name: &str, operation: &Value) -> ApiResult<Value> {
    match server.set_operation(name, operation) {
        Some((app, true)) => Ok(app),
        Some((_, false)) => Err(ApiError::precondition("another operation is already in progress")),
        None => Err(ApiError::app_not_found(name)),
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

pub(super) async fn rollback(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    match roll_back(&server, &name, &headers, &bytes) {
        Ok(app) => ok(&app),
        Err(error) => error.into_response(),
    }
}

fn roll_back(server: &Server, name: &str, headers: &HeaderMap, bytes: &Bytes) -> ApiResult<Value> {
    let body = body(bytes)?;
    let project = Some(text(&body, "/project"));
    let access = Access {
        server,
        headers,
        action: "sync",
        name,
        project,
        namespace: text(&body, "/appNamespace"),
    };
    let (app, claims) = access.app()?;
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
        let words = format!("application argocd/{name} does not have deployment with id {id}");
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
    place(
        server,
        name,
        &json!({ "sync": sync, "initiatedBy": { "username": claims.name }, "retry": {} }),
    )
}

pub(super) async fn terminate(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = Query::of(&uri);
    let projects = query.projects();
    let project = projects.first().copied();
    let access = Access {
        server: &server,
        headers: &headers,
        action: "sync",
        name: &name,
        project,
        namespace: query.text("appNamespace"),
    };
    if let Err(error) = access.app() {
        return error.into_response();
    }
    let stopped = server.store.update(&name, |app| {
        let running =
            app.get("operation").is_some() && app.pointer("/status/operationState").is_some();
        if running {
            set(app, "/status/operationState/phase", "Terminating");
        }
        running
    });
    match stopped {
        Some((_, true)) => ok(&json!({})),
        _ => ApiError::invalid("Unable to terminate operation. No operation is in progress")
            .into_response(),
    }
}

pub(super) async fn windows(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = Query::of(&uri);
    let projects = query.projects();
    let project = projects.first().copied();
    let access = Access {
        server: &server,
        headers: &headers,
        action: "get",
        name: &name,
        project,
        namespace: query.text("appNamespace"),
    };
    match access.app() {
        Ok((app, _)) => {
            let project = server.store.project(text(&app, "/spec/project")).unwrap_or_default();
            ok(&windows::answer(&project, &app, Timestamp::now()))
        }
        Err(error) => error.into_response(),
    }
}
