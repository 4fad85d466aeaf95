//! The part of the Kubernetes API that a node agent uses, below `/_kube`, over the cluster in memory.
//!
//! Lists and watches of pods and services, single reads, patches of status and metadata, and the last delete of a pod.
//! Nodes are accepted and forgotten: pods are placed without asking.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch};
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Server;
use super::cluster::Event;
use super::objects::{Key, items, set, text};
use super::routes::{Query, Shared};

pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/_kube/api/v1/nodes/{name}", patch(node))
        .route("/_kube/api/v1/nodes/{name}/status", patch(node))
        .route("/_kube/api/v1/{kind}", get(list))
        .route(
            "/_kube/api/v1/namespaces/{namespace}/{kind}/{name}",
            get(read).patch(merge).delete(remove),
        )
        .route("/_kube/api/v1/namespaces/{namespace}/{kind}/{name}/status", patch(merge))
        .merge(super::kube_apps::router())
        .layer(middleware::from_fn_with_state(server.clone(), authorized))
        .with_state(server)
}

async fn authorized(State(server): Shared, request: Request, next: Next) -> Response {
    let sent = request.headers().get(header::AUTHORIZATION);
    let is_of = |token: &str| {
        sent.is_some_and(|sent| sent.as_bytes() == format!("Bearer {token}").as_bytes())
    };
    match (is_of(&server.kube_token), is_of(&server.kube_reader)) {
        (true, _) => next.run(request).await,
        (_, true) if request.uri().path().ends_with("/selfsubjectaccessreviews") => {
            super::kube_apps::reviewed(json!({}), false)
        }
        (_, true) if request.method() == Method::GET => next.run(request).await,
        (_, true) => status_with(
            StatusCode::FORBIDDEN,
            "applications.argoproj.io is forbidden: User \"reader\" cannot patch resource \"applications\"",
            "Forbidden",
            json!({}),
        ),
        _ => status(StatusCode::UNAUTHORIZED, "Unauthorized"),
    }
}

/// Kubernetes' `Status` object.
fn status(code: StatusCode, message: &str) -> Response {
    status_with(code, message, "", json!({}))
}

pub(super) fn status_with(
    code: StatusCode,
    message: &str,
    reason: &str,
    details: Value,
) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason,
        "details": details, "code": code.as_u16(),
    });
    (code, axum::Json(body)).into_response()
}

/// The kind of a resource's plural.
fn kind_of(plural: &str) -> Option<&'static str> {
    Some(match plural {
        "pods" => "Pod",
        "services" => "Service",
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        _ => return None,
    })
}

async fn node(bytes: Bytes) -> Response {
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(node) => axum::Json(node).into_response(),
        Err(error) => status(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn list(State(server): Shared, Path(plural): Path<String>, uri: Uri) -> Response {
    let Some(kind) = kind_of(&plural) else {
        return status(StatusCode::NOT_FOUND, "no such resource");
    };
    let query = Query::of(&uri);
    let on_node = query.text("fieldSelector").strip_prefix("spec.nodeName=").map(str::to_owned);
    let fits = move |object: &Value| {
        text(object, "/kind") == kind
            && on_node.as_deref().is_none_or(|node| text(object, "/spec/nodeName") == node)
    };
    if !query.is_true("watch") {
        let (objects, version) = server.cluster.list(&fits);
        let metadata = json!({ "resourceVersion": version.to_string() });
        let list = json!({ "kind": format!("{kind}List"), "apiVersion": "v1", "metadata": metadata, "items": objects });
        return axum::Json(list).into_response();
    }
    let json_lines = [(header::CONTENT_TYPE, "application/json")];
    let since = query.text("resourceVersion").parse().unwrap_or(0);
    let Some((missed, events)) = server.cluster.watch_since(since) else {
        let gone = json!({ "kind": "Status", "code": 410, "message": "too old resource version" });
        return (json_lines, line("ERROR", &gone)).into_response();
    };
    let body = stream::unfold(
        (missed.into_iter(), events, fits),
        |(mut missed, mut events, fits)| async move {
            loop {
                let event = match missed.next() {
                    Some(event) => Ok(event),
                    None => events.recv().await,
                };
                match event {
                    Ok(Event { kind, object }) if fits(&object) => {
                        return Some((
                            Ok::<_, std::convert::Infallible>(line(kind, &object)),
                            (missed, events, fits),
                        ));
                    }
                    Ok(_) => {}
                    // The client lists again when the watch ends.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                }
            }
        },
    );
    (json_lines, Body::from_stream(body)).into_response()
}

/// One line of a watch.
fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn key_of((namespace, plural, name): (String, String, String)) -> Option<Key> {
    Some(Key::new("", kind_of(&plural)?, &namespace, &name))
}

async fn read(State(server): Shared, Path(path): Path<(String, String, String)>) -> Response {
    match key_of(path).and_then(|key| server.cluster.get(&key)) {
        Some(object) => axum::Json(object).into_response(),
        None => status(StatusCode::NOT_FOUND, "not found"),
    }
}

async fn merge(
    State(server): Shared,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let Ok(mut patch) = serde_json::from_slice::<Value>(&bytes) else {
        return status(StatusCode::BAD_REQUEST, "the patch is not JSON");
    };
    let Some(key) = key_of(path) else { return status(StatusCode::NOT_FOUND, "no such resource") };
    let Some(live) = server.cluster.get(&key) else {
        return status(StatusCode::NOT_FOUND, "not found");
    };
    let wanted = text(&patch, "/metadata/uid");
    if !wanted.is_empty() && wanted != text(&live, "/metadata/uid") {
        return status(StatusCode::CONFLICT, "the UID in the precondition does not match");
    }
    if headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/strategic-merge-patch"))
    {
        merge_conditions(&mut patch, &live);
    }
    match server.cluster.merge(&key, &patch) {
        Some(object) => axum::Json(object).into_response(),
        None => status(StatusCode::NOT_FOUND, "not found"),
    }
}

/// The one list of a pod's status with a strategic merge: `conditions`, by their type.
fn merge_conditions(patch: &mut Value, live: &Value) {
    if patch.pointer("/status/conditions").is_none() {
        return;
    }
    let mut merged = items(live, "/status/conditions").to_vec();
    for new in items(patch, "/status/conditions") {
        match merged.iter_mut().find(|one| text(one, "/type") == text(new, "/type")) {
            Some(old) => super::patch::merge(old, new),
            None => merged.push(new.clone()),
        }
    }
    set(patch, "/status/conditions", merged);
}

async fn remove(
    State(server): Shared,
    Path(path): Path<(String, String, String)>,
    bytes: Bytes,
) -> Response {
    let Some(key) = key_of(path) else { return status(StatusCode::NOT_FOUND, "no such resource") };
    let Some(live) = server.cluster.get(&key) else {
        return status(StatusCode::NOT_FOUND, "not found");
    };
    let options: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let wanted = text(&options, "/preconditions/uid");
    if !wanted.is_empty() && wanted != text(&live, "/metadata/uid") {
        return status(StatusCode::CONFLICT, "the UID in the precondition does not match");
    }
    if options.get("gracePeriodSeconds").and_then(Value::as_i64) == Some(0) {
        server.cluster.remove(&key);
    } else {
        server.cluster.delete(&key);
    }
    axum::Json(live).into_response()
}
