//! What is only looked at beside the application itself: settings, clusters, events, logs.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Uri, header};
use serde_json::{Value, json};

use super::{Access, Query, Shared, object_of, ok};
use crate::error::{ApiError, ApiResult};
use crate::objects::text;
use crate::{Server, gojson, store, tree};

/// The cluster that every Argo CD knows.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

pub(super) async fn settings(State(server): Shared, headers: HeaderMap) -> Response {
    // Without a token the rest of the settings is told, too, but not where the controller is.
    match server.sessions.claims(&headers) {
        Ok(_) => ok(&json!({
            "appLabelKey": "app.kubernetes.io/instance", "controllerNamespace": store::NAMESPACE,
        })),
        Err(_) => ok(&json!({ "appLabelKey": "app.kubernetes.io/instance" })),
    }
}

pub(super) async fn clusters(State(server): Shared, headers: HeaderMap) -> Response {
    let listed = server.sessions.claims(&headers).map(|claims| {
        let connection = json!({ "status": "Successful", "message": "", "attemptedAt": null });
        let count = server.store.apps().0.len();
        let cluster = json!({
            "server": IN_CLUSTER, "name": "in-cluster", "config": { "tlsClientConfig": { "insecure": false } },
            "connectionState": connection, "serverVersion": "1.37.2",
            "info": {
                "connectionState": connection, "serverVersion": "1.37.2", "cacheInfo": {}, "applicationsCount": count,
            },
        });
        match claims.may("clusters", "get", IN_CLUSTER) {
            true => json!({ "metadata": {}, "items": [cluster] }),
            false => json!({ "metadata": {}, "items": null }),
        }
    });
    match listed {
        Ok(list) => ok(&list),
        Err(error) => error.into_response(),
    }
}

pub(super) async fn projects(State(server): Shared, headers: HeaderMap) -> Response {
    match server.sessions.claims(&headers) {
        Ok(claims) => {
            let all = server.store.projects().into_iter();
            let items: Vec<Value> = all
                .filter(|project| claims.may("projects", "get", text(project, "/metadata/name")))
                .collect();
            let items = if items.is_empty() { Value::Null } else { items.into() };
            ok(&json!({ "metadata": {}, "items": items }))
        }
        Err(error) => error.into_response(),
    }
}

/// The events of the application itself; objects have none here.
pub(super) async fn events(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = Query::of(&uri);
    let app = match read(&server, &headers, &name, &query, "get") {
        Ok(app) => app,
        Err(error) => return error.into_response(),
    };
    let asked = ["resourceName", "resourceUID", "resourceNamespace"];
    if asked.iter().any(|part| !query.text(part).is_empty()) {
        return ok(&json!({ "metadata": {}, "items": null }));
    }
    let made = text(&app, "/metadata/creationTimestamp");
    let uid = text(&app, "/metadata/uid");
    let event = json!({
        "metadata": { "name": format!("{name}.1"), "namespace": store::NAMESPACE, "creationTimestamp": made },
        "involvedObject": {
            "kind": "Application", "namespace": store::NAMESPACE, "name": name, "uid": uid,
            "apiVersion": "argoproj.io/v1alpha1",
        },
        "reason": "ResourceCreated", "message": "admin created application", "source": { "component": "argocd-server" },
        "firstTimestamp": made, "lastTimestamp": made, "count": 1, "type": "Normal", "eventTime": null,
    });
    ok(&json!({ "metadata": {}, "items": [event] }))
}

/// Logs as they are where no kubelet answers: what went wrong, sent like a line.
pub(super) async fn logs(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = Query::of(&uri);
    match read(&server, &headers, &name, &query, "get").and_then(|app| {
        let claims = server.sessions.claims(&headers)?;
        claims.enforce("logs", "get", &object_of(&app))
    }) {
        Ok(()) => stream(&pods(&server, &name, &query)),
        Err(error) => stream_error(&error),
    }
}

fn read(
    server: &Server,
    headers: &HeaderMap,
    name: &str,
    query: &Query,
    action: &'static str,
) -> ApiResult<Value> {
    let projects = query.projects();
    let project = projects.first().copied();
    let namespace = query.text("appNamespace");
    Ok(Access { server, headers, action, name, project, namespace }.app()?.0)
}

/// The pods that are asked for; of other objects than pods everything that they made counts, which is not simulated.
fn pods(server: &Server, name: &str, query: &Query) -> Vec<String> {
    let objects = server.cluster.objects();
    let wanted = |part: &str, got: &str| query.text(part).is_empty() || query.text(part) == got;
    tree::family(name, &objects)
        .into_iter()
        .filter(|(key, _)| key.kind == "Pod" && wanted("resourceName", &key.name))
        .map(|(key, _)| key.name.clone())
        .collect()
}

fn stream(pods: &[String]) -> Response {
    let line = |result: Value| format!("{}\n", gojson::to_string(&json!({ "result": result })));
    let mut body: String = pods
        .iter()
        .map(|pod| {
            let why = format!(
                "Get \"https://127.0.0.1:10250/containerLogs/default/{pod}/web\": dial tcp 127.0.0.1:10250: connect: \
                 connection refused"
            );
            line(json!({
                "content": why, "timeStamp": null, "last": false, "timeStampStr": "0001-01-01T00:00:00Z", "podName": "",
            }))
        })
        .collect();
    if !pods.is_empty() {
        let now = crate::cluster::now_text();
        body.push_str(&line(json!({
            "content": "", "timeStamp": now, "last": true, "timeStampStr": now, "podName": "",
        })));
    }
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The error of a stream that has not begun: in another envelope than that of a single answer.
fn stream_error(error: &ApiError) -> Response {
    let answer = error.clone().into_response();
    let status = answer.status();
    let words = status.canonical_reason().unwrap_or_default();
    let body = json!({ "error": {
        "grpc_code": error.code as i64, "http_code": status.as_u16(), "message": error.message, "http_status": words,
    } });
    (status, [(header::CONTENT_TYPE, "application/json")], gojson::to_string(&body)).into_response()
}
