//! A plan that is kept in a file, to be looked at, approved and applied later.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::MAX_CLOCK_SKEW;

use crate::project::files;
use crate::promotion::plan::PromotionPlan;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// The version of this file: 1, or 2 if an application is written to in several sources.
    pub schema_version: u32,
    /// The hash of the plan, by which it is approved.
    pub hash: Digest,
    pub plan: PromotionPlan,
}

/// The version of plans that every verbatim reads.
const VERSION: u32 = 1;

/// The version of plans that say what 0.1.0 does not know.
const LATER: u32 = 2;

/// The version that a plan is written in.
fn version(plan: &PromotionPlan) -> u32 {
    let is_first = plan.apps.iter().all(|app| app.plan.sources.len() < 2);
    if is_first { VERSION } else { LATER }
}

/// How long a plan can be applied: over a weekend and a holiday. What it was made from, and who looked at it, is of no worth
/// for ever.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl SavedPlan {
    /// A plan to be kept.
    pub(crate) fn new(plan: PromotionPlan) -> Self {
        Self { schema_version: version(&plan), hash: plan.hash(), plan }
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(ExitStatus::Defect, error))?;
        files::replace(file, &format!("{text}\n")).map_err(Failure::usage)
    }

    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(error).context(format!("cannot read {}", file.display()))
        })?;
        Self::parse(&text).map_err(|error| {
            Failure::usage(error)
                .context(format!("{} holds no plan that can be applied", file.display()))
        })
    }

    /// Refuses a plan that lay around for too long, or that claims to come from the future.
    pub(crate) fn check_age(&self, now: Timestamp) -> Result<(), Failure> {
        let (made_at, age) = (self.plan.made_at, now.duration_since(self.plan.made_at));
        let why = if age > MAX_AGE {
            format!("it was made at {made_at:.0}; it counts for {} days", MAX_AGE.as_hours() / 24)
        } else if -age > MAX_CLOCK_SKEW {
            format!("it was made at {made_at:.0}, which is in the future; it is {now:.0} here")
        } else {
            return Ok(());
        };
        Err(Failure::new(ExitStatus::No, format!("the plan does not count: {why}"))
            .hint("make a new plan: verbatim plan"))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, PlanFileError> {
        let saved: Self = serde_json::from_str(text)?;
        if saved.schema_version != version(&saved.plan) {
            return Err(PlanFileError::Version(saved.schema_version));
        }
        let hash = saved.plan.hash();
        if saved.hash != hash {
            return Err(PlanFileError::Changed { was: saved.hash, is: hash });
        }
        Ok(saved)
    }
}

/// Why a text is no saved plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFileError {
    /// Not the JSON of a plan; with line and column.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Written by another version of this program.
    #[error("version {0} of plans is not known to this verbatim")]
    Version(u32),
    #[error("it was changed after it was made: its hash is {is}, was {was}")]
    Changed {
        /// The hash that the file tells.
        was: Digest,
        /// The hash of what it says now.
        is: Digest,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> PromotionPlan {
        PromotionPlan {
            environment: "shop/dev".parse().unwrap(),
            release: crate::release::Release::sample("registry.example/shop"),
            made_at: Timestamp::UNIX_EPOCH,
            policy: Some(Digest::of(b"policy")),
            ledger: None,
            overrides: Vec::new(),
            without: Vec::new(),
            apps: Vec::new(),
        }
    }

    #[test]
    fn a_plan_counts_for_some_days() {
        let hours = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let saved = SavedPlan::new(plan());
        for (now, want) in [
            (hours(0), None),
            (hours(7 * 24), None),
            (hours(7 * 24 + 1), Some("it was made at 1970-01-01T00:00:00Z; it counts for 7 days")),
            (hours(-1), Some("which is in the future; it is 1969-12-31T23:00:00Z here")),
            (hours(0) - MAX_CLOCK_SKEW, None),
        ] {
            let got = saved.check_age(now).map_err(|failure| failure.to_string());
            match (got, want) {
                (Ok(()), None) => {}
                (Err(got), Some(want)) => assert!(got.ends_with(want), "{got}"),
                (got, want) => panic!("{got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn what_older_versions_do_not_know_has_a_version_of_its_own() {
        use verbatim_argocd::{AppPlan, AppRef, PlannedSource, SourceAt};
        let source = |index| PlannedSource { at: SourceAt::Index(index), name: "r c".to_owned() };
        for (sources, want) in [(vec![source(0)], 1), (vec![source(0), source(1)], 2)] {
            let mut plan = plan();
            let app = AppPlan { app: AppRef::new("web"), sources, changes: Vec::new() };
            let (server, revisions) = ("main".to_owned(), Vec::new());
            plan.apps = vec![crate::promotion::plan::PlannedApp { server, revisions, plan: app }];
            let saved = SavedPlan::new(plan);
            assert_eq!(saved.schema_version, want);
            let text = serde_json::to_string(&saved).unwrap();
            assert_eq!(SavedPlan::parse(&text).unwrap(), saved);
        }
    }

    #[test]
    fn only_the_plan_that_was_made_is_read() {
        let saved = SavedPlan::new(plan());
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(SavedPlan::parse(&text).unwrap(), saved);
        let cases = [
            (text.replace("shop/dev", "shop/production"), "it was changed after it was made"),
            (text.replace("\"schema_version\":1", "\"schema_version\":2"), "version 2 of plans"),
            (text.replace("\"apps\"", "\"force\":1,\"apps\""), "unknown field `force`"),
            ("{\n".to_owned(), "line 2 column 0"),
        ];
        for (text, want) in cases {
            let error = SavedPlan::parse(&text).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
