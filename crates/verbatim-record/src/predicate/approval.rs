//! `urn:verbatim:approval:v1`: somebody wants a release to enter an environment.
//!
//! Small enough to be written by hand: an approval made with `cosign attest --type urn:verbatim:approval:v1` counts like
//! one made here. Its subject is then the release alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use super::{CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

/// One approval. The key says who gives it; `run.actor` is a name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Where the release may go.
    pub environment: EnvironmentId,
    /// The reason for people; may be empty.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub reason: String,
    /// When it was given.
    pub at: Timestamp,
    /// When it expires; `None`: when the gate says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The hash of the approved plan; `None`: any plan that brings this release there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// The records at the end of the ledger when it was made.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Digest>,
    /// The CI run, with the actor.
    #[serde(default, deserialize_with = "null_is_default")]
    pub run: CiRun,
}

impl Predicate for Approval {
    const TYPE: &'static str = "urn:verbatim:approval:v1";
    const POWER: Option<Power> = None;

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        Some(self.environment.clone())
    }

    fn seen(&self) -> Vec<Digest> {
        self.seen.clone()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        let environment = *EnvironmentArtifact::of(&self.environment).digest();
        match subjects {
            [release] if *release != environment => Ok(()),
            [release, second] if *release != environment && *second == environment => Ok(()),
            _ => Err("its subjects are not one release, and its environment after it".to_owned()),
        }
    }
}
