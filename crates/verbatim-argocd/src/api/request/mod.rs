//! Builds requests: method, path, query, body. Pure: nothing is sent here, and no address of a server is known.

mod app_ref;
mod applications;
mod objects;
mod operations;
mod service;
mod setup;

use serde_json::Value;

pub use self::app_ref::AppRef;
pub use self::applications::*;
pub(crate) use self::objects::*;
pub use self::operations::*;
pub(crate) use self::service::*;
pub(crate) use self::setup::*;

/// The name under which our operations and annotations carry their nonce.
pub(crate) const NONCE: &str = "verbatim.dev/nonce";

/// HTTP methods that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it stands in the request line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, still without a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiRequest {
    /// How.
    pub method: Method,
    /// The path, percent-encoded, from `/api` on.
    pub path: String,
    /// The query, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// The rest of the sentence "cannot …".
    pub action: String,
}

impl ApiRequest {
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

    /// Whether the server limits it, as it asks Kubernetes for the application itself. One that waits for the controller
    /// is not counted: it would hold up the others.
    pub(crate) fn is_limited(&self) -> bool {
        let Some(rest) = self.path.strip_prefix("/api/v1/applications/") else { return false };
        let is_refresh = self.query.iter().any(|(name, _)| *name == "refresh");
        let reads = !rest.contains('/') || rest.ends_with("/syncwindows");
        let writes = !rest.contains('/') || rest.ends_with("/sync") || rest.ends_with("/rollback");
        if self.method == Method::Get { reads && !is_refresh } else { writes }
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

/// Percent-encodes one path segment. A repository's URL is one segment, too.
pub(crate) fn segment(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::AppSource;

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
                    &AppSource(json!({ "repoURL": "git://127.0.0.1:29518/demo.git" })),
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
    fn what_the_server_asks_kubernetes_for_is_limited() {
        let app = AppRef::new("shop");
        let cases = [
            (get(&app), true),
            (sync_windows(&app), true),
            (patch(&app, "[]".into()), true),
            (sync(&app, &SyncRequest::default()), true),
            (refresh(&app, Refresh::Normal), false),
            (tree(&app), false),
            (manifests(&app), false),
            (watch(&app, None), false),
            (list(&[], None, None), false),
        ];
        for (request, want) in cases {
            assert_eq!(request.is_limited(), want, "{}", request.action);
        }
    }

    #[test]
    fn several_are_named_as_long_as_the_line_is_not_too_long() {
        let app = |project: Option<&str>, name: &str| {
            let project = project.map(str::to_owned);
            (AppRef { project, ..AppRef::new(name) }, "argocd".to_owned())
        };
        let cases = [
            (
                vec![app(Some("shop"), "a"), app(Some("shop"), "b")],
                "?projects=shop&names=argocd%2Fa&names=argocd%2Fb",
            ),
            // One may be in any project.
            (vec![app(Some("shop"), "a"), app(None, "b")], "?names=argocd%2Fa&names=argocd%2Fb"),
        ];
        for (apps, want) in cases {
            assert_eq!(watch_several(&apps).target(), format!("/api/v1/stream/applications{want}"));
            assert_eq!(list_several(&apps).target(), format!("/api/v1/applications{want}"));
        }
        let many: Vec<_> = (0..500).map(|number| app(Some("shop"), &number.to_string())).collect();
        assert_eq!(watch_several(&many).target(), "/api/v1/stream/applications?projects=shop");
    }

    #[test]
    fn what_is_written_names_the_application_in_the_body() {
        let sync = sync(
            &elsewhere(),
            &SyncRequest {
                nonce: "n1".into(),
                infos: vec![("release".into(), "r".into())],
                prune: true,
                ..SyncRequest::default()
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
}
