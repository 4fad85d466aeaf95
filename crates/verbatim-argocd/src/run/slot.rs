//! Gets an operation under way: lets an automatic sync begin, or asks for one and waits for the slot.

use tokio::time::{Duration, Instant, sleep};

use crate::api::error::{Error, ErrorKind};
use crate::api::request::{NONCE, SyncRequest};
use crate::judge::evidence::EndedOperation;
use crate::judge::missing::Missing;
use crate::judge::outcome::{DeployOutcome, Leftover, UndoResult};
use crate::judge::refusal::WriteRefusal;
use crate::judge::verdict::{ExpectedOperation, JudgeMemory, deploys_our_values};
use crate::judge::warning::DeployWarning;
use crate::model::{Application, Phase};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::deviations;
use crate::run::event::DeployStep;
use crate::run::follow::NextState;
use crate::run::session::AppRun;

/// How long an automatic sync is given to begin by itself before we ask for one.
const AUTOMATIC: Duration = Duration::from_secs(2);

/// How often a sync is asked for when the answer gets lost.
const ATTEMPTS: u32 = 3;

/// Pause before a slot that looks free is asked for again.
const SLOT_PAUSE: Duration = Duration::from_millis(50);

impl AppRun<'_> {
    /// Lets an automatic sync begin, or starts one. `Some` ends the run.
    pub(crate) async fn begin_operation(
        &mut self,
        plan: &AppPlan,
        request: &SyncRequest,
    ) -> Result<Option<DeployOutcome>, Error> {
        if self.follow.app().spec.is_automated() && !plan.is_noop() {
            self.log.begin(DeployStep::Sync);
            let expect =
                self.expect(Some(plan), ExpectedOperation::Sync { nonce: self.subject.nonce });
            let until = (Instant::now() + AUTOMATIC).min(self.follow.deadline());
            let mut memory = JudgeMemory::default();
            loop {
                memory.note(&expect, self.follow.app());
                if deploys_our_values(&expect, self.follow.app()) || memory.operation().is_some() {
                    self.log.done(DeployStep::Sync);
                    return self.check_rendered().await;
                }
                match self.follow.next(until).await {
                    Ok(NextState::Changed) => self.tell_changes(),
                    // Whatever it is, asking for a sync will tell.
                    Ok(NextState::Time | NextState::Deleted) | Err(_) => break,
                }
            }
            // It did not begin: perhaps the values change nothing in the manifests.
            if let Some(outcome) = self.check_rendered().await? {
                return Ok(Some(outcome));
            }
        }
        self.start_sync(Some(plan), request).await
    }

    /// Starts a sync, waiting for the operation slot. `Some` ends the run; `None` means that an operation with our
    /// values is under way, or over.
    pub(crate) async fn start_sync(
        &mut self,
        plan: Option<&AppPlan>,
        request: &SyncRequest,
    ) -> Result<Option<DeployOutcome>, Error> {
        self.log.begin(DeployStep::Sync);
        let mut attempt = 1;
        loop {
            let error = match self.subject.client.sync(&self.subject.app, request).await {
                Ok(app) => {
                    let used = app.operation.as_ref().and_then(|operation| operation.sources());
                    let lost = match (plan, used) {
                        (Some(plan), Some(sources)) => deviations(sources, &plan.changes),
                        _ => Vec::new(),
                    };
                    self.follow.accept_write(app);
                    self.written.started_operation();
                    if !lost.is_empty() {
                        return Ok(Some(self.superseded_by(lost)));
                    }
                    self.log.done(DeployStep::Sync);
                    return Ok(None);
                }
                Err(error) => error,
            };
            if matches!(error.kind, ErrorKind::AnotherOperation) {
                match self.free_slot(plan).await {
                    // Not at once: the server may see an operation that we do not.
                    Ok(OperationSlot::Free) if !self.follow.is_over() => sleep(SLOT_PAUSE).await,
                    Ok(OperationSlot::Free | OperationSlot::Deadline) => {
                        return Ok(Some(self.slot_taken().await));
                    }
                    Ok(OperationSlot::Adopted) => return Ok(None),
                    Err(error) => return self.give_back(error).await,
                }
                continue;
            }
            // Whatever the answer is: if the operation carries our nonce, it was started.
            if self.follow.read().await.is_ok() && self.carries_nonce() {
                self.log.done(DeployStep::Sync);
                return Ok(None);
            }
            match &error.kind {
                kind if (kind.is_transient() || !kind.nothing_happened())
                    && attempt < ATTEMPTS
                    && !self.follow.is_over() =>
                {
                    attempt += 1;
                    sleep(Duration::from_millis(300)).await;
                }
                ErrorKind::SyncWindow | ErrorKind::PermissionDenied(_) if plan.is_some() => {
                    let reason = match error.kind {
                        ErrorKind::SyncWindow => WriteRefusal::SyncWindow { windows: Vec::new() },
                        _ => WriteRefusal::MayNot { action: "sync".into() },
                    };
                    let undo = self.undo().await;
                    return Ok(Some(DeployOutcome::Refused { reasons: vec![reason], undo }));
                }
                _ => return self.give_back(error).await,
            }
        }
    }

    /// The time is over, and the sync has not begun: nothing took effect, so nothing needs to stand.
    async fn slot_taken(&mut self) -> DeployOutcome {
        let slot = Missing::OperationSlot;
        let (missing, left) = match self.undo().await {
            UndoResult::NotNeeded => (slot, Leftover::Nothing),
            UndoResult::Done => (slot, Leftover::PreviousValues),
            UndoResult::Failed { why } => (Missing::PreviousValues(why), Leftover::Values),
        };
        let error = match &missing {
            Missing::PreviousValues(_) => Some(Missing::OperationSlot.to_string()),
            _ => None,
        };
        DeployOutcome::unknown(missing, error, left)
    }

    fn carries_nonce(&self) -> bool {
        let app = self.follow.app();
        let state = app.status.operation_state.as_ref().map(|state| &state.operation);
        app.operation
            .iter()
            .chain(state)
            .any(|operation| operation.has_info(NONCE, self.subject.nonce))
    }

    /// Waits until the operation slot is free, or until the operation in it turns out to deploy our values.
    async fn free_slot(&mut self, plan: Option<&AppPlan>) -> Result<OperationSlot, Error> {
        // If it cannot be read now, the next state will tell.
        let _ = self.follow.read().await;
        loop {
            self.tell_changes();
            let expect = self.expect(plan, ExpectedOperation::Sync { nonce: self.subject.nonce });
            let mut memory = JudgeMemory::default();
            memory.note(&expect, self.follow.app());
            if deploys_our_values(&expect, self.follow.app())
                || (plan.is_some() && memory.operation().is_some())
            {
                return Ok(OperationSlot::Adopted);
            }
            let app = self.follow.app();
            let runs =
                app.status.operation_state.as_ref().is_some_and(|state| {
                    matches!(state.phase, Phase::Running | Phase::Terminating)
                });
            if app.operation.is_none() && !runs {
                return Ok(OperationSlot::Free);
            }
            if self.subject.options.terminate_foreign {
                self.end_foreign().await?;
            }
            self.log.waiting(Missing::OperationSlot);
            match self.follow.next(self.follow.deadline()).await? {
                NextState::Changed => {}
                NextState::Time => return Ok(OperationSlot::Deadline),
                // The next attempt will say that it is gone.
                NextState::Deleted => return Ok(OperationSlot::Free),
            }
        }
    }
}

impl AppRun<'_> {
    /// Ends the operation of somebody else that runs, once. The server ends whatever runs by then: what was read just now
    /// makes it all but certain that it is the one that is told.
    async fn end_foreign(&mut self) -> Result<(), Error> {
        let Some(foreign) = foreign_operation(self.follow.app()) else { return Ok(()) };
        if self.ended.contains(&foreign) {
            return Ok(());
        }
        match self.subject.client.terminate(&self.subject.app).await {
            Ok(()) => {
                self.log.warn(DeployWarning::Ended(foreign.clone()));
                self.ended.push(foreign);
                Ok(())
            }
            // It has ended by itself, or not begun.
            Err(Error { kind: ErrorKind::Refused(_), .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The operation that runs, if it has begun and is not ending already.
fn foreign_operation(app: &Application) -> Option<EndedOperation> {
    let state = app.status.operation_state.as_ref()?;
    (state.phase == Phase::Running && app.operation.is_some()).then(|| EndedOperation {
        initiated_by: state.operation.initiated_by.clone(),
        started_at: state.started_at,
        message: state.message.clone(),
    })
}

/// What became of the operation slot.
enum OperationSlot {
    Free,
    /// The operation in it deploys our values.
    Adopted,
    Deadline,
}
