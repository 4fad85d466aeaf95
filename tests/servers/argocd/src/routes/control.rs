//! The control of the simulation, for tests that run it as a process. Never part of Argo CD's API.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_control/requests` | every request so far, and those without a route |
//! | `DELETE /_control/requests` | forgets them |
//! | `PUT /_control/pace` | replaces the [`Pace`] |
//! | `PUT /_control/pods` | replaces the list of [`PodRule`]s |
//! | `PUT /_control/hold/APP`, `DELETE …` | keeps operations of an application running, lets them go |

use std::sync::{Arc, PoisonError};

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use crate::{Pace, PodRule, Server};

pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/_control/requests", get(requests).delete(forget))
        .route("/_control/pace", put(pace))
        .route("/_control/pods", put(pods))
        .route("/_control/hold/{app}", put(hold).delete(release))
        .with_state(server)
}

async fn requests(State(server): Shared) -> Json<Value> {
    let seen = server.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let unexpected = server.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(json!({ "requests": seen, "unexpected": unexpected }))
}

async fn forget(State(server): Shared) -> StatusCode {
    server.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    server.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clear();
    StatusCode::NO_CONTENT
}

async fn pace(State(server): Shared, Json(pace): Json<Pace>) -> StatusCode {
    *server.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    StatusCode::NO_CONTENT
}

async fn pods(State(server): Shared, Json(rules): Json<Vec<PodRule>>) -> StatusCode {
    *server.pod_rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    StatusCode::NO_CONTENT
}

async fn hold(State(server): Shared, Path(app): Path<String>) -> StatusCode {
    server.controller.hold(&app, true);
    StatusCode::NO_CONTENT
}

async fn release(State(server): Shared, Path(app): Path<String>) -> StatusCode {
    server.controller.hold(&app, false);
    StatusCode::NO_CONTENT
}
