//! What runs in an environment beside its tests: whether it is the release, before the first suite and after the last. A test
//! of something else would be signed as one of the release. Pure.

use jiff::Timestamp;
use thiserror::Error;
use verbatim_argocd::Application;
use verbatim_oci::Reference;
use verbatim_policy::LiveReading;
use verbatim_record::{Chain, SeenApplication};

use crate::environment::applications::ObservedApp;
use crate::environment::claims::{Phase, attempts};
use crate::environment::drift;
use crate::release::Release;

/// Why a test would say nothing about the release.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum NotLive {
    /// Something else is there, by the judge that `status` has.
    #[error("{0}")]
    Differs(String),
    #[error("{0}")]
    Unknown(String),
    /// A promotion is at work.
    #[error("{0}")]
    Unfinished(String),
}

/// The applications of an environment, if all of them run the release and nobody is at work on them.
pub(super) fn look(
    seen: &[ObservedApp],
    release: &Release,
    ledger: &Chain,
    now: Timestamp,
) -> Result<Vec<SeenApplication>, NotLive> {
    let readable = seen.iter().filter_map(|it| Some((&it.app, it.application.as_ref().ok()?)));
    let attempts = attempts(readable, now);
    if let Some(open) = attempts.iter().find(|attempt| attempt.state.phase != Phase::Failed) {
        return Err(NotLive::Unfinished(open.to_string()));
    }
    match drift::live(seen, release, ledger) {
        LiveReading::Running(_) => {
            Ok(seen.iter().filter_map(|it| described(it, release)).collect())
        }
        LiveReading::Differs(what) => Err(NotLive::Differs(what)),
        LiveReading::Unknown(why) => Err(NotLive::Unknown(why)),
    }
}

fn described(seen: &ObservedApp, release: &Release) -> Option<SeenApplication> {
    let ObservedApp { app, server_url, application } = seen;
    let Application { status, .. } = application.as_ref().ok()?;
    let is_ours = |image: &&String| {
        let Ok(reference) = image.parse::<Reference>() else { return false };
        release.images().values().any(|image| image.repository == reference.repository)
    };
    Some(SeenApplication {
        name: app.name.clone(),
        namespace: app.namespace.clone(),
        server: server_url.clone(),
        operation: status.operation_state.as_ref().and_then(|operation| operation.started_at),
        deployment: status.history.iter().map(|entry| entry.id).max(),
        images: status.summary.images.iter().filter(is_ours).cloned().collect(),
    })
}

/// What happened to the applications between two looks, in words. Another operation may have had anything running for a
/// while, whatever is there now. Pods of jobs come and go, so their images are no difference.
pub(super) fn difference(before: &[SeenApplication], after: &[SeenApplication]) -> Option<String> {
    let at = |it: &SeenApplication| (it.operation, it.deployment);
    before.iter().find_map(|then| {
        let is_it = |it: &&SeenApplication| {
            (&it.name, &it.namespace, &it.server) == (&then.name, &then.namespace, &then.server)
        };
        match after.iter().find(is_it) {
            None => Some(format!("{}: it is not part of the environment any more", then.name)),
            Some(now) if at(now) != at(then) => Some(match now.operation {
                Some(began) => format!("{}: an operation began at {began:.0}", then.name),
                None => format!("{}: its last operation is gone", then.name),
            }),
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use verbatim_argocd::claim_annotation;
    use verbatim_oci::Digest;

    use super::*;
    use crate::config::App;

    const NOW: &str = "2026-11-28T10:00:00Z";

    /// An application with this value of the digest, and a claim in this state.
    fn seen(value: &str, sync: &str, claim: Option<&str>) -> ObservedApp {
        let element = json!({ "name": "image.digest", "value": value, "forceString": true });
        let claim = claim.map(|state| {
            json!({
                "version": 1, "environment": "shop/dev", "nonce": "n", "state": state, "release": "r2", "by": "ci", "source": "single",
                "at": "2026-11-28T09:50:00Z", "deadline": "2026-11-28T10:05:00Z",
                "changes": [{ "key": "helm:image.digest", "old": null, "new": element }],
            })
        });
        let name = claim_annotation(Some("shop/dev"));
        let annotations = claim.map(|claim| json!({ name: claim.to_string() }));
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": annotations },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [element] } } },
            "status": {
                "sync": { "status": sync }, "health": { "status": "Healthy" }, "sourceType": "Helm",
                "operationState": { "phase": "Succeeded", "startedAt": "2026-11-28T09:00:00Z" },
                "history": [{ "id": 3 }, { "id": 4 }],
                "summary": { "images": ["envoy:1"] },
            },
        }));
        let app = App::sample("web", &[("image.digest", "${digest}")]);
        ObservedApp {
            app,
            server_url: "https://a.example/".to_owned(),
            application: Ok(application.unwrap()),
        }
    }

    #[test]
    fn only_what_runs_the_release_is_tested() {
        let x = Digest::of(b"x").to_string();
        let unfinished = "a promotion of r2 by ci, started at 2026-11-28T09:50:00Z, has until 2026-11-28T10:05:00Z (web)";
        let changed = format!("web: helm:image.digest is y, was {x} (from no promotion)");
        let cases = [
            (seen(&x, "Synced", None), Ok(())),
            (seen(&x, "Synced", Some("done")), Ok(())),
            // It ended without a proof, and its release is the one that is there.
            (seen(&x, "Synced", Some("failed")), Ok(())),
            (seen("y", "Synced", None), Err(NotLive::Differs(changed))),
            (seen(&x, "OutOfSync", None), Err(NotLive::Differs("web: is OutOfSync".to_owned()))),
            (seen(&x, "Synced", Some("open")), Err(NotLive::Unfinished(unfinished.to_owned()))),
        ];
        let release = Release::sample("r.example/app:1");
        let ledger = Chain::verify(&"shop/dev".parse().unwrap(), [], &[]);
        for (app, want) in cases {
            let got = look(&[app], &release, &ledger, NOW.parse().unwrap());
            if let Ok(seen) = &got {
                assert_eq!((seen[0].deployment, seen[0].images.len()), (Some(4), 0), "{seen:?}");
            }
            assert_eq!(got.map(drop), want);
        }
    }

    #[test]
    fn another_operation_is_a_difference() {
        let app = |operation: Option<&str>, deployment| SeenApplication {
            name: "web".to_owned(),
            namespace: None,
            server: "https://a.example/".to_owned(),
            operation: operation.map(|at| at.parse().unwrap()),
            deployment,
            images: Vec::new(),
        };
        let then = Some("2026-11-28T09:00:00Z");
        let cases = [
            (vec![app(then, Some(4))], None),
            (
                vec![app(Some(NOW), Some(4))],
                Some("web: an operation began at 2026-11-28T10:00:00Z"),
            ),
            // In the same second.
            (vec![app(then, Some(5))], Some("web: an operation began at 2026-11-28T09:00:00Z")),
            (vec![app(None, Some(4))], Some("web: its last operation is gone")),
            (vec![], Some("web: it is not part of the environment any more")),
            (
                vec![SeenApplication {
                    images: vec!["r.example/app:1".to_owned()],
                    ..app(then, Some(4))
                }],
                None,
            ),
        ];
        for (after, want) in cases {
            let got = difference(&[app(then, Some(4))], &after);
            assert_eq!(got.as_deref(), want, "{after:?}");
        }
    }
}
