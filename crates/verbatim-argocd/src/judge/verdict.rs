//! Judges one state of an application: are our values deployed, is it still on its way, did it fail? Pure.
//!
//! Never trusts a single field: after a write the old status still says Synced and Healthy, the phase of an operation
//! and the health come from different loops, and an operation can be replaced by the next one before anybody saw its
//! end. The rules and where each comes from are in the table of tests.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use verbatim_text::Words;

use crate::api::request::NONCE;
use crate::judge::evidence::{KnownBy, OperationEvidence};
use crate::judge::hooks::{hook_results, last_hooks};
use crate::judge::mismatch::{Difference, Mismatch};
use crate::judge::outcome::AppFailure;
use crate::model::{
    AppCondition, AppSources, Application, Health, HealthStatus, Operation, OperationState, Phase,
    Resource, ResourceResult, SyncCode,
};
use crate::overrides::values::{Deviation, ValueChange, deviations};

/// What must have happened for an application to be deployed.
#[derive(Clone, Debug)]
pub(crate) struct Expectation<'a> {
    /// The values that were written. Empty: no values are expected.
    pub values: Option<&'a [ValueChange]>,
    /// The operation that must have succeeded.
    pub operation: ExpectedOperation<'a>,
    /// The revisions that must be deployed, one a source; empty if any are right.
    pub revisions: &'a [String],
    /// The newest entry of the history before the write.
    pub last_history: Option<i64>,
    /// How healthy it was before the write.
    pub health_before: HealthStatus,
    /// What was broken then.
    pub broken_before: Vec<Resource>,
    /// How long it must be Degraded before that is a failure: new pods are so for a moment, to an HPA for example.
    pub stuck_after: Duration,
    /// Resources that would have to be deleted do not matter.
    pub allow_unpruned: bool,
}

/// Which operation must have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedOperation<'a> {
    /// The one with this nonce, or another one that deployed our values.
    Sync { nonce: &'a str },
    /// None, as long as none runs: only the state counts.
    State,
}

/// What is remembered from earlier states.
#[derive(Clone, Debug, Default)]
pub(crate) struct JudgeMemory {
    /// The operation that deployed our values, once it was seen to succeed.
    operation: Option<OperationEvidence>,
    revisions: Vec<String>,
    /// The hooks that it ran.
    hooks: Vec<ResourceResult>,
    /// The end of the last operation that a later full comparison is known to have followed.
    refreshed: Option<Timestamp>,
    /// The health has been another one than before the write since then.
    health_moved: bool,
}

/// How long the health from before the write may still be shown after a comparison that saw our values.
const OLD_HEALTH: Duration = Duration::from_secs(30);

impl JudgeMemory {
    /// The operation that deployed our values, as far as it is known.
    pub(crate) fn operation(&self) -> Option<&OperationEvidence> {
        self.operation.as_ref()
    }

    /// The revisions that were deployed.
    pub(crate) fn revisions(&self) -> &[String] {
        &self.revisions
    }

    /// The results of the hooks that were run with the values: of the operation that is remembered, else of the last.
    pub(crate) fn hooks(&self, app: &Application) -> Vec<ResourceResult> {
        if self.operation.is_some() { self.hooks.clone() } else { last_hooks(app) }
    }

    /// Notes what `app` tells for later states.
    pub(crate) fn note(&mut self, expect: &Expectation<'_>, app: &Application) {
        if app.status.health.status != expect.health_before {
            self.health_moved = true;
        }
        if let Some(Success { evidence, revisions, hooks }) = success(expect, app) {
            // A nonce is the best evidence; history the weakest.
            let better = match &self.operation {
                None => true,
                Some(old) => {
                    old.known_by != KnownBy::Nonce && evidence.known_by != KnownBy::History
                }
            };
            if better {
                self.operation = Some(evidence);
                self.revisions = revisions;
                self.hooks = hooks;
            }
        }
    }

    /// Notes that `app` is the answer to a refresh: its status comes from a comparison that began after the operation
    /// that `before` shows had ended.
    pub(crate) fn note_refresh(&mut self, before: &Application) {
        if before.operation.is_none()
            && let Some(state) = &before.status.operation_state
        {
            self.refreshed = state.finished_at;
        }
    }
}

/// What an application's state means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is on its way.
    Waiting(MissingState),
    /// Its status is older than what it should tell: ask for a refresh.
    Stale(MissingState),
    /// Deployed and healthy, or suspended.
    Done,
    Failed(AppFailure),
    /// Other values stand there, or were deployed.
    Superseded(Vec<Deviation>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingState {
    NoOperation,
    /// An operation is asked for and has not begun.
    Queued,
    /// The operation has ended like this, and Argo CD does not take it out of the application.
    NotCleared(Phase),
    Running(Words),
    Other(Words),
    /// The operation is held until a sync window opens.
    Window,
    /// The operation failed and will be tried again.
    Retry(Words),
    /// No comparison has seen our values.
    Comparison,
    /// No comparison began after the operation ended.
    Reconciled,
    /// Live state does not equal the sources.
    OutOfSync(Vec<String>),
    /// Not compared, for no reason that is told.
    SyncUnknown,
    /// Not compared, because of an error that may pass: the repository or the cluster does not answer.
    NotCompared(AppCondition),
    Health(HealthStatus, Vec<String>),
}

impl fmt::Display for MissingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, what: &str, message: &str| match message {
            "" => f.write_str(what),
            message => write!(f, "{what}: {message}"),
        };
        match self {
            Self::NoOperation => f.write_str("no operation has deployed the values yet"),
            Self::Queued => f.write_str("the operation has not started"),
            Self::NotCleared(phase) => write!(
                f,
                "the operation has ended ({phase:?}), and Argo CD keeps it in the application as if it still ran"
            ),
            Self::Running(message) => with(f, "the operation is running", message),
            Self::Window => f.write_str(
                "a sync window closed meanwhile, so Argo CD holds the operation until syncing is allowed again",
            ),
            Self::Other(message) => with(f, "another operation is running", message),
            Self::Retry(message) => with(f, "the operation failed and will be retried", message),
            Self::Comparison => f.write_str("Argo CD has not compared the values yet"),
            Self::Reconciled => {
                f.write_str("Argo CD has not compared again since the operation ended")
            }
            Self::OutOfSync(resources) => with(f, "out of sync", &resources.join(", ")),
            Self::SyncUnknown => f.write_str("the sync status is unknown"),
            Self::NotCompared(AppCondition { kind, message }) => write!(f, "{kind}: {message}"),
            Self::Health(health, resources) => {
                with(f, &format!("health is {health:?}"), &resources.join(", "))
            }
        }
    }
}

/// Judges a state. `degraded_for` is the time for which it has been Degraded, and nothing else was missing.
pub(crate) fn judge(
    expect: &Expectation<'_>,
    memory: &JudgeMemory,
    app: &Application,
    degraded_for: Duration,
) -> Verdict {
    match judge_as_reconciled(expect, memory, app, degraded_for) {
        Verdict::Waiting(missing) | Verdict::Stale(missing) if app.is_skipped() => {
            Verdict::Failed(AppFailure::NotReconciled { missing })
        }
        verdict => verdict,
    }
}

fn judge_as_reconciled(
    expect: &Expectation<'_>,
    memory: &JudgeMemory,
    app: &Application,
    degraded_for: Duration,
) -> Verdict {
    if app.metadata.deletion_timestamp.is_some() {
        return Verdict::Failed(AppFailure::Deleted);
    }
    let lost = lost_values(expect, app.spec.sources());
    if !lost.is_empty() {
        return Verdict::Superseded(lost);
    }
    if let Some(verdict) = judge_operation(expect, memory, app) {
        return verdict;
    }
    if !app.status.sync.compared_to.sources().same_as(app.spec.sources()) {
        return Verdict::Stale(MissingState::Comparison);
    }
    if !is_reconciled(memory, app) {
        return Verdict::Stale(MissingState::Reconciled);
    }
    let found = app.status.sync.revisions();
    if !expect.revisions.is_empty() && found != expect.revisions {
        let wanted = expect.revisions.to_vec();
        return Verdict::Failed(AppFailure::Revisions { wanted, found });
    }
    if let Some(condition) = app.status.conditions.iter().find(|condition| condition.is_error()) {
        let condition = condition.clone();
        return match condition.may_pass() {
            true => Verdict::Stale(MissingState::NotCompared(condition)),
            false => Verdict::Failed(AppFailure::Condition { condition }),
        };
    }
    if let Some(verdict) = judge_sync(expect, app) {
        return verdict;
    }
    judge_health(expect, memory, app, degraded_for)
}

/// Whether only the health is missing.
pub(crate) fn only_health_is_missing(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Waiting(MissingState::Health(..)))
}

/// Whether only the health is missing, for too short or too long a time.
pub(crate) fn is_about_health(verdict: &Verdict) -> bool {
    only_health_is_missing(verdict) || matches!(verdict, Verdict::Failed(AppFailure::Health { .. }))
}

/// Whether all is there, and Degraded.
pub(crate) fn is_degraded(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Waiting(MissingState::Health(health, _)) => *health == HealthStatus::Degraded,
        verdict => is_about_health(verdict),
    }
}

fn lost_values(expect: &Expectation<'_>, sources: AppSources<'_>) -> Vec<Deviation> {
    match expect.values {
        Some(changes) => deviations(sources, changes),
        None => Vec::new(),
    }
}

/// Whether an operation is the one that deploys our values, and how that is known.
fn whose(
    expect: &Expectation<'_>,
    operation: &Operation,
    used: Option<AppSources<'_>>,
) -> Option<KnownBy> {
    if let ExpectedOperation::Sync { nonce } = expect.operation
        && operation.has_info(NONCE, nonce)
    {
        return Some(KnownBy::Nonce);
    }
    let changes = expect.values?;
    let sync = operation.sync.as_ref()?;
    // A partial or dry run deploys nothing as a whole.
    if sync.dry_run || !sync.resources.is_empty() || changes.is_empty() {
        return None;
    }
    let sources = used.filter(|sources| !sources.is_empty()).or_else(|| operation.sources())?;
    deviations(sources, changes).is_empty().then_some(KnownBy::Values)
}

/// Whether a running or queued operation will deploy our values.
pub(crate) fn deploys_our_values(expect: &Expectation<'_>, app: &Application) -> bool {
    let running = app.operation.as_ref().or_else(|| {
        let state = app.status.operation_state.as_ref()?;
        matches!(state.phase, Phase::Running | Phase::Terminating).then_some(&state.operation)
    });
    running.is_some_and(|operation| whose(expect, operation, None).is_some())
}

fn used(state: &OperationState) -> Option<AppSources<'_>> {
    state.sync_result.as_ref().map(|result| result.sources())
}

/// An operation that deployed our values.
struct Success {
    evidence: OperationEvidence,
    revisions: Vec<String>,
    hooks: Vec<ResourceResult>,
}

/// The success of an operation that deployed our values, if `app` shows one.
fn success(expect: &Expectation<'_>, app: &Application) -> Option<Success> {
    if let Some(state) = &app.status.operation_state
        && state.phase == Phase::Succeeded
        && app.operation.is_none()
        && let Some(known_by) = whose(expect, &state.operation, used(state))
    {
        let evidence = OperationEvidence {
            known_by,
            initiated_by: state.operation.initiated_by.clone(),
            started_at: state.started_at,
            finished_at: state.finished_at,
        };
        let revisions = state.sync_result.as_ref().map(|r| r.revisions()).unwrap_or_default();
        return Some(Success { evidence, revisions, hooks: hook_results(state) });
    }
    let changes = expect.values.filter(|changes| !changes.is_empty())?;
    let entry = app.status.history.iter().rev().find(|entry| {
        // What was deployed before counts if nothing had to be.
        (expect.operation == ExpectedOperation::State
            || expect.last_history.is_none_or(|last| entry.id > last))
            && deviations(entry.sources(), changes).is_empty()
    })?;
    let evidence = OperationEvidence {
        known_by: KnownBy::History,
        initiated_by: entry.initiated_by.clone(),
        started_at: entry.deploy_started_at,
        finished_at: entry.deployed_at,
    };
    Some(Success { evidence, revisions: entry.revisions(), hooks: Vec::new() })
}

/// The part of the judgement about operations; `None` if nothing is left to wait for there.
fn judge_operation(
    expect: &Expectation<'_>,
    memory: &JudgeMemory,
    app: &Application,
) -> Option<Verdict> {
    let state = app.status.operation_state.as_ref();
    if let Some(queued) = &app.operation {
        let begun =
            state.filter(|state| state.finished_at.is_none() || state.phase == Phase::Running);
        let ours =
            expect.operation == ExpectedOperation::State || whose(expect, queued, None).is_some();
        let ended = state.filter(|state| begun.is_none() && is_same(&state.operation, queued));
        return Some(Verdict::Waiting(match begun {
            Some(state) => running(state, ours),
            None if ended.is_some() => {
                MissingState::NotCleared(ended.map(|state| state.phase).unwrap_or_default())
            }
            None if ours => MissingState::Queued,
            None => MissingState::Other("queued".into()),
        }));
    }
    let Some(state) = state else {
        return match expect.operation {
            ExpectedOperation::State => None,
            ExpectedOperation::Sync { .. } if success(expect, app).is_some() => None,
            ExpectedOperation::Sync { .. } => Some(Verdict::Waiting(MissingState::NoOperation)),
        };
    };
    let known_by = whose(expect, &state.operation, used(state));
    match state.phase {
        Phase::Running | Phase::Terminating => {
            let ours = expect.operation == ExpectedOperation::State || known_by.is_some();
            return Some(Verdict::Waiting(running(state, ours)));
        }
        Phase::Failed | Phase::Error
            if known_by.is_some() && expect.operation != ExpectedOperation::State =>
        {
            return Some(Verdict::Failed(AppFailure::Operation {
                phase: state.phase,
                message: state.message.clone(),
                resources: failed_resources(state),
            }));
        }
        _ => {}
    }
    if expect.operation == ExpectedOperation::State {
        return None;
    }
    if known_by.is_some() {
        // Ours by its nonce, and yet with other sources: somebody wrote between our write and our sync.
        let used = used(state).filter(|sources| !sources.is_empty());
        let lost = used.map(|sources| lost_values(expect, sources)).unwrap_or_default();
        return (!lost.is_empty()).then_some(Verdict::Superseded(lost));
    }
    if memory.operation.is_none() && success(expect, app).is_none() {
        return Some(Verdict::Waiting(MissingState::NoOperation));
    }
    // Ours succeeded and another one came after it. Did that deploy other values?
    let later = used(state).filter(|sources| !sources.is_empty());
    let lost = later.map(|sources| lost_values(expect, sources)).unwrap_or_default();
    (!lost.is_empty()).then_some(Verdict::Superseded(lost))
}

/// Whether two operations are surely one, by what whoever asked for it has written on it.
fn is_same(one: &Operation, other: &Operation) -> bool {
    one.info.iter().any(|info| info.name == NONCE) && one.info == other.info
}

/// Whether a sync window holds an operation. Only its text tells: `syncWindowPreventsSync` and what follows it in
/// controller/sync.go of Argo CD 3.6.1.
fn is_held_by_window(state: &OperationState) -> bool {
    state.phase == Phase::Running
        && state.message.starts_with("Sync operation blocked by sync window")
}

fn running(state: &OperationState, ours: bool) -> MissingState {
    if ours && is_held_by_window(state) {
        return MissingState::Window;
    }
    let message = state.message.clone();
    match (ours, state.phase == Phase::Running && state.finished_at.is_some()) {
        (true, true) => MissingState::Retry(message),
        (true, false) => MissingState::Running(message),
        (false, _) => MissingState::Other(message),
    }
}

/// What an operation could not apply, and why.
pub(crate) fn failed_resources(state: &OperationState) -> Vec<String> {
    let Some(result) = &state.sync_result else { return Vec::new() };
    result
        .resources
        .iter()
        .filter(|resource| resource.status == "SyncFailed")
        .map(|resource| format!("{} {}: {}", resource.kind, resource.name, resource.message))
        .collect()
}

/// Whether a full comparison is known to have begun after the last operation ended.
fn is_reconciled(memory: &JudgeMemory, app: &Application) -> bool {
    let Some(finished) = app.status.operation_state.as_ref().and_then(|state| state.finished_at)
    else {
        return app.status.reconciled_at.is_some();
    };
    // Both have whole seconds, so equality tells nothing; then a refresh does.
    app.status.reconciled_at.is_some_and(|at| at > finished) || memory.refreshed == Some(finished)
}

fn judge_sync(expect: &Expectation<'_>, app: &Application) -> Option<Verdict> {
    match app.status.sync.status {
        SyncCode::Synced => None,
        SyncCode::Unknown => Some(Verdict::Waiting(MissingState::SyncUnknown)),
        SyncCode::OutOfSync => {
            let differing: Vec<_> = app
                .status
                .resources
                .iter()
                .filter(|resource| !resource.hook && resource.status == SyncCode::OutOfSync)
                .collect();
            let names = differing.iter().map(|r| format!("{} {}", r.kind, r.name)).collect();
            let only_pruning =
                !differing.is_empty() && differing.iter().all(|r| r.requires_pruning);
            if !only_pruning {
                return Some(Verdict::Waiting(MissingState::OutOfSync(names)));
            }
            let prunes_itself =
                app.spec.is_automated() && app.spec.automated().is_some_and(|a| a.prune);
            match (expect.allow_unpruned, prunes_itself) {
                (true, _) => None,
                (false, true) => Some(Verdict::Waiting(MissingState::OutOfSync(names))),
                (false, false) => {
                    Some(Verdict::Failed(AppFailure::NeedsPruning { resources: names }))
                }
            }
        }
    }
}

fn judge_health(
    expect: &Expectation<'_>,
    memory: &JudgeMemory,
    app: &Application,
    degraded_for: Duration,
) -> Verdict {
    let health = &app.status.health;
    match health.status {
        HealthStatus::Healthy | HealthStatus::Suspended => Verdict::Done,
        HealthStatus::Degraded => {
            let may_be_old = expect.health_before == HealthStatus::Degraded && !memory.health_moved;
            let limit =
                if may_be_old { expect.stuck_after.max(OLD_HEALTH) } else { expect.stuck_after };
            if degraded_for < limit {
                Verdict::Waiting(MissingState::Health(health.status, unhealthy_names(app)))
            } else {
                let message = if health.message.is_empty() {
                    unhealthy_names(app).join(", ").into()
                } else {
                    health.message.clone()
                };
                Verdict::Failed(AppFailure::Health { health: Health { message, ..health.clone() } })
            }
        }
        status => Verdict::Waiting(MissingState::Health(status, unhealthy_names(app))),
    }
}

/// The resources that are the reason for the health, each with its message.
pub(crate) fn unhealthy_names(app: &Application) -> Vec<String> {
    app.status
        .resources
        .iter()
        .filter_map(|resource| {
            let health = resource.health.as_ref()?;
            if health.status == HealthStatus::Healthy || resource.hook {
                return None;
            }
            let message = if health.message.is_empty() {
                String::new()
            } else {
                format!(": {}", health.message)
            };
            Some(format!("{} {} {:?}{message}", resource.kind, resource.name, health.status))
        })
        .collect()
}

/// The resource that keeps a running operation from going on until somebody lets it go on: a paused rollout is not healthy to
/// the wave after it. `performSync` of gitops-engine/pkg/sync in Argo CD 3.6.1 waits for Healthy, and ends at Degraded.
pub(crate) fn holds_sync(app: &Application) -> Option<Mismatch> {
    let state = app.status.operation_state.as_ref()?;
    // Only its text tells what it waits for: `sc.setRunningPhase` in sync_context.go there. Of several it names the first.
    let named = state.message.strip_prefix("waiting for healthy state of ")?.split(' ').next()?;
    if state.phase != Phase::Running {
        return None;
    }
    let suspended = |resource: &&Resource| {
        let health = resource.health.as_ref().map(|health| health.status);
        let Resource { group, kind, name, hook, .. } = resource;
        health == Some(HealthStatus::Suspended)
            && !hook
            && named == format!("{group}/{kind}/{name}")
    };
    let resource = app.status.resources.iter().find(suspended)?;
    let message = resource.health.as_ref().map(|health| health.message.clone()).unwrap_or_default();
    let place = format!("{} {}", resource.kind, resource.name);
    Some(Mismatch { place, what: Difference::HoldsSync(message) })
}

#[cfg(test)]
mod tests;
