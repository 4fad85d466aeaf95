//! Writes values and claims, takes them back, and closes claims: what each of these changes is, and when it must not be made.

use jiff::SignedDuration;

use crate::api::error::Error;
use crate::judge::outcome::{DeployOutcome, UndoFailure, UndoResult};
use crate::judge::plan;
use crate::judge::refusal::WriteRefusal;
use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::{
    Claim, ClaimOnApp, ClaimState, Claimant, leftovers, read_claim, read_claims, with_previous,
};
use crate::overrides::patch;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, OverrideValues, deviations};
use crate::run::event::DeployStep;
use crate::run::send::{Change, Sent, Unrendered};
use crate::run::session::{AppRun, Subject};

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
    /// The claim that goes with a plan, on the application as it stands `before`. The place in the ledger that an earlier claim
    /// of the environment names stays on the application while the run works: it may die.
    pub(crate) fn new_claim(
        &self,
        before: &Application,
        plan: &AppPlan,
        state: ClaimState,
    ) -> Claim {
        let Subject { options, environment, .. } = &self.subject;
        // Whole seconds are easier to read, and as exact as everything else that Argo CD stores.
        let now = self.server_time();
        let at = now.round(jiff::Unit::Second).unwrap_or(now);
        let period = (options.timeout + options.settle).max(options.claim_for);
        let period = SignedDuration::try_from(period).unwrap_or(SignedDuration::from_hours(1));
        let unproven = self.claimant(plan).unproven(before);
        let earlier = read_claim(before, *environment);
        Claim {
            version: Claim::VERSION,
            environment: environment.map(str::to_owned),
            nonce: self.subject.nonce.to_owned(),
            state,
            release: self.subject.release.to_owned(),
            by: self.subject.by.map(str::to_owned),
            at,
            deadline: at.saturating_add(period).unwrap_or(at),
            source: plan.source,
            changes: with_previous(plan.changes.clone(), &unproven),
            record: earlier.known().and_then(|claim| claim.record.clone()),
            kept: earlier.known().and_then(|claim| claim.kept),
        }
    }

    /// What is to be written to an application as it stands, with what puts back the leftovers of runs that were never proven.
    pub(crate) fn plan(
        &self,
        app: &Application,
        values: &OverrideValues,
    ) -> Result<AppPlan, Vec<WriteRefusal>> {
        let mut plan = plan::plan(&self.subject.app, app, values)?;
        let unproven = self.claimant(&plan).unproven(app);
        plan.changes.extend(leftovers(&plan, &unproven));
        Ok(plan)
    }

    /// This run, for the claims that it meets.
    pub(crate) fn claimant<'b>(&'b self, plan: &'b AppPlan) -> Claimant<'b> {
        Claimant {
            environment: self.subject.environment,
            release: self.subject.release,
            source: plan.source,
            changes: &plan.changes,
            take_over: self.subject.options.take_over,
            now: self.server_time(),
        }
    }

    /// Writes the plan's values and the claim in one patch.
    ///
    /// # Errors
    ///
    /// Only if nothing was written.
    pub(crate) async fn write(
        &mut self,
        planned: &AppPlan,
        values: &OverrideValues,
        mut claim: Claim,
    ) -> Result<WriteResult, Error> {
        let outdated = |differences| Change::Stop(WriteRefusal::PlanOutdated { differences });
        let mut is_first = true;
        let sent = self.send(Unrendered::Refuse, |run, state| {
            if read_claim(state, run.subject.environment)
                .known()
                .is_some_and(|found| found.nonce == claim.nonce)
            {
                return Change::Written;
            }
            if !std::mem::take(&mut is_first) {
                match run.plan(state, values) {
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
            }
            if read_claims(state) != read_claims(&run.before) {
                // Somebody else's run has begun or ended since the look.
                if let Some(refusal) = run.claim_refusal(state, planned) {
                    return Change::Stop(refusal);
                }
                claim = run.new_claim(state, planned, claim.state);
            }
            match patch::write(state, planned, &claim) {
                Ok(operations) => Change::Write(operations),
                Err(moved) => outdated(vec![moved.to_string()]),
            }
        });
        match sent.await? {
            Sent::Written => {}
            Sent::Stopped(refusal) => return Ok(WriteResult::Refused(refusal)),
            Sent::Unknown(error) => {
                self.written.claimed(Some(claim));
                return Ok(WriteResult::Unknown(error));
            }
        }
        // The server may have overlaid it with another writer's state before it answered.
        let sources = self.follow.app().spec.sources();
        let lost = deviations(sources.get(planned.source), &planned.changes);
        self.written.claimed(Some(claim));
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
        let previous = claim.undone_changes();
        let sent = self.send(Unrendered::Replace, |_, app| {
            let stands_before =
                deviations(app.spec.sources().get(claim.source), &previous).is_empty();
            match read_claim(app, claim.environment.as_deref()) {
                ClaimOnApp::Known(found) if found.nonce != claim.nonce => {
                    return Change::Stop(UndoFailure::OtherRun);
                }
                ClaimOnApp::Foreign(_) => return Change::Stop(UndoFailure::OtherRun),
                ClaimOnApp::Known(found) if found.state == ClaimState::Undone => {
                    return Change::Written;
                }
                // An owner wiped it. What this run wrote it knows all the same.
                ClaimOnApp::Absent if stands_before => return Change::Written,
                ClaimOnApp::Known(_) | ClaimOnApp::Absent => {}
            }
            match patch::undo(app, claim) {
                Ok(operations) => Change::Write(operations),
                Err(moved) => Change::Stop(moved.into()),
            }
        });
        match sent.await {
            Ok(Sent::Written) => {}
            Ok(Sent::Stopped(why)) => return Err(why),
            Ok(Sent::Unknown(error)) | Err(error) => {
                return Err(UndoFailure::Server(error.kind.to_string()));
            }
        }
        let read = self.read_back().await;
        let app = read.map_err(|error| UndoFailure::Server(error.kind.to_string()))?;
        match deviations(app.spec.sources().get(claim.source), &previous).into_iter().next() {
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
        for _ in 0..CLOSINGS {
            let sent = self.send(Unrendered::Replace, |_, app| closing(app, end)).await?;
            let Sent::Written = sent else { return Ok(sent) };
            // It is written. If nobody can look what became of it since, the next run will.
            let Ok(app) = self.read_back().await else { break };
            match closing(app, end) {
                Change::Write(_) => {}
                Change::Stop(changed @ ClaimGone::Changed(_)) => return Ok(Sent::Stopped(changed)),
                Change::Written | Change::Stop(_) => break,
            }
        }
        Ok(Sent::Written)
    }
}

/// What is to be done to close a claim. That of a proof tells of values, and without them nothing else matters.
fn closing(app: &Application, end: &Claim) -> Change<ClaimGone> {
    let lost = deviations(app.spec.sources().get(end.source), &end.changes);
    if end.state == ClaimState::Done && !lost.is_empty() {
        return Change::Stop(ClaimGone::Changed(lost));
    }
    let found = match read_claim(app, end.environment.as_deref()) {
        ClaimOnApp::Absent => return Change::Stop(ClaimGone::Wiped),
        ClaimOnApp::Known(found) if found.nonce == end.nonce => found,
        ClaimOnApp::Known(_) | ClaimOnApp::Foreign(_) => return Change::Stop(ClaimGone::TakenOver),
    };
    if *found == *end {
        return Change::Written;
    }
    match patch::close(app, end) {
        Ok(operations) => Change::Write(operations),
        Err(_) => Change::Stop(ClaimGone::Changed(lost)),
    }
}

/// Why the end of a run cannot be written over its claim.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClaimGone {
    /// There is no claim any more.
    Wiped,
    /// Another run's stands there.
    TakenOver,
    /// Other values stand there.
    Changed(Vec<Deviation>),
}

impl ClaimGone {
    pub(crate) fn outcome(self, run: &AppRun<'_>) -> DeployOutcome {
        run.superseded_by(match self {
            Self::Wiped | Self::TakenOver => Vec::new(),
            Self::Changed(deviations) => deviations,
        })
    }
}
