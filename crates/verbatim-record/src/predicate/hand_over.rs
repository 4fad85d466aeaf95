//! `urn:verbatim:hand-over:v1`: another key takes over the work of one, and has seen the end of a ledger. The new
//! key signs it, because an old one cannot vouch for the time of its own records. A signature of the old key under it is for
//! people who want to know that it was asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use super::{CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

/// One key takes over from another in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandOver {
    /// The ledger that goes on.
    pub environment: EnvironmentId,
    /// The id of the key that ends.
    pub from: String,
    /// The id of the key that goes on.
    pub to: String,
    /// The records at the end of the ledger: all that they name, and what those name, is as old.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Digest>,
    /// When it was made.
    pub at: Timestamp,
    /// The CI run, with the actor.
    #[serde(default, deserialize_with = "null_is_default")]
    pub run: CiRun,
}

impl Predicate for HandOver {
    const TYPE: &'static str = "urn:verbatim:hand-over:v1";
    const POWER: Option<Power> = None;

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        Some(self.environment.clone())
    }

    fn names(&self) -> Vec<Digest> {
        self.seen.clone()
    }

    fn seen(&self) -> Vec<Digest> {
        self.seen.clone()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        if subjects != [*EnvironmentArtifact::of(&self.environment).digest()] {
            return Err("its subject is not its environment".to_owned());
        }
        match self.from == self.to {
            true => Err("it hands a key over to itself".to_owned()),
            false => Ok(()),
        }
    }
}
