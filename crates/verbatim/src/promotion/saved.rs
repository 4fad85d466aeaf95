//! A plan that is kept in a file, to be looked at, approved and applied later.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::Digest;

use crate::project::files;
use crate::promotion::plan::PromotionPlan;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// The version of this file: 1.
    pub schema_version: u32,
    /// The hash of the plan, by which it is approved.
    pub hash: Digest,
    pub made_at: Timestamp,
    pub plan: PromotionPlan,
}

/// The version that is written.
const VERSION: u32 = 1;

impl SavedPlan {
    /// A plan to be kept.
    pub(crate) fn new(plan: PromotionPlan, made_at: Timestamp) -> Self {
        Self { schema_version: VERSION, hash: plan.hash(), made_at, plan }
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

    fn parse(text: &str) -> Result<Self, PlanFileError> {
        let saved: Self = serde_json::from_str(text)?;
        if saved.schema_version != VERSION {
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
enum PlanFileError {
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

    #[test]
    fn only_the_plan_that_was_made_is_read() {
        let plan = PromotionPlan {
            environment: "shop/dev".parse().unwrap(),
            release: crate::release::Release::sample("registry.example/shop"),
            policy: Some(Digest::of(b"policy")),
            ledger: None,
            overrides: Vec::new(),
            without: Vec::new(),
            apps: Vec::new(),
        };
        let saved = SavedPlan::new(plan, Timestamp::UNIX_EPOCH);
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
