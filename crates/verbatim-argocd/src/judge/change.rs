//! What a run writes to one application, and what each state of it means for that: the values with their claim, what
//! puts them back, and the end of the claim. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::api::request::AppRef;
use crate::judge::outcome::UndoFailure;
use crate::judge::plan;
use crate::judge::refusal::WriteRefusal;
use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::{
    Claim, ClaimOnApp, ClaimStanding, ClaimState, Claimant, claim_annotation, leftovers,
    read_claim, read_claims, with_previous,
};
use crate::overrides::patch;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, OverrideValues, deviations};
use serde_json::Value;

/// What a state of the application means for a change.
#[derive(Debug)]
pub(crate) enum Change<S> {
    /// The operations of a JSON patch that make it.
    Write(Vec<Value>),
    /// It is there.
    Written,
    /// It must not be made.
    Stop(S),
}

/// A run that writes values, as its claim names it.
#[derive(Clone, Debug)]
pub(crate) struct Writer<'a> {
    pub app: AppRef,
    pub environment: Option<&'a str>,
    pub release: &'a str,
    pub by: Option<&'a str>,
    pub nonce: &'a str,
    pub take_over: bool,
    /// How long its claim holds others off.
    pub period: SignedDuration,
}

impl Writer<'_> {
    /// What is to be written to an application as it stands, with what puts back the leftovers of runs that were never proven.
    pub(crate) fn plan(
        &self,
        app: &Application,
        values: &OverrideValues,
        now: Timestamp,
    ) -> Result<AppPlan, Vec<WriteRefusal>> {
        let mut plan = plan::plan(&self.app, app, values)?;
        let unproven = self.claimant(&plan, now).unproven(app);
        let leftovers = leftovers(&plan, &unproven);
        plan.extend(app, leftovers);
        Ok(plan)
    }

    /// The claim that goes with a plan, on the application as it stands `before`. The place in the ledger that an earlier claim
    /// of the environment names stays on the application while the run works: it may die.
    pub(crate) fn claim(
        &self,
        before: &Application,
        plan: &AppPlan,
        state: ClaimState,
        now: Timestamp,
    ) -> Claim {
        // Whole seconds are easier to read, and as exact as everything else that Argo CD stores.
        let at = now.round(jiff::Unit::Second).unwrap_or(now);
        let unproven = self.claimant(plan, now).unproven(before);
        let earlier = read_claim(before, self.environment);
        Claim {
            environment: self.environment.map(str::to_owned),
            nonce: self.nonce.to_owned(),
            state,
            release: self.release.to_owned(),
            by: self.by.map(str::to_owned),
            at,
            deadline: at.saturating_add(self.period).unwrap_or(at),
            changes: with_previous(plan.changes.clone(), &unproven),
            record: earlier.known().and_then(|claim| claim.record.clone()),
            kept: earlier.known().and_then(|claim| claim.kept),
        }
    }

    /// Whether the claims on an application let this run write, and what it should tell of them.
    pub(crate) fn admission(
        &self,
        app: &Application,
        plan: &AppPlan,
        now: Timestamp,
    ) -> Result<Option<DeployWarning>, WriteRefusal> {
        match self.claimant(plan, now).standing(app) {
            ClaimStanding::Free => Ok(None),
            ClaimStanding::Resume(claim) => Ok(Some(DeployWarning::Resumed { nonce: claim.nonce })),
            ClaimStanding::TakeOver(claim) => {
                Ok(Some(DeployWarning::TookOver { release: claim.release, by: claim.by }))
            }
            ClaimStanding::Held(claim) => Err(WriteRefusal::Claimed {
                release: claim.release,
                by: claim.by,
                deadline: claim.deadline.to_string(),
            }),
            ClaimStanding::Unreadable => {
                let annotation = claim_annotation(self.environment);
                Err(WriteRefusal::UnreadableClaim { annotation })
            }
        }
    }

    fn claimant<'b>(&'b self, plan: &'b AppPlan, now: Timestamp) -> Claimant<'b> {
        Claimant {
            environment: self.environment,
            release: self.release,
            changes: &plan.changes,
            take_over: self.take_over,
            now,
        }
    }
}

/// A write of values and claim, from its first look to its last.
#[derive(Clone, Debug)]
pub(crate) struct ValueWrite<'a> {
    pub writer: Writer<'a>,
    pub values: &'a OverrideValues,
    pub plan: &'a AppPlan,
    /// The state that the plan was made from.
    pub before: Application,
    /// The claim as it is written.
    pub claim: Claim,
    /// What should be told of the claims that it met.
    pub warnings: Vec<DeployWarning>,
}

impl<'a> ValueWrite<'a> {
    pub(crate) fn new(
        writer: Writer<'a>,
        values: &'a OverrideValues,
        plan: &'a AppPlan,
        before: Application,
        state: ClaimState,
        now: Timestamp,
    ) -> Self {
        let claim = writer.claim(&before, plan, state, now);
        Self { writer, values, plan, before, claim, warnings: Vec::new() }
    }

    /// What a state means for the write. It may be a later one than that which was planned from: the watch shows what others
    /// write meanwhile, and what they wrote is not written over.
    pub(crate) fn change(&mut self, state: &Application, now: Timestamp) -> Change<WriteRefusal> {
        let outdated = |differences| Change::Stop(WriteRefusal::PlanOutdated { differences });
        let on_app = read_claim(state, self.writer.environment);
        if on_app.known().is_some_and(|found| found.nonce == self.claim.nonce) {
            return Change::Written;
        }
        match self.writer.plan(state, self.values, now) {
            Ok(found) => {
                let differences = found.differences(self.plan);
                if !differences.is_empty() {
                    return outdated(differences);
                }
            }
            Err(reasons) => {
                return outdated(reasons.iter().map(WriteRefusal::to_string).collect());
            }
        }
        if read_claims(state) != read_claims(&self.before) {
            // Somebody else's run has begun or ended since the look.
            match self.writer.admission(state, self.plan, now) {
                Ok(warning) => self.warnings.extend(warning),
                Err(refusal) => return Change::Stop(refusal),
            }
            self.claim = self.writer.claim(state, self.plan, self.claim.state, now);
        }
        match patch::write(state, self.plan, &self.claim) {
            Ok(operations) => Change::Write(operations),
            Err(moved) => outdated(vec![moved.to_string()]),
        }
    }

    /// The values that do not stand after the write: the server may have overlaid them with another writer's state.
    pub(crate) fn lost(&self, after: &Application) -> Vec<Deviation> {
        deviations(after.spec.sources(), &self.plan.changes)
    }
}

/// What is to be done to put back what stood there before a claim.
pub(crate) fn undoing(app: &Application, claim: &Claim) -> Change<UndoFailure> {
    match read_claim(app, claim.environment.as_deref()) {
        ClaimOnApp::Known(found) if found.nonce != claim.nonce => {
            return Change::Stop(UndoFailure::OtherRun);
        }
        ClaimOnApp::Foreign(_) => return Change::Stop(UndoFailure::OtherRun),
        ClaimOnApp::Known(found) if found.state == ClaimState::Undone => return Change::Written,
        // An owner wiped it. What this run wrote it knows all the same.
        ClaimOnApp::Absent if not_put_back(app, claim).is_empty() => return Change::Written,
        ClaimOnApp::Known(_) | ClaimOnApp::Absent => {}
    }
    match patch::undo(app, claim) {
        Ok(operations) => Change::Write(operations),
        Err(moved) => Change::Stop(moved.into()),
    }
}

/// The values from before a claim that do not stand there.
pub(crate) fn not_put_back(app: &Application, claim: &Claim) -> Vec<Deviation> {
    deviations(app.spec.sources(), &claim.undone_changes())
}

/// What is to be done to close a claim. That of a proof tells of values, and without them nothing else matters.
pub(crate) fn closing(app: &Application, end: &Claim) -> Change<ClaimGone> {
    let lost = deviations(app.spec.sources(), &end.changes);
    if end.state == ClaimState::Done && !lost.is_empty() {
        return Change::Stop(ClaimGone::Changed(lost));
    }
    let found = match read_claim(app, end.environment.as_deref()) {
        ClaimOnApp::Absent => return Change::Stop(ClaimGone::Wiped),
        ClaimOnApp::Known(found) if found.nonce == end.nonce => found,
        ClaimOnApp::Known(_) | ClaimOnApp::Foreign(_) => return Change::Stop(ClaimGone::TakenOver),
    };
    if *found == end.as_stored() {
        return Change::Written;
    }
    match patch::close(app, end) {
        Ok(operations) => Change::Write(operations),
        Err(_) => Change::Stop(ClaimGone::Changed(lost)),
    }
}

/// The values of a proof that did not stand in one of the states that were seen while its claim was closed. Closing it may
/// have brought them back, but an automatic sync may have deployed the others meanwhile.
pub(crate) fn interrupted(end: &Claim, seen: &[&Application]) -> Vec<Deviation> {
    let lost = |app: &&Application| deviations(app.spec.sources(), &end.changes);
    match end.state {
        ClaimState::Done => seen.iter().map(lost).find(|lost| !lost.is_empty()).unwrap_or_default(),
        _ => Vec::new(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(tag: &str, claim: Option<&Claim>) -> Application {
        let annotations = claim.map(|claim| json!({ claim.annotation(): claim.to_text() }));
        let parameters = json!([{ "name": "tag", "value": tag, "forceString": true }]);
        let metadata = json!({ "name": "a", "annotations": annotations.unwrap_or_default() });
        let source = json!({ "repoURL": "r", "path": "p", "helm": { "parameters": parameters } });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "source": source } }))
            .unwrap()
    }

    fn writer(release: &'static str, nonce: &'static str) -> Writer<'static> {
        Writer {
            app: AppRef::new("a"),
            environment: Some("shop/dev"),
            release,
            by: None,
            nonce,
            take_over: false,
            period: SignedDuration::from_mins(10),
        }
    }

    /// Two runs may write the same values, one after the other.
    #[test]
    fn what_another_run_has_claimed_since_is_not_put_back() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let values = OverrideValues {
            helm: [("tag".to_owned(), "2".to_owned())].into(),
            ..OverrideValues::default()
        };
        let before = app("1", None);
        let claim = |nonce| {
            let writer = writer("r2", nonce);
            let plan = writer.plan(&before, &values, now).unwrap();
            writer.claim(&before, &plan, ClaimState::Open, now)
        };
        let (ours, theirs) = (claim("n2"), claim("n3"));
        let undone = |on_app| undoing(&app("2", on_app), &ours);
        assert!(matches!(undone(Some(&ours)), Change::Write(_)));
        // An owner wiped it.
        assert!(matches!(undone(None), Change::Write(_)));
        assert!(matches!(undone(Some(&theirs)), Change::Stop(UndoFailure::OtherRun)));
        let done = ours.in_state(ClaimState::Undone);
        assert!(matches!(undone(Some(&done)), Change::Written));
    }

    /// Questions are asked between the look and the write, and the watch shows what somebody writes meanwhile.
    #[test]
    fn what_others_write_between_the_look_and_the_write_is_not_written_over() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let values = OverrideValues {
            helm: [("tag".to_owned(), "3".to_owned())].into(),
            ..OverrideValues::default()
        };
        let before = app("1", None);
        let plan = writer("r3", "n3").plan(&before, &values, now).unwrap();
        // Another run began, wrote, and died long ago by the server's clock.
        let earlier = "2026-11-30T11:00:00Z".parse().unwrap();
        let other = writer("r2", "n2");
        let theirs = other.plan(&before, &values, earlier).unwrap();
        let claim = other.claim(&before, &theirs, ClaimState::Open, earlier);
        let cases = [
            ("as planned", app("1", None), true),
            ("another value", app("2", None), false),
            ("a dead run's claim, and its value", app("2", Some(&claim)), false),
        ];
        for (name, state, is_written) in cases {
            let (writer, plan) = (writer("r3", "n3"), &plan);
            let before = before.clone();
            let mut write = ValueWrite::new(writer, &values, plan, before, ClaimState::Open, now);
            let change = write.change(&state, now);
            assert_eq!(matches!(change, Change::Write(_)), is_written, "{name}: {change:?}");
            let is_outdated = matches!(change, Change::Stop(WriteRefusal::PlanOutdated { .. }));
            assert_eq!(is_outdated, !is_written, "{name}: {change:?}");
        }
    }
}
