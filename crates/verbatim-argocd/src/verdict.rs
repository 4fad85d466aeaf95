//! Judges one state of an application: are our values deployed, is it still on its way, did it fail? Pure.
//!
//! Never trusts a single field: after a write the old status still says Synced and Healthy, the phase of an operation
//! and the health come from different loops, and an operation can be replaced by the next one before anybody saw its
//! end. The rules and where each comes from are in the table of tests.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{
    Application, Health, HealthStatus, Operation, OperationState, Phase, Sources, SyncCode,
};
use crate::outcome::{Failure, KnownBy, OperationEvidence};
use crate::request::NONCE;
use crate::values::{Change, Deviation, deviations};

/// What must have happened for an application to be deployed.
#[derive(Clone, Debug)]
pub struct Expect<'a> {
    /// The source that was written to, and the values. Empty: no values are expected.
    pub values: Option<(crate::model::SourceAt, &'a [Change])>,
    /// The operation that must have succeeded.
    pub operation: Wanted<'a>,
    /// The newest entry of the history before the write.
    pub last_history: Option<i64>,
    /// How healthy it was before the write.
    pub health_before: HealthStatus,
    /// Resources that would have to be deleted do not matter.
    pub allow_unpruned: bool,
}

/// Which operation must have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The one with this nonce, or another one that deployed our values.
    Sync {
        /// The nonce.
        nonce: &'a str,
    },
    /// None, as long as none runs: only the state counts.
    State,
}

/// What is remembered from earlier states.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The operation that deployed our values, once it was seen to succeed.
    operation: Option<OperationEvidence>,
    /// Its revisions.
    revisions: Vec<String>,
    /// The end of the last operation that a later full comparison is known to have followed.
    refreshed: Option<Timestamp>,
    /// The health has been another one than before the write since then.
    health_moved: bool,
}

/// How long the health from before the write may still be shown after a comparison that saw our values.
const OLD_HEALTH: Duration = Duration::from_secs(30);

impl Memory {
    /// The operation that deployed our values, as far as it is known.
    pub fn operation(&self) -> Option<&OperationEvidence> {
        self.operation.as_ref()
    }

    /// The revisions that were deployed.
    pub fn revisions(&self) -> &[String] {
        &self.revisions
    }

    /// Notes what `app` tells for later states.
    pub fn note(&mut self, expect: &Expect<'_>, app: &Application) {
        if app.status.health.status != expect.health_before {
            self.health_moved = true;
        }
        if let Some((evidence, revisions)) = success(expect, app) {
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
            }
        }
    }

    /// Notes that `app` is the answer to a refresh: its status comes from a comparison that began after the operation
    /// that `before` shows had ended.
    pub fn note_refresh(&mut self, before: &Application) {
        if before.operation.is_none()
            && let Some(state) = &before.status.operation_state
        {
            self.refreshed = state.finished_at;
        }
    }
}

/// What an application's state means.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is on its way.
    Waiting(Waiting),
    /// Its status is older than what it should tell: ask for a refresh.
    Stale(Waiting),
    /// Deployed and healthy, or suspended.
    Done,
    /// Over, and not well.
    Failed(Failure),
    /// Other values stand there, or were deployed.
    Superseded(Vec<Deviation>),
}

/// What is still missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// No operation has begun.
    NoOperation,
    /// An operation is asked for and has not begun.
    Queued,
    /// Our operation runs.
    Running(String),
    /// Somebody else's operation runs.
    Other(String),
    /// The operation failed and will be tried again.
    Retry(String),
    /// No comparison has seen our values.
    Comparison,
    /// No comparison began after the operation ended.
    Reconciled,
    /// Live state does not equal the sources.
    OutOfSync(Vec<String>),
    /// Not compared, for no reason that is told.
    SyncUnknown,
    /// The health.
    Health(HealthStatus, Vec<String>),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, what: &str, message: &str| match message {
            "" => f.write_str(what),
            message => write!(f, "{what}: {message}"),
        };
        match self {
            Self::NoOperation => f.write_str("no operation has deployed the values yet"),
            Self::Queued => f.write_str("the operation has not begun"),
            Self::Running(message) => with(f, "the operation runs", message),
            Self::Other(message) => with(f, "another operation runs", message),
            Self::Retry(message) => {
                with(f, "the operation failed and will be tried again", message)
            }
            Self::Comparison => f.write_str("Argo CD has not compared the values yet"),
            Self::Reconciled => f.write_str("Argo CD has not compared since the operation ended"),
            Self::OutOfSync(resources) => with(f, "out of sync", &resources.join(", ")),
            Self::SyncUnknown => f.write_str("the sync status is not known"),
            Self::Health(health, resources) => {
                with(f, &format!("health is {health:?}"), &resources.join(", "))
            }
        }
    }
}

/// Judges a state. `since_ready` is the time since a state was first seen in which only the health was missing.
pub fn judge(
    expect: &Expect<'_>,
    memory: &Memory,
    app: &Application,
    since_ready: Duration,
) -> Verdict {
    if app.metadata.deletion_timestamp.is_some() {
        return Verdict::Failed(Failure::Deleted);
    }
    let lost = lost_values(expect, app.spec.sources());
    if !lost.is_empty() {
        return Verdict::Superseded(lost);
    }
    if let Some(verdict) = judge_operation(expect, memory, app) {
        return verdict;
    }
    if !app.status.sync.compared_to.sources().same_as(app.spec.sources()) {
        return Verdict::Stale(Waiting::Comparison);
    }
    if !is_reconciled(memory, app) {
        return Verdict::Stale(Waiting::Reconciled);
    }
    if let Some(condition) = app.status.conditions.iter().find(|condition| condition.is_error()) {
        return Verdict::Failed(Failure::Condition { condition: condition.clone() });
    }
    if let Some(verdict) = judge_sync(expect, app) {
        return verdict;
    }
    judge_health(expect, memory, app, since_ready)
}

/// Whether only the health is missing.
pub fn only_health_is_missing(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Waiting(Waiting::Health(..)))
}

fn lost_values(expect: &Expect<'_>, sources: Sources<'_>) -> Vec<Deviation> {
    match expect.values {
        Some((at, changes)) => deviations(sources.get(at), changes),
        None => Vec::new(),
    }
}

/// Whether an operation is the one that deploys our values, and how that is known.
fn whose(expect: &Expect<'_>, operation: &Operation, used: Option<Sources<'_>>) -> Option<KnownBy> {
    if let Wanted::Sync { nonce } = expect.operation
        && operation.has_info(NONCE, nonce)
    {
        return Some(KnownBy::Nonce);
    }
    let (at, changes) = expect.values?;
    let sync = operation.sync.as_ref()?;
    // A partial or dry run deploys nothing as a whole.
    if sync.dry_run || !sync.resources.is_empty() || changes.is_empty() {
        return None;
    }
    let sources = used.filter(|sources| !sources.is_empty()).or_else(|| operation.sources())?;
    deviations(sources.get(at), changes).is_empty().then_some(KnownBy::Values)
}

/// Whether a running or queued operation will deploy our values.
pub fn deploys_our_values(expect: &Expect<'_>, app: &Application) -> bool {
    let running = app.operation.as_ref().or_else(|| {
        let state = app.status.operation_state.as_ref()?;
        matches!(state.phase, Phase::Running | Phase::Terminating).then_some(&state.operation)
    });
    running.is_some_and(|operation| whose(expect, operation, None).is_some())
}

fn used(state: &OperationState) -> Option<Sources<'_>> {
    state.sync_result.as_ref().map(|result| result.sources())
}

/// The success of an operation that deployed our values, if `app` shows one.
fn success(expect: &Expect<'_>, app: &Application) -> Option<(OperationEvidence, Vec<String>)> {
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
        return Some((
            evidence,
            state.sync_result.as_ref().map(|r| r.revisions()).unwrap_or_default(),
        ));
    }
    let (at, changes) = expect.values.filter(|(_, changes)| !changes.is_empty())?;
    let entry = app.status.history.iter().rev().find(|entry| {
        // What was deployed before counts if nothing had to be.
        (expect.operation == Wanted::State
            || expect.last_history.is_none_or(|last| entry.id > last))
            && deviations(entry.sources().get(at), changes).is_empty()
    })?;
    let evidence = OperationEvidence {
        known_by: KnownBy::History,
        initiated_by: entry.initiated_by.clone(),
        started_at: entry.deploy_started_at,
        finished_at: entry.deployed_at,
    };
    Some((evidence, entry.revisions()))
}

/// The part of the judgement about operations; `None` if nothing is left to wait for there.
fn judge_operation(expect: &Expect<'_>, memory: &Memory, app: &Application) -> Option<Verdict> {
    let state = app.status.operation_state.as_ref();
    if let Some(queued) = &app.operation {
        let begun =
            state.filter(|state| state.finished_at.is_none() || state.phase == Phase::Running);
        let ours = expect.operation == Wanted::State || whose(expect, queued, None).is_some();
        return Some(Verdict::Waiting(match begun {
            Some(state) => running(state, ours),
            None if ours => Waiting::Queued,
            None => Waiting::Other("queued".into()),
        }));
    }
    let Some(state) = state else {
        return match expect.operation {
            Wanted::State => None,
            Wanted::Sync { .. } if success(expect, app).is_some() => None,
            Wanted::Sync { .. } => Some(Verdict::Waiting(Waiting::NoOperation)),
        };
    };
    let known_by = whose(expect, &state.operation, used(state));
    match state.phase {
        Phase::Running | Phase::Terminating => {
            let ours = expect.operation == Wanted::State || known_by.is_some();
            return Some(Verdict::Waiting(running(state, ours)));
        }
        Phase::Failed | Phase::Error if known_by.is_some() && expect.operation != Wanted::State => {
            return Some(Verdict::Failed(Failure::Operation {
                phase: state.phase,
                message: state.message.clone(),
                resources: failed_resources(state),
            }));
        }
        _ => {}
    }
    if expect.operation == Wanted::State {
        return None;
    }
    if known_by.is_some() {
        // Ours by its nonce, and yet with other sources: somebody wrote between our write and our sync.
        let used = used(state).filter(|sources| !sources.is_empty());
        let lost = used.map(|sources| lost_values(expect, sources)).unwrap_or_default();
        return (!lost.is_empty()).then_some(Verdict::Superseded(lost));
    }
    if memory.operation.is_none() && success(expect, app).is_none() {
        return Some(Verdict::Waiting(Waiting::NoOperation));
    }
    // Ours succeeded and another one came after it. Did that deploy other values?
    let later = used(state).filter(|sources| !sources.is_empty());
    let lost = later.map(|sources| lost_values(expect, sources)).unwrap_or_default();
    (!lost.is_empty()).then_some(Verdict::Superseded(lost))
}

fn running(state: &OperationState, ours: bool) -> Waiting {
    let message = state.message.clone();
    match (ours, state.phase == Phase::Running && state.finished_at.is_some()) {
        (true, true) => Waiting::Retry(message),
        (true, false) => Waiting::Running(message),
        (false, _) => Waiting::Other(message),
    }
}

fn failed_resources(state: &OperationState) -> Vec<String> {
    let Some(result) = &state.sync_result else { return Vec::new() };
    result
        .resources
        .iter()
        .filter(|resource| resource.status == "SyncFailed")
        .map(|resource| format!("{} {}: {}", resource.kind, resource.name, resource.message))
        .collect()
}

/// Whether a full comparison is known to have begun after the last operation ended.
fn is_reconciled(memory: &Memory, app: &Application) -> bool {
    let Some(finished) = app.status.operation_state.as_ref().and_then(|state| state.finished_at)
    else {
        return app.status.reconciled_at.is_some();
    };
    // Both have whole seconds, so equality tells nothing; then a refresh does.
    app.status.reconciled_at.is_some_and(|at| at > finished) || memory.refreshed == Some(finished)
}

fn judge_sync(expect: &Expect<'_>, app: &Application) -> Option<Verdict> {
    match app.status.sync.status {
        SyncCode::Synced => None,
        SyncCode::Unknown => Some(Verdict::Waiting(Waiting::SyncUnknown)),
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
                return Some(Verdict::Waiting(Waiting::OutOfSync(names)));
            }
            let prunes_itself =
                app.spec.is_automated() && app.spec.automated().is_some_and(|a| a.prune);
            match (expect.allow_unpruned, prunes_itself) {
                (true, _) => None,
                (false, true) => Some(Verdict::Waiting(Waiting::OutOfSync(names))),
                (false, false) => Some(Verdict::Failed(Failure::NeedsPruning { resources: names })),
            }
        }
    }
}

fn judge_health(
    expect: &Expect<'_>,
    memory: &Memory,
    app: &Application,
    since_ready: Duration,
) -> Verdict {
    let health = &app.status.health;
    match health.status {
        HealthStatus::Healthy | HealthStatus::Suspended => Verdict::Done,
        HealthStatus::Degraded => {
            let may_be_old = expect.health_before == HealthStatus::Degraded && !memory.health_moved;
            if may_be_old && since_ready < OLD_HEALTH {
                Verdict::Waiting(Waiting::Health(health.status, unhealthy_names(app)))
            } else {
                let message = if health.message.is_empty() {
                    unhealthy_names(app).join(", ")
                } else {
                    health.message.clone()
                };
                Verdict::Failed(Failure::Health {
                    health: Health { status: health.status, message },
                })
            }
        }
        status => Verdict::Waiting(Waiting::Health(status, unhealthy_names(app))),
    }
}

/// The resources that are the reason for the health, each with its message.
fn unhealthy_names(app: &Application) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::SourceAt;
    use crate::values::Key;

    const T0: &str = "2026-11-24T10:00:00Z";
    const T1: &str = "2026-11-24T10:00:01Z";

    fn element(value: &str) -> Value {
        json!({ "name": "image.tag", "value": value, "forceString": true })
    }

    fn source(value: &str) -> Value {
        json!({ "repoURL": "r", "path": "c", "helm": { "parameters": [element(value)] } })
    }

    /// An application that deployed value 2 with nonce `n`, compared afterwards, Synced and Healthy.
    fn done() -> Value {
        json!({
            "metadata": { "name": "a" },
            "spec": { "source": source("2") },
            "status": {
                "sync": { "status": "Synced", "comparedTo": { "source": source("2") } },
                "health": { "status": "Healthy" },
                "reconciledAt": T1,
                "history": [{ "id": 4, "source": source("1") }, { "id": 5, "source": source("2") }],
                "operationState": {
                    "operation": { "sync": { "source": source("2") }, "info": [{ "name": NONCE, "value": "n" }] },
                    "phase": "Succeeded", "startedAt": T0, "finishedAt": T0,
                    "syncResult": { "source": source("2"), "revision": "abc" },
                },
                "resources": [{ "kind": "Deployment", "name": "web", "status": "Synced", "health": { "status": "Healthy" } }],
            },
        })
    }

    fn set(mut app: Value, changes: &[(&str, Value)]) -> Value {
        for (pointer, value) in changes {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = app.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
            match value {
                Value::Null => drop(parent.as_object_mut().unwrap().remove(field)),
                value => parent[field] = value.clone(),
            }
        }
        app
    }

    struct Case {
        /// What is different from [`done`], and where the rule comes from.
        what: &'static str,
        app: Value,
        memory: Memory,
        health_before: HealthStatus,
        since_ready: u64,
        allow_unpruned: bool,
        want: &'static str,
    }

    fn case(what: &'static str, changes: &[(&str, Value)], want: &'static str) -> Case {
        Case {
            what,
            app: set(done(), changes),
            memory: Memory::default(),
            health_before: HealthStatus::Healthy,
            since_ready: 0,
            allow_unpruned: false,
            want,
        }
    }

    /// The name of a verdict, and of what it waits for or fails with.
    fn name(verdict: &Verdict) -> String {
        let inner =
            |text: String| text.chars().take_while(|c| c.is_alphanumeric()).collect::<String>();
        match verdict {
            Verdict::Waiting(waiting) => format!("wait {}", inner(format!("{waiting:?}"))),
            Verdict::Stale(waiting) => format!("stale {}", inner(format!("{waiting:?}"))),
            Verdict::Done => "done".into(),
            Verdict::Failed(failure) => format!("failed {}", inner(format!("{failure:?}"))),
            Verdict::Superseded(_) => "superseded".into(),
        }
    }

    #[track_caller]
    fn check(case: &Case) {
        let changes = [Change {
            key: Key::Helm("image.tag".into()),
            old: Some(element("1")),
            new: element("2"),
        }];
        let expect = Expect {
            values: Some((SourceAt::Single, &changes)),
            operation: Wanted::Sync { nonce: "n" },
            last_history: Some(4),
            health_before: case.health_before,
            allow_unpruned: case.allow_unpruned,
        };
        let app: Application = serde_json::from_value(case.app.clone()).unwrap();
        let mut memory = case.memory.clone();
        memory.note(&expect, &app);
        let got = judge(&expect, &memory, &app, Duration::from_secs(case.since_ready));
        assert_eq!(name(&got), case.want, "{}", case.what);
    }

    /// What proves values that were there already.
    #[track_caller]
    fn check_found(changes: &[(&str, Value)], digest: &str, want: Option<KnownBy>) {
        let app: Application = serde_json::from_value(set(done(), changes)).unwrap();
        let changes = [Change {
            key: Key::Helm("image.tag".into()),
            old: Some(element(digest)),
            new: element(digest),
        }];
        let expect = Expect {
            values: Some((SourceAt::Single, &changes)),
            operation: Wanted::State,
            last_history: Some(5),
            health_before: HealthStatus::Unknown,
            allow_unpruned: false,
        };
        let mut memory = Memory::default();
        memory.note(&expect, &app);
        assert_eq!(memory.operation().map(|operation| operation.known_by), want);
        let verdict = judge(&expect, &memory, &app, Duration::ZERO);
        assert!(!matches!(verdict, Verdict::Failed(Failure::Operation { .. })), "{verdict:?}");
    }

    #[test]
    fn what_was_deployed_before_proves_what_need_not_be_deployed() {
        const PHASE: &str = "/status/operationState/phase";
        check_found(&[], "2", Some(KnownBy::Values));
        check_found(&[("/status/operationState", Value::Null)], "2", Some(KnownBy::History));
        // A later operation that failed does not undo what an earlier one deployed.
        check_found(&[(PHASE, json!("Failed"))], "2", Some(KnownBy::History));
        check_found(&[], "3", None);
    }

    fn remembered(known_by: KnownBy) -> Memory {
        let operation = OperationEvidence {
            known_by,
            initiated_by: Default::default(),
            started_at: None,
            finished_at: None,
        };
        Memory { operation: Some(operation), ..Memory::default() }
    }

    /// Each row says in `what` where its rule comes from. "ran" means seen on Argo CD 3.6.1.
    #[test]
    fn states_are_judged() {
        const STATE: &str = "/status/operationState";
        let info = "/status/operationState/operation/info";
        let foreign_running = json!({
            "operation": { "sync": { "source": source("1") }, "initiatedBy": { "automated": true } },
            "phase": "Running", "startedAt": T0,
        });
        let automated = |value: &str, phase: &str| {
            let mut state = json!({
                "operation": { "sync": { "source": source(value) }, "initiatedBy": { "automated": true } },
                "phase": phase, "startedAt": T0,
            });
            if phase != "Running" {
                state["finishedAt"] = json!(T0);
                state["syncResult"] = json!({ "source": source(value) });
            }
            state
        };
        let pruning = json!([{ "kind": "Service", "name": "old", "status": "OutOfSync", "requiresPruning": true }]);
        let cases = [
            case("everything is there", &[], "done"),
            // The write.
            case(
                "ran: a PATCH that was overlaid by another",
                &[("/spec/source", source("1"))],
                "superseded",
            ),
            case(
                "the application is being deleted",
                &[("/metadata/deletionTimestamp", json!(T0))],
                "failed Deleted",
            ),
            // The operation.
            case(
                "ran: after the answer to a sync, `operation` is set and operationState absent",
                &[
                    ("/operation", json!({ "info": [{ "name": NONCE, "value": "n" }] })),
                    (STATE, Value::Null),
                ],
                "wait Queued",
            ),
            case(
                "ran: `operation` is set, operationState is still the previous one's",
                &[
                    ("/operation", json!({ "info": [{ "name": NONCE, "value": "n" }] })),
                    (info, json!([])),
                ],
                "wait Queued",
            ),
            case(
                "ran: our operation runs",
                &[
                    ("/operation", json!({ "info": [{ "name": NONCE, "value": "n" }] })),
                    ("/status/operationState/phase", json!("Running")),
                    ("/status/operationState/finishedAt", Value::Null),
                ],
                "wait Running",
            ),
            case(
                "controller: between two attempts the phase is Running and finishedAt is set",
                &[("/status/operationState/phase", json!("Running"))],
                "wait Retry",
            ),
            case(
                "ran: terminating takes a second",
                &[("/status/operationState/phase", json!("Terminating"))],
                "wait Running",
            ),
            case(
                "somebody else's operation runs",
                &[(STATE, foreign_running), ("/status/history", json!([]))],
                "wait Other",
            ),
            case(
                "ran: a failed operation",
                &[("/status/operationState/phase", json!("Failed"))],
                "failed Operation",
            ),
            case(
                "an operation in error",
                &[("/status/operationState/phase", json!("Error"))],
                "failed Operation",
            ),
            case(
                "the previous operation, with other values and another nonce, is no success of ours",
                &[
                    (STATE, automated("1", "Succeeded")),
                    ("/status/history", json!([{ "id": 4, "source": source("2") }])),
                ],
                "wait NoOperation",
            ),
            case(
                "no operation at all",
                &[(STATE, Value::Null), ("/status/history", json!([]))],
                "wait NoOperation",
            ),
            case(
                "ran: an automated operation deployed our values (adopted)",
                &[(STATE, automated("2", "Succeeded"))],
                "done",
            ),
            case(
                "an automated operation with our values runs",
                &[(STATE, automated("2", "Running"))],
                "wait Running",
            ),
            case(
                "ran: an automated operation with our values fails",
                &[(STATE, automated("2", "Failed")), ("/status/history", json!([]))],
                "failed Operation",
            ),
            Case {
                memory: remembered(KnownBy::Nonce),
                ..case(
                    "ran: ours succeeded and was replaced by an automated one with the same values",
                    &[(STATE, automated("2", "Succeeded"))],
                    "done",
                )
            },
            case(
                "ours was replaced before anybody saw its end: the history tells",
                &[(
                    STATE,
                    json!({ "operation": { "sync": { "dryRun": true } }, "phase": "Succeeded", "finishedAt": T0 }),
                )],
                "done",
            ),
            Case {
                memory: remembered(KnownBy::Nonce),
                ..case(
                    "ran: a rollback after ours deploys old values and leaves the spec",
                    &[(STATE, automated("1", "Succeeded"))],
                    "superseded",
                )
            },
            case(
                "controller before 3.2: our operation took the spec at its start, which was another's",
                &[("/status/operationState/syncResult/source", source("1"))],
                "superseded",
            ),
            case(
                "a partial sync of somebody with our values deploys nothing as a whole",
                &[
                    (info, json!([])),
                    (
                        "/status/operationState/operation/sync/resources",
                        json!([{ "kind": "Service" }]),
                    ),
                    ("/status/history", json!([])),
                ],
                "wait NoOperation",
            ),
            // The comparison.
            case(
                "ran: 4 to 31 ms after the write, comparedTo is the old one beside Synced and Healthy",
                &[("/status/sync/comparedTo/source", source("1"))],
                "stale Comparison",
            ),
            case(
                "ran: reconciledAt == finishedAt beside OutOfSync and Missing",
                &[("/status/reconciledAt", json!(T0))],
                "stale Reconciled",
            ),
            case(
                "argocd CLI: reconciledAt before finishedAt",
                &[("/status/reconciledAt", json!("2026-11-24T09:59:59Z"))],
                "stale Reconciled",
            ),
            Case {
                memory: Memory { refreshed: Some(T0.parse().unwrap()), ..Memory::default() },
                ..case(
                    "the same, but this is the answer to a refresh",
                    &[("/status/reconciledAt", json!(T0))],
                    "done",
                )
            },
            Case {
                memory: Memory {
                    refreshed: Some("2026-11-24T09:00:00Z".parse().unwrap()),
                    ..Memory::default()
                },
                ..case(
                    "a refresh after an earlier operation",
                    &[("/status/reconciledAt", json!(T0))],
                    "stale Reconciled",
                )
            },
            case(
                "ran: manifests that do not render any more",
                &[
                    ("/status/conditions", json!([{ "type": "ComparisonError", "message": "x" }])),
                    ("/status/sync/status", json!("Unknown")),
                ],
                "failed Condition",
            ),
            case(
                "an error condition of before the comparison says nothing",
                &[
                    ("/status/conditions", json!([{ "type": "ComparisonError", "message": "x" }])),
                    ("/status/sync/comparedTo/source", source("1")),
                ],
                "stale Comparison",
            ),
            case(
                "a warning is no error",
                &[(
                    "/status/conditions",
                    json!([{ "type": "OrphanedResourceWarning", "message": "x" }]),
                )],
                "done",
            ),
            case(
                "sync status unknown",
                &[("/status/sync/status", json!("Unknown"))],
                "wait SyncUnknown",
            ),
            case(
                "a status that we do not know",
                &[("/status/sync/status", json!("Weird"))],
                "wait SyncUnknown",
            ),
            case("out of sync", &[("/status/sync/status", json!("OutOfSync"))], "wait OutOfSync"),
            case(
                "argocd CLI: PruneSkipped leaves it OutOfSync for ever",
                &[
                    ("/status/sync/status", json!("OutOfSync")),
                    ("/status/resources", pruning.clone()),
                ],
                "failed NeedsPruning",
            ),
            Case {
                allow_unpruned: true,
                ..case(
                    "the same, allowed",
                    &[
                        ("/status/sync/status", json!("OutOfSync")),
                        ("/status/resources", pruning.clone()),
                    ],
                    "done",
                )
            },
            case(
                "the same, and the application prunes itself",
                &[
                    ("/status/sync/status", json!("OutOfSync")),
                    ("/status/resources", pruning),
                    ("/spec/syncPolicy", json!({ "automated": { "prune": true } })),
                ],
                "wait OutOfSync",
            ),
            // The health.
            case("progressing", &[("/status/health/status", json!("Progressing"))], "wait Health"),
            case("missing", &[("/status/health/status", json!("Missing"))], "wait Health"),
            case(
                "a health that we do not know",
                &[("/status/health/status", json!("Weird"))],
                "wait Health",
            ),
            case(
                "suspended has its own outcome",
                &[("/status/health/status", json!("Suspended"))],
                "done",
            ),
            case(
                "degraded from healthy",
                &[("/status/health/status", json!("Degraded"))],
                "failed Health",
            ),
            Case {
                health_before: HealthStatus::Degraded,
                ..case(
                    "degraded as before: may be old",
                    &[("/status/health/status", json!("Degraded"))],
                    "wait Health",
                )
            },
            Case {
                health_before: HealthStatus::Degraded,
                since_ready: 31,
                ..case(
                    "degraded as before, for long",
                    &[("/status/health/status", json!("Degraded"))],
                    "failed Health",
                )
            },
            Case {
                health_before: HealthStatus::Degraded,
                memory: Memory { health_moved: true, ..Memory::default() },
                ..case(
                    "degraded again",
                    &[("/status/health/status", json!("Degraded"))],
                    "failed Health",
                )
            },
            case(
                "health is not looked at before the operation's end",
                &[
                    ("/status/operationState/phase", json!("Running")),
                    ("/status/health/status", json!("Degraded")),
                ],
                "wait Retry",
            ),
        ];
        for case in &cases {
            check(case);
        }
    }

    /// The recorded answers of Argo CD 3.6.1, judged as if nothing was written: only the state counts.
    #[test]
    fn recorded_states_are_judged() {
        let app = |text: &str| -> Application {
            let recorded: Value = serde_json::from_str(text).unwrap();
            serde_json::from_value(recorded["body"].clone()).unwrap()
        };
        let cases = [
            (app(include_str!("../tests/fixtures/app-never-synced.json")), "wait OutOfSync"),
            // reconciledAt == finishedAt in the recording.
            (app(include_str!("../tests/fixtures/app-deployed.json")), "stale Reconciled"),
            (app(include_str!("../tests/fixtures/app-multi-source.json")), "stale Reconciled"),
            (app(include_str!("../tests/fixtures/app-operation-running.json")), "wait Running"),
            (
                app(include_str!("../tests/fixtures/app-operation-terminated.json")),
                "stale Reconciled",
            ),
            (app(include_str!("../tests/fixtures/app-operation-failed.json")), "stale Reconciled"),
            (app(include_str!("../tests/fixtures/app-right-after-patch.json")), "stale Comparison"),
            (app(include_str!("../tests/fixtures/app-comparison-error.json")), "stale Reconciled"),
        ];
        for (app, want) in cases {
            let expect = Expect {
                values: None,
                operation: Wanted::State,
                last_history: None,
                health_before: HealthStatus::Healthy,
                allow_unpruned: false,
            };
            let got = judge(&expect, &Memory::default(), &app, Duration::ZERO);
            assert_eq!(name(&got), want, "{}", app.metadata.name);
            let mut memory = Memory::default();
            memory.note_refresh(&app);
            let refreshed = name(&judge(&expect, &memory, &app, Duration::ZERO));
            assert_ne!(refreshed, "stale Reconciled", "{}", app.metadata.name);
        }
    }
}
