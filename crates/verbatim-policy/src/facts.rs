//! What is known when a decision is made. Only verified records can be facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use verbatim_oci::Digest;
use verbatim_record::{Chain, EnvironmentId, KeyId, Lock, Records, Revision, Run, Verified, Veto};

/// Everything that [`decide`](crate::decide()) may look at. What is not in here is unknown, and unknown is no.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The release that wants to enter.
    pub release: Digest,
    /// Where it wants to enter.
    pub environment: EnvironmentId,
    /// Whether it ran there before and is brought back because of what came after it.
    pub is_rollback: bool,
    /// The verified records of the release; or why they could not be listed, which is not the same as "none".
    pub records: Result<Records, String>,
    /// What the ledger of the environment itself keeps out; or why it could not be read.
    pub bans: Result<Bans, String>,
    /// The ledgers of other environments.
    pub ledgers: BTreeMap<EnvironmentId, Ledger>,
    /// What was seen running in environments; one that was not looked at is left out.
    pub live: BTreeMap<EnvironmentId, Live>,
    /// Since when all applications of an environment have been healthy, where Argo CD tells.
    pub healthy_since: BTreeMap<EnvironmentId, Timestamp>,
    /// The sources that the applications of the environment are going to be rendered from, with the revisions that Argo CD
    /// resolved for them; or why that is not known.
    pub manifests: Result<Vec<Revision>, String>,
    /// How the release stands to the one that runs in the environment.
    pub order: Order,
    /// Who wants to promote.
    pub author: Author,
    /// The hash of the plan that is to be executed, if it was made before.
    pub plan: Option<Digest>,
    /// The labels of each image of the release, by the name of the image in the configuration; or why they are not known.
    pub labels: Result<BTreeMap<String, BTreeMap<String, String>>, String>,
    /// What conditions see as `applications`: the applications of the environment, as Argo CD tells.
    pub applications: Value,
    /// The CI run of the promotion.
    pub run: Run,
    /// Now.
    pub now: Timestamp,
}

/// What keeps releases out of an environment: locks, vetoes, and their liftings.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    /// Of the environment.
    pub locks: Vec<Verified<Lock>>,
    /// Of any release there.
    pub vetoes: Vec<Verified<Veto>>,
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

/// How a release stands to the one that runs in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing was promoted there yet.
    First,
    /// It is the one that runs, or made from the same commit.
    Same,
    /// It is newer.
    Newer,
    /// It is older than this one.
    Older(Digest),
    /// It cannot be compared with this one.
    Unrelated(Digest),
}

/// Who wants to promote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Author {
    /// The key that is going to sign; `None` if nothing is going to be signed.
    pub key: Option<KeyId>,
    /// Who started the run.
    pub actor: Option<String>,
}
