//! What statements say: one module a predicate type.

mod promotion;
mod provenance;
mod test_result;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

pub use promotion::{
    Application, ChainLink, Evidence, GateResult, Override, PromotedRelease, Promotion, Proof,
    Readback, ReadbackOutcome, Revision,
};
pub use provenance::{
    Build, BuildDefinition, BuildMetadata, Builder, Provenance, RunDetails, Source,
};
pub use test_result::{SuiteOutcome, TestOutcome, TestResult, TestRun};

use crate::environment::EnvironmentId;
use crate::ring::Role;

/// A predicate type that this crate signs and verifies.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The `predicateType` URI.
    const TYPE: &'static str;

    /// The role that a key needs for its statements of this type to count.
    const ROLE: Role;

    /// When what is stated was finished, as the signer says.
    fn recorded_at(&self) -> Option<Timestamp>;

    /// The environment that the statement is about, if it is about one.
    fn environment(&self) -> Option<EnvironmentId>;

    /// Checks that the predicate agrees with itself and with the subjects of its statement.
    ///
    /// # Errors
    /// What does not agree.
    fn check(&self, subjects: &[Digest]) -> Result<(), String>;
}

/// The CI run in which something was done. All parts are optional: on a laptop there is none of them but the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// Which CI, for example `github`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<String>,
    /// What the run numbers count: two numbers are comparable only within one pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The number of the run within its pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Where a person can look at the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who started it, as the CI says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}
