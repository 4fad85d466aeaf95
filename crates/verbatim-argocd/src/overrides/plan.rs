//! The plan of a write to one application: what stands there, and what shall.

use serde::{Deserialize, Serialize};

use crate::api::request::AppRef;
use crate::model::SourceAt;
use crate::overrides::values::{ValueChange, same_element};

/// What would be written to one application, with the state that it was planned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppPlan {
    /// The application.
    pub app: AppRef,
    /// Its source.
    pub source: SourceAt,
    /// Repository and folder or chart of that source, for people.
    pub source_name: String,
    /// The values, old and new, in the order of their keys.
    pub changes: Vec<ValueChange>,
}

impl AppPlan {
    /// Whether all values stand there already.
    pub fn is_noop(&self) -> bool {
        self.changes.iter().all(ValueChange::is_noop)
    }

    /// How the world of `earlier` differs from the world of this plan; empty if a write by `earlier` means the same.
    pub fn differences(&self, earlier: &AppPlan) -> Vec<String> {
        let mut differences = Vec::new();
        if (self.source, &self.source_name) != (earlier.source, &earlier.source_name) {
            differences.push(format!("source {} was {}", self.source_name, earlier.source_name));
        }
        for change in &earlier.changes {
            let Some(now) = self.changes.iter().find(|now| now.key == change.key) else {
                differences.push(format!("{} is not written any more", change.key));
                continue;
            };
            let same_old = match (&now.old, &change.old) {
                (Some(now), Some(then)) => same_element(now, then),
                (now, then) => now == then,
            };
            if !same_old {
                let (now, then) = (now.shown_old(), change.shown_old());
                differences.push(format!("{} is {now}, was {then}", change.key));
            }
            if !same_element(&now.new, &change.new) {
                differences.push(format!("{} is to become {}", change.key, now.shown_new()));
            }
        }
        for now in &self.changes {
            if !earlier.changes.iter().any(|then| then.key == now.key) {
                differences.push(format!("{} is written, too", now.key));
            }
        }
        differences
    }
}
