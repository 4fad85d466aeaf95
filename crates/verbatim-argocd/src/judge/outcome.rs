//! How a deployment can end. Data only; printed by `Display`, kept as JSON.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use verbatim_text::Words;

use crate::api::error::Error;
use crate::api::request::AppRef;
use crate::judge::evidence::{DeployProof, WorkloadEvidence};
use crate::judge::mismatch::{Mismatch, as_text};
use crate::judge::missing::Missing;
use crate::judge::obstacle::Obstacle;
use crate::judge::refusal::WriteRefusal;
use crate::judge::verdict::MissingState;
use crate::judge::warning::DeployWarning;
use crate::model::{
    AppCondition, Application, Health, HealthStatus, Phase, ResourceResult, SyncCode,
};
use crate::overrides::claim::Claim;
use crate::overrides::patch::PatchError;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, ValueChange};

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
pub struct DeployReport {
    /// The application.
    pub app: AppRef,
    /// The server.
    pub server: String,
    /// The release.
    pub release: String,
    /// What was planned; absent if it could not be.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "plan_without_secrets")]
    pub plan: Option<AppPlan>,
    /// How it ended.
    pub outcome: DeployOutcome,
    /// What did not stop it and should be known.
    pub warnings: Vec<DeployWarning>,
    /// The claim as it stands on the application, if it was written and not lost.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "claim_as_stored")]
    pub claim: Option<Claim>,
    /// Requests sent.
    pub requests: u64,
    /// Whether no sync window is for the application, as far as was asked, so that none closes meanwhile.
    #[serde(skip)]
    pub has_no_windows: bool,
}

fn plan_without_secrets<S: Serializer>(
    plan: &Option<AppPlan>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let without = |plan: &AppPlan| AppPlan {
        changes: plan.changes.iter().map(ValueChange::without_secrets).collect(),
        ..plan.clone()
    };
    plan.as_ref().map(without).serialize(serializer)
}

fn claim_as_stored<S: Serializer>(claim: &Option<Claim>, serializer: S) -> Result<S::Ok, S::Error> {
    claim.as_ref().map(Claim::as_stored).serialize(serializer)
}

/// How a deployment ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum DeployOutcome {
    /// It runs, and this is the evidence.
    Proven {
        /// The evidence.
        proof: Box<DeployProof>,
    },
    /// Nothing was written, as asked.
    Planned,
    /// The state that was asked for is there; nobody asked what runs.
    Reached {
        /// Which.
        what: ReachedState,
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
        reasons: Vec<WriteRefusal>,
        /// What was done about a write.
        undo: UndoResult,
    },
    /// It was written, what follows failed before it took effect, and the previous values are back.
    TakenBack {
        /// What failed.
        #[serde(serialize_with = "as_text")]
        why: Arc<Error>,
    },
    /// Somebody else's values, or the claim of another run, stand where ours were written.
    Overwritten {
        /// Which values.
        deviations: Vec<Deviation>,
        /// Who, if they left a claim.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Box<Claim>>,
    },
    /// The values stand; the operation failed, or the application is not healthy with them.
    Degraded {
        /// Why.
        why: AppFailure,
        /// What is not healthy.
        unhealthy: Vec<Unhealthy>,
        /// What keeps pods from running, as far as it was found.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        obstacles: Vec<Obstacle>,
    },
    /// Argo CD is done, and what runs is not what was to run.
    NotProven {
        /// Where it was seen.
        at: ProofStage,
        /// Every difference.
        problems: Vec<Mismatch>,
    },
    /// A rollout is paused. What it has rolled out so far runs the wanted images; the rest runs what ran before.
    Paused {
        /// What is missing.
        missing: Mismatch,
        /// What is proven, the paused workloads by their new pods alone.
        workloads: Vec<WorkloadEvidence>,
        /// What that was to mean: `wait` if it was still paused at the deadline.
        on_pause: OnPause,
    },
    /// It was not over at the deadline, or the server could not be asked any more.
    Unknown {
        /// What was still missing.
        missing: Missing,
        /// The error that ended it, if not the deadline.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// What is not healthy.
        unhealthy: Vec<Unhealthy>,
        /// What keeps pods from running, as far as it was found.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        obstacles: Vec<Obstacle>,
        /// What stands on the application.
        left: Leftover,
    },
}

impl DeployOutcome {
    /// It ended because the application is gone.
    pub(crate) fn deleted() -> Self {
        Self::failed(AppFailure::Deleted)
    }

    /// It ended like this, and nothing else is known.
    pub(crate) fn failed(why: AppFailure) -> Self {
        Self::Degraded { why, unhealthy: Vec::new(), obstacles: Vec::new() }
    }

    /// It was not over, and nothing else is known.
    pub(crate) fn unknown(missing: Missing, error: Option<String>, left: Leftover) -> Self {
        Self::Unknown { missing, error, unhealthy: Vec::new(), obstacles: Vec::new(), left }
    }

    /// What keeps pods from running, as far as it was found.
    pub(crate) fn obstacles(&self) -> &[Obstacle] {
        match self {
            Self::Degraded { obstacles, .. } | Self::Unknown { obstacles, .. } => obstacles,
            _ => &[],
        }
    }
}

/// A state that was asked for. Written as a few words in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReachedState {
    /// The values are written; no sync was asked for.
    ValuesWritten,
    /// Argo CD has nothing left to do.
    Done,
    /// The server has taken the sync.
    SyncStarted,
    /// The sync has ended.
    SyncSucceeded,
    /// A dry run of a sync has ended.
    NothingApplied,
    /// This entry of the history is deployed again.
    RolledBack(i64),
    /// The server has taken the deletion.
    BeingDeleted,
    /// The application is gone.
    Deleted,
    ConditionsMet,
}

impl fmt::Display for ReachedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValuesWritten => "the values are written",
            Self::Done => "Argo CD is done",
            Self::SyncStarted => "the sync is started",
            Self::SyncSucceeded => "the sync succeeded",
            Self::NothingApplied => "nothing was applied",
            Self::RolledBack(id) => return write!(f, "deployment {id} is deployed again"),
            Self::BeingDeleted => "is being deleted",
            Self::Deleted => "deleted",
            Self::ConditionsMet => "conditions met",
        })
    }
}

impl Serialize for ReachedState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was done about a write that is not to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum UndoResult {
    /// Nothing had been written.
    NotNeeded,
    /// The previous values are back.
    Done,
    /// The values still stand.
    Failed {
        /// Why.
        #[serde(serialize_with = "as_text")]
        why: UndoFailure,
    },
}

/// Why previous values cannot be put back. Written as English in JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoFailure {
    /// A claim of a later version of this format.
    #[error("this version cannot read the claim")]
    UnreadableClaim,
    /// The claim is gone, or another took its place.
    #[error("the claim belongs to another run")]
    OtherRun,
    /// The source cannot take them.
    #[error(transparent)]
    Source(#[from] PatchError),
    /// They were put back, and another client's write brought this again.
    #[error("they were put back, and another client wrote over them: {0}")]
    Overwritten(String),
    /// The server refused, or did not answer.
    #[error("{0}")]
    Server(String),
}

/// Where a difference was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofStage {
    /// In the manifests that Argo CD compares with.
    Manifests,
    /// In the cluster.
    Cluster,
}

/// What a run that did not end leaves on the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftover {
    /// Nothing was written.
    Nothing,
    /// The previous values: they were put back.
    PreviousValues,
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
pub enum AppFailure {
    /// The operation ended badly.
    Operation {
        /// `Failed` or `Error`.
        phase: Phase,
        /// Argo CD's words.
        message: Words,
        /// The resources that failed.
        resources: Vec<String>,
    },
    /// The application has an error.
    Condition {
        /// Which.
        condition: AppCondition,
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
    /// What is to make pods with the wanted image is refused them.
    NoPods {
        /// Which.
        workloads: Vec<Unhealthy>,
    },
    /// Its sources are at other revisions than those that were to be deployed.
    Revisions {
        /// Those, one a source.
        wanted: Vec<String>,
        /// What Argo CD compares with now.
        found: Vec<String>,
    },
    /// An annotation keeps Argo CD's controller away from it, so what is missing will not come.
    NotReconciled {
        /// What is missing.
        #[serde(serialize_with = "as_text")]
        missing: MissingState,
    },
    /// It was deleted.
    Deleted,
}

/// A resource that is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unhealthy {
    pub kind: String,
    pub name: String,
    pub health: Health,
}

/// Pods of a tree that fail to start, and other resources that are not healthy, worst first.
pub(crate) fn unhealthy(app: &Application, tree: &crate::model::ResourceTree) -> Vec<Unhealthy> {
    let from_app =
        app.status.resources.iter().filter(|resource| !resource.hook).filter_map(|resource| {
            Some((resource.kind.clone(), resource.name.clone(), resource.health.clone()?))
        });
    let from_tree = tree
        .nodes
        .iter()
        .filter(|node| node.kind == "Pod")
        .filter_map(|node| Some((node.kind.clone(), node.name.clone(), node.health.clone()?)));
    let mut all: Vec<Unhealthy> = from_app
        .chain(from_tree)
        .filter(|(_, _, health)| health.status != HealthStatus::Healthy)
        .map(|(kind, name, health)| Unhealthy { kind, name, health })
        .collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.health.status));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_a_few_words() {
        let words = |state: ReachedState| serde_json::to_value(state).unwrap();
        assert_eq!(words(ReachedState::SyncSucceeded), "the sync succeeded");
        assert_eq!(words(ReachedState::RolledBack(3)), "deployment 3 is deployed again");
    }

    #[test]
    fn what_is_not_healthy_comes_worst_first() {
        let one = |kind: &str, name: &str, health: &str| json!({ "kind": kind, "name": name, "health": { "status": health } });
        let mut hook = one("Job", "migrate", "Degraded");
        hook["hook"] = json!(true);
        let resources = [
            one("Service", "web", "Healthy"),
            one("Deployment", "web", "Progressing"),
            json!({ "kind": "ConfigMap", "name": "web" }),
            hook,
        ];
        let nodes = [one("ReplicaSet", "web-1", "Degraded"), one("Pod", "web-1-a", "Degraded")];
        let app = serde_json::from_value(json!({ "status": { "resources": resources } })).unwrap();
        let tree = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        let got: Vec<_> =
            unhealthy(&app, &tree).into_iter().map(|it| (it.name, it.health.status)).collect();
        let want = [
            ("web-1-a".to_owned(), HealthStatus::Degraded),
            ("web".to_owned(), HealthStatus::Progressing),
        ];
        assert_eq!(got, want);
    }
}
