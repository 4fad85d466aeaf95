//! Requests about single objects of an application: looking at them, changing and deleting them, and the actions that
//! Argo CD offers for them.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::applications::{application, name_app};
use super::{ApiRequest, AppRef, Method};

/// An object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// API group, empty for core.
    pub group: String,
    pub version: String,
    pub kind: String,
    /// Empty where a manifest leaves it to the application.
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// How a patch of an object is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectPatch {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which knows how lists are merged.
    Strategic,
}

impl ObjectPatch {
    /// The media type that Kubernetes has for it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// What becomes of the objects that an object has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectDeletion {
    #[default]
    Foreground,
    /// The object goes at once, without time to end.
    Force,
    Orphan,
}

fn about(app: &AppRef, object: &ObjectRef, tail: &str, verb: &str) -> ApiRequest {
    ApiRequest::get(application(app, tail), format!("{verb} {object} of application {app}"))
        .of(app)
        .with("resourceName", &object.name)
        .with("namespace", &object.namespace)
        .with("version", &object.version)
        .with("kind", &object.kind)
        .with("group", &object.group)
}

/// A live read of one object from its cluster.
pub(crate) fn resource(app: &AppRef, object: &ObjectRef) -> ApiRequest {
    about(app, object, "/resource", "read")
}

/// Changes an object in its cluster. The body is the patch as a text in JSON.
pub(crate) fn patch_resource(
    app: &AppRef,
    object: &ObjectRef,
    how: ObjectPatch,
    patch: &str,
) -> ApiRequest {
    ApiRequest {
        method: Method::Post,
        body: Some(json!(patch)),
        ..about(app, object, "/resource", "patch").with("patchType", how.media_type())
    }
}

/// Deletes an object in its cluster.
pub(crate) fn delete_resource(app: &AppRef, object: &ObjectRef, how: ObjectDeletion) -> ApiRequest {
    let request =
        ApiRequest { method: Method::Delete, ..about(app, object, "/resource", "delete") };
    match how {
        ObjectDeletion::Foreground => request,
        ObjectDeletion::Force => request.with("force", "true"),
        ObjectDeletion::Orphan => request.with("orphan", "true"),
    }
}

/// The actions that Argo CD offers for an object.
pub(crate) fn actions(app: &AppRef, object: &ObjectRef) -> ApiRequest {
    about(app, object, "/resource/actions", "list the actions for")
}

/// Runs an action. Servers before 3.1 do not know this call.
pub(crate) fn run_action(app: &AppRef, object: &ObjectRef, action: &str) -> ApiRequest {
    let mut body = json!({
        "namespace": object.namespace, "resourceName": object.name, "version": object.version,
        "group": object.group, "kind": object.kind, "action": action,
    });
    name_app(&mut body, app);
    ApiRequest {
        method: Method::Post,
        path: application(app, "/resource/actions/v2"),
        query: Vec::new(),
        body: Some(body),
        action: format!("run {action} on {object} of application {app}"),
    }
}

/// Runs an action, as servers before 3.1 take it. The body is its name as a text in JSON.
pub(crate) fn run_action_before_v2(app: &AppRef, object: &ObjectRef, action: &str) -> ApiRequest {
    ApiRequest {
        method: Method::Post,
        body: Some(Value::String(action.to_owned())),
        ..about(app, object, "/resource/actions", &format!("run {action} on"))
    }
}
