//! The part of the Kubernetes API that changes applications without Argo CD, below `/_kube`: one read, one JSON patch that may
//! name the version it is for, and the question what one may do there.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::kube::status_with;
use super::objects::{set, text};
use super::routes::Shared;
use super::store::NAMESPACE;

pub(super) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route(
            "/_kube/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications/{name}",
            get(read).patch(patch),
        )
        .route("/_kube/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review))
}

fn not_found(name: &str) -> Response {
    let message = format!("applications.argoproj.io \"{name}\" not found");
    status_with(StatusCode::NOT_FOUND, &message, "NotFound", details(name))
}

fn details(name: &str) -> Value {
    json!({ "name": name, "group": "argoproj.io", "kind": "applications" })
}

async fn read(State(server): Shared, Path((namespace, name)): Path<(String, String)>) -> Response {
    match server.store.app(&name).filter(|_| namespace == NAMESPACE) {
        Some(app) => axum::Json(app).into_response(),
        None => not_found(&name),
    }
}

async fn patch(
    State(server): Shared,
    Path((namespace, name)): Path<(String, String)>,
    bytes: Bytes,
) -> Response {
    let patch = String::from_utf8_lossy(&bytes).into_owned();
    let written = server.store.update(&name, |app| {
        // Nobody else changes it in between.
        let mut wanted = crate::patch::json_patch(app, &patch).map_err(|_| {
            let message = "the server rejected our request due to an error in our request";
            Box::new(status_with(StatusCode::UNPROCESSABLE_ENTITY, message, "Invalid", json!({})))
        })?;
        let version = text(app, "/metadata/resourceVersion");
        if text(&wanted, "/metadata/resourceVersion") != version {
            let message = format!(
                "Operation cannot be fulfilled on applications.argoproj.io \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
            );
            let conflict = status_with(StatusCode::CONFLICT, &message, "Conflict", details(&name));
            return Err(Box::new(conflict));
        }
        set(&mut wanted, "/metadata/resourceVersion", version.to_owned());
        *app = wanted;
        Ok(())
    });
    match written {
        Some((app, Ok(()))) if namespace == NAMESPACE => axum::Json(app).into_response(),
        Some((_, Err(refusal))) => *refusal,
        _ => not_found(&name),
    }
}

/// Whoever comes here may do everything.
async fn review(bytes: Bytes) -> Response {
    reviewed(serde_json::from_slice(&bytes).unwrap_or_default(), true)
}

/// The answer to a question about rights.
pub(super) fn reviewed(mut review: Value, allowed: bool) -> Response {
    set(&mut review, "/status", json!({ "allowed": allowed }));
    (StatusCode::CREATED, axum::Json(review)).into_response()
}
