//! What a deployment is asked for, and how it can end. Data only; printed by `Display`, kept as JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::{Digest, Repository};

use crate::api::request::AppRef;
use crate::judge::plan::Plan;
use crate::judge::refusal::Refusal;
use crate::model::{Condition, Health, HealthStatus, InitiatedBy, Phase, ResourceResult, SyncCode};
use crate::overrides::claim::Claim;
use crate::overrides::values::{Deviation, Override};

/// An image that must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedImage {
    /// Where it is. With it, every container of this repository must run the digest; without it, at least one
    /// container anywhere must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// What is deployed: the digest of the index, or of the only manifest.
    pub digest: Digest,
    /// The digests of the platform manifests of an index. A node may report the one it runs.
    #[serde(default)]
    pub manifests: BTreeSet<Digest>,
    /// The digests of the configs of these manifests. Some container engines report those.
    #[serde(default)]
    pub configs: BTreeSet<Digest>,
}

impl WantedImage {
    /// An image of which only the deployed digest is known.
    pub fn new(repository: Option<Repository>, digest: Digest) -> Self {
        Self { repository, digest, manifests: BTreeSet::new(), configs: BTreeSet::new() }
    }

    /// As what a reported digest is this image.
    pub fn matches(&self, digest: &Digest) -> Option<Match> {
        if *digest == self.digest {
            Some(Match::Deployed)
        } else if self.manifests.contains(digest) {
            Some(Match::PlatformManifest)
        } else if self.configs.contains(digest) {
            Some(Match::Config)
        } else {
            None
        }
    }
}

impl fmt::Display for WantedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}@{}", self.digest),
            None => self.digest.fmt(f),
        }
    }
}

/// As what a reported digest is the wanted image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The digest that was deployed itself.
    Deployed,
    /// A platform manifest of the deployed index.
    PlatformManifest,
    /// The config of one of its manifests.
    Config,
}

/// A deployment that is asked for.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// To which application.
    pub app: AppRef,
    /// What to write.
    pub values: Override,
    /// What must run then.
    pub images: Vec<WantedImage>,
    /// The name of the release, for the claim and the operation.
    pub release: String,
    /// Who deploys: the URL of the CI run, or a name.
    pub by: Option<String>,
    /// Unique for this run. See [`crate::run::deploy::nonce`].
    pub nonce: String,
    /// How it is done.
    pub options: Options,
    /// A plan that was made earlier: the values must still be as it says.
    pub expected: Option<Plan>,
}

/// How a deployment is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most that all of it may take.
    pub timeout: Duration,
    /// How long the proof must hold.
    pub settle: Duration,
    /// How long a pod with the wanted image may be failing to start before the deployment is given up.
    pub stuck_after: Duration,
    /// How long what a node reports may differ before it counts: caches lag behind.
    pub patience: Duration,
    /// Delete resources that are no longer in the sources.
    pub prune: bool,
    /// Resources that would have to be deleted do not matter.
    pub allow_unpruned: bool,
    /// Continue over the claim of another run.
    pub take_over: bool,
    /// Write although an owner may revert it, or may not be seen.
    pub trust_owner: bool,
    /// Write parameters that the chart does not list.
    pub allow_unknown_parameters: bool,
    /// Stop after the plan.
    pub dry_run: bool,
    /// What a rollout that somebody has paused means.
    pub on_pause: OnPause,
    /// Whether the claim is closed at the end, or later by [`crate::run::deploy::close`] with the record's digest.
    pub close_claim: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            settle: Duration::ZERO,
            stuck_after: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            prune: false,
            allow_unpruned: false,
            take_over: false,
            trust_owner: false,
            allow_unknown_parameters: false,
            dry_run: false,
            on_pause: OnPause::Wait,
            close_claim: true,
        }
    }
}

/// What to do when the rollout of a workload is paused, by a step of a canary or by a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnPause {
    /// Wait until it goes on, to the deadline.
    #[default]
    Wait,
    /// Be content with the pods that run the new version so far.
    Accept,
    /// Give up.
    Fail,
}

/// How a deployment ended, and what was done on the way.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The application.
    pub app: AppRef,
    /// The server.
    pub server: String,
    /// The release.
    pub release: String,
    /// What was planned; absent if it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// How it ended.
    pub outcome: Outcome,
    /// What did not stop it and should be known.
    pub warnings: Vec<Warning>,
    /// The claim as it stands on the application, if it was written and not lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Requests sent.
    pub requests: u64,
}

/// How a deployment ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It runs, and this is the evidence.
    Proven {
        /// The evidence.
        proof: Box<Proof>,
    },
    /// Nothing was written, as asked.
    Planned,
    /// The state that was asked for is there; nobody asked what runs.
    Reached {
        /// In words.
        what: String,
        /// Whether live state equals the sources.
        sync: SyncCode,
        /// The health.
        health: HealthStatus,
        /// The resolved revisions, one a source.
        revisions: Vec<String>,
        /// What an operation did, or would do, to each resource; where that is all that was waited for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resources: Vec<ResourceResult>,
    },
    /// It was not written, or taken back before it took effect.
    Refused {
        /// Why: all reasons that could be seen.
        reasons: Vec<Refusal>,
        /// What was done about a write.
        undo: Undo,
    },
    /// Somebody else's values stand where ours were written.
    Superseded {
        /// Which values.
        deviations: Vec<Deviation>,
        /// Who, if they left a claim.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Box<Claim>>,
    },
    /// The values stand; the operation failed, or the application is not healthy with them.
    Degraded {
        /// Why.
        why: Failure,
        /// What is not healthy.
        unhealthy: Vec<Unhealthy>,
    },
    /// Argo CD is done, and what runs is not what was to run.
    NotProven {
        /// Where it was seen.
        at: Place,
        /// Every difference.
        problems: Vec<Problem>,
    },
    /// A rollout is paused. What it has rolled out so far runs the wanted images; the rest runs what ran before.
    Paused {
        /// What is missing.
        missing: Problem,
        /// What is proven, the paused workloads by their new pods alone.
        workloads: Vec<WorkloadEvidence>,
        /// What that was to mean: `wait` if it was still paused at the deadline.
        on_pause: OnPause,
    },
    /// It was not over at the deadline, or the server could not be asked any more.
    Unknown {
        /// What was still missing.
        missing: String,
        /// The error that ended it, if not the deadline.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// What is not healthy.
        unhealthy: Vec<Unhealthy>,
        /// What stands on the application.
        left: Left,
    },
}

/// What was done about a write that is not to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Undo {
    /// Nothing had been written.
    NotNeeded,
    /// The previous values are back.
    Done,
    /// The values still stand.
    Failed {
        /// Why.
        why: String,
    },
}

/// Where a difference was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the manifests that Argo CD compares with.
    Manifests,
    /// In the cluster.
    Cluster,
}

/// What a run that did not end leaves on the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Nothing was written.
    Nothing,
    /// Perhaps the values: the answer to the write got lost.
    PerhapsValues,
    /// The values, not synced.
    Values,
    /// The values, and an operation that was started.
    ValuesAndOperation,
    /// An operation that was started.
    Operation,
}

/// Why an application is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Failure {
    /// The operation ended badly.
    Operation {
        /// `Failed` or `Error`.
        phase: Phase,
        /// Argo CD's words.
        message: String,
        /// The resources that failed.
        resources: Vec<String>,
    },
    /// The application has an error.
    Condition {
        /// Which.
        condition: Condition,
    },
    /// Resources would have to be deleted.
    NeedsPruning {
        /// Which.
        resources: Vec<String>,
    },
    /// It is degraded.
    Health {
        /// Argo CD's words.
        health: Health,
    },
    /// Pods with the wanted image do not start.
    Stuck {
        /// Which, and why.
        pods: Vec<Unhealthy>,
    },
    /// It was deleted.
    Deleted,
}

/// A resource that is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unhealthy {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: Health,
}

/// One difference between what runs and what was to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a workload, a pod, the manifests.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// What did not stop a deployment and should be known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "warning", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Warning {
    /// Something could not be checked beforehand.
    NotChecked {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// An owner may revert the override.
    Owner {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// An earlier run did not end; this one continues its work.
    Resumed {
        /// Its nonce.
        nonce: String,
    },
    /// The claim of another run was overridden.
    TookOver {
        /// Its release.
        release: String,
        /// Who.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The values stand and the claim is gone: somebody writes the annotations of this application.
    ClaimLost,
    /// Another client's change was there just before our write and gone after it.
    LostForeignChange {
        /// Where, as a JSON pointer.
        path: String,
        /// What was lost.
        value: String,
    },
    /// The values stand, and another operation than ours deployed them.
    Adopted {
        /// Who started it.
        by: InitiatedBy,
    },
    /// The claim could not be closed.
    ClaimOpen {
        /// Why.
        why: String,
    },
}

/// The evidence that an application runs what it was to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// What had to run.
    pub images: Vec<WantedImage>,
    /// The version of the application object that the judgement is about.
    pub resource_version: String,
    /// The operation that deployed it.
    pub operation: Option<OperationEvidence>,
    /// The commits or chart versions that were deployed, one a source.
    pub revisions: Vec<String>,
    /// The images of the rendered manifests that are ours.
    pub rendered: Vec<RenderedImage>,
    /// What runs, workload by workload.
    pub workloads: Vec<WorkloadEvidence>,
    /// `Synced`, unless pruning was not asked for.
    pub sync: SyncCode,
    /// `Healthy` or `Suspended`.
    pub health: HealthStatus,
    /// When it was seen.
    pub at: Timestamp,
    /// How long it held, in seconds.
    pub settled_seconds: u64,
}

/// The operation that deployed the values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationEvidence {
    /// How it is known to be the one.
    pub known_by: KnownBy,
    /// Who started it.
    pub initiated_by: InitiatedBy,
    /// When.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

/// How an operation is known to have deployed our values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// It carries our nonce.
    Nonce,
    /// Its own sources hold our values.
    Values,
    /// The history tells of it; the operation itself has been replaced by a later one.
    History,
}

/// A container of the rendered manifests with a wanted image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedImage {
    /// `Deployment web`, for example.
    pub workload: String,
    /// The container.
    pub container: String,
    /// The image as rendered.
    pub image: String,
}

/// What is known about one workload with a wanted image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadEvidence {
    /// `Deployment web`, for example.
    pub workload: String,
    /// How deep the evidence goes.
    pub level: Level,
    /// The containers of its pods.
    pub containers: Vec<ContainerEvidence>,
}

/// How deep evidence goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "level", rename_all = "kebab-case")]
pub enum Level {
    /// Pods run it.
    Pods {
        /// How many.
        pods: usize,
    },
    /// It runs no pod now; its template has the digest.
    Template {
        /// Why there is no pod.
        why: String,
    },
}

/// What one container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerEvidence {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// What the node reports.
    pub image_id: String,
    /// As what it is the wanted image.
    #[serde(rename = "match")]
    pub matched: Match,
}
