//! What statements say: one module for each predicate type. Nothing here knows of signatures.

mod approval;
mod descriptor;
mod json;
mod lock;
mod origin;
mod promotion;
mod provenance;
mod test_result;
mod veto;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

pub use approval::Approval;
pub use descriptor::ResourceDescriptor;
pub use json::JsonText;
pub use lock::Lock;
pub use origin::{AdoptedImage, ComposedRelease, SourceClaim};
pub use promotion::{
    AppliedOverride, ChainLink, GateEvidence, GateResult, PolicyOrigin, PromotedApplication,
    PromotedRelease, Promotion, PromotionKind, PromotionProof, Readback, ReadbackOutcome, Revision,
};
pub use provenance::{
    Build, BuildDefinition, BuildMetadata, BuildPlatform, BuildSource, Provenance, RunDetails,
};
pub use test_result::{SuiteOutcome, TestOutcome, TestResult, TestRun};
pub use veto::Veto;

use crate::artifact::EnvironmentId;
use crate::keys::Power;

/// A predicate type that this crate signs and verifies.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The `predicateType` URI.
    const TYPE: &'static str;

    /// The power that a key needs for its statements of this type to count. `None`: every trusted key may make them, and
    /// the reader checks its roles.
    const POWER: Option<Power>;

    /// What a key needs beyond [`Self::POWER`], because of what this statement says.
    fn further_power(&self) -> Option<Power> {
        None
    }

    /// The end of what is stated, as the signer says.
    fn recorded_at(&self) -> Option<Timestamp>;

    /// The environment that the statement is about, if it is about one.
    fn environment(&self) -> Option<EnvironmentId>;

    /// Checks that the predicate agrees with itself and with the subjects of its statement.
    fn check(&self, subjects: &[Digest]) -> Result<(), String>;
}

/// A predicate that keeps something out until it expires or is lifted. A lift has the predicate type of the ban, and
/// names the records that it ends.
pub trait Ban: Predicate {
    /// The records that this lifts; empty for a ban.
    fn lifts(&self) -> &[Digest];

    /// When it expires.
    fn until(&self) -> Option<Timestamp>;

    /// The reason for people.
    fn reason(&self) -> &str;

    /// Checks what both kinds of bans have in common.
    fn check_ban(&self) -> Result<(), String> {
        if !self.lifts().is_empty() && self.until().is_some() {
            return Err("it lifts bans, which cannot have an end".to_owned());
        }
        if self.reason().trim().is_empty() {
            return Err("it gives no reason".to_owned());
        }
        Ok(())
    }
}

/// The CI run in which something happened. All parts are optional: on a laptop there is only the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CiRun {
    /// Which CI, for example `github`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<String>,
    /// What the run numbers count: two are comparable only within one pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The number of the run within its pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The page of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who started it, as the CI says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}
