//! Single objects of an application: looked at, changed and deleted in their cluster, and the actions that there are for
//! them. Of the actions only those of Deployments are there.

use serde_json::{Value, json};

use super::{Answer, Call, GoJson, Query};
use crate::error::{ApiError, ApiResult, Code};
use crate::objects::{Key, set, text};
use crate::patch::{json_patch, merge_patch};
use crate::{gojson, tree};

/// Finds the object that a query names, as `getAppLiveResource` does: first the right, then the application's tree.
fn asked(call: &Call, query: &Query, action: &str) -> ApiResult<(Key, Value)> {
    let project = query.projects().first().copied();
    call.app_of(&call.name, action, project, query.text("appNamespace"))?;
    let part = |part| query.text(part);
    let key = Key::new(part("group"), part("kind"), part("namespace"), part("resourceName"));
    let objects = call.server.cluster.objects();
    let found = tree::family(&call.name, &objects).into_iter().find(|(one, _)| *one == key);
    match found {
        Some((_, object)) => Ok((key, object.clone())),
        None => {
            let words = format!(
                "{} {} {} not found as part of application {}",
                key.kind, key.group, key.name, call.name
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

fn manifest(object: &Value) -> Answer {
    Ok(GoJson(json!({ "manifest": gojson::to_string(object) })))
}

pub(super) async fn read(call: Call) -> Answer {
    manifest(&asked(&call, &call.query, "get")?.1)
}

pub(super) async fn patch(call: Call) -> Answer {
    let (key, object) = asked(&call, &call.query, &right("update", &call.query))?;
    let patch = call.body()?;
    let patch = patch.as_str().unwrap_or_default();
    let patched = match call.query.text("patchType") {
        "application/json-patch+json" => json_patch(&object, patch),
        // Lists are not merged by their keys here.
        _ => merge_patch(&object, patch),
    };
    let failed = |error: String| ApiError::unknown(format!("error patching resource: {error}"));
    let stored = call.server.cluster.replace(&key, patched.map_err(failed)?);
    manifest(&stored.unwrap_or_default())
}

pub(super) async fn delete(call: Call) -> Answer {
    let (key, _) = asked(&call, &call.query, &right("delete", &call.query))?;
    call.server.cluster.delete(&key);
    Ok(GoJson(json!({})))
}

pub(super) async fn actions(call: Call) -> Answer {
    let (key, object) = asked(&call, &call.query, "get")?;
    let actions = offered(&key, &object);
    Ok(GoJson(if actions.is_empty() { json!({}) } else { json!({ "actions": actions }) }))
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
pub(super) async fn run(call: Call) -> Answer {
    let body = call.body()?;
    act(&call, &Query::of_members(&body), text(&body, "/action"))
}

/// The body is the action alone.
pub(super) async fn run_before_v2(call: Call) -> Answer {
    let action = call.body()?;
    act(&call, &call.query, action.as_str().unwrap_or_default())
}

fn act(call: &Call, query: &Query, action: &str) -> Answer {
    let right = format!("action/{}/{}/{action}", query.text("group"), query.text("kind"));
    let (key, mut object) = asked(call, query, &right)?;
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
    call.server.cluster.replace(&key, object);
    Ok(GoJson(json!({})))
}
