//! How an environment stands to its ledger: as it says, otherwise, or amid a promotion. Pure.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::Application;
use verbatim_oci::Repository;
use verbatim_record::Chain;

use crate::config::App;
use crate::environment::claims::{Attempt, Unrecorded, attempts, unrecorded};
use crate::environment::drift::{self, Drift};
use crate::environment::missing::MissingApp;
use crate::release::Release;

/// How live state stands to the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "kebab-case")]
pub(crate) enum EnvironmentState {
    Running,
    /// Nothing was ever promoted there.
    Empty,
    /// A promotion has not come to its end.
    Unfinished(String),
    /// A promotion was proven, and the ledger lacks its record.
    Unrecorded(String),
    /// Otherwise than the ledger says.
    Drift(String),
    /// The ledger is not a chain that can be relied on.
    LedgerBroken(String),
    /// It could not be found out.
    Unknown(String),
}

/// What the applications of an environment say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// All of it in a word.
    pub state: EnvironmentState,
    /// The promotions that have not come to their end.
    pub unfinished: Vec<Attempt>,
    /// The promotions that the ledger lacks.
    pub unrecorded: Vec<Unrecorded>,
    pub drift: BTreeMap<String, Vec<Drift>>,
}

/// What is to be there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'a> {
    /// The release that was promoted last.
    Release(&'a Release),
    /// Nothing was promoted, so no image of these repositories is expected.
    Nothing(&'a [&'a Repository]),
}

/// Judges the applications of an environment by its ledger, and those that are `missing`. A promotion without an end explains why an application is
/// otherwise, and so does one without a record; on one that is as it is to be, only its claim was left open, and the next
/// promotion closes that.
pub(crate) fn standing(
    seen: &[(&App, &Application)],
    missing: &[MissingApp],
    expected: Expected<'_>,
    ledger: &Chain,
    now: Timestamp,
) -> Standing {
    let mut drift = BTreeMap::new();
    for (app, application) in seen {
        let found: Vec<Drift> = match expected {
            Expected::Release(release) => drift::drift(app, application, release, ledger),
            Expected::Nothing(repositories) => repositories
                .iter()
                .flat_map(|repository| drift::unrecorded(application, repository, ledger))
                .collect(),
        };
        if !found.is_empty() {
            drift.insert(app.name.clone(), found);
        }
    }
    drift.extend(missing.iter().map(|app| (app.to_string(), vec![Drift::Missing])));
    let is_news = |app: &App| match expected {
        Expected::Release(_) => drift.contains_key(&app.name),
        Expected::Nothing(_) => true,
    };
    let touched = seen.iter().filter(|(app, _)| is_news(app));
    let unfinished = attempts(touched.copied(), now);
    let promoted = match expected {
        Expected::Release(release) => Some(release),
        Expected::Nothing(_) => None,
    };
    let unrecorded = unrecorded(seen.iter().copied(), promoted, ledger);
    let explained: Vec<&String> = unfinished
        .iter()
        .flat_map(|it| &it.applications)
        .chain(unrecorded.iter().flat_map(|it| &it.applications))
        .collect();
    let differences = drift
        .iter()
        .filter(|(app, _)| !explained.contains(app))
        .flat_map(|(app, found)| found.iter().map(move |what| format!("{app}: {what}")));
    let told: Vec<String> = unfinished
        .iter()
        .map(ToString::to_string)
        .chain(unrecorded.iter().map(ToString::to_string))
        .chain(differences)
        .collect();
    let state = match expected {
        _ if !unfinished.is_empty() => EnvironmentState::Unfinished(told.join("; ")),
        _ if !unrecorded.is_empty() => EnvironmentState::Unrecorded(told.join("; ")),
        _ if !told.is_empty() => EnvironmentState::Drift(told.join("; ")),
        Expected::Release(_) => EnvironmentState::Running,
        Expected::Nothing(_) => EnvironmentState::Empty,
    };
    Standing { state, unfinished, unrecorded, drift }
}

impl fmt::Display for EnvironmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Empty => f.write_str("nothing promoted yet"),
            Self::Unfinished(what) => write!(f, "unfinished: {what}"),
            Self::Unrecorded(what) => write!(f, "unrecorded: {what}"),
            Self::Drift(what) => write!(f, "drift: {what}"),
            Self::LedgerBroken(what) => write!(f, "ledger broken: {what}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use verbatim_argocd::claim_annotation;
    use verbatim_oci::Digest;

    use super::*;

    const NOW: &str = "2026-11-28T10:00:00Z";

    fn app(name: &str) -> App {
        App::sample(name, &[("image.digest", "${digest}")])
    }

    /// An application with this value of the digest, and a claim in this state on writing that value, if it has one. One that
    /// is `kept` is done without a record.
    fn application(found: &str, claimed: Option<&str>) -> Application {
        let element =
            |value: &str| json!({ "name": "image.digest", "value": value, "forceString": true });
        let claim = claimed.map(|state| {
            let kept = (state == "kept").then(|| json!({ "record": Digest::of(b"record") }));
            let state = if state == "kept" { "done" } else { state };
            json!({
                "version": 1, "environment": "shop/dev", "nonce": "n", "state": state, "kept": kept, "release": "r2", "by": "ci", "source": "single",
                "at": "2026-11-28T09:50:00Z", "deadline": "2026-11-28T10:05:00Z",
                "changes": [{ "key": "helm:image.digest", "old": null, "new": element(found) }],
            })
        });
        let name = claim_annotation(Some("shop/dev"));
        let annotations = claim.map(|claim| json!({ name: claim.to_string() }));
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": annotations },
            "spec": { "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [element(found)] } } },
            "status": {
                "sync": { "status": "Synced" }, "health": { "status": "Healthy" }, "sourceType": "Helm",
                "summary": { "images": ["r.example/app:9"] },
            },
        }));
        application.unwrap()
    }

    #[test]
    fn a_promotion_without_an_end_is_told_before_drift() {
        let x = Digest::of(b"x").to_string();
        let begun = "a promotion of r2 by ci, started at 2026-11-28T09:50:00Z, has until 2026-11-28T10:05:00Z (web)";
        let lacks = "a promotion of r2 by ci, started at 2026-11-28T09:50:00Z, was proven but is missing from the ledger (web)";
        let lacks_db = &lacks.replace("(web)", "(db)");
        let changed =
            |app: &str| format!("{app}: helm:image.digest is y, was {x} (from no promotion)");
        let is = |state: fn(String) -> EnvironmentState, parts: &[&str]| state(parts.join("; "));
        let foreign =
            |app: &str| format!("{app}: runs r.example/app:9, which no promotion deployed");
        let cases = [
            // Of each application: what is there, and the state of its claim.
            ([("y", Some("open")), (x.as_str(), None)], is(EnvironmentState::Unfinished, &[begun])),
            (
                [("y", Some("open")), ("y", None)],
                is(EnvironmentState::Unfinished, &[begun, &changed("db")]),
            ),
            ([("y", Some("done")), (&x, None)], is(EnvironmentState::Drift, &[&changed("web")])),
            ([("y", Some("kept")), (&x, None)], is(EnvironmentState::Unrecorded, &[lacks])),
            (
                [("y", Some("kept")), ("y", None)],
                is(EnvironmentState::Unrecorded, &[lacks, &changed("db")]),
            ),
            (
                [("y", Some("open")), ("y", Some("kept"))],
                is(EnvironmentState::Unfinished, &[begun, lacks_db]),
            ),
            // The ledger has the values of the release, whatever was kept of them.
            ([(&x, Some("kept")), (&x, None)], EnvironmentState::Running),
            // The values of the last promotion stand, and only its claim was left.
            ([(&x, Some("open")), (&x, None)], EnvironmentState::Running),
        ];
        let release = Release::sample("r.example/other");
        let ledger = Chain::verify(&"shop/dev".parse().unwrap(), [], &[]);
        for ([web, db], want) in cases {
            let (web, db) = (application(web.0, web.1), application(db.0, db.1));
            let (web_app, db_app) = (app("web"), app("db"));
            let seen = [(&web_app, &web), (&db_app, &db)];
            let expected = Expected::Release(&release);
            let got = standing(&seen, &[], expected, &ledger, NOW.parse().unwrap());
            assert_eq!(got.state, want);
            assert_eq!(got.unfinished.is_empty(), !matches!(want, EnvironmentState::Unfinished(_)));
        }
        let repositories = ["r.example/app", "r.example/other"].map(|it| it.parse().unwrap());
        let [ours, other] = &repositories;
        for (claimed, repositories, want) in [
            (Some("open"), &[other][..], is(EnvironmentState::Unfinished, &[begun])),
            (Some("kept"), &[ours], is(EnvironmentState::Unrecorded, &[lacks])),
            (None, &[other], EnvironmentState::Empty),
            (None, &[ours], is(EnvironmentState::Drift, &[&foreign("web")])),
        ] {
            let web = application("y", claimed);
            let expected = Expected::Nothing(repositories);
            let got =
                standing(&[(&app("web"), &web)], &[], expected, &ledger, NOW.parse().unwrap());
            assert_eq!(got.state, want);
        }
    }
}
