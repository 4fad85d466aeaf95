//! Writes values and claims, and takes them back. Every write is guarded by tests, so sending it twice is harmless.

use jiff::SignedDuration;
use tokio::time::{Duration, sleep};

use crate::api::error::{Error, ErrorKind};
use crate::judge::outcome::{UndoFailure, UndoResult};
use crate::judge::plan::plan;
use crate::judge::refusal::WriteRefusal;
use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::{Claim, ClaimState, read_claim, with_previous};
use crate::overrides::patch;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, OverrideValues, deviations};
use crate::run::annotation::{AnnotationWrite, close};
use crate::run::event::DeployStep;
use crate::run::session::{AppRun, now};

/// How often a write is tried: against writers of unrelated values, and against proxies that are down for a moment.
const ATTEMPTS: u32 = 4;

pub(crate) enum WriteResult {
    /// The values and the claim are stored, as far as the answer tells.
    Yes,
    /// What is stored now must not be written over: the plan depends on other values, or another run is at work.
    Refused(WriteRefusal),
    /// Another writer's values are stored.
    Overwritten(Vec<Deviation>),
    /// The answer got lost, and so did the means to find out.
    Unknown(Error),
}

impl AppRun<'_> {
    /// The claim that goes with a plan, on the application as it stands `before`.
    pub(crate) fn new_claim(
        &self,
        before: &Application,
        plan: &AppPlan,
        state: ClaimState,
    ) -> Claim {
        // Whole seconds are easier to read, and as exact as everything else that Argo CD stores.
        let at = now().round(jiff::Unit::Second).unwrap_or_else(|_| now());
        let timeout = SignedDuration::try_from(self.subject.options.timeout)
            .unwrap_or(SignedDuration::from_hours(1));
        let settle =
            SignedDuration::try_from(self.subject.options.settle).unwrap_or(SignedDuration::ZERO);
        Claim {
            version: Claim::VERSION,
            nonce: self.subject.nonce.to_owned(),
            state,
            release: self.subject.release.to_owned(),
            by: self.subject.by.map(str::to_owned),
            at,
            deadline: at.saturating_add(timeout + settle).unwrap_or(at),
            source: plan.source,
            changes: with_previous(plan.changes.clone(), &read_claim(before)),
            record: None,
            kept: None,
        }
    }

    /// Writes the plan's values and the claim in one patch.
    pub(crate) async fn write(
        &mut self,
        planned: &AppPlan,
        values: &OverrideValues,
        mut claim: Claim,
    ) -> Result<WriteResult, Error> {
        let outdated =
            |differences| Ok(WriteResult::Refused(WriteRefusal::PlanOutdated { differences }));
        let mut state = self.follow.app().clone();
        let mut attempt = 1;
        loop {
            let patch = match patch::write(&state, planned, &claim) {
                Ok(patch) => patch,
                Err(moved) => return outdated(vec![moved.to_string()]),
            };
            let error = match self.subject.client.patch(&self.subject.app, patch).await {
                Ok(app) => return Ok(self.wrote(app, planned, claim)),
                Err(error) => error,
            };
            let certain = error.kind.nothing_happened();
            let conflict =
                matches!(error.kind, ErrorKind::TestFailed(_) | ErrorKind::TooManyConflicts);
            let again = conflict || !certain || error.kind.is_transient();
            if again {
                sleep(Duration::from_millis(200) * attempt).await;
            }
            // A write whose answer was lost, or replaced by a proxy, may have been done all the same.
            state = match self.subject.client.get(&self.subject.app).await {
                Ok(app) => app,
                Err(_) if certain => return Err(error),
                Err(_) => {
                    self.written.claimed(Some(claim));
                    return Ok(WriteResult::Unknown(error));
                }
            };
            if read_claim(&state).known().is_some_and(|found| found.nonce == claim.nonce) {
                return Ok(self.wrote(state, planned, claim));
            }
            if !again {
                return Err(error);
            }
            match plan(&self.subject.app, &state, values) {
                Ok(now) => {
                    let differences = now.differences(planned);
                    if !differences.is_empty() {
                        return outdated(differences);
                    }
                }
                Err(reasons) => {
                    return outdated(reasons.iter().map(WriteRefusal::to_string).collect());
                }
            }
            if read_claim(&state) != read_claim(&self.before) {
                // Somebody else's run has begun or ended since the look.
                if let Some(refusal) = self.claim_refusal(&state, planned) {
                    return Ok(WriteResult::Refused(refusal));
                }
                claim = self.new_claim(&state, planned, claim.state);
            }
            if attempt >= ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Takes the answer to a write, and looks whether it holds what was written: the server may have overlaid it with
    /// another writer's state before it answered.
    fn wrote(&mut self, app: Application, plan: &AppPlan, claim: Claim) -> WriteResult {
        let lost = deviations(app.spec.sources().get(plan.source), &plan.changes);
        self.written.wrote(self.before.clone(), app.clone());
        self.follow.accept_write(app);
        self.written.claimed(Some(claim));
        if lost.is_empty() { WriteResult::Yes } else { WriteResult::Overwritten(lost) }
    }

    /// Puts the previous values back.
    pub(crate) async fn undo(&mut self) -> UndoResult {
        let Some(claim) = self.written.claim().cloned() else { return UndoResult::NotNeeded };
        self.log.begin(DeployStep::Undo);
        let undo = undo(self.subject.client, &self.subject.app, &claim).await;
        if undo == UndoResult::Done {
            self.written.claimed(Some(claim.in_state(ClaimState::Undone)));
            self.log.done(DeployStep::Undo);
        }
        undo
    }

    /// Writes the end of the run into the claim, if it is still there.
    pub(crate) async fn close(&mut self, state: ClaimState) {
        let Some(claim) = self.written.open_claim().cloned() else { return };
        let ours = |app: &Application| {
            read_claim(app).known().is_some_and(|found| found.nonce == claim.nonce)
        };
        if !ours(self.follow.app()) {
            // If the values are lost, too, that has been said.
            if state == ClaimState::Done {
                self.log.warn(DeployWarning::ClaimLost);
            }
            self.written.claimed(None);
            return;
        }
        if state == ClaimState::Done && !self.subject.options.close_claim {
            return;
        }
        self.log.begin(DeployStep::Close);
        let closed = claim.in_state(state);
        match close(self.subject.client, &self.subject.app, &closed).await {
            Ok(written) => {
                if let Some(AnnotationWrite { before, after }) = written {
                    self.follow.accept(before.clone());
                    self.follow.accept_write(after.clone());
                    self.follow.catch_up().await;
                    self.written.wrote(before, after);
                }
                self.written.claimed(Some(closed));
                self.log.done(DeployStep::Close);
            }
            Err(error) => self.log.warn(DeployWarning::ClaimOpen { why: error.kind.to_string() }),
        }
    }
}

/// Puts the values back that a claim says stood there before, where its own still stand.
pub(crate) async fn undo(
    client: &crate::api::client::Client,
    app: &crate::api::request::AppRef,
    claim: &Claim,
) -> UndoResult {
    let failed = |why: UndoFailure| UndoResult::Failed { why };
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let state = match client.get(app).await {
            Ok(state) => state,
            Err(error) => return failed(UndoFailure::Server(error.kind.to_string())),
        };
        match read_claim(&state).known() {
            Some(found) if found.nonce == claim.nonce && found.state == ClaimState::Undone => {
                return UndoResult::Done;
            }
            Some(found) if found.nonce == claim.nonce => {}
            _ => return failed(UndoFailure::OtherRun),
        }
        let patch = match patch::undo(&state, claim) {
            Ok(patch) => patch,
            Err(moved) => return failed(moved.into()),
        };
        match client.patch(app, patch).await {
            Ok(_) => return UndoResult::Done,
            Err(error) => {
                why = error.kind.to_string();
                let again =
                    matches!(error.kind, ErrorKind::TestFailed(_) | ErrorKind::TooManyConflicts)
                        || error.kind.is_transient();
                if !again {
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
        }
    }
    failed(UndoFailure::Server(why))
}
