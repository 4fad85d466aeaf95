//! Sessions, accounts, projects, repositories and ApplicationSets.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Uri, header};
use serde_json::{Value, json};

use super::{Access, Query, Shared, body, ok};
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{items, set, text};
use crate::{Server, applicationset, controller, schema};

/// Turns a call's result into its answer.
fn answer(result: ApiResult<Value>) -> Response {
    match result {
        Ok(value) => ok(&value),
        Err(error) => error.into_response(),
    }
}

pub(super) async fn version(State(server): Shared, headers: HeaderMap) -> Response {
    let mut version = json!({ "Version": "v3.6.1+simulated" });
    if server.sessions.claims(&headers).is_ok() {
        let (helm, kustomize) = server.repo.versions().await;
        set(&mut version, "/HelmVersion", helm);
        set(&mut version, "/KustomizeVersion", kustomize);
    }
    ok(&version)
}

pub(super) async fn login(State(server): Shared, bytes: Bytes) -> Response {
    let login = body(&bytes)
        .and_then(|body| server.sessions.login(text(&body, "/username"), text(&body, "/password")));
    match login {
        Ok(token) => {
            let cookie = format!("argocd.token={token}; path=/; SameSite=lax; httpOnly");
            ([(header::SET_COOKIE, cookie)], ok(&json!({ "token": token }))).into_response()
        }
        Err(error) => error.into_response(),
    }
}

pub(super) async fn logout() -> Response {
    ([(header::SET_COOKIE, "argocd.token=; path=/; SameSite=lax; httpOnly")], ok(&json!({})))
        .into_response()
}

pub(super) async fn userinfo(State(server): Shared, headers: HeaderMap) -> Response {
    ok(&match server.sessions.claims(&headers) {
        Ok(claims) => json!({ "loggedIn": true, "username": claims.name, "iss": "argocd" }),
        Err(_) => json!({}),
    })
}

pub(super) async fn account_token(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(server.sessions.claims(&headers).and_then(|claims| {
        claims.enforce("accounts", "update", &name)?;
        if !server.sessions.accounts.iter().any(|account| account.name == name) {
            return Err(ApiError::new(Code::NotFound, format!("account '{name}' does not exist")));
        }
        Ok(json!({ "token": server.sessions.token(&name, "apiKey") }))
    }))
}

pub(super) async fn can_i(State(server): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let decoded = |part: &str| percent_decoded(part);
    let path = uri.path().trim_start_matches("/api/v1/account/can-i/");
    // The gateway splits at decoded slashes, too, so that fine-grained actions cannot be asked for.
    let path = decoded(path);
    let mut parts = path.splitn(3, '/');
    let (resource, action, object) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    answer(server.sessions.claims(&headers).and_then(|claims| {
        let known = [
            "get", "create", "update", "delete", "sync", "rollback", "override", "action", "invoke",
        ];
        if !known.contains(&action) {
            return Err(ApiError::invalid(format!(
                "{action} is not a valid action: [{}]",
                known.join(" ")
            )));
        }
        let value = if claims.may(resource, action, object) { "yes" } else { "no" };
        Ok(json!({ "value": value }))
    }))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = if *first == b'%' {
            after
                .get(..2)
                .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())
        } else {
            None
        };
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) async fn project(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(server.sessions.claims(&headers).and_then(|claims| {
        claims.enforce("projects", "get", &name)?;
        server.store.project(&name).ok_or_else(|| project_missing(&name))
    }))
}

fn project_missing(name: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("appprojects.argoproj.io \"{name}\" not found"))
}

pub(super) async fn create_project(
    State(server): Shared,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let create = || -> ApiResult<Value> {
        let claims = server.sessions.claims(&headers)?;
        let body = body(&bytes)?;
        let project = body.get("project").cloned().unwrap_or_default();
        let name = text(&project, "/metadata/name").to_owned();
        claims.enforce("projects", "create", &name)?;
        match server.store.project(&name) {
            Some(existing) if existing.get("spec") == project.get("spec") => Ok(existing),
            Some(_) if body.get("upsert") != Some(&true.into()) => Err(ApiError::invalid(
                "existing project spec is different, use upsert flag to force update",
            )),
            _ => Ok(server.store.put_project(&name, &project)),
        }
    };
    answer(create())
}

pub(super) async fn put_project(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let put = || -> ApiResult<Value> {
        let claims = server.sessions.claims(&headers)?;
        claims.enforce("projects", "update", &name)?;
        let project = body(&bytes)?.get("project").cloned().unwrap_or_default();
        let existing = server.store.project(&name).ok_or_else(|| project_missing(&name))?;
        let version = text(&project, "/metadata/resourceVersion");
        if version.is_empty() {
            return Err(ApiError::invalid(format!(
                "appprojects.argoproj.io \"{name}\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            )));
        }
        if version != text(&existing, "/metadata/resourceVersion") {
            return Err(ApiError::new(
                Code::Aborted,
                format!(
                    "Operation cannot be fulfilled on appprojects.argoproj.io \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
                ),
            ));
        }
        Ok(server.store.put_project(&name, &project))
    };
    answer(put())
}

pub(super) async fn delete_project(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(server.sessions.claims(&headers).and_then(|claims| {
        claims.enforce("projects", "delete", &name)?;
        let (apps, _) = server.store.apps();
        let users = apps.iter().filter(|app| text(app, "/spec/project") == name).count();
        if users > 0 {
            return Err(ApiError::invalid(format!(
                "project is referenced by {users} applications"
            )));
        }
        if server.store.remove_project(&name) { Ok(json!({})) } else { Err(project_missing(&name)) }
    }))
}

pub(super) async fn repositories(State(server): Shared, headers: HeaderMap) -> Response {
    answer(server.sessions.claims(&headers).map(|claims| {
        let visible = |repository: &Value| claims.may("repositories", "get", text(repository, "/repo"));
        let items: Vec<Value> = server.store.repositories().into_iter().filter(visible).collect();
        json!({ "metadata": {}, "items": if items.is_empty() { Value::Null } else { items.into() } })
    }))
}

/// The right to `action` on a repository; in these words for a missing one, too.
fn repository_access(
    server: &Server,
    headers: &HeaderMap,
    action: &str,
    url: &str,
) -> ApiResult<Value> {
    let claims = server.sessions.claims(headers)?;
    if !claims.may("repositories", action, url) {
        return Err(ApiError::denied());
    }
    server.store.repository(url).ok_or_else(ApiError::denied)
}

pub(super) async fn repository(
    State(server): Shared,
    Path(url): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(repository_access(&server, &headers, "get", &url))
}

pub(super) async fn delete_repository(
    State(server): Shared,
    Path(url): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(repository_access(&server, &headers, "delete", &url).map(|_| {
        server.store.remove_repository(&url);
        json!({})
    }))
}

pub(super) async fn create_repository(
    State(server): Shared,
    headers: HeaderMap,
    uri: Uri,
    bytes: Bytes,
) -> Response {
    answer(add_repository(&server, &headers, &Query::of(&uri), &bytes).await)
}

async fn add_repository(
    server: &Server,
    headers: &HeaderMap,
    query: &Query,
    bytes: &Bytes,
) -> ApiResult<Value> {
    let claims = server.sessions.claims(headers)?;
    let repository = body(bytes)?;
    let url = text(&repository, "/repo").to_owned();
    claims.enforce("repositories", "create", &url)?;
    server.repo.repositories().reachable(&url).await.map_err(|error| {
        ApiError::unknown(format!(
            "error testing repository connectivity: unable to ls-remote HEAD on repository: {error}"
        ))
    })?;
    match server.store.repository(&url) {
        Some(existing) if existing != repository && !query.is_true("upsert") => {
            return Err(ApiError::invalid(
                "existing repository spec is different, use upsert flag to force update",
            ));
        }
        _ => server.store.put_repository(&url, &repository),
    }
    Ok(repository)
}

pub(super) async fn details(
    State(server): Shared,
    Path(url): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    answer(details_of(&server, &url, &headers, &bytes).await)
}

async fn details_of(
    server: &Server,
    url: &str,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> ApiResult<Value> {
    let claims = server.sessions.claims(headers)?;
    let body = body(bytes)?;
    claims.enforce("repositories", "get", url)?;
    let (app, project) = (text(&body, "/appName"), text(&body, "/appProject"));
    let mut source =
        schema::source(body.get("source").unwrap_or(&Value::Null)).map_err(ApiError::invalid)?;
    set(&mut source, "/repoURL", url);
    if !app.is_empty() && server.store.app(app).is_some() {
        let access = Access {
            server,
            headers,
            action: "get",
            name: app,
            project: Some(project),
            namespace: "",
        };
        let (app, _) = access.app()?;
        // An application's repositories are open for its own sources only, now and in its history.
        if !own_sources(&app).contains(&source) {
            return Err(ApiError::denied());
        }
    }
    server.repo.details(&source).await.map_err(ApiError::unknown)
}

fn own_sources(app: &Value) -> Vec<Value> {
    let history =
        items(app, "/status/history").iter().flat_map(|entry| controller::sources_of(entry).0);
    controller::sources(app).0.into_iter().chain(history).collect()
}

pub(super) async fn list_sets(State(server): Shared, headers: HeaderMap) -> Response {
    answer(server.sessions.claims(&headers).map(|claims| {
        let visible = |document: &Value| claims.may("applicationsets", "get", &set_object(document));
        let items: Vec<Value> = server.store.sets().into_iter().filter(visible).collect();
        json!({ "metadata": {}, "items": if items.is_empty() { Value::Null } else { items.into() } })
    }))
}

/// `PROJECT/NAME`, as rights name a set.
fn set_object(document: &Value) -> String {
    format!(
        "{}/{}",
        text(document, "/spec/template/spec/project"),
        text(document, "/metadata/name")
    )
}

pub(super) async fn read_set(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(server.sessions.claims(&headers).and_then(|claims| {
        let found = server.store.set(&name);
        let project = found
            .as_ref()
            .map(|found| text(found, "/spec/template/spec/project").to_owned())
            .unwrap_or_default();
        claims.enforce("applicationsets", "get", &format!("{project}/{name}"))?;
        found.ok_or_else(|| {
            ApiError::new(
                Code::NotFound,
                format!(
                    "error getting ApplicationSet: applicationsets.argoproj.io \"{name}\" not found"
                ),
            )
        })
    }))
}

pub(super) async fn create_set(
    State(server): Shared,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let create = || -> ApiResult<Value> {
        let claims = server.sessions.claims(&headers)?;
        let document = body(&bytes)?;
        let name = text(&document, "/metadata/name").to_owned();
        claims.enforce(
            "applicationsets",
            "create",
            &format!("{}/{name}", text(&document, "/spec/template/spec/project")),
        )?;
        applicationset::generate(&document)
            .map_err(|words| ApiError::new(Code::Unimplemented, words))?;
        let stored = server.store.put_set(&name, &document);
        // Generated from the stored document, whose uid the owner references name.
        let generated = applicationset::generate(&stored)
            .map_err(|words| ApiError::new(Code::Unimplemented, words))?;
        applicationset::create_missing(&server, generated);
        Ok(stored)
    };
    answer(create())
}

pub(super) async fn delete_set(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(server.sessions.claims(&headers).and_then(|claims| {
        let document = server.store.set(&name).unwrap_or_default();
        claims.enforce(
            "applicationsets",
            "delete",
            &format!("{}/{name}", text(&document, "/spec/template/spec/project")),
        )?;
        server.store.remove_set(&name);
        for app in applicationset::generate(&document).unwrap_or_default() {
            server.store.update(text(&app, "/metadata/name"), set_deleted);
        }
        Ok(json!({}))
    }))
}

fn set_deleted(app: &mut Value) {
    crate::objects::set(app, "/metadata/deletionTimestamp", crate::cluster::now_text());
}
