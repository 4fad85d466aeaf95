//! The agent's own HTTP endpoint, for tests: where services are, what to report as `imageID`, what containers wrote.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | `ok` once the Node is registered |
//! | `GET /services` | a list of [`Forwarded`](super::services::Forwarded) |
//! | `GET /services/NAMESPACE/NAME` | the address of the first port, as text; 404 if there is none |
//! | `GET /image-id` | the [`Modes`] in force |
//! | `PUT /image-id` | replaces them; running pods are reported anew |
//! | `GET /logs/NAMESPACE/POD/CONTAINER` | what the container wrote |

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Shared, image_id::Modes};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/services", get(services))
        .route("/services/{namespace}/{name}", get(service))
        .route("/image-id", get(modes).put(set_modes))
        .route("/logs/{namespace}/{pod}/{container}", get(logs))
        .with_state(shared)
}

async fn services(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.forwarded.borrow().clone()).into_response()
}

async fn service(
    State(shared): State<Arc<Shared>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let forwarded = shared.forwarded.borrow();
    match forwarded.iter().find(|it| it.namespace == namespace && it.service == name) {
        Some(found) => found.address.to_string().into_response(),
        None => (StatusCode::NOT_FOUND, format!("no service {name} in namespace {namespace}\n"))
            .into_response(),
    }
}

async fn modes(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.modes.borrow().clone()).into_response()
}

async fn set_modes(State(shared): State<Arc<Shared>>, Json(modes): Json<Modes>) -> StatusCode {
    shared.modes.send_replace(modes);
    StatusCode::NO_CONTENT
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
) -> Response {
    let id = shared.container(&namespace, &pod, &container);
    let Some(id) = id else {
        return (StatusCode::NOT_FOUND, "no such container has started\n").into_response();
    };
    match shared.engine.logs(&id).await {
        Ok(bytes) => bytes.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response(),
    }
}
