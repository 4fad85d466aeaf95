//! Sessions, accounts, projects, repositories and ApplicationSets.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{Answer, Call, GoJson, Shared, listed};
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{items, set, text};
use crate::{applicationset, controller, schema};

pub(super) async fn version(call: Call) -> GoJson {
    let mut version = json!({ "Version": "v3.6.1+simulated" });
    if call.claims().is_ok() {
        let (helm, kustomize) = call.server.repo.versions().await;
        set(&mut version, "/HelmVersion", helm);
        set(&mut version, "/KustomizeVersion", kustomize);
    }
    GoJson(version)
}

pub(super) async fn login(call: Call) -> ApiResult<impl IntoResponse> {
    let body = call.body()?;
    let token = call.server.sessions.login(text(&body, "/username"), text(&body, "/password"))?;
    let cookie = format!("argocd.token={token}; path=/; SameSite=lax; httpOnly");
    Ok(([(header::SET_COOKIE, cookie)], GoJson(json!({ "token": token }))))
}

/// The exchange of Dex (RFC 8693), which knows one connector and one job: its session is one of the account `bot`.
pub(super) async fn dex(State(server): Shared, form: String) -> Response {
    let field = |wanted: &str| {
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    match (field("connector_id"), field("subject_token")) {
        (Some("ci"), Some("identity-of-the-job")) => {
            let token = server.sessions.token("bot", "login");
            let answer =
                json!({ "access_token": token, "token_type": "bearer", "expires_in": 300 });
            axum::Json(answer).into_response()
        }
        _ => {
            let refusal = json!({ "error": "access_denied" });
            (StatusCode::UNAUTHORIZED, axum::Json(refusal)).into_response()
        }
    }
}

pub(super) async fn logout() -> impl IntoResponse {
    let cookie = "argocd.token=; path=/; SameSite=lax; httpOnly";
    ([(header::SET_COOKIE, cookie)], GoJson(json!({})))
}

pub(super) async fn userinfo(call: Call) -> GoJson {
    GoJson(match call.claims() {
        Ok(claims) => json!({ "loggedIn": true, "username": claims.name, "iss": "argocd" }),
        Err(_) => json!({}),
    })
}

pub(super) async fn account_token(call: Call) -> Answer {
    let (sessions, name) = (&call.server.sessions, &call.name);
    call.claims()?.enforce("accounts", "update", name)?;
    if !sessions.accounts.iter().any(|account| account.name == *name) {
        return Err(ApiError::new(Code::NotFound, format!("account '{name}' does not exist")));
    }
    Ok(GoJson(json!({ "token": sessions.token(name, "apiKey") })))
}

/// The gateway splits at decoded slashes, too, so that fine-grained actions cannot be asked for.
pub(super) async fn can_i(call: Call) -> Answer {
    let mut parts = call.name.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let (resource, action, object) = (part(), part(), part());
    let claims = call.claims()?;
    let known =
        ["get", "create", "update", "delete", "sync", "rollback", "override", "action", "invoke"];
    if !known.contains(&action) {
        let known = known.join(" ");
        return Err(ApiError::invalid(format!("{action} is not a valid action: [{known}]")));
    }
    let value = if claims.may(resource, action, object) { "yes" } else { "no" };
    Ok(GoJson(json!({ "value": value })))
}

pub(super) async fn project(call: Call) -> Answer {
    call.claims()?.enforce("projects", "get", &call.name)?;
    call.server.store.project(&call.name).map(GoJson).ok_or_else(|| project_missing(&call.name))
}

fn project_missing(name: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("appprojects.argoproj.io \"{name}\" not found"))
}

pub(super) async fn create_project(call: Call) -> Answer {
    let claims = call.claims()?;
    let body = call.body()?;
    let project = body.get("project").cloned().unwrap_or_default();
    let name = text(&project, "/metadata/name");
    claims.enforce("projects", "create", name)?;
    match call.server.store.project(name) {
        Some(existing) if existing.get("spec") == project.get("spec") => Ok(GoJson(existing)),
        Some(_) if body.get("upsert") != Some(&true.into()) => Err(ApiError::invalid(
            "existing project spec is different, use upsert flag to force update",
        )),
        _ => Ok(GoJson(call.server.store.put_project(name, &project))),
    }
}

pub(super) async fn put_project(call: Call) -> Answer {
    let (store, name) = (&call.server.store, &call.name);
    call.claims()?.enforce("projects", "update", name)?;
    let project = call.body()?.get("project").cloned().unwrap_or_default();
    let existing = store.project(name).ok_or_else(|| project_missing(name))?;
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
    Ok(GoJson(store.put_project(name, &project)))
}

pub(super) async fn delete_project(call: Call) -> Answer {
    let (store, name) = (&call.server.store, &call.name);
    call.claims()?.enforce("projects", "delete", name)?;
    let users = store.apps().0.iter().filter(|app| text(app, "/spec/project") == name).count();
    if users > 0 {
        return Err(ApiError::invalid(format!("project is referenced by {users} applications")));
    }
    if store.remove_project(name) { Ok(GoJson(json!({}))) } else { Err(project_missing(name)) }
}

pub(super) async fn repositories(call: Call) -> Answer {
    let claims = call.claims()?;
    let may = |repository: &Value| claims.may("repositories", "get", text(repository, "/repo"));
    Ok(listed(call.server.store.repositories().into_iter().filter(may)))
}

/// The repository that the path names, for who has the right to `action`; in these words for a missing one, too.
fn repository_for(call: &Call, action: &str) -> ApiResult<Value> {
    if !call.claims()?.may("repositories", action, &call.name) {
        return Err(ApiError::denied());
    }
    call.server.store.repository(&call.name).ok_or_else(ApiError::denied)
}

pub(super) async fn repository(call: Call) -> Answer {
    repository_for(&call, "get").map(GoJson)
}

pub(super) async fn delete_repository(call: Call) -> Answer {
    repository_for(&call, "delete")?;
    call.server.store.remove_repository(&call.name);
    Ok(GoJson(json!({})))
}

pub(super) async fn create_repository(call: Call) -> Answer {
    let (server, claims) = (&call.server, call.claims()?);
    let repository = call.body()?;
    let url = text(&repository, "/repo");
    claims.enforce("repositories", "create", url)?;
    server.repo.repositories().reachable(url).await.map_err(|error| {
        ApiError::unknown(format!(
            "error testing repository connectivity: unable to ls-remote HEAD on repository: {error}"
        ))
    })?;
    match server.store.repository(url) {
        Some(existing) if existing != repository && !call.query.is_true("upsert") => {
            return Err(ApiError::invalid(
                "existing repository spec is different, use upsert flag to force update",
            ));
        }
        _ => server.store.put_repository(url, &repository),
    }
    Ok(GoJson(repository))
}

pub(super) async fn details(call: Call) -> Answer {
    let claims = call.claims()?;
    let (body, url) = (call.body()?, call.name.as_str());
    claims.enforce("repositories", "get", url)?;
    let (app, project) = (text(&body, "/appName"), text(&body, "/appProject"));
    // With its namespace, or without if that is Argo CD's own.
    let app = app.rsplit('/').next().unwrap_or_default();
    let mut source =
        schema::source(body.get("source").unwrap_or(&Value::Null)).map_err(ApiError::invalid)?;
    set(&mut source, "/repoURL", url);
    if !app.is_empty() && call.server.store.app(app).is_some() {
        let (app, _) = call.app_of(app, "get", Some(project), "")?;
        // An application's repositories are open for its own sources only, now and in its history.
        if !own_sources(&app).contains(&source) {
            return Err(ApiError::denied());
        }
    }
    call.server.repo.details(&source).await.map(GoJson).map_err(ApiError::unknown)
}

fn own_sources(app: &Value) -> Vec<Value> {
    let history =
        items(app, "/status/history").iter().flat_map(|entry| controller::sources_of(entry).0);
    controller::sources(app).0.into_iter().chain(history).collect()
}

pub(super) async fn list_sets(call: Call) -> Answer {
    let claims = call.claims()?;
    let may = |document: &Value| claims.may("applicationsets", "get", &set_object(document));
    Ok(listed(call.server.store.sets().into_iter().filter(may)))
}

/// `PROJECT/NAME`, as rights name a set.
fn set_object(document: &Value) -> String {
    named_set(document, text(document, "/metadata/name"))
}

/// The same by the name in the path, of a set that need not exist.
fn named_set(document: &Value, name: &str) -> String {
    format!("{}/{name}", text(document, "/spec/template/spec/project"))
}

pub(super) async fn read_set(call: Call) -> Answer {
    let (claims, name) = (call.claims()?, &call.name);
    let found = call.server.store.set(name);
    let object = named_set(found.as_ref().unwrap_or(&Value::Null), name);
    claims.enforce("applicationsets", "get", &object)?;
    let words = || {
        format!("error getting ApplicationSet: applicationsets.argoproj.io \"{name}\" not found")
    };
    found.map(GoJson).ok_or_else(|| ApiError::new(Code::NotFound, words()))
}

pub(super) async fn create_set(call: Call) -> Answer {
    let claims = call.claims()?;
    let document = call.body()?;
    claims.enforce("applicationsets", "create", &set_object(&document))?;
    let generate = |document: &Value| {
        let generated = applicationset::generate(document);
        generated.map_err(|words| ApiError::new(Code::Unimplemented, words))
    };
    generate(&document)?;
    let stored = call.server.store.put_set(text(&document, "/metadata/name"), &document);
    // Generated from the stored document, whose uid the owner references name.
    applicationset::create_missing(&call.server, generate(&stored)?);
    Ok(GoJson(stored))
}

pub(super) async fn delete_set(call: Call) -> Answer {
    let (claims, store) = (call.claims()?, &call.server.store);
    let document = store.set(&call.name).unwrap_or_default();
    claims.enforce("applicationsets", "delete", &named_set(&document, &call.name))?;
    store.remove_set(&call.name);
    for app in applicationset::generate(&document).unwrap_or_default() {
        store.update(text(&app, "/metadata/name"), |app| {
            set(app, "/metadata/deletionTimestamp", crate::cluster::now_text());
        });
    }
    Ok(GoJson(json!({})))
}
