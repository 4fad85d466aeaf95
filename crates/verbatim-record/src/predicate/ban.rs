//! `urn:verbatim:lock:v1`: no release may enter an environment. `urn:verbatim:veto:v1`: a release must not enter an
//! environment, or any. The same predicate lifts locks, and vetoes.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::json::null_is_default;
use super::{CiRun, Predicate};
use crate::artifact::{EnvironmentArtifact, EnvironmentId};
use crate::keys::Power;

/// A predicate that keeps something out until it expires or is lifted, or a lift: that has the predicate type of the
/// ban, and names the records that it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ban<P> {
    /// Of a lock the locked environment; of a veto where the release must not go, `None` for nowhere.
    pub environment: P,
    /// The records that this lifts; empty for a ban.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<Digest>,
    /// The reason for people.
    pub reason: String,
    /// When it was made.
    pub at: Timestamp,
    /// When it expires; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The records at the end of the ledger when it was made.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Digest>,
    /// The CI run, with the actor.
    #[serde(default, deserialize_with = "null_is_default")]
    pub run: CiRun,
}

/// One lock of an environment, or a lift of some.
pub type Lock = Ban<EnvironmentId>;

/// One veto against a release, or a lift of some.
pub type Veto = Ban<Option<EnvironmentId>>;

/// Where a ban holds, which tells a lock from a veto.
pub trait BanPlace: Serialize + DeserializeOwned {
    /// The `predicateType` URI.
    const TYPE: &'static str;

    /// The power that the ban needs.
    const POWER: Power;

    /// Whether it may hold everywhere.
    const IS_FOR_ALL: bool;

    /// The environment, if it is one.
    fn environment(&self) -> Option<&EnvironmentId>;

    /// Checks that the subjects of the statement are what is kept out of here.
    ///
    /// # Errors
    ///
    /// If they are not.
    fn check(&self, subjects: &[Digest]) -> Result<(), String>;
}

impl BanPlace for EnvironmentId {
    const TYPE: &'static str = "urn:verbatim:lock:v1";
    const POWER: Power = Power::Lock;
    const IS_FOR_ALL: bool = false;

    fn environment(&self) -> Option<&EnvironmentId> {
        Some(self)
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        match subjects == [*EnvironmentArtifact::of(self).digest()] {
            true => Ok(()),
            false => Err("its subject is not its environment".to_owned()),
        }
    }
}

impl BanPlace for Option<EnvironmentId> {
    const TYPE: &'static str = "urn:verbatim:veto:v1";
    const POWER: Power = Power::Veto;
    const IS_FOR_ALL: bool = true;

    fn environment(&self) -> Option<&EnvironmentId> {
        self.as_ref()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        let environment = self.as_ref().map(|id| *EnvironmentArtifact::of(id).digest());
        let is_right = match (subjects, environment) {
            // The others are the environments that there were when it was made.
            ([_, ..], None) => true,
            ([release], Some(environment)) => *release != environment,
            ([release, second], Some(environment)) => {
                *release != environment && *second == environment
            }
            _ => false,
        };
        match is_right {
            true => Ok(()),
            false => Err(
                "its subjects are not one release, and its environments after it, if it has some"
                    .to_owned(),
            ),
        }
    }
}

impl<P: BanPlace> Predicate for Ban<P> {
    const TYPE: &'static str = P::TYPE;
    const POWER: Option<Power> = Some(P::POWER);
    const IS_FOR_ALL: bool = P::IS_FOR_ALL;

    fn recorded_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    /// A veto for all environments has none to say it.
    fn project(&self) -> Option<String> {
        let environment = self.environment.environment();
        environment.map(|it| it.project().to_owned()).or_else(|| self.run.project.clone())
    }

    fn environment(&self) -> Option<EnvironmentId> {
        self.environment.environment().cloned()
    }

    fn only_keeps_out(&self) -> bool {
        self.lifts.is_empty()
    }

    fn seen(&self) -> Vec<Digest> {
        self.seen.clone()
    }

    fn check(&self, subjects: &[Digest]) -> Result<(), String> {
        self.environment.check(subjects)?;
        if !self.lifts.is_empty() && self.until.is_some() {
            return Err("it lifts bans, which cannot have an end".to_owned());
        }
        if self.reason.trim().is_empty() {
            return Err("it gives no reason".to_owned());
        }
        Ok(())
    }
}
