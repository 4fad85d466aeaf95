//! Which applications of the last promotion are not part of the environment any more. A selection shrinks without a word: a
//! label was mistyped, the token lost a project, the list came from a cache. Pure.

use std::fmt;

use serde::Serialize;
use verbatim_argocd::{AppRef, Application, read_claim};
use verbatim_record::{Anchor, Chain, PromotedApplication, Verified};

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

/// The applications of the last promotion that are not among those of the environment, where the ledger cannot be asked: by
/// the claims on all applications of a server. Those that left it earlier name an earlier promotion.
pub(crate) fn missing_by_claims(
    environment: &str,
    last: Anchor,
    server: &str,
    listed: &[Application],
    seen: &[ObservedApp],
) -> Vec<MissingApp> {
    let last = last.to_string();
    let is_of_last = |app: &&Application| {
        let claim = read_claim(app, Some(environment));
        claim.known().is_some_and(|claim| claim.record.as_ref() == Some(&last))
    };
    let is_seen = |app: &Application| {
        seen.iter().any(|it| {
            let own = it.application.as_ref().ok().map(|it| &it.metadata.namespace);
            it.server_url == server
                && it.app.name == app.metadata.name
                && own.is_none_or(|own| *own == app.metadata.namespace)
        })
    };
    let gone = listed.iter().filter(is_of_last).filter(|app| !is_seen(app));
    gone.map(|app| MissingApp {
        name: app.metadata.name.clone(),
        namespace: Some(app.metadata.namespace.clone()).filter(|it| !it.is_empty()),
        server: server.to_owned(),
    })
    .collect()
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

    #[test]
    fn claims_tell_what_is_missing_where_no_ledger_can() {
        let anchor = |number: u32| format!("{number}@{}", verbatim_oci::Digest::of(b"r"));
        let listed = |name: &str, environment: &str, number: u32| -> Application {
            let claim = json!({
                "version": 1, "environment": environment, "nonce": "n", "state": "done", "release": "r",
                "at": "2026-01-01T00:00:00Z", "deadline": "2026-01-01T00:00:00Z", "source": "single",
                "changes": [], "record": anchor(number),
            });
            let annotation = verbatim_argocd::claim_annotation(Some(environment));
            serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": "argocd", "annotations": { annotation: claim.to_string() } },
            }))
            .unwrap()
        };
        let all = [
            listed("web", "shop/dev", 7),
            listed("lost", "shop/dev", 7),
            listed("left", "shop/dev", 6),
            listed("other", "shop/staging", 7),
        ];
        let here = [seen("web", None, Some("argocd"))];
        let found = missing_by_claims("shop/dev", anchor(7).parse().unwrap(), SERVER, &all, &here);
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["lost"]);
    }
}
