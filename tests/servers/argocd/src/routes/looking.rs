//! What is only looked at beside the application itself: settings, clusters, events, logs.

use std::sync::PoisonError;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::header;
use serde_json::{Value, json};

use super::{Answer, Call, GoJson, object_of};
use crate::cluster::fake::{Behaviour, Fakes};
use crate::error::ApiError;
use crate::objects::text;
use crate::{gojson, store, tree};

/// The cluster that every Argo CD knows.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

pub(super) async fn settings(call: Call) -> GoJson {
    // Without a token the rest of the settings is told, too, but not where the controller is.
    let key = call.server.label_key.lock().unwrap_or_else(PoisonError::into_inner).clone();
    GoJson(match call.claims() {
        Ok(_) => json!({ "appLabelKey": key, "controllerNamespace": store::NAMESPACE }),
        Err(_) => json!({ "appLabelKey": key }),
    })
}

pub(super) async fn clusters(call: Call) -> Answer {
    let claims = call.claims()?;
    let connection = json!({ "status": "Successful", "message": "", "attemptedAt": null });
    let count = call.server.store.apps().0.len();
    let cluster = json!({
        "server": IN_CLUSTER, "name": "in-cluster", "config": { "tlsClientConfig": { "insecure": false } },
        "connectionState": connection, "serverVersion": "1.37.2",
        "info": {
            "connectionState": connection, "serverVersion": "1.37.2", "cacheInfo": {}, "applicationsCount": count,
        },
    });
    let may = claims.may("clusters", "get", IN_CLUSTER);
    Ok(super::listed(may.then_some(cluster)))
}

pub(super) async fn projects(call: Call) -> Answer {
    let claims = call.claims()?;
    let may = |project: &Value| claims.may("projects", "get", text(project, "/metadata/name"));
    Ok(super::listed(call.server.store.projects().into_iter().filter(may)))
}

/// The events of the application itself; objects have none here.
pub(super) async fn events(call: Call) -> Answer {
    let (app, _) = call.app("get")?;
    let name = &call.name;
    let asked = ["resourceName", "resourceUID", "resourceNamespace"];
    if asked.iter().any(|part| !call.query.text(part).is_empty()) {
        return Ok(super::listed(None));
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
    Ok(super::listed([event]))
}

/// Logs of containers that a rule lets write, and for the others what comes where no kubelet answers: what went wrong, sent
/// like a line.
pub(super) async fn logs(call: Call) -> Response {
    let allowed =
        call.app("get").and_then(|(app, claims)| claims.enforce("logs", "get", &object_of(&app)));
    match allowed {
        Ok(()) => stream(&pods(&call), call.query.text("tailLines").parse().ok()),
        Err(error) => stream_error(&error),
    }
}

/// The pods that are asked for, with what they have written; of other objects than pods everything that they made counts,
/// which is not simulated.
fn pods(call: &Call) -> Vec<(String, Option<String>)> {
    let (query, objects) = (&call.query, call.server.cluster.objects());
    let wanted = |part: &str, got: &str| query.text(part).is_empty() || query.text(part) == got;
    let rules = Fakes { ready_after: Duration::ZERO, rules: call.server.pod_rules.clone() };
    let written = |pod: &Value| match rules.behaviour(pod) {
        Behaviour::CrashLogging(text) => Some(text),
        _ => None,
    };
    tree::family(&call.name, &objects)
        .into_iter()
        .filter(|(key, _)| key.kind == "Pod" && wanted("resourceName", &key.name))
        .map(|(key, pod)| (key.name.clone(), written(pod)))
        .collect()
}

fn stream(pods: &[(String, Option<String>)], tail: Option<usize>) -> Response {
    let line = |result: Value| format!("{}\n", gojson::to_string(&json!({ "result": result })));
    let now = crate::cluster::now_text();
    let mut body = String::new();
    for (pod, written) in pods {
        let Some(written) = written else {
            let why = format!(
                "Get \"https://127.0.0.1:10250/containerLogs/default/{pod}/web\": dial tcp 127.0.0.1:10250: connect: \
                 connection refused"
            );
            body.push_str(&line(json!({
                "content": why, "timeStamp": null, "last": false, "timeStampStr": "0001-01-01T00:00:00Z", "podName": "",
            })));
            continue;
        };
        let lines: Vec<&str> = written.lines().collect();
        let first = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        for content in &lines[first..] {
            body.push_str(&line(json!({
                "content": content, "timeStamp": now, "last": false, "timeStampStr": now, "podName": pod,
            })));
        }
    }
    if !pods.is_empty() {
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
