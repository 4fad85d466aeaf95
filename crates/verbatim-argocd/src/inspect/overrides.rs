//! What overrides the sources of an application, what git says in its place, and who put it there. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::request::AppRef;
use crate::judge::owner::owning_set;
use crate::model::{Application, Info, SourceAt};
use crate::overrides::claim::{Claim, ClaimState, read_claims};
use crate::overrides::key::OverrideKey;
use crate::overrides::secret::is_secret;
use crate::overrides::values::{ValueChange, holds, shown, stored};

/// An override as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StandingOverride {
    pub app: AppRef,
    pub source: SourceAt,
    /// Repository and folder or chart.
    pub source_name: String,
    pub key: OverrideKey,
    /// Left out if the name of the key says that it is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub git: GitValue,
    /// Whose claim names this value; absent if no claim does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by: Option<Author>,
    /// The ApplicationSet that owns the application. The override may be that of its template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owning_set: Option<String>,
}

/// What would be there without the override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum GitValue {
    Known {
        /// Of the chart and the files of values that the application names.
        value: String,
    },
    /// The chart does not list it.
    Unlisted,
    Unknown {
        why: String,
    },
}

/// The run that wrote a value, by its claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Author {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The release that it wrote.
    pub reference: String,
    /// Who: the URL of the CI run, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: Timestamp,
    pub state: ClaimState,
    /// The place in the ledger, once the record is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion: Option<LedgerPlace>,
}

/// A place in a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LedgerPlace {
    pub number: u64,
    /// The digest of the record.
    pub record: String,
}

/// The overrides of an application, without what git says.
pub(crate) fn standing(reference: &AppRef, app: &Application) -> Vec<StandingOverride> {
    let claims = read_claims(app);
    let mut all = Vec::new();
    for (at, source) in app.spec.sources().iter() {
        for (key, element) in stored(source).into_iter().filter(|(key, _)| key.is_override()) {
            let wrote_it = |claim: &&Claim| {
                let wrote = |change: &ValueChange| {
                    (change.source, &change.key) == (at, &key) && holds(element, &change.new)
                };
                claim.state != ClaimState::Undone && claim.changes.iter().any(wrote)
            };
            let why = "Argo CD tells it of Helm parameters only".to_owned();
            all.push(StandingOverride {
                app: reference.clone(),
                source: at,
                source_name: source.describe(),
                set_by: claims.iter().find(wrote_it).map(Author::of),
                value: (!is_secret(&key, element)).then(|| shown(Some(element))),
                git: GitValue::Unknown { why },
                owning_set: owning_set(app).map(str::to_owned),
                key,
            });
        }
    }
    all
}

impl StandingOverride {
    /// Whether Argo CD can be asked what git says.
    pub(crate) fn is_of_chart(&self) -> bool {
        matches!(self.key, OverrideKey::Helm(_))
    }

    /// Notes what the chart of its source says.
    pub(crate) fn compare(&mut self, chart: &Result<Vec<Info>, String>) {
        let OverrideKey::Helm(name) = &self.key else { return };
        self.git = match chart {
            Err(why) => GitValue::Unknown { why: why.clone() },
            Ok(known) => match known.iter().find(|known| known.name == *name) {
                Some(known) if self.value.is_some() => {
                    GitValue::Known { value: known.value.clone() }
                }
                Some(_) => {
                    GitValue::Unknown { why: "its name says that it is a secret".to_owned() }
                }
                None => GitValue::Unlisted,
            },
        };
    }
}

impl Author {
    fn of(claim: &Claim) -> Self {
        let place = |text: &String| {
            let (number, record) = text.split_once('@')?;
            Some(LedgerPlace { number: number.parse().ok()?, record: record.to_owned() })
        };
        // Until a run is proven, its claim carries on the place of the promotion before it.
        let proven = claim.record.as_ref().filter(|_| claim.state == ClaimState::Done);
        Self {
            environment: claim.environment.clone(),
            reference: claim.release.clone(),
            by: claim.by.clone(),
            since: claim.at,
            state: claim.state,
            promotion: proven.and_then(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::overrides::claim::claim_annotation;

    fn tag(value: &str) -> Value {
        json!({ "name": "image.tag", "value": value, "forceString": true })
    }

    /// An application whose tag is 2, with the claim of a run that wrote `wrote`.
    fn app(state: &str, source: &str, wrote: &str) -> Application {
        let claim = json!({
            "version": 1, "environment": "shop/dev", "nonce": "n", "state": state, "by": "ci", "source": source,
            "release": "r", "at": "2026-11-28T09:50:00Z", "deadline": "2026-11-28T10:00:00Z", "record": "7@sha256:aa",
            "changes": [{ "key": "helm:image.tag", "old": tag("1"), "new": tag(wrote) }],
        });
        let name = claim_annotation(Some("shop/dev"));
        serde_json::from_value(json!({
            "metadata": { "name": "a", "annotations": { name: claim.to_string() } },
            "spec": { "source": {
                "repoURL": "r", "path": "c", "targetRevision": "main",
                "helm": { "valueFiles": ["v.yaml"], "parameters": [tag("2"), { "name": "dbPassword", "value": "x" }], "values": "a: 1" },
            } },
        }))
        .unwrap()
    }

    #[test]
    fn whose_an_override_is() {
        // The state of the claim, its source, what it wrote; whether it is theirs, and whether a record proves it.
        let cases = [
            ("done", "single", "2", Some(true)),
            ("failed", "single", "2", Some(false)),
            ("open", "single", "2", Some(false)),
            ("written", "single", "2", Some(false)),
            // Somebody wrote over it, or it was taken back and written again by hand.
            ("done", "single", "3", None),
            ("undone", "single", "2", None),
        ];
        for (state, source, wrote, want) in cases {
            let all = standing(&AppRef::new("a"), &app(state, source, wrote));
            let keys: Vec<String> = all.iter().map(|one| one.key.to_string()).collect();
            assert_eq!(keys, ["helm:image.tag", "helm:dbPassword", "field:helm.values"]);
            let by = all[0].set_by.as_ref().map(|by| by.promotion.is_some());
            assert_eq!(by, want, "{state} {source} {wrote}");
            assert!(all[1].set_by.is_none() && all[1].value.is_none());
        }
    }

    #[test]
    fn what_the_chart_says_in_its_place() {
        let mut all = standing(&AppRef::new("a"), &app("done", "single", "2"));
        let chart = ["image.tag", "dbPassword"]
            .map(|name| Info { name: name.to_owned(), value: "latest".to_owned() });
        let mut told = |chart: &Result<Vec<Info>, String>| {
            all.iter_mut().for_each(|one| one.compare(chart));
            all.iter().map(|one| serde_json::to_value(&one.git).unwrap()).collect::<Vec<_>>()
        };
        let known = told(&Ok(chart.into()));
        assert_eq!(known[0], json!({ "state": "known", "value": "latest" }));
        assert_eq!(known[1]["state"], "unknown");
        assert_eq!(known[2]["state"], "unknown");
        assert_eq!(told(&Ok(Vec::new()))[0], json!({ "state": "unlisted" }));
        assert_eq!(told(&Err("403".into()))[0], json!({ "state": "unknown", "why": "403" }));
    }
}
