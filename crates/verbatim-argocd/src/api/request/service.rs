//! Requests about the server itself and what it knows beside applications.

use serde_json::json;

use super::{AppRef, Method, Request, segment};
use crate::model::Source;

/// Whether the token may do `action` to the application. `None` while its project is not known.
pub fn can_i(app: &AppRef, action: &str) -> Option<Request> {
    let object = app.rbac_object()?;
    let object: Vec<_> = object.split('/').map(segment).collect();
    Some(Request::get(
        format!("/api/v1/account/can-i/applications/{}/{}", segment(action), object.join("/")),
        format!("ask whether the token may {action} application {app}"),
    ))
}

/// Whether the token may do `action` to an object of some kind of resource: `projects`, `get`, `shop`.
pub fn may(resource: &str, action: &str, object: &str) -> Request {
    let object: Vec<_> = object.split('/').map(segment).collect();
    Request::get(
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
pub fn app_details(app: &AppRef, project: &str, source: &Source, index: usize) -> Request {
    Request {
        method: Method::Post,
        path: format!("/api/v1/repositories/{}/appdetails", segment(source.repo_url())),
        query: Vec::new(),
        body: Some(json!({
            "source": source,
            "appName": app.name,
            "appProject": project,
            "sourceIndex": index,
        })),
        action: format!("read the parameters of {}", source.describe()),
    }
}

/// An ApplicationSet.
pub fn application_set(name: &str, namespace: &str) -> Request {
    Request::get(
        format!("/api/v1/applicationsets/{}", segment(name)),
        format!("read ApplicationSet {name}"),
    )
    .with("appsetNamespace", namespace)
}

/// Login with a password. Never repeated: five wrong ones lock the account for a while.
pub fn session(username: &str, password: &str) -> Request {
    Request {
        method: Method::Post,
        path: "/api/v1/session".into(),
        query: Vec::new(),
        body: Some(json!({ "username": username, "password": password })),
        action: format!("log in as {username}"),
    }
}

/// Whose token this is. Answers 200 without a good token, too.
pub fn user_info() -> Request {
    Request::get("/api/v1/session/userinfo".into(), "check the token".into())
}

/// The server's version. Needs no token.
pub fn version() -> Request {
    Request::get("/api/version".into(), "read the server's version".into())
}

/// The settings that everybody with a token may read.
pub fn settings() -> Request {
    Request::get("/api/v1/settings".into(), "read the server's settings".into())
}

/// The clusters that applications may go to.
pub fn clusters() -> Request {
    Request::get("/api/v1/clusters".into(), "list the clusters".into())
}

/// The projects.
pub fn projects() -> Request {
    Request::get("/api/v1/projects".into(), "list the projects".into())
}

/// The repositories that there are credentials or settings for.
pub fn repositories() -> Request {
    Request::get("/api/v1/repositories".into(), "list the repositories".into())
}
