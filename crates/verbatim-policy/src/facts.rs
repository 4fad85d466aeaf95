//! What is known when a decision is made. Only verified records can be facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_oci::Digest;
use verbatim_record::{Chain, EnvironmentId, Records};

/// Everything that [`decide`](crate::decide()) may look at. What is not in here is unknown, and unknown is no.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The release that wants to enter.
    pub release: Digest,
    /// Where it wants to enter.
    pub environment: EnvironmentId,
    /// The verified records of the release; or why they could not be listed, which is not the same as "none".
    pub records: Result<Records, String>,
    /// The ledgers of other environments.
    pub ledgers: BTreeMap<EnvironmentId, Ledger>,
    /// What was seen running in other environments; an environment that was not looked at is left out.
    pub live: BTreeMap<EnvironmentId, Live>,
    /// Now.
    pub now: Timestamp,
}

/// The ledger of an environment.
#[derive(Debug, Clone)]
pub enum Ledger {
    /// Its promotions.
    Known(Chain),
    /// It could not be read, and why.
    Unknown(String),
}

/// What was seen running in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// Every application has this release.
    Running(Digest),
    /// Something else, in words: another release, or several.
    Differs(String),
    /// It was looked at, and could not be told.
    Unknown(String),
}
