//! What is known when a decision is made. Only verified records are facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use verbatim_oci::Digest;
use verbatim_record::{
    Chain, CiRun, EnvironmentId, KeyId, Lock, Person, Records, Revision, Verified, Veto,
};

/// All that [`decide`](crate::decide()) may look at. What is not in here is unknown, and unknown is no.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The release that is to enter.
    pub release: Digest,
    /// The environment that it is to enter.
    pub environment: EnvironmentId,
    /// Whether it ran there before, and comes back because of what came after it.
    pub is_rollback: bool,
    /// Whether it comes back from further than a rollback may go alone: beyond the release that was there before the one that
    /// was promoted last.
    pub is_beyond_previous: bool,
    /// The verified records of the release; or why they could not be listed, which is not "none".
    pub records: Result<Records, String>,
    /// What keeps releases out, by the ledger of the environment; or why it could not be read.
    pub bans: Result<Bans, String>,
    /// The ledgers of other environments.
    pub ledgers: BTreeMap<EnvironmentId, LedgerReading>,
    /// What was seen running, without the environments that nobody looked at.
    pub live: BTreeMap<EnvironmentId, LiveReading>,
    /// Since when all applications of an environment have been healthy, where Argo CD says so.
    pub healthy_since: BTreeMap<EnvironmentId, Timestamp>,
    /// The sources that Argo CD would render the applications of the environment from, with their resolved revisions; or
    /// why that is unknown.
    pub manifests: Result<Vec<Revision>, String>,
    /// How the release compares with the one that runs in the environment.
    pub order: ReleaseOrder,
    /// The commit of the release that is there, by the ledger.
    pub commit_there: Option<String>,
    /// Who promotes it.
    pub author: Author,
    /// The hash of the plan to execute, if it was made before.
    pub plan: Option<Digest>,
    /// The labels of each image, by its name in the configuration; or why they are unknown.
    pub labels: Result<BTreeMap<String, BTreeMap<String, String>>, String>,
    /// The applications of the environment as Argo CD has them: what conditions see as `applications`.
    pub applications: Value,
    /// The CI run of the promotion.
    pub run: CiRun,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What keeps releases out of an environment: locks, vetoes, and their lifts.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    /// Locks of the environment.
    pub locks: Vec<Verified<Lock>>,
    /// Vetoes of releases there.
    pub vetoes: Vec<Verified<Veto>>,
}

/// The ledger of an environment.
#[derive(Debug, Clone)]
pub enum LedgerReading {
    /// Its promotions, checked as a chain.
    Known(Chain),
    /// Why it could not be read.
    Unknown(String),
}

/// What was seen running in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveReading {
    /// This release, in every application.
    Running(Digest),
    /// Something else, in words: another release, or several.
    Differs(String),
    /// Why it could not be found out.
    Unknown(String),
}

/// How a release compares with the one that runs in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOrder {
    /// Nothing was promoted there yet.
    First,
    /// It is the one that runs, or of the same commit.
    Same,
    /// It is newer.
    Newer,
    /// It is older than this one.
    Older(Digest),
    /// It cannot be compared with this one.
    Unrelated(Digest),
}

/// Who promotes a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Author {
    /// The key that will sign; `None` if nothing will be signed.
    pub key: Option<KeyId>,
    /// Who holds this key; `None` if there is none, or if it is not trusted.
    pub person: Option<Arc<Person>>,
    /// Who started the run.
    pub actor: Option<String>,
}
