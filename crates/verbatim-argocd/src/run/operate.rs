//! Runs an operation: to its end, however the application is then, since partial and dry syncs, syncs to another revision,
//! and rollbacks leave an application that is not synced; or until the application is well. And waits for conditions.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppDeletion, AppRef, NONCE, SyncRequest};
use crate::judge::condition::{ConditionState, Conditions};
use crate::judge::missing::Missing;
use crate::judge::outcome::unhealthy;
use crate::judge::outcome::{AppFailure, DeployOutcome, DeployReport, ReachedState, UndoResult};
use crate::judge::refusal::WriteRefusal;
use crate::judge::verdict::{ExpectedOperation, JudgeMemory, failed_resources};
use crate::model::{Application, HealthStatus, Operation, OperationState, Phase, SyncCode};
use crate::run::event::DeployStep;
use crate::run::follow::{FirstRead, NextState};
use crate::run::log::Listener;
use crate::run::obstacles::TreeLooks;
use crate::run::request::DeployOptions;
use crate::run::session::{AppRun, Subject};
use crate::run::wait::WaitGoal;

/// The sync with the options of the application itself beside its own. The server takes the one or the other, and nobody
/// who asks for `Replace=true` means to lose `CreateNamespace=true`.
fn with_own_options(app: &Application, sync: &SyncRequest) -> SyncRequest {
    let mut sync = sync.clone();
    if sync.sync_options.is_empty() {
        return sync;
    }
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let policy = app.spec.sync_policy.as_ref();
    let own = policy.map(|policy| policy.sync_options.as_slice()).unwrap_or_default();
    let mut options: Vec<String> = own
        .iter()
        .filter(|option| !sync.sync_options.iter().any(|given| name(given) == name(option)))
        .cloned()
        .collect();
    options.append(&mut sync.sync_options);
    sync.sync_options = options;
    sync
}

/// What a sync is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncUntil {
    /// The server has taken it.
    Started,
    /// The operation has ended, however the application is then.
    Ended,
    /// And the application is synced and healthy.
    Healthy,
}

/// Syncs an application as it is.
///
/// # Errors
///
/// If the sync cannot be started.
pub async fn sync(
    client: &Client,
    app: &AppRef,
    request: &SyncRequest,
    until: SyncUntil,
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    let subject = Subject { nonce: &request.nonce, ..Subject::new(client, app, options) };
    let mut run = subject.start(FirstRead::AsItIs, listener).await?;
    if let Some(refusal) = run.not_reconciled() {
        return Ok(run.report(refused(refusal)));
    }
    let request = with_own_options(&run.before, request);
    let outcome = match (run.start_sync(None, &request).await?, until) {
        (Some(outcome), _) => outcome,
        (None, SyncUntil::Started) => run.has_reached(ReachedState::SyncStarted, None),
        (None, SyncUntil::Ended) => {
            let what = match request.dry_run {
                true => ReachedState::NothingApplied,
                false => ReachedState::SyncSucceeded,
            };
            run.end_of(what, |operation| operation.has_info(NONCE, &request.nonce)).await
        }
        (None, SyncUntil::Healthy) => {
            let expect = run.expect(None, ExpectedOperation::Sync { nonce: &request.nonce });
            run.wait(&expect, WaitGoal::Done, JudgeMemory::default()).await
        }
    };
    Ok(run.report(outcome))
}

/// Deploys an entry of the history again, and waits for the operation. Without an `id` it is the last but one.
pub(crate) async fn rollback(
    client: &Client,
    app: &AppRef,
    id: Option<i64>,
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    let subject = Subject::new(client, app, options);
    let mut run = subject.start(FirstRead::AsItIs, listener).await?;
    let id = match id {
        Some(id) => id,
        None => previous(&run.before).ok_or_else(|| Error {
            action: format!("roll application {app} back"),
            server: client.server().to_string(),
            kind: ErrorKind::Refused("its history has no earlier deployment".into()),
        })?,
    };
    if let Some(refusal) = run.not_reconciled() {
        return Ok(run.report(refused(refusal)));
    }
    run.log.begin(DeployStep::Sync);
    let answer = client.rollback(&run.subject.app, id, options.prune).await?;
    // It carries no mark of ours. The slot was free, so from this state on what is in it is ours or came later.
    let source = answer.operation.as_ref().and_then(|operation| operation.sync.clone());
    run.follow.accept_write(answer);
    run.written.started_operation();
    run.log.done(DeployStep::Sync);
    let outcome = run
        .end_of(ReachedState::RolledBack(id), |operation| match (&source, &operation.sync) {
            (Some(ours), Some(theirs)) => ours.sources().same_as(theirs.sources()),
            _ => false,
        })
        .await;
    Ok(run.report(outcome))
}

fn refused(why: WriteRefusal) -> DeployOutcome {
    DeployOutcome::Refused { reasons: vec![why], undo: UndoResult::NotNeeded }
}

/// The entry of the history before the last one.
fn previous(app: &Application) -> Option<i64> {
    app.status.history.iter().rev().nth(1).map(|entry| entry.id)
}

/// Deletes an application, and waits until it is gone, if that is asked for.
pub(crate) async fn delete(
    client: &Client,
    app: &AppRef,
    how: AppDeletion,
    wait: bool,
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    if !wait {
        let subject = Subject::new(client, app, options);
        client.delete(app, how).await?;
        return Ok(subject.report(gone(ReachedState::BeingDeleted)));
    }
    let subject = Subject::new(client, app, options);
    let mut run = subject.start(FirstRead::AsItIs, listener).await?;
    client.delete(&run.subject.app, how).await?;
    let outcome = run.meet(&Conditions { delete: true, ..Conditions::default() }).await;
    Ok(run.report(outcome))
}

/// Waits for conditions. An application that is gone meets the one of deletion and no other.
pub(crate) async fn wait_for(
    client: &Client,
    app: &AppRef,
    conditions: &Conditions,
    options: &DeployOptions,
    listener: Listener<'_>,
) -> Result<DeployReport, Error> {
    // The status may be one of before the last change.
    let compares = (conditions.sync || !conditions.resources.is_empty()) && !conditions.delete;
    let first = if compares { FirstRead::Compared } else { FirstRead::AsItIs };
    let mut run = match Subject::new(client, app, options).start(first, listener).await {
        Ok(run) => run,
        // That an application is not there is known only if its project was named; else the server says "forbidden".
        Err(error) if conditions.delete && matches!(error.kind, ErrorKind::NotFound(_)) => {
            let outcome = gone(ReachedState::Deleted);
            return Ok(Subject::new(client, app, options).report(outcome));
        }
        Err(error) => return Err(error),
    };
    let outcome = run.meet(conditions).await;
    Ok(run.report(outcome))
}

fn gone(what: ReachedState) -> DeployOutcome {
    DeployOutcome::Reached {
        what,
        sync: SyncCode::Unknown,
        health: HealthStatus::Missing,
        revisions: Vec::new(),
        resources: Vec::new(),
    }
}

impl AppRun<'_> {
    /// Waits for the end of the operation that is ours.
    async fn end_of(
        &mut self,
        what: ReachedState,
        is_ours: impl Fn(&Operation) -> bool,
    ) -> DeployOutcome {
        self.log.begin(DeployStep::Wait);
        let last = self.before.status.last_history();
        let mut looks = TreeLooks::new();
        looks.begin_later();
        loop {
            self.tell_changes();
            if let Some(end) = end(self.follow.app(), last, &is_ours) {
                return match end {
                    OperationEnd::Succeeded => {
                        self.log.done(DeployStep::Wait);
                        self.has_reached(what, self.follow.app().status.operation_state.as_ref())
                    }
                    OperationEnd::Failed(why) => {
                        self.look_at_end(&mut looks).await;
                        let obstacles = looks.obstacles;
                        DeployOutcome::Degraded { why, unhealthy: Vec::new(), obstacles }
                    }
                };
            }
            self.log.waiting(Missing::OperationEnd);
            match self.next_looking(&mut looks).await {
                Ok(NextState::Changed) => {}
                Ok(NextState::Deleted) => return DeployOutcome::deleted(),
                Ok(NextState::Time) if !self.follow.is_over() => {}
                Ok(NextState::Time) => return self.not_over(Missing::OperationEnd, None, looks),
                Err(error) => return self.not_over(Missing::OperationEnd, Some(&error), looks),
            }
        }
    }

    async fn meet(&mut self, conditions: &Conditions) -> DeployOutcome {
        self.log.begin(DeployStep::Wait);
        // One that is so from the beginning is what is waited out.
        let was_degraded = self.follow.app().status.health.status == HealthStatus::Degraded;
        let mut degraded = DegradedTime { since: None, from_the_beginning: was_degraded };
        let mut looks = TreeLooks::new();
        loop {
            self.tell_changes();
            let app = self.follow.app();
            let missing = match conditions.judge(app) {
                ConditionState::Yes => {
                    self.log.done(DeployStep::Wait);
                    return self.has_reached(ReachedState::ConditionsMet, None);
                }
                ConditionState::NoResource => return self.not_over(Missing::Resource, None, looks),
                ConditionState::NotYet(unmet) => Missing::Conditions(unmet),
            };
            let health = app.status.health.clone();
            let ends = conditions.health && !conditions.degraded && !conditions.delete;
            let over = degraded.note(health.status, self.subject.options.stuck_after);
            if ends && (over == Some(Duration::ZERO) || self.follow.is_over() && over.is_some()) {
                self.look_at_end(&mut looks).await;
                let why = AppFailure::Health { health };
                let unhealthy = unhealthy(self.follow.app(), &looks.tree);
                return DeployOutcome::Degraded { why, unhealthy, obstacles: looks.obstacles };
            }
            self.log.waiting(missing.clone());
            looks.next = over.map_or(looks.next, |left| looks.next.min(Instant::now() + left));
            let next = match conditions.health {
                true => self.next_looking(&mut looks).await,
                false => self.follow.next(self.follow.deadline()).await,
            };
            match next {
                Ok(NextState::Changed) => {}
                Ok(NextState::Deleted) if conditions.delete => return gone(ReachedState::Deleted),
                Ok(NextState::Deleted) => return DeployOutcome::deleted(),
                Ok(NextState::Time) if !self.follow.is_over() || (ends && over.is_some()) => {}
                Ok(NextState::Time) => return self.not_over(missing, None, looks),
                // What is deleted and whose project is not named turns into something forbidden.
                Err(error)
                    if conditions.delete
                        && matches!(error.kind, ErrorKind::PermissionDenied(_))
                        && self.follow.app().metadata.deletion_timestamp.is_some() =>
                {
                    return gone(ReachedState::Deleted);
                }
                Err(error) => return self.not_over(missing, Some(&error), looks),
            }
        }
    }

    fn has_reached(&self, what: ReachedState, state: Option<&OperationState>) -> DeployOutcome {
        let status = &self.follow.app().status;
        let result = state.and_then(|state| state.sync_result.as_ref());
        DeployOutcome::Reached {
            what,
            sync: status.sync.status,
            health: status.health.status,
            revisions: result.map_or_else(|| status.sync.revisions(), |result| result.revisions()),
            resources: result.map(|result| result.resources.clone()).unwrap_or_default(),
        }
    }

    fn not_over(&self, missing: Missing, error: Option<&Error>, looks: TreeLooks) -> DeployOutcome {
        DeployOutcome::Unknown {
            missing,
            error: error.map(|error| format!("{error}: {}", error.kind)),
            unhealthy: unhealthy(self.follow.app(), &looks.tree),
            obstacles: looks.obstacles,
            left: self.written.leftover(),
        }
    }
}

/// For how long an application has become Degraded. New pods are so for a moment, to an HPA for example.
struct DegradedTime {
    since: Option<Instant>,
    from_the_beginning: bool,
}

impl DegradedTime {
    /// How long it may go on, if it is so now.
    fn note(&mut self, health: HealthStatus, patience: Duration) -> Option<Duration> {
        if health != HealthStatus::Degraded {
            *self = Self { since: None, from_the_beginning: false };
        }
        if health != HealthStatus::Degraded || self.from_the_beginning {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        Some(patience.saturating_sub(since.elapsed()))
    }
}

#[derive(Debug, PartialEq)]
enum OperationEnd {
    Succeeded,
    Failed(AppFailure),
}

/// The end of the operation that is ours; `None` while it is not over. If a later one has taken its place before we saw
/// its end, a new entry of the history tells that it succeeded.
fn end(
    app: &Application,
    last_history: Option<i64>,
    is_ours: impl Fn(&Operation) -> bool,
) -> Option<OperationEnd> {
    if app.operation.is_some() {
        return None;
    }
    let state = app.status.operation_state.as_ref()?;
    if is_ours(&state.operation) {
        return match state.phase {
            Phase::Succeeded => Some(OperationEnd::Succeeded),
            Phase::Failed | Phase::Error => Some(OperationEnd::Failed(AppFailure::Operation {
                phase: state.phase,
                message: state.message.clone(),
                resources: failed_resources(state),
            })),
            Phase::Running | Phase::Terminating | Phase::Unknown => None,
        };
    }
    let newer =
        app.status.history.iter().any(|entry| last_history.is_none_or(|last| entry.id > last));
    newer.then_some(OperationEnd::Succeeded)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn app(value: Value) -> Application {
        serde_json::from_value(value).unwrap()
    }

    fn state(phase: &str, nonce: &str) -> Value {
        json!({
            "phase": phase, "message": "m",
            "operation": { "info": [{ "name": NONCE, "value": nonce }] },
        })
    }

    #[test]
    fn an_operation_is_over_when_ours_has_ended() {
        let cases = [
            ("queued", json!({ "operation": {} }), None),
            ("nothing seen", json!({}), None),
            ("runs", json!({ "status": { "operationState": state("Running", "n") } }), None),
            (
                "between two attempts",
                json!({ "operation": {}, "status": { "operationState": state("Failed", "n") } }),
                None,
            ),
            (
                "done",
                json!({ "status": { "operationState": state("Succeeded", "n") } }),
                Some(true),
            ),
            (
                "failed",
                json!({ "status": { "operationState": state("Failed", "n") } }),
                Some(false),
            ),
            (
                "an older one",
                json!({ "status": { "operationState": state("Succeeded", "old"), "history": [{ "id": 3 }] } }),
                None,
            ),
            (
                "replaced",
                json!({ "status": { "operationState": state("Running", "later"), "history": [{ "id": 4 }] } }),
                Some(true),
            ),
        ];
        for (what, value, want) in cases {
            let got = end(&app(value), Some(3), |operation| operation.has_info(NONCE, "n"));
            assert_eq!(got.map(|end| end == OperationEnd::Succeeded), want, "{what}");
        }
    }

    #[test]
    fn what_becomes_degraded_is_waited_out_for_a_while() {
        let (degraded, healthy) = (HealthStatus::Degraded, HealthStatus::Healthy);
        let (short, long) = (Duration::ZERO, Duration::from_secs(60));
        let mut from_the_beginning = DegradedTime { since: None, from_the_beginning: true };
        assert_eq!(from_the_beginning.note(degraded, short), None);
        assert_eq!(from_the_beginning.note(healthy, short), None);
        assert_eq!(from_the_beginning.note(degraded, short), Some(Duration::ZERO));
        let mut later = DegradedTime { since: None, from_the_beginning: false };
        assert!(later.note(degraded, long).is_some_and(|left| left > Duration::ZERO));
        assert_eq!(later.note(degraded, short), Some(Duration::ZERO));
    }

    #[test]
    fn options_of_the_application_are_kept() {
        let own = app(json!({ "spec": { "syncPolicy": {
            "syncOptions": ["CreateNamespace=true", "Replace=false"],
        } } }));
        let with = |options: &[&str]| {
            let sync_options = options.iter().map(|option| (*option).to_owned()).collect();
            with_own_options(&own, &SyncRequest { sync_options, ..SyncRequest::default() })
                .sync_options
        };
        assert_eq!(with(&["Replace=true"]), ["CreateNamespace=true", "Replace=true"]);
        // Without any of ours the server takes those of the application by itself.
        assert!(with(&[]).is_empty());
    }

    #[test]
    fn the_deployment_before_the_last_is_the_previous_one() {
        let history = |ids: &[i64]| {
            let entries: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            previous(&app(json!({ "status": { "history": entries } })))
        };
        assert_eq!(history(&[1, 2, 5]), Some(2));
        assert_eq!((history(&[1]), history(&[])), (None, None));
    }
}
