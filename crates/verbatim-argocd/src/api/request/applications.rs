//! Requests about one application, or about those of a selector.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ApiRequest, AppRef, Method, segment};

/// The ways to ask for a fresh comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Compare again.
    Normal,
    /// Forget cached manifests first.
    Hard,
}

pub(super) fn application(app: &AppRef, tail: &str) -> String {
    format!("/api/v1/applications/{}{tail}", segment(&app.name))
}

/// A live read of one application.
pub(crate) fn get(app: &AppRef) -> ApiRequest {
    ApiRequest::get(application(app, ""), format!("read application {app}")).of(app)
}

/// A read that first makes the controller compare, and waits for it.
pub(crate) fn refresh(app: &AppRef, how: Refresh) -> ApiRequest {
    let how = match how {
        Refresh::Normal => "normal",
        Refresh::Hard => "hard",
    };
    let mut request = get(app).with("refresh", how);
    request.action = format!("refresh application {app}");
    request
}

/// The applications of some projects (all visible ones if none is named) that match a label selector. From the
/// server's cache, so it costs the cluster nothing; without the health of single resources.
pub(crate) fn list(
    projects: &[String],
    selector: Option<&str>,
    namespace: Option<&str>,
) -> ApiRequest {
    let mut request =
        ApiRequest::get("/api/v1/applications".into(), "list the applications".into());
    scope(&mut request, projects, selector, namespace);
    request
}

fn scope(
    request: &mut ApiRequest,
    projects: &[String],
    selector: Option<&str>,
    namespace: Option<&str>,
) {
    for project in projects {
        request.query.push(("projects", project.clone()));
    }
    if let Some(selector) = selector {
        request.query.push(("selector", selector.to_owned()));
    }
    if let Some(namespace) = namespace {
        request.query.push(("appNamespace", namespace.to_owned()));
    }
}

/// A stream of changes of one application. `resource_version` keeps older states of other server replicas away.
pub(crate) fn watch(app: &AppRef, resource_version: Option<&str>) -> ApiRequest {
    let mut request =
        ApiRequest::get("/api/v1/stream/applications".into(), format!("watch application {app}"))
            .with("name", &app.name);
    scope(&mut request, app.project.as_slice(), None, app.namespace.as_deref());
    if let Some(version) = resource_version.filter(|version| !version.is_empty()) {
        request = request.with("resourceVersion", version);
    }
    request
}

/// How long the names of applications may be in all, for the proxies on the way: many take no longer line.
const LONGEST_NAMES: usize = 4096;

/// A stream of changes of several applications, each with the namespace it is in. Older servers do not know `names` (new in
/// Argo CD 3.6) and show all of the projects, as they do where there are too many.
pub(crate) fn watch_several(apps: &[(AppRef, String)]) -> ApiRequest {
    let action = format!("watch {} applications", apps.len());
    let mut request = ApiRequest::get("/api/v1/stream/applications".into(), action);
    narrow(&mut request, apps);
    request
}

/// The named applications, and perhaps others, as the server's cache has them; see [`watch_several`].
pub(crate) fn list_several(apps: &[(AppRef, String)]) -> ApiRequest {
    let mut request =
        ApiRequest::get("/api/v1/applications".into(), "list the applications".into());
    narrow(&mut request, apps);
    request
}

fn narrow(request: &mut ApiRequest, apps: &[(AppRef, String)]) {
    let projects: Option<BTreeSet<&String>> =
        apps.iter().map(|(app, _)| app.project.as_ref()).collect();
    for project in projects.into_iter().flatten() {
        request.query.push(("projects", project.clone()));
    }
    // With its slash encoded and its key.
    let length = |(app, namespace): &(AppRef, String)| app.name.len() + namespace.len() + 10;
    if apps.iter().map(length).sum::<usize>() <= LONGEST_NAMES {
        for (app, namespace) in apps {
            request.query.push(("names", format!("{namespace}/{}", app.name)));
        }
    }
}

/// How a patch of an application is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppPatch {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
}

/// JSON as Go's encoder writes it. Argo CD and Kubernetes compare scalars byte by byte with their own encoding, in which these five
/// characters are escaped (`encoding/json`, `HTMLEscape`). They can only occur inside strings.
pub(crate) fn go_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32))
            }
            _ => out.push(c),
        }
    }
    out
}

/// A JSON patch of an application. The patch is a document in a string.
pub(crate) fn patch(app: &AppRef, patch: String) -> ApiRequest {
    patch_as(app, AppPatch::Json, patch)
}

/// A patch of either kind.
pub(crate) fn patch_as(app: &AppRef, how: AppPatch, patch: String) -> ApiRequest {
    let kind = match how {
        AppPatch::Json => "json",
        AppPatch::Merge => "merge",
    };
    let mut body = json!({ "name": app.name, "patch": patch, "patchType": kind });
    name_app(&mut body, app);
    ApiRequest {
        method: Method::Patch,
        path: application(app, ""),
        query: Vec::new(),
        body: Some(body),
        action: format!("write to application {app}"),
    }
}

/// Replaces an application by `object`, whose name and namespace are its own. Without `validate=false` the server would
/// reach the repository and render the manifests first.
pub(crate) fn replace(app: &AppRef, object: Value) -> ApiRequest {
    let request = ApiRequest {
        method: Method::Put,
        path: application(app, ""),
        query: Vec::new(),
        body: Some(object),
        action: format!("write to application {app}"),
    };
    let request =
        app.project.iter().fold(request, |request, project| request.with("project", project));
    request.with("validate", "false")
}

pub(super) fn name_app(body: &mut Value, app: &AppRef) {
    if let Some(namespace) = &app.namespace {
        body["appNamespace"] = json!(namespace);
    }
    if let Some(project) = &app.project {
        body["project"] = json!(project);
    }
}

/// Stops the running operation, whosever it is.
pub(crate) fn terminate(app: &AppRef) -> ApiRequest {
    ApiRequest {
        method: Method::Delete,
        ..ApiRequest::get(
            application(app, "/operation"),
            format!("stop the operation of application {app}"),
        )
        .of(app)
    }
}

/// The objects of an application, from the server's cache.
pub(crate) fn tree(app: &AppRef) -> ApiRequest {
    ApiRequest::get(
        application(app, "/resource-tree"),
        format!("read the resources of application {app}"),
    )
    .of(app)
}

/// The manifests of the last comparison, from the server's cache.
pub(crate) fn managed_resources(app: &AppRef) -> ApiRequest {
    ApiRequest::get(
        application(app, "/managed-resources"),
        format!("read the manifests of application {app}"),
    )
    .of(app)
}

/// One managed resource of that kind and name, with the manifest that the sources have for it.
pub(crate) fn managed_resource(
    app: &AppRef,
    kind: &str,
    namespace: &str,
    name: &str,
) -> ApiRequest {
    managed_resources(app).with("kind", kind).with("namespace", namespace).with("name", name)
}

/// The manifests that the sources give now.
pub(crate) fn manifests(app: &AppRef) -> ApiRequest {
    manifests_at(app, &Revisions::default())
}

/// Other revisions than those that the application names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub single: Option<String>,
    /// Of some of several sources, by their positions, counted from 1.
    pub by_position: Vec<(usize, String)>,
}

/// The manifests that the sources give at other revisions.
pub(crate) fn manifests_at(app: &AppRef, revisions: &Revisions) -> ApiRequest {
    let mut request =
        ApiRequest::get(application(app, "/manifests"), format!("render application {app}"))
            .of(app);
    if let Some(revision) = &revisions.single {
        request = request.with("revision", revision);
    }
    for (position, revision) in &revisions.by_position {
        request = request.with("sourcePositions", position.to_string()).with("revisions", revision);
    }
    request
}

/// Events of the application itself, or of one of its objects.
pub(crate) fn events(app: &AppRef, object: Option<&EventsOf>) -> ApiRequest {
    let request = ApiRequest::get(
        application(app, "/events"),
        format!("read the events of application {app}"),
    )
    .of(app);
    match object {
        None => request,
        Some(object) => request
            .with("resourceNamespace", &object.namespace)
            .with("resourceName", &object.name)
            .with("resourceUID", &object.uid),
    }
}

/// The object whose events are wanted. The server wants all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsOf {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Which lines of which logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only of pods of this object, or of this pod.
    pub group: Option<String>,
    pub kind: Option<String>,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub container: Option<String>,
    /// At most so many lines from the end.
    pub tail: Option<u64>,
    /// Not older than so many seconds.
    pub since_seconds: Option<u64>,
    /// Not younger than this time.
    pub until_time: Option<String>,
    /// Only lines with this text.
    pub filter: Option<String>,
    pub match_case: bool,
    /// Of the container that ran before.
    pub previous: bool,
    /// Go on until the pods end.
    pub follow: bool,
}

/// The logs of an application's pods, as a stream.
pub(crate) fn logs(app: &AppRef, logs: &LogQuery) -> ApiRequest {
    let mut request =
        ApiRequest::get(application(app, "/logs"), format!("read the logs of application {app}"))
            .of(app);
    let texts = [
        ("group", &logs.group),
        ("kind", &logs.kind),
        ("resourceName", &logs.name),
        ("namespace", &logs.namespace),
        ("container", &logs.container),
        ("untilTime", &logs.until_time),
        ("filter", &logs.filter),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            request = request.with(name, value);
        }
    }
    for (name, value) in [("tailLines", logs.tail), ("sinceSeconds", logs.since_seconds)] {
        if let Some(value) = value {
            request = request.with(name, value.to_string());
        }
    }
    let flags =
        [("matchCase", logs.match_case), ("previous", logs.previous), ("follow", logs.follow)];
    for (name, on) in flags {
        if on {
            request = request.with(name, "true");
        }
    }
    request
}

/// Whether a sync by hand is allowed now.
pub(crate) fn sync_windows(app: &AppRef) -> ApiRequest {
    ApiRequest::get(
        application(app, "/syncwindows"),
        format!("read the sync windows of application {app}"),
    )
    .of(app)
}
