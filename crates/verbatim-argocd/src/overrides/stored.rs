//! How plans and claims are written down. What goes into one source has the form that every version knows, and what goes into
//! several has one that older versions refuse. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::request::AppRef;
use crate::model::SourceAt;
use crate::overrides::claim::{Claim, ClaimState, PendingRecord};
use crate::overrides::key::OverrideKey;
use crate::overrides::plan::{AppPlan, PlannedSource};
use crate::overrides::values::ValueChange;

/// A value of a source that is named elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredChange {
    key: OverrideKey,
    old: Option<Value>,
    new: Value,
}

impl StoredChange {
    fn of(change: ValueChange) -> Self {
        Self { key: change.key, old: change.old, new: change.new }
    }

    fn at(self, source: SourceAt) -> ValueChange {
        ValueChange { source, key: self.key, old: self.old, new: self.new }
    }
}

/// The values of one source of several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSource {
    source: SourceAt,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_name: Option<String>,
    changes: Vec<StoredChange>,
}

impl StoredSource {
    fn changes(self) -> impl Iterator<Item = ValueChange> {
        let at = self.source;
        self.changes.into_iter().map(move |change| change.at(at))
    }
}

/// The sources of some changes, each once, in their order.
fn sources(changes: &[ValueChange]) -> Vec<SourceAt> {
    let mut all: Vec<SourceAt> = changes.iter().map(|change| change.source).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn of_source(changes: &[ValueChange], at: SourceAt) -> Vec<StoredChange> {
    let own = changes.iter().filter(|change| change.source == at);
    own.cloned().map(StoredChange::of).collect()
}

/// What is written down is of no form that is known here.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoredError {
    #[error("version {0} of claims is not known to this verbatim")]
    Version(u32),
    #[error("it must have either `source` and `changes`, or `sources`")]
    Form,
}

/// A plan in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredPlan {
    app: AppRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourceAt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<StoredChange>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<StoredSource>>,
}

impl From<AppPlan> for StoredPlan {
    fn from(plan: AppPlan) -> Self {
        let AppPlan { app, sources, changes } = plan;
        let own = |it: PlannedSource| StoredSource {
            source: it.at,
            source_name: Some(it.name),
            changes: of_source(&changes, it.at),
        };
        let sources: Vec<StoredSource> = sources.into_iter().map(own).collect();
        if sources.len() > 1 {
            let sources = Some(sources);
            return Self { app, source: None, source_name: None, changes: None, sources };
        }
        let only = sources.into_iter().next().unwrap_or_else(|| StoredSource {
            source: SourceAt::Single,
            source_name: Some(String::new()),
            changes: of_source(&changes, SourceAt::Single),
        });
        Self {
            app,
            source: Some(only.source),
            source_name: only.source_name,
            changes: Some(only.changes),
            sources: None,
        }
    }
}

impl TryFrom<StoredPlan> for AppPlan {
    type Error = StoredError;

    fn try_from(stored: StoredPlan) -> Result<Self, StoredError> {
        let StoredPlan { app, source, source_name, changes, sources } = stored;
        let all = match (source, changes, sources) {
            (Some(source), Some(changes), None) => {
                vec![StoredSource { source, source_name, changes }]
            }
            (None, None, Some(sources)) if source_name.is_none() => sources,
            _ => return Err(StoredError::Form),
        };
        let name = |it: &StoredSource| PlannedSource {
            at: it.source,
            name: it.source_name.clone().unwrap_or_default(),
        };
        Ok(Self {
            app,
            sources: all.iter().map(name).collect(),
            changes: all.into_iter().flat_map(StoredSource::changes).collect(),
        })
    }
}

/// A claim in its annotation. A field that only a later version writes does not matter here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredClaim {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    nonce: String,
    state: ClaimState,
    release: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    at: Timestamp,
    deadline: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourceAt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<StoredChange>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<StoredSource>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<PendingRecord>,
}

/// The values of one source.
const ONE_SOURCE: u32 = 1;

/// The values of several.
const SOURCES: u32 = 2;

impl From<Claim> for StoredClaim {
    fn from(claim: Claim) -> Self {
        let Claim { environment, nonce, state, release, by, at, deadline, changes, record, kept } =
            claim;
        let (version, source, flat, sources) = match sources(&changes).as_slice() {
            one @ ([] | [_]) => {
                let at = one.first().copied().unwrap_or(SourceAt::Single);
                (ONE_SOURCE, Some(at), Some(of_source(&changes, at)), None)
            }
            several => {
                let own = |at: &SourceAt| StoredSource {
                    source: *at,
                    source_name: None,
                    changes: of_source(&changes, *at),
                };
                (SOURCES, None, None, Some(several.iter().map(own).collect()))
            }
        };
        let changes = flat;
        Self {
            version,
            environment,
            nonce,
            state,
            release,
            by,
            at,
            deadline,
            source,
            changes,
            sources,
            record,
            kept,
        }
    }
}

impl TryFrom<StoredClaim> for Claim {
    type Error = StoredError;

    fn try_from(stored: StoredClaim) -> Result<Self, StoredError> {
        let StoredClaim { version, environment, nonce, state, release, by, at, deadline, .. } =
            stored;
        let StoredClaim { source, changes, sources, record, kept, .. } = stored;
        let changes = match (version, source, changes, sources) {
            (ONE_SOURCE, Some(source), Some(changes), None) => {
                changes.into_iter().map(|change| change.at(source)).collect()
            }
            (SOURCES, None, None, Some(sources)) => {
                sources.into_iter().flat_map(StoredSource::changes).collect()
            }
            (ONE_SOURCE | SOURCES, ..) => return Err(StoredError::Form),
            (version, ..) => return Err(StoredError::Version(version)),
        };
        Ok(Self { environment, nonce, state, release, by, at, deadline, changes, record, kept })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(source: SourceAt, old: Option<&str>) -> ValueChange {
        let element = |value: &str| json!({ "name": "tag", "value": value });
        let key = OverrideKey::Helm("tag".into());
        ValueChange { source, key, old: old.map(element), new: element("2") }
    }

    /// As 0.1.0 wrote it.
    fn first_claim() -> Value {
        json!({
            "version": 1, "environment": "shop/dev", "nonce": "n", "state": "open", "release": "r",
            "at": "2026-11-24T10:00:00Z", "deadline": "2026-11-24T10:10:00Z", "source": { "index": 1 },
            "changes": [{ "key": "helm:tag", "old": null, "new": { "name": "tag", "value": "2" } }],
        })
    }

    #[test]
    fn what_goes_into_one_source_is_written_as_ever() {
        let first = first_claim();
        let claim: Claim = serde_json::from_value(first.clone()).unwrap();
        assert_eq!(claim.changes, [change(SourceAt::Index(1), None)]);
        assert_eq!(serde_json::to_value(&claim).unwrap(), first);
        let plan = json!({
            "app": { "name": "a" }, "source": "single", "source_name": "r c",
            "changes": [{ "key": "helm:tag", "old": null, "new": { "name": "tag", "value": "2" } }],
        });
        let read: AppPlan = serde_json::from_value(plan.clone()).unwrap();
        assert_eq!(read.changes, [change(SourceAt::Single, None)]);
        let written = serde_json::to_value(&read).unwrap();
        let members = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&written), members(&plan));
        assert_eq!(written["changes"], plan["changes"]);
    }

    #[test]
    fn what_goes_into_several_sources_has_a_form_of_its_own() {
        let changes = vec![change(SourceAt::Index(0), Some("1")), change(SourceAt::Index(2), None)];
        let first: Claim = serde_json::from_value(first_claim()).unwrap();
        let claim = Claim { changes: changes.clone(), ..first };
        let written = serde_json::to_value(&claim).unwrap();
        assert_eq!(written["version"], 2);
        // What 0.1.0 requires of a claim is not there, so that it refuses this one.
        assert!(written.get("source").is_none() && written.get("changes").is_none());
        assert_eq!(written["sources"][1]["source"], json!({ "index": 2 }));
        assert_eq!(serde_json::from_value::<Claim>(written).unwrap(), claim);
        let name = |at| PlannedSource { at, name: "r c".into() };
        let sources = vec![name(SourceAt::Index(0)), name(SourceAt::Index(2))];
        let plan = AppPlan { app: AppRef::new("a"), sources, changes };
        let written = serde_json::to_value(&plan).unwrap();
        assert!(written.get("source").is_none() && written.get("changes").is_none());
        assert_eq!(written["sources"][0]["source_name"], "r c");
        assert_eq!(serde_json::from_value::<AppPlan>(written).unwrap(), plan);
    }

    #[test]
    fn no_other_form_is_read() {
        let with = |edits: &[(&str, Value)]| {
            let mut claim = first_claim();
            for (member, value) in edits {
                claim[*member] = value.clone();
            }
            claim
        };
        let sources = json!([{ "source": "single", "changes": [] }]);
        let cases = [
            with(&[("version", json!(3))]),
            with(&[("version", json!(2))]),
            with(&[("sources", sources.clone())]),
            with(&[("version", json!(2)), ("sources", sources)]),
            with(&[("changes", Value::Null)]),
        ];
        for case in cases {
            assert!(serde_json::from_value::<Claim>(case.clone()).is_err(), "{case}");
        }
    }
}
