//! Which applications of the last promotion are not part of the environment any more. A selection shrinks without a word: a
//! label was mistyped, the token lost a project, the list came from a cache. Pure.

use std::fmt;

use serde::Serialize;
use verbatim_argocd::AppRef;
use verbatim_record::{Chain, PromotedApplication, Verified};

use super::applications::ObservedApp;

/// An application that the last promotion changed, and that nobody finds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MissingApp {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The address of its server.
    pub server: String,
}

impl MissingApp {
    fn of(application: &PromotedApplication) -> Self {
        let PromotedApplication { name, namespace, server, .. } = application;
        Self { name: name.clone(), namespace: namespace.clone(), server: server.clone() }
    }

    /// Whether somebody means it by this name, with its namespace or without.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.to_string() == name
    }
}

impl fmt::Display for MissingApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, namespace) = (self.name.clone(), self.namespace.clone());
        AppRef { name, namespace, project: None }.fmt(f)
    }
}

/// The applications of the last promotion that are not among those of the environment: by server, namespace and name.
pub(crate) fn missing(ledger: &Chain, seen: &[ObservedApp]) -> Vec<MissingApp> {
    let head = ledger.head().map(Verified::predicate);
    head.map(|head| missing_of(&head.applications, seen)).unwrap_or_default()
}

/// What to do about an application that is missing; `command` can leave it out.
pub(crate) fn hint(command: &str, environment: &str, app: &str) -> String {
    format!(
        "check the labels of {app} and what the token may see; if it left {environment} for good: \
         verbatim {command} {environment} --without {app}"
    )
}

fn missing_of(promoted: &[PromotedApplication], seen: &[ObservedApp]) -> Vec<MissingApp> {
    let is_gone = |it: &&PromotedApplication| !seen.iter().any(|seen| is_same(it, seen));
    promoted.iter().filter(is_gone).map(MissingApp::of).collect()
}

/// Whether an application of a promotion is one that was found.
pub(crate) fn is_same(promoted: &PromotedApplication, seen: &ObservedApp) -> bool {
    let ObservedApp { app, server_url, application } = seen;
    // One in Argo CD's own namespace is named with it or without, depending on what the token may see.
    let lives_in = application.as_ref().ok().map(|it| it.metadata.namespace.as_str());
    let is_there = match (&promoted.namespace, &app.namespace) {
        (Some(then), None) => lives_in.is_none_or(|namespace| namespace == then),
        (then, now) => then == now,
    };
    promoted.name == app.name && promoted.server == *server_url && is_there
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::App;

    const SERVER: &str = "https://argocd.example/";

    fn promoted(server: &str, namespace: Option<&str>) -> PromotedApplication {
        let readback = json!({ "outcome": "proven" });
        let application = json!({
            "name": "web", "namespace": namespace, "server": server,
            "proof": { "spec": readback, "operation": readback, "manifests": readback, "running": readback },
        });
        serde_json::from_value(application).unwrap()
    }

    /// An application as it is addressed, and the namespace that it lives in; without one it cannot be read.
    fn seen(name: &str, namespace: Option<&str>, lives_in: Option<&str>) -> ObservedApp {
        let app = App { namespace: namespace.map(str::to_owned), ..App::sample(name, &[]) };
        let application = match lives_in {
            Some(namespace) => Ok(serde_json::from_value(
                json!({ "metadata": { "name": name, "namespace": namespace } }),
            )
            .unwrap()),
            None => Err(verbatim_argocd::Error {
                action: "read it".to_owned(),
                server: SERVER.to_owned(),
                kind: verbatim_argocd::ErrorKind::NotFound("it".to_owned()),
            }),
        };
        ObservedApp { app, server_url: SERVER.to_owned(), application }
    }

    #[test]
    fn an_application_is_the_same_by_server_namespace_and_name() {
        let own = || seen("web", None, Some("argocd"));
        let cases = [
            (promoted(SERVER, None), vec![own()], None),
            (promoted(SERVER, None), vec![], Some("web")),
            (promoted(SERVER, None), vec![seen("api", None, Some("argocd"))], Some("web")),
            (promoted("https://other.example/", None), vec![own()], Some("web")),
            (promoted(SERVER, Some("team-a")), vec![own()], Some("team-a/web")),
            (
                promoted(SERVER, None),
                vec![seen("web", Some("team-a"), Some("team-a"))],
                Some("web"),
            ),
            (
                promoted(SERVER, Some("team-a")),
                vec![own(), seen("web", Some("team-a"), Some("team-a"))],
                None,
            ),
            // The settings could not be read then, and can be now.
            (promoted(SERVER, Some("argocd")), vec![own()], None),
            // That it cannot be read is told elsewhere; it is not missing.
            (promoted(SERVER, None), vec![seen("web", None, None)], None),
        ];
        for (promoted, seen, want) in cases {
            let found = missing_of(std::slice::from_ref(&promoted), &seen);
            let told: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(told, want.into_iter().collect::<Vec<_>>(), "{promoted:?} {seen:?}");
            if let Some(app) = found.first() {
                assert!(app.is_called("web") && app.is_called(&app.to_string()));
                assert!(!app.is_called("api"));
            }
        }
    }
}
