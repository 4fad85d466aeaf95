//! Requests about the server itself and what it knows beside applications.

use serde_json::json;

use super::{ApiRequest, AppRef, Method, segment};
use crate::model::AppSource;

/// Whether the token may do `action` to the application. `None` while its project is not known.
pub(crate) fn can_i(app: &AppRef, action: &str) -> Option<ApiRequest> {
    let object = app.rbac_object()?;
    let object: Vec<_> = object.split('/').map(segment).collect();
    Some(ApiRequest::get(
        format!("/api/v1/account/can-i/applications/{}/{}", segment(action), object.join("/")),
        format!("ask whether the token may {action} application {app}"),
    ))
}

/// Whether the token may do `action` to an object of some kind of resource: `projects`, `get`, `shop`.
pub(crate) fn may(resource: &str, action: &str, object: &str) -> ApiRequest {
    let object: Vec<_> = object.split('/').map(segment).collect();
    ApiRequest::get(
        format!(
            "/api/v1/account/can-i/{}/{}/{}",
            segment(resource),
            segment(action),
            object.join("/")
        ),
        format!("ask whether the token may {action} {resource} {}", object.join("/")),
    )
}

/// What a source offers: the parameters of a chart. Writes nothing, though it is a POST.
pub(crate) fn app_details(
    app: &AppRef,
    project: &str,
    source: &AppSource,
    index: usize,
) -> ApiRequest {
    ApiRequest {
        method: Method::Post,
        path: format!("/api/v1/repositories/{}/appdetails", segment(source.repo_url())),
        query: Vec::new(),
        body: Some(json!({
            "source": source,
            // With its namespace: `ParseFromQualifiedName` in server/repository/repository.go of Argo CD.
            "appName": app.to_string(),
            "appProject": project,
            "sourceIndex": index,
        })),
        action: format!("read the parameters of {}", source.describe()),
    }
}

pub(crate) fn application_set(name: &str, namespace: &str) -> ApiRequest {
    ApiRequest::get(
        format!("/api/v1/applicationsets/{}", segment(name)),
        format!("read ApplicationSet {name}"),
    )
    .with("appsetNamespace", namespace)
}

/// Login with a password. Never repeated: five wrong ones lock the account for a while.
pub(crate) fn session(username: &str, password: &str) -> ApiRequest {
    ApiRequest {
        method: Method::Post,
        path: "/api/v1/session".into(),
        query: Vec::new(),
        body: Some(json!({ "username": username, "password": password })),
        action: format!("log in as {username}"),
    }
}

/// Whose token this is. Answers 200 without a good token, too.
pub(crate) fn user_info() -> ApiRequest {
    ApiRequest::get("/api/v1/session/userinfo".into(), "check the token".into())
}

/// The server's version. Needs no token.
pub(crate) fn version() -> ApiRequest {
    ApiRequest::get("/api/version".into(), "read the server's version".into())
}

/// The settings that everybody with a token may read.
pub(crate) fn settings() -> ApiRequest {
    ApiRequest::get("/api/v1/settings".into(), "read the server's settings".into())
}

/// The clusters that applications may go to.
pub(crate) fn clusters() -> ApiRequest {
    ApiRequest::get("/api/v1/clusters".into(), "list the clusters".into())
}

pub(crate) fn projects() -> ApiRequest {
    ApiRequest::get("/api/v1/projects".into(), "list the projects".into())
}

/// The repositories that there are credentials or settings for.
pub(crate) fn repositories() -> ApiRequest {
    ApiRequest::get("/api/v1/repositories".into(), "list the repositories".into())
}
