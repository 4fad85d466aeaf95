//! Writes values and claims, takes them back, and closes claims. What each of these changes is, `judge/change.rs` says.

use crate::api::error::Error;
use crate::judge::change::{
    Change, ClaimGone, ValueWrite, closing, interrupted, not_put_back, undoing,
};
use crate::judge::outcome::{DeployOutcome, UndoFailure, UndoResult};
use crate::judge::refusal::WriteRefusal;
use crate::judge::sending::Unrendered;
use crate::judge::warning::DeployWarning;
use crate::overrides::claim::{Claim, ClaimState};
use crate::overrides::values::Deviation;
use crate::run::event::DeployStep;
use crate::run::send::Sent;
use crate::run::session::AppRun;

/// How often the end of a claim is written, where others bring the open one back.
const CLOSINGS: u32 = 3;

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
    /// Writes the plan's values and the claim in one patch.
    ///
    /// # Errors
    ///
    /// Only if nothing was written.
    pub(crate) async fn write(&mut self, mut write: ValueWrite<'_>) -> Result<WriteResult, Error> {
        let sent = self.send(Unrendered::Refuse, |run, state| {
            let change = write.change(state, run.server_time());
            for warning in write.warnings.drain(..) {
                run.log.warn(warning);
            }
            change
        });
        match sent.await? {
            Sent::Written => {}
            Sent::Stopped(refusal) => return Ok(WriteResult::Refused(refusal)),
            Sent::Unknown(error) => {
                self.written.claimed(Some(write.claim));
                return Ok(WriteResult::Unknown(error));
            }
        }
        let lost = write.lost(self.follow.app());
        self.written.claimed(Some(write.claim));
        Ok(if lost.is_empty() { WriteResult::Yes } else { WriteResult::Overwritten(lost) })
    }

    /// Puts the previous values back, where ours still stand, and looks whether they stay.
    pub(crate) async fn undo(&mut self) -> UndoResult {
        let Some(claim) = self.written.claim().cloned() else { return UndoResult::NotNeeded };
        self.log.begin(DeployStep::Undo);
        match self.put_back(&claim).await {
            Ok(()) => {
                self.written.claimed(Some(claim.in_state(ClaimState::Undone)));
                self.log.done(DeployStep::Undo);
                UndoResult::Done
            }
            Err(why) => UndoResult::Failed { why },
        }
    }

    async fn put_back(&mut self, claim: &Claim) -> Result<(), UndoFailure> {
        let sent = self.send(Unrendered::Replace, |_, app| undoing(app, claim));
        match sent.await {
            Ok(Sent::Written) => {}
            Ok(Sent::Stopped(why)) => return Err(why),
            Ok(Sent::Unknown(error)) | Err(error) => {
                return Err(UndoFailure::Server(error.kind.to_string()));
            }
        }
        let read = self.read_back().await;
        let app = read.map_err(|error| UndoFailure::Server(error.kind.to_string()))?;
        match not_put_back(app, claim).into_iter().next() {
            None => Ok(()),
            Some(lost) => Err(UndoFailure::Overwritten(lost.to_string())),
        }
    }

    /// Writes the end of the run into the claim. `Some` if that shows that the end is another one: values that are proven do
    /// not stand any more, or another run has taken over.
    pub(crate) async fn close(&mut self, state: ClaimState) -> Option<DeployOutcome> {
        let claim = self.written.open_claim().cloned()?;
        if state == ClaimState::Done && !self.subject.options.close_claim {
            return None;
        }
        self.log.begin(DeployStep::Close);
        let closed = claim.in_state(state);
        match self.end_claim(&closed).await {
            Ok(Sent::Written) => {
                self.written.claimed(Some(closed));
                self.log.done(DeployStep::Close);
            }
            Ok(Sent::Stopped(gone)) => {
                self.written.claimed(None);
                match gone {
                    // If the values are lost, too, that has been said.
                    _ if state != ClaimState::Done => {}
                    ClaimGone::Wiped => self.log.warn(DeployWarning::ClaimLost),
                    ClaimGone::TakenOver | ClaimGone::Changed(_) => {
                        return Some(gone.outcome(self));
                    }
                }
            }
            Ok(Sent::Unknown(error)) | Err(error) => {
                self.log.warn(DeployWarning::ClaimOpen { why: error.kind.to_string() });
            }
        }
        None
    }

    /// Writes the end of a run over its claim, if that still stands, and for a proof the values, too; again, if another
    /// client's write brought the open claim back.
    pub(crate) async fn end_claim(&mut self, end: &Claim) -> Result<Sent<ClaimGone>, Error> {
        let written = self.written.count();
        for _ in 0..CLOSINGS {
            let sent = self.send(Unrendered::Replace, |_, app| closing(app, end)).await?;
            let Sent::Written = sent else { return Ok(sent) };
            // It is written. If nobody can look what became of it since, the next run will.
            let Ok(app) = self.list_back().await else { break };
            match closing(app, end) {
                Change::Write(_) => {}
                Change::Stop(changed @ ClaimGone::Changed(_)) => return Ok(Sent::Stopped(changed)),
                Change::Written | Change::Stop(_) => break,
            }
        }
        let lost = interrupted(end, &self.written.seen_since(written, &self.follow));
        Ok(if lost.is_empty() { Sent::Written } else { Sent::Stopped(ClaimGone::Changed(lost)) })
    }
}

impl ClaimGone {
    pub(crate) fn outcome(self, run: &AppRun<'_>) -> DeployOutcome {
        run.superseded_by(match self {
            Self::Wiped | Self::TakenOver => Vec::new(),
            Self::Changed(deviations) => deviations,
        })
    }
}
