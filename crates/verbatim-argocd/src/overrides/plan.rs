//! The plan of a write to one application: what stands there, and what shall.

use serde::{Deserialize, Serialize};

use crate::api::request::AppRef;
use crate::model::{Application, SourceAt};
use crate::overrides::stored::StoredPlan;
use crate::overrides::values::{ValueChange, same_element};

/// What would be written to one application, with the state that it was planned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredPlan", into = "StoredPlan")]
pub struct AppPlan {
    /// The application.
    pub app: AppRef,
    /// Those of its sources that are written to, in their order.
    pub sources: Vec<PlannedSource>,
    /// The values, old and new, in the order of their sources and keys.
    pub changes: Vec<ValueChange>,
}

/// A source that a plan writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSource {
    /// Where it stands in the application.
    pub at: SourceAt,
    /// Its repository and folder or chart, for people.
    pub name: String,
}

impl AppPlan {
    /// Whether all values stand there already.
    pub fn is_noop(&self) -> bool {
        self.changes.iter().all(ValueChange::is_noop)
    }

    /// Adds changes, perhaps of further sources of the application.
    pub(crate) fn extend(&mut self, app: &Application, changes: Vec<ValueChange>) {
        for change in &changes {
            self.add_source(app, change.source);
        }
        self.changes.extend(changes);
    }

    /// Notes that a source is written to.
    pub(crate) fn add_source(&mut self, app: &Application, at: SourceAt) {
        let known = self.sources.binary_search_by_key(&at, |source| source.at);
        let (Err(place), Some(source)) = (known, app.spec.sources().get(at)) else { return };
        let all = app.spec.sources().iter().map(|(_, source)| source);
        self.sources.insert(place, PlannedSource { at, name: source.describe_among(all) });
    }

    /// How the world of `earlier` differs from the world of this plan; empty if a write by `earlier` means the same.
    pub fn differences(&self, earlier: &AppPlan) -> Vec<String> {
        let mut differences = Vec::new();
        if self.sources != earlier.sources {
            let names = |plan: &AppPlan| {
                let names: Vec<&str> = plan.sources.iter().map(|it| it.name.as_str()).collect();
                names.join(" and ")
            };
            differences.push(format!("source {} was {}", names(self), names(earlier)));
        }
        for change in &earlier.changes {
            let Some(now) = self.changes.iter().find(|now| now.is_of_same_value(change)) else {
                differences.push(format!("{} is not written any more", change.name()));
                continue;
            };
            let same_old = match (&now.old, &change.old) {
                (Some(now), Some(then)) => same_element(now, then),
                (now, then) => now == then,
            };
            let name = change.name();
            if !same_old {
                let (now, then) = (now.shown_old(), change.shown_old());
                differences.push(format!("{name} is {now}, was {then}"));
            }
            if !same_element(&now.new, &change.new) {
                differences.push(format!("{name} is to become {}", now.shown_new()));
            }
        }
        for now in &self.changes {
            if !earlier.changes.iter().any(|then| then.is_of_same_value(now)) {
                differences.push(format!("{} is written, too", now.name()));
            }
        }
        differences
    }
}
