//! The HTTP side: which request is which call, and the rules that hold for all of them.

mod applications;
mod call;
mod control;
pub(super) mod limits;
mod looking;
mod objects;
mod operations;
mod others;
mod stream;
mod writes;

use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Method, StatusCode, header};
use serde_json::Value;

pub(super) use self::call::Query;
use self::call::{Answer, Call, GoJson};
use super::error::{ApiError, plain};
use super::{Seen, Server, kube, pause};

pub(super) type Shared = State<Arc<Server>>;

pub(super) fn router(server: Arc<Server>) -> Router {
    let api = Router::new()
        .route("/api/version", get(others::version))
        .route("/api/v1/session", post(others::login).delete(others::logout))
        .route("/api/v1/session/userinfo", get(others::userinfo))
        .route("/api/dex/token", post(others::dex))
        .route("/api/v1/account/{name}/token", post(others::account_token))
        .route("/api/v1/account/can-i/{*question}", get(others::can_i))
        .route("/api/v1/settings", get(looking::settings))
        .route("/api/v1/clusters", get(looking::clusters))
        .route("/api/v1/projects", get(looking::projects).post(others::create_project))
        .route(
            "/api/v1/projects/{name}",
            get(others::project).put(others::put_project).delete(others::delete_project),
        )
        .route("/api/v1/repositories", get(others::repositories).post(others::create_repository))
        .route(
            "/api/v1/repositories/{url}",
            get(others::repository).delete(others::delete_repository),
        )
        .route("/api/v1/repositories/{url}/appdetails", post(others::details))
        .route("/api/v1/applicationsets", get(others::list_sets).post(others::create_set))
        .route("/api/v1/applicationsets/{name}", get(others::read_set).delete(others::delete_set))
        .route("/api/v1/applications", get(applications::list).post(writes::create))
        .route(
            "/api/v1/applications/{name}",
            get(applications::get).patch(writes::patch).put(writes::put).delete(writes::delete),
        )
        .route("/api/v1/applications/{name}/spec", axum::routing::put(writes::put_spec))
        .route("/api/v1/applications/{name}/sync", post(operations::sync))
        .route("/api/v1/applications/{name}/rollback", post(operations::rollback))
        .route(
            "/api/v1/applications/{name}/operation",
            axum::routing::delete(operations::terminate),
        )
        .route("/api/v1/applications/{name}/events", get(looking::events))
        .route("/api/v1/applications/{name}/logs", get(looking::logs))
        .route("/api/v1/applications/{name}/syncwindows", get(operations::windows))
        .route("/api/v1/applications/{name}/resource-tree", get(applications::tree))
        .route("/api/v1/applications/{name}/managed-resources", get(applications::managed))
        .route("/api/v1/applications/{name}/manifests", get(applications::manifests))
        .route(
            "/api/v1/applications/{name}/resource",
            get(objects::read).post(objects::patch).delete(objects::delete),
        )
        .route(
            "/api/v1/applications/{name}/resource/actions",
            get(objects::actions).post(objects::run_before_v2),
        )
        .route("/api/v1/applications/{name}/resource/actions/v2", post(objects::run))
        .route("/api/v1/stream/applications", get(stream::applications))
        .route("/healthz", get(|| async { "ok" }))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(middleware::from_fn(content_type))
        .layer(middleware::from_fn_with_state(server.clone(), note))
        .with_state(server.clone());
    api.merge(control::router(server.clone())).merge(kube::router(server))
}

/// Every call but a GET needs `Content-Type: application/json`, exactly, before anything else is looked at.
async fn content_type(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // What is for Dex is not looked at.
    let exempt = request.method() == Method::GET
        || !path.starts_with("/api/")
        || path.starts_with("/api/dex/");
    let value = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if exempt || value.eq_ignore_ascii_case("application/json") {
        return next.run(request).await;
    }
    plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid content type")
}

/// Remembers the request; a stream is remembered when it is opened.
async fn note(State(server): Shared, mut request: Request, next: Next) -> Response {
    // The pace is that of the moment in which the request is seen: whoever waits for it may set another one then.
    let pace = server.pace();
    request.extensions_mut().insert(pace);
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let query = Query::of(request.uri());
    let units = limits::units(request.method(), request.uri().path(), &query);
    let seen = Seen { method: request.method().to_string(), target, status: 0, units };
    let index = {
        let mut all = server.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
        all.len() - 1
    };
    pause(pace.request_ms).await;
    if pace.limited {
        server.limiter.wait(units).await;
    }
    let response = next.run(request).await;
    let mut all = server.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seen) = all.get_mut(index) {
        seen.status = response.status().as_u16();
    }
    drop(all);
    response
}

async fn wrong_method(State(server): Shared, request: Request) -> Response {
    server.note_unexpected(format!("{} {}", request.method(), request.uri()));
    plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// What the real server knows below `/api/v1/` and this one does not is "not implemented"; the rest is not found in both.
async fn no_route(State(server): Shared, request: Request) -> Response {
    server.note_unexpected(format!("{} {}", request.method(), request.uri()));
    let known = [
        "account",
        "applications",
        "applicationsets",
        "certificates",
        "clusters",
        "gpgkeys",
        "notifications",
        "projects",
        "repocreds",
        "repositories",
        "session",
        "settings",
        "stream",
        "write-repocreds",
        "write-repositories",
    ];
    let part =
        request.uri().path().strip_prefix("/api/v1/").and_then(|rest| rest.split('/').next());
    if part.is_some_and(|part| known.contains(&part)) {
        return ApiError::new(
            super::error::Code::Unimplemented,
            "the simulated server does not know this call",
        )
        .into_response();
    }
    plain(StatusCode::NOT_FOUND, "Not Found")
}

/// `PROJECT/NAME`, as rights name an application.
pub(super) fn object_of(app: &Value) -> String {
    use super::objects::text;
    format!("{}/{}", text(app, "/spec/project"), text(app, "/metadata/name"))
}

/// A list as Go writes it: an empty one is none.
fn listed(items: impl IntoIterator<Item = Value>) -> GoJson {
    let items: Vec<Value> = items.into_iter().collect();
    let items = if items.is_empty() { Value::Null } else { items.into() };
    GoJson(serde_json::json!({ "metadata": {}, "items": items }))
}
