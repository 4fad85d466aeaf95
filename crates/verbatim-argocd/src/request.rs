//! Builds requests: method, path, query, body. Pure: nothing is sent here, and no address of a server is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::Source;

/// The name under which our operations and annotations carry their nonce.
pub const NONCE: &str = "verbatim.dev/nonce";

/// Which application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRef {
    /// Its name.
    pub name: String,
    /// Its namespace, if that is not the one Argo CD runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its Argo CD project. Named, it lets the server tell "gone" from "forbidden".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl AppRef {
    /// An application in Argo CD's own namespace, its project not known.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: None, project: None }
    }

    /// The object of Argo CD's access rules: `project/name` or `project/namespace/name`.
    pub fn rbac_object(&self) -> Option<String> {
        let project = self.project.as_deref()?;
        Some(match &self.namespace {
            None => format!("{project}/{}", self.name),
            Some(namespace) => format!("{project}/{namespace}/{}", self.name),
        })
    }
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => f.pad(&self.name),
            Some(namespace) => f.pad(&format!("{namespace}/{}", self.name)),
        }
    }
}

/// Why a text does not name an application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not name an application: want NAME or NAMESPACE/NAME, in lower-case letters, digits, `-` and `.`"
)]
pub struct AppRefError(String);

impl FromStr for AppRef {
    type Err = AppRefError;

    /// `NAME` or `NAMESPACE/NAME`, as the argocd CLI takes it.
    fn from_str(text: &str) -> Result<Self, AppRefError> {
        let (namespace, name) = match text.split_once('/') {
            None => (None, text),
            Some((namespace, name)) => (Some(namespace), name),
        };
        let good = |part: &str| {
            !part.is_empty()
                && part.len() <= 253
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if !good(name) || namespace.is_some_and(|namespace| !good(namespace)) {
            return Err(AppRefError(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned), project: None })
    }
}

/// HTTP methods that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads; may be repeated.
    Get,
    /// Creates or starts something.
    Post,
    /// Changes an application.
    Patch,
    /// Ends an operation.
    Delete,
}

/// A request, still without a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The path, percent-encoded, from `/api` on.
    pub path: String,
    /// The query, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// The rest of the sentence "failed to …".
    pub action: String,
}

impl Request {
    fn get(path: String, action: String) -> Self {
        Self { method: Method::Get, path, query: Vec::new(), body: None, action }
    }

    fn of(mut self, app: &AppRef) -> Self {
        if let Some(namespace) = &app.namespace {
            self.query.push(("appNamespace", namespace.clone()));
        }
        if let Some(project) = &app.project {
            self.query.push(("project", project.clone()));
        }
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Whether it may be sent again when the answer got lost.
    pub fn is_idempotent(&self) -> bool {
        self.method == Method::Get
    }

    /// Path and query as they stand in the request line.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.query {
            query.append_pair(name, value);
        }
        format!("{}?{}", self.path, query.finish())
    }
}

/// The ways to ask for a fresh comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Compare again.
    Normal,
    /// Forget cached manifests first.
    Hard,
}

/// Percent-encodes one path segment. A repository's URL is one segment, too.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char)
            }
            _ => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    out.push(
                        char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase(),
                    );
                }
            }
        }
    }
    out
}

fn application(app: &AppRef, tail: &str) -> String {
    format!("/api/v1/applications/{}{tail}", segment(&app.name))
}

/// A live read of one application.
pub fn get(app: &AppRef) -> Request {
    Request::get(application(app, ""), format!("read application {app}")).of(app)
}

/// A read that first makes the controller compare, and waits for it.
pub fn refresh(app: &AppRef, how: Refresh) -> Request {
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
pub fn list(projects: &[String], selector: Option<&str>, namespace: Option<&str>) -> Request {
    let mut request = Request::get("/api/v1/applications".into(), "list the applications".into());
    scope(&mut request, projects, selector, namespace);
    request
}

fn scope(
    request: &mut Request,
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
pub fn watch(app: &AppRef, resource_version: Option<&str>) -> Request {
    let mut request =
        Request::get("/api/v1/stream/applications".into(), format!("watch application {app}"))
            .with("name", &app.name);
    scope(&mut request, app.project.as_slice(), None, app.namespace.as_deref());
    if let Some(version) = resource_version.filter(|version| !version.is_empty()) {
        request = request.with("resourceVersion", version);
    }
    request
}

/// A JSON patch of an application. The patch is a document in a string.
pub fn patch(app: &AppRef, patch: String) -> Request {
    let mut body = json!({ "name": app.name, "patch": patch, "patchType": "json" });
    name_app(&mut body, app);
    Request {
        method: Method::Patch,
        path: application(app, ""),
        query: Vec::new(),
        body: Some(body),
        action: format!("write to application {app}"),
    }
}

/// What a sync is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Marks the operation as ours.
    pub nonce: String,
    /// More pairs for people: the release, the run.
    pub infos: Vec<(String, String)>,
    /// Delete what is no longer in the sources.
    pub prune: bool,
    /// Another revision than the application's.
    pub revision: Option<String>,
}

/// Starts a sync. Exactly one caller gets the operation slot.
pub fn sync(app: &AppRef, sync: &Sync) -> Request {
    let mut infos = vec![json!({ "name": NONCE, "value": sync.nonce })];
    infos.extend(sync.infos.iter().map(|(name, value)| json!({ "name": name, "value": value })));
    let mut body = json!({ "name": app.name, "infos": infos, "prune": sync.prune, "strategy": { "hook": {} } });
    if let Some(revision) = &sync.revision {
        body["revision"] = json!(revision);
    }
    name_app(&mut body, app);
    Request {
        method: Method::Post,
        path: application(app, "/sync"),
        query: Vec::new(),
        body: Some(body),
        action: format!("sync application {app}"),
    }
}

fn name_app(body: &mut Value, app: &AppRef) {
    if let Some(namespace) = &app.namespace {
        body["appNamespace"] = json!(namespace);
    }
    if let Some(project) = &app.project {
        body["project"] = json!(project);
    }
}

/// Stops the running operation, whosever it is.
pub fn terminate(app: &AppRef) -> Request {
    Request {
        method: Method::Delete,
        ..Request::get(
            application(app, "/operation"),
            format!("stop the operation of application {app}"),
        )
        .of(app)
    }
}

/// The objects of an application, from the server's cache.
pub fn tree(app: &AppRef) -> Request {
    Request::get(
        application(app, "/resource-tree"),
        format!("read the resources of application {app}"),
    )
    .of(app)
}

/// The manifests of the last comparison, from the server's cache.
pub fn managed_resources(app: &AppRef) -> Request {
    Request::get(
        application(app, "/managed-resources"),
        format!("read the manifests of application {app}"),
    )
    .of(app)
}

/// One managed resource of that kind and name, with the manifest that the sources have for it.
pub fn managed_resource(app: &AppRef, kind: &str, namespace: &str, name: &str) -> Request {
    managed_resources(app).with("kind", kind).with("namespace", namespace).with("name", name)
}

/// The manifests that the sources give now.
pub fn manifests(app: &AppRef) -> Request {
    Request::get(application(app, "/manifests"), format!("render application {app}")).of(app)
}

/// Which object of an application's tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A live read of one object from its cluster.
pub fn resource(app: &AppRef, object: &ObjectRef) -> Request {
    Request::get(
        application(app, "/resource"),
        format!("read {} {} of application {app}", object.kind, object.name),
    )
    .of(app)
    .with("resourceName", &object.name)
    .with("namespace", &object.namespace)
    .with("version", &object.version)
    .with("kind", &object.kind)
    .with("group", &object.group)
}

/// Whether a sync by hand is allowed now.
pub fn sync_windows(app: &AppRef) -> Request {
    Request::get(
        application(app, "/syncwindows"),
        format!("read the sync windows of application {app}"),
    )
    .of(app)
}

/// Whether the token may do `action` to the application. `None` while its project is not known.
pub fn can_i(app: &AppRef, action: &str) -> Option<Request> {
    let object = app.rbac_object()?;
    let object: Vec<_> = object.split('/').map(segment).collect();
    Some(Request::get(
        format!("/api/v1/account/can-i/applications/{}/{}", segment(action), object.join("/")),
        format!("ask whether the token may {action} application {app}"),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere() -> AppRef {
        AppRef {
            name: "web".into(),
            namespace: Some("team".into()),
            project: Some("shop & co".into()),
        }
    }

    #[test]
    fn request_lines_are_those_that_argo_cd_3_6_1_answered() {
        let app = AppRef { project: Some("default".into()), ..AppRef::new("shop") };
        let pod = ObjectRef {
            group: String::new(),
            version: "v1".into(),
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: "shop-1".into(),
        };
        let cases = [
            (get(&AppRef::new("shop")), "/api/v1/applications/shop"),
            (get(&elsewhere()), "/api/v1/applications/web?appNamespace=team&project=shop+%26+co"),
            (
                refresh(&app, Refresh::Normal),
                "/api/v1/applications/shop?project=default&refresh=normal",
            ),
            (
                watch(&app, Some("42")),
                "/api/v1/stream/applications?name=shop&projects=default&resourceVersion=42",
            ),
            (watch(&AppRef::new("shop"), Some("")), "/api/v1/stream/applications?name=shop"),
            (
                list(&["a".into(), "b".into()], Some("team=web,env!=dev"), None),
                "/api/v1/applications?projects=a&projects=b&selector=team%3Dweb%2Cenv%21%3Ddev",
            ),
            (
                resource(&AppRef::new("shop"), &pod),
                "/api/v1/applications/shop/resource?resourceName=shop-1&namespace=shop&version=v1&kind=Pod&group=",
            ),
            (
                can_i(&elsewhere(), "sync").unwrap(),
                "/api/v1/account/can-i/applications/sync/shop%20%26%20co/team/web",
            ),
            (
                app_details(
                    &app,
                    "default",
                    &Source(json!({ "repoURL": "git://127.0.0.1:29518/demo.git" })),
                    0,
                ),
                "/api/v1/repositories/git%3A%2F%2F127.0.0.1%3A29518%2Fdemo.git/appdetails",
            ),
        ];
        for (request, want) in cases {
            assert_eq!(request.target(), want, "{}", request.action);
        }
    }

    #[test]
    fn what_is_written_names_the_application_in_the_body() {
        let sync = sync(
            &elsewhere(),
            &Sync {
                nonce: "n1".into(),
                infos: vec![("release".into(), "r".into())],
                prune: true,
                revision: None,
            },
        );
        assert_eq!(
            sync.body.unwrap(),
            json!({
                "name": "web", "appNamespace": "team", "project": "shop & co", "prune": true,
                "strategy": { "hook": {} },
                "infos": [{ "name": NONCE, "value": "n1" }, { "name": "release", "value": "r" }],
            })
        );
        let patch = patch(&elsewhere(), "[]".into());
        assert_eq!(
            patch.body.as_ref().unwrap(),
            &json!({ "name": "web", "appNamespace": "team", "project": "shop & co", "patch": "[]", "patchType": "json" })
        );
        assert!(!patch.is_idempotent());
    }

    #[test]
    fn application_names_are_checked() {
        for (text, want) in [
            ("shop", Some((None, "shop"))),
            ("team/shop", Some((Some("team"), "shop"))),
            ("", None),
            ("/shop", None),
            ("a/b/c", None),
            ("Shop", None),
            ("shop?x=1", None),
        ] {
            let parsed: Option<AppRef> = text.parse().ok();
            let parts = parsed.as_ref().map(|app| (app.namespace.as_deref(), app.name.as_str()));
            assert_eq!(parts, want, "{text}");
        }
    }
}
