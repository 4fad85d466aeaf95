//! Requests that make and remove: applications and repositories.

use serde_json::Value;

use super::applications::application;
use super::{ApiRequest, AppRef, Method, segment};

/// Makes an application. One that is there and equal is no error; one that differs is, unless `upsert`.
pub(crate) fn create(document: Value, upsert: bool, validate: bool) -> ApiRequest {
    let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut request = ApiRequest {
        method: Method::Post,
        path: "/api/v1/applications".into(),
        query: Vec::new(),
        body: Some(document),
        action: format!("create application {name}"),
    };
    if upsert {
        request = request.with("upsert", "true");
    }
    if !validate {
        request = request.with("validate", "false");
    }
    request
}

/// How an application is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppDeletion {
    /// Its objects in the cluster, too.
    pub cascade: bool,
    /// In the background: the application goes before its objects have.
    pub background: bool,
}

pub(crate) fn delete(app: &AppRef, how: AppDeletion) -> ApiRequest {
    let request = ApiRequest {
        method: Method::Delete,
        ..ApiRequest::get(application(app, ""), format!("delete application {app}")).of(app)
    };
    let request = request.with("cascade", how.cascade.to_string());
    match (how.cascade, how.background) {
        (true, true) => request.with("propagationPolicy", "background"),
        (true, false) => request.with("propagationPolicy", "foreground"),
        (false, _) => request,
    }
}

/// Keeps credentials and settings of a repository, after a look whether it can be reached with them.
pub(crate) fn add_repository(document: Value, upsert: bool) -> ApiRequest {
    let url = document["repo"].as_str().unwrap_or_default().to_owned();
    let request = ApiRequest {
        method: Method::Post,
        path: "/api/v1/repositories".into(),
        query: Vec::new(),
        body: Some(document),
        action: format!("add repository {url}"),
    };
    if upsert { request.with("upsert", "true") } else { request }
}

/// Forgets a repository. Applications that use it stay.
pub(crate) fn remove_repository(url: &str, project: Option<&str>) -> ApiRequest {
    let request = ApiRequest {
        method: Method::Delete,
        ..ApiRequest::get(
            format!("/api/v1/repositories/{}", segment(url)),
            format!("remove repository {url}"),
        )
    };
    match project {
        Some(project) => request.with("appProject", project),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn request_lines() {
        let app = AppRef { project: Some("default".into()), ..AppRef::new("web") };
        let how = AppDeletion { cascade: true, background: false };
        let document = || json!({ "metadata": { "name": "web" } });
        let cases = [
            (create(document(), false, true), "/api/v1/applications"),
            (create(document(), true, false), "/api/v1/applications?upsert=true&validate=false"),
            (
                delete(&app, how),
                "/api/v1/applications/web?project=default&cascade=true&propagationPolicy=foreground",
            ),
            (
                delete(&app, AppDeletion { cascade: false, ..how }),
                "/api/v1/applications/web?project=default&cascade=false",
            ),
            (add_repository(json!({ "repo": "r" }), true), "/api/v1/repositories?upsert=true"),
            (
                remove_repository("https://git.example.com/a+b.git", Some("shop")),
                "/api/v1/repositories/https%3A%2F%2Fgit.example.com%2Fa%2Bb.git?appProject=shop",
            ),
        ];
        for (request, want) in cases {
            assert_eq!(request.target(), want, "{}", request.action);
            assert!(!request.is_idempotent(), "{}", request.action);
        }
    }
}
