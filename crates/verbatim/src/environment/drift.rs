//! How an application stands to what was promoted: which override is gone or changed, and what runs that no record knows.
//! Pure. Not a proof: it looks at what Argo CD tells, and at no pod.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::{
    Application, ClaimOnApp, HealthStatus, SyncCode, digests, read_claim, shown,
};
use verbatim_oci::{Digest, Reference, Repository};
use verbatim_policy::LiveReading;
use verbatim_record::{Chain, Promotion, Verified};

use crate::config::App;
use crate::environment::applications::ObservedApp;
use crate::environment::missing::missing;
use crate::environment::target::target;
use crate::release::Release;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
pub(crate) enum Drift {
    /// A value is not there any more.
    Gone {
        key: String,
        promoted: String,
        /// When the application was made, if that was after the promotion: its overrides went with the one before it.
        #[serde(skip_serializing_if = "Option::is_none")]
        created_again: Option<Timestamp>,
    },
    /// A value is another one.
    Changed {
        key: String,
        promoted: String,
        found: String,
        /// The promotion of what is there; absent if no record of this environment knows it.
        #[serde(skip_serializing_if = "Option::is_none")]
        known_as: Option<u64>,
    },
    /// The values cannot be compared.
    Incomparable {
        why: String,
    },
    /// Live objects differ from the sources.
    NotSynced {
        sync: SyncCode,
    },
    NotHealthy {
        health: HealthStatus,
    },
    /// It was part of the last promotion, and is not part of the environment any more.
    Missing,
    /// Pods have an image of the release's repository that no record of this environment knows.
    Unrecorded {
        image: String,
    },
}

/// All differences between an application and the last promotion, whose release this is.
pub(crate) fn drift(
    app: &App,
    application: &Application,
    release: &Release,
    ledger: &Chain,
) -> Vec<Drift> {
    let mut drift = values(app, application, release, ledger);
    let (sync, health) = (application.status.sync.status, application.status.health.status);
    if sync != SyncCode::Synced {
        drift.push(Drift::NotSynced { sync });
    }
    if !matches!(health, HealthStatus::Healthy | HealthStatus::Suspended) {
        drift.push(Drift::NotHealthy { health });
    }
    for image in release.images().values() {
        drift.extend(unrecorded(application, &image.repository, ledger));
    }
    drift
}

/// Whether every application runs a release, as far as Argo CD tells: the judge that `status` has, so that what a gate says
/// of an environment is what people read of it.
pub(crate) fn live(seen: &[ObservedApp], release: &Release, ledger: &Chain) -> LiveReading {
    let gone = missing(ledger, seen);
    let mut differences: Vec<String> =
        gone.iter().map(|app| format!("{app}: {}", Drift::Missing)).collect();
    for ObservedApp { app, application, .. } in seen {
        let application = match application {
            Ok(application) => application,
            Err(error) => {
                return LiveReading::Unknown(format!("{}: {error}: {}", app.name, error.kind));
            }
        };
        let drift = drift(app, application, release, ledger);
        differences.extend(drift.iter().map(|what| format!("{}: {what}", app.name)));
    }
    match differences.as_slice() {
        [] => LiveReading::Running(release.digest),
        _ => LiveReading::Differs(differences.join("; ")),
    }
}

fn values(app: &App, application: &Application, release: &Release, ledger: &Chain) -> Vec<Drift> {
    let target = match target(app, release) {
        Ok(target) => target,
        Err(error) => return vec![Drift::Incomparable { why: error.to_string() }],
    };
    let plan = match verbatim_argocd::plan(&target.app, application, &target.values) {
        Ok(plan) => plan,
        Err(why) => {
            return why.iter().map(|why| Drift::Incomparable { why: why.to_string() }).collect();
        }
    };
    let created_again = created_again(app, application, ledger);
    let changed = plan.changes.iter().filter(|change| !change.is_noop());
    changed
        .map(|change| {
            let key = change.name();
            let promoted = change.shown_new();
            match &change.old {
                None => Drift::Gone { key, promoted, created_again },
                Some(old) => {
                    let found = change.told_old();
                    let known_as = digests(std::iter::once(shown(Some(old)).as_str()))
                        .first()
                        .and_then(|digest| promotion_of(ledger, digest))
                        .map(|promotion| promotion.chain.sequence);
                    Drift::Changed { key, promoted, found, known_as }
                }
            }
        })
        .collect()
}

/// When an application was made, if that was after the promotion. Kubernetes tells whole seconds; what was promoted in the
/// very second that it was made in has a claim.
fn created_again(app: &App, application: &Application, ledger: &Chain) -> Option<Timestamp> {
    let promoted_at = ledger.head()?.predicate().finished_at;
    let created = application.metadata.creation_timestamp?;
    let on_app = read_claim(application, Some(&app.environment));
    let is_unclaimed = on_app == ClaimOnApp::Absent;
    (is_unclaimed && created.as_second() >= promoted_at.as_second()).then_some(created)
}

/// Images of the pods that are of a repository, and that no promotion of the environment brought.
pub(crate) fn unrecorded(
    application: &Application,
    repository: &Repository,
    ledger: &Chain,
) -> Vec<Drift> {
    let images = application.status.summary.images.iter().filter(|image| {
        let Ok(reference) = image.parse::<Reference>() else { return false };
        let is_known =
            reference.digest.is_some_and(|digest| promotion_of(ledger, &digest).is_some());
        reference.repository == *repository && !is_known
    });
    images.map(|image| Drift::Unrecorded { image: image.clone() }).collect()
}

/// The last promotion of a release.
fn promotion_of<'a>(ledger: &'a Chain, digest: &Digest) -> Option<&'a Promotion> {
    let mut promotions = ledger.promotions().iter().rev().map(Verified::predicate);
    promotions.find(|promotion| promotion.release.includes(digest))
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { key, promoted, created_again: None } => {
                write!(f, "{key} is gone, was {promoted}")
            }
            Self::Gone { key, promoted, created_again: Some(at) } => {
                write!(
                    f,
                    "{key} is gone, was {promoted}: the application was re-created at {at:.0}"
                )
            }
            Self::Changed { key, promoted, found, known_as } => {
                write!(f, "{key} is {found}, was {promoted}")?;
                match known_as {
                    Some(number) => write!(f, " (from promotion {number})"),
                    None => write!(f, " (from no promotion)"),
                }
            }
            Self::Incomparable { why } => write!(f, "cannot be compared: {why}"),
            Self::NotSynced { sync } => write!(f, "is {sync:?}"),
            Self::NotHealthy { health } => write!(f, "is {health:?}"),
            Self::Missing => f.write_str(
                "was part of the last promotion, and is not part of the environment now",
            ),
            Self::Unrecorded { image } => write!(f, "runs {image}, which no promotion deployed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release() -> Release {
        Release::sample("r.example/app:2")
    }

    fn empty_ledger() -> Chain {
        Chain::verify(&"shop/dev".parse().unwrap(), [], &[])
    }

    #[track_caller]
    fn check(parameters: Value, sync: &str, images: &[&str], want: &[&str]) {
        let app = App::sample("web", &[("image.tag", "${tag}@${digest}")]);
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": parameters } } },
            "status": {
                "sync": { "status": sync }, "health": { "status": "Healthy" }, "sourceType": "Helm",
                "summary": { "images": images },
            },
        }));
        let application: Result<Application, verbatim_argocd::Error> = Ok(application.unwrap());
        let found = drift(&app, application.as_ref().unwrap(), &release(), &empty_ledger());
        let x = Digest::of(b"x").to_string();
        let told: Vec<String> = found.iter().map(|it| it.to_string().replace(&x, "X")).collect();
        assert_eq!(told, want);
        // A gate that asks whether the release still runs there gets the same answer.
        let seen = ObservedApp { app, server_url: String::new(), application };
        let live = live(&[seen], &release(), &empty_ledger());
        let want = match want {
            [] => LiveReading::Running(release().digest),
            _ => LiveReading::Differs(
                found.iter().map(|what| format!("web: {what}")).collect::<Vec<_>>().join("; "),
            ),
        };
        assert_eq!(live, want);
    }

    #[test]
    fn every_difference_is_told() {
        let value =
            |value: &str| json!([{ "name": "image.tag", "value": value, "forceString": true }]);
        let x = Digest::of(b"x");
        let good = value(&format!("2@{x}"));
        check(good.clone(), "Synced", &["envoy:1", "r.example/other:1"], &[]);
        check(json!([]), "Synced", &[], &["helm:image.tag is gone, was 2@X"]);
        check(
            value("9"),
            "OutOfSync",
            &[],
            &["helm:image.tag is 9, was 2@X (from no promotion)", "is OutOfSync"],
        );
        let forced = json!([{ "name": "image.tag", "value": good[0]["value"] }]);
        check(forced, "Synced", &[], &[]);
        check(
            good,
            "Synced",
            &["r.example/app:9"],
            &["runs r.example/app:9, which no promotion deployed"],
        );
    }
}
