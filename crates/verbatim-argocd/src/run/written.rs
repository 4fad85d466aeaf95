//! What a run planned and left on the application: plan, claim, values, operation.

use crate::judge::lost_changes::WriteAttempt;
use crate::judge::outcome::Leftover;
use crate::judge::warning::DeployWarning;
use crate::model::Application;
use crate::overrides::claim::{Claim, ClaimState};
use crate::overrides::plan::AppPlan;
use crate::run::follow::Follow;

/// What one run has done to the application.
#[derive(Default)]
pub(crate) struct Written {
    plan: Option<AppPlan>,
    /// As it was written last.
    claim: Option<Claim>,
    /// Attempts at the write that is being sent, as far as they may have landed.
    attempts: Vec<WriteAttempt>,
    /// The attempts at each write that is done, and the state that showed it.
    writes: Vec<(Vec<WriteAttempt>, Application)>,
    has_operation: bool,
}

impl Written {
    pub(crate) fn planned(&mut self, plan: AppPlan) {
        self.plan = Some(plan);
    }

    pub(crate) fn plan(&self) -> Option<&AppPlan> {
        self.plan.as_ref()
    }

    /// Notes the claim as it stands on the application; `None` if it is not ours any more.
    pub(crate) fn claimed(&mut self, claim: Option<Claim>) {
        self.claim = claim;
    }

    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    pub(crate) fn open_claim(&self) -> Option<&Claim> {
        self.claim().filter(|claim| claim.state == ClaimState::Open)
    }

    /// Notes an attempt at a write before it is sent.
    pub(crate) fn attempted(&mut self, attempt: WriteAttempt) {
        self.attempts.push(attempt);
    }

    /// Notes that the last attempt did nothing.
    pub(crate) fn attempt_failed(&mut self) {
        self.attempts.pop();
    }

    /// Notes a state that shows the write.
    pub(crate) fn wrote(&mut self, after: Application) {
        self.writes.push((std::mem::take(&mut self.attempts), after));
    }

    pub(crate) fn has_written(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Notes that the server has taken a sync.
    pub(crate) fn started_operation(&mut self) {
        self.has_operation = true;
    }

    /// What the run leaves if it ends now.
    pub(crate) fn leftover(&self) -> Leftover {
        match (self.has_written(), self.has_operation) {
            (true, _) => Leftover::ValuesAndOperation,
            (false, true) => Leftover::Operation,
            (false, false) => Leftover::Nothing,
        }
    }

    /// The changes of others that these writes took back, as far as the watch has shown them.
    pub(crate) fn lost_changes(&self, follow: &Follow) -> Vec<DeployWarning> {
        let mut found = Vec::new();
        for (attempts, after) in &self.writes {
            for attempt in attempts {
                let mut seen = follow.between(&attempt.before, after);
                seen.push(after);
                found.extend(attempt.taken_back(&seen).unwrap_or_default());
            }
        }
        found.dedup();
        found
    }

    /// Whether an attempt got no answer, and another one was made: the first may land yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.writes.iter().any(|(attempts, _)| attempts.len() > 1)
    }

    /// How many writes are done.
    pub(crate) fn count(&self) -> usize {
        self.writes.len()
    }

    /// The states that the watch has shown between those that later writes than the first `count` were made from, and those
    /// that they made.
    pub(crate) fn seen_since<'a>(&self, count: usize, follow: &'a Follow) -> Vec<&'a Application> {
        let between = |(attempts, after): &(Vec<WriteAttempt>, Application)| {
            let seen = attempts.iter().flat_map(|attempt| follow.between(&attempt.before, after));
            seen.collect::<Vec<_>>()
        };
        self.writes.iter().skip(count).flat_map(between).collect()
    }

    pub(crate) fn into_parts(self) -> (Option<AppPlan>, Option<Claim>) {
        (self.plan, self.claim)
    }
}
