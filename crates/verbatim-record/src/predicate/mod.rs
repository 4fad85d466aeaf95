//! What statements say: one module for each predicate type. Nothing here knows of signatures.

mod approval;
mod ban;
mod commits;
mod descriptor;
mod hand_over;
mod json;
mod origin;
mod promotion;
mod provenance;
mod test_result;
mod verification_summary;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

pub use approval::Approval;
pub use ban::{Ban, BanPlace, Lock, Veto};
pub use commits::{MAX_SOURCE_COMMITS, SourceCommit, commits_since};
pub use descriptor::ResourceDescriptor;
pub use hand_over::HandOver;
pub use json::JsonText;
pub use origin::{AdoptedImage, ComposedRelease, SourceClaim};
pub use promotion::{
    AppliedOverride, ChainLink, GateEvidence, GateResult, PolicyChange, PolicyOrigin, PolicyPart,
    PromotedApplication, PromotedRelease, Promotion, PromotionKind, PromotionProof, Readback,
    ReadbackOutcome, Revision,
};
pub use provenance::{
    Build, BuildDefinition, BuildMetadata, BuildPlatform, BuildSource, Provenance, RunDetails,
};
pub use test_result::{SeenApplication, SuiteOutcome, TestOutcome, TestResult, TestRun};
pub use verification_summary::{SummaryResult, SummaryVerifier, VerificationSummary};

use crate::artifact::EnvironmentId;
use crate::keys::Power;

/// A predicate type that this crate signs and verifies.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The `predicateType` URI.
    const TYPE: &'static str;

    /// The power that a key needs for its statements of this type to count. `None`: every trusted key may make them, and
    /// the reader checks its roles.
    const POWER: Option<Power>;

    /// Whether its statements are about an environment, or about all of them. Those about the release alone are in the
    /// scope of a key for some environments.
    const IS_PLACED: bool = true;

    /// Whether a statement that names no environment may be about all of them, and so stand in the ledger of each.
    const IS_FOR_ALL: bool = false;

    /// What a key needs beyond [`Self::POWER`], because of what this statement says.
    fn further_power(&self) -> Option<Power> {
        None
    }

    /// The end of what is stated, as the signer says.
    fn recorded_at(&self) -> Option<Timestamp>;

    /// The environment that the statement is about, if it is about one.
    fn environment(&self) -> Option<EnvironmentId>;

    /// The project that the statement belongs to, if it says so: that of its environment.
    fn project(&self) -> Option<String> {
        self.environment().map(|environment| environment.project().to_owned())
    }

    /// The records that its signer has seen, as far as it names them and vouches for them: they are older.
    fn names(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// The records that were at the end of the ledger of its environment when it was made. Unlike what it
    /// [names](Self::names), it says nothing about them but that they were there.
    fn seen(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Whether all that it does is to keep a release out. Such a statement of a key that has ended stays in force:
    /// whoever leaves, leaves no gate open.
    fn only_keeps_out(&self) -> bool {
        false
    }

    /// The test suites that it speaks of; `None` if it does not speak of tests.
    fn suites(&self) -> Option<Vec<&str>> {
        None
    }

    /// What was built, as far as it tells of a build. A certificate that says something else contradicts it.
    fn built_from(&self) -> Option<BuildSource> {
        None
    }

    /// Checks that the predicate agrees with itself and with the subjects of its statement.
    fn check(&self, subjects: &[Digest]) -> Result<(), String>;
}

/// The CI run in which something happened. All parts are optional: on a laptop there is only the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CiRun {
    /// The project for which verbatim ran. A record counts nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
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
