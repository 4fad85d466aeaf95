//! `urn:verbatim:veto:v1`: a release must not enter an environment, or any. The same predicate lifts vetoes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use super::{Ban, CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

/// One veto, or a lift of some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Veto {
    /// Where the release must not go; `None`: nowhere.
    #[serde(default)]
    pub environment: Option<EnvironmentId>,
    /// The vetoes that this lifts; empty for a veto.
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

impl Predicate for Veto {
    const TYPE: &'static str = "urn:verbatim:veto:v1";
    const POWER: Option<Power> = Some(Power::Veto);

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn environment(&self) -> Option<EnvironmentId> {
        self.environment.clone()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        let environment = self.environment.as_ref().map(|id| *EnvironmentArtifact::of(id).digest());
        match (subjects, environment) {
            ([_], None) => {}
            ([release], Some(environment)) if *release != environment => {}
            ([release, second], Some(environment))
                if *release != environment && *second == environment => {}
            _ => {
                return Err(
                    "its subjects are not one release, and its environment after it, if it has one"
                        .to_owned(),
                );
            }
        }
        self.check_ban()
    }
}

impl Ban for Veto {
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
