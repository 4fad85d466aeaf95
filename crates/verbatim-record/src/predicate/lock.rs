//! `urn:verbatim:lock:v1`: no release may enter an environment. The same predicate lifts locks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use super::{Ban, CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

/// One lock, or a lift of some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The locked environment.
    pub environment: EnvironmentId,
    /// The locks that this lifts; empty for a lock.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<Digest>,
    /// The reason for people.
    pub reason: String,
    /// When it was made.
    pub at: Timestamp,
    /// When it expires; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The CI run, with the actor.
    #[serde(default, deserialize_with = "null_is_default")]
    pub run: CiRun,
}

impl Predicate for Lock {
    const TYPE: &'static str = "urn:verbatim:lock:v1";
    const POWER: Option<Power> = Some(Power::Lock);

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        Some(self.environment.clone())
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        if subjects != [*EnvironmentArtifact::of(&self.environment).digest()] {
            return Err("its subject is not its environment".to_owned());
        }
        self.check_ban()
    }
}

impl Ban for Lock {
    fn lifts(&self) -> &[Digest] {
        &self.lifts
    }

    fn until(&self) -> Option<Timestamp> {
        self.until
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}
