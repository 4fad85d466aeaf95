//! Single objects of an application: looked at, changed and deleted in their cluster, and the actions that there are for
//! them. Of the actions only those of Deployments are there.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::{Access, Query, Shared, body, ok};
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{Key, set, text};
use crate::patch::{json_patch, merge_patch};
use crate::{Server, gojson, tree};

/// An object that a request names, for which the token has a right.
struct Asked<'a> {
    server: &'a Server,
    key: Key,
    object: Value,
}

/// Finds the object, as `getAppLiveResource` does: first the right, then the application's tree.
fn asked<'a>(
    server: &'a Server,
    headers: &HeaderMap,
    name: &str,
    query: &Query,
    action: &str,
) -> ApiResult<Asked<'a>> {
    let projects = query.projects();
    let access = Access {
        server,
        headers,
        action,
        name,
        project: projects.first().copied(),
        namespace: query.text("appNamespace"),
    };
    access.app()?;
    let part = |part| query.text(part);
    let key = Key::new(part("group"), part("kind"), part("namespace"), part("resourceName"));
    let objects = server.cluster.objects();
    let found = tree::family(name, &objects).into_iter().find(|(one, _)| *one == key);
    match found {
        Some((_, object)) => Ok(Asked { server, object: object.clone(), key }),
        None => {
            let words = format!(
                "{} {} {} not found as part of application {name}",
                key.kind, key.group, key.name
            );
            Err(ApiError::new(Code::InvalidArgument, words))
        }
    }
}

/// The right to change one object. Rights to the application are none to its objects, from 3.0 on.
fn right(action: &str, query: &Query) -> String {
    let parts = ["group", "kind", "namespace", "resourceName"].map(|part| query.text(part));
    format!("{action}/{}", parts.join("/"))
}

fn answered(result: ApiResult<Value>) -> Response {
    match result {
        Ok(answer) => ok(&answer),
        Err(error) => error.into_response(),
    }
}

fn manifest(object: &Value) -> Value {
    json!({ "manifest": gojson::to_string(object) })
}

pub(super) async fn read(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let found = asked(&server, &headers, &name, &Query::of(&uri), "get");
    answered(found.map(|asked| manifest(&asked.object)))
}

pub(super) async fn patch(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    bytes: Bytes,
) -> Response {
    let query = Query::of(&uri);
    let patched = || {
        let asked = asked(&server, &headers, &name, &query, &right("update", &query))?;
        let patch = body(&bytes)?;
        let patch = patch.as_str().unwrap_or_default();
        let patched = match query.text("patchType") {
            "application/json-patch+json" => json_patch(&asked.object, patch),
            // Lists are not merged by their keys here.
            _ => merge_patch(&asked.object, patch),
        };
        let failed = |error: String| ApiError::unknown(format!("error patching resource: {error}"));
        let stored = asked.server.cluster.replace(&asked.key, patched.map_err(failed)?);
        Ok(manifest(&stored.unwrap_or_default()))
    };
    answered(patched())
}

pub(super) async fn delete(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = Query::of(&uri);
    let found = asked(&server, &headers, &name, &query, &right("delete", &query));
    answered(found.map(|asked| {
        asked.server.cluster.delete(&asked.key);
        json!({})
    }))
}

pub(super) async fn actions(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let found = asked(&server, &headers, &name, &Query::of(&uri), "get");
    answered(found.map(|asked| {
        let actions = offered(&asked.key, &asked.object);
        if actions.is_empty() { json!({}) } else { json!({ "actions": actions }) }
    }))
}

/// `resource_customizations/apps/Deployment/actions/discovery.lua`, in the order of their names.
fn offered(key: &Key, object: &Value) -> Vec<Value> {
    if key.kind != "Deployment" {
        return Vec::new();
    }
    let action = |name: &str, disabled: bool| match disabled {
        true => json!({ "name": name, "disabled": true }),
        false => json!({ "name": name }),
    };
    let paused = object["spec"]["paused"] == true;
    vec![
        action("pause", paused),
        action("restart", false),
        action("resume", !paused),
        action("scale", false),
    ]
}

/// The body names the application, the object and the action.
pub(super) async fn run(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let ran = || {
        let body = body(&bytes)?;
        let query = Query::of_members(&body);
        act(&server, &headers, &name, &query, text(&body, "/action"))
    };
    answered(ran())
}

/// The body is the action alone.
pub(super) async fn run_before_v2(
    State(server): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    bytes: Bytes,
) -> Response {
    let query = Query::of(&uri);
    let ran = || {
        let action = body(&bytes)?;
        act(&server, &headers, &name, &query, action.as_str().unwrap_or_default())
    };
    answered(ran())
}

fn act(
    server: &Server,
    headers: &HeaderMap,
    name: &str,
    query: &Query,
    action: &str,
) -> ApiResult<Value> {
    let right = format!("action/{}/{}/{action}", query.text("group"), query.text("kind"));
    let Asked { key, mut object, .. } = asked(server, headers, name, query, &right)?;
    match (key.kind.as_str(), action) {
        ("Deployment", "restart") => {
            let place = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
            set(&mut object, place, jiff::Timestamp::now().to_string());
        }
        ("Deployment", "pause") => set(&mut object, "/spec/paused", true),
        ("Deployment", "resume") => set(&mut object, "/spec/paused", false),
        _ => {
            let words = "error getting Lua resource action: built-in script does not exist";
            return Err(ApiError::unknown(words));
        }
    }
    server.cluster.replace(&key, object);
    Ok(json!({}))
}
