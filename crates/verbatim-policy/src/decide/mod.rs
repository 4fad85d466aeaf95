//! The decision: checks every gate and keeps all answers. One module for each gate.

mod after;
mod approvals;
mod attested;
mod bans;
mod clean_source;
mod ledgers;
mod same_manifests;
mod signed;
mod soak;
mod tested;
mod time;
mod when;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use verbatim_record::{GateEvidence, Predicate, RejectedRecord};
use verbatim_text::joined;

use crate::decision::{Decision, GateAnswer, Reason};
use crate::facts::Facts;
use crate::gate::{Gate, GateKind, Gates};

pub use self::attested::ATTESTED_VARIABLES;
pub use self::when::WHEN_VARIABLES;

/// Checks every gate. The release may enter if none refuses; without gates, none does.
pub fn decide(gates: &Gates, facts: &Facts) -> Decision {
    let answers: Vec<GateAnswer> =
        gates.list.iter().map(|gate| answer(gate, gates, facts)).collect();
    Decision {
        release: facts.release,
        environment: facts.environment.clone(),
        allowed: answers.iter().all(|answer| answer.passed),
        answers,
    }
}

fn answer(gate: &Gate, gates: &Gates, facts: &Facts) -> GateAnswer {
    // Who goes back one release undoes a promotion. Who goes further chooses among all that ever ran there.
    let chooses = facts.is_beyond_previous && gate.kind() == GateKind::Approvals;
    let is_skipped = facts.is_rollback
        && !chooses
        && gate.kind().may_be_skipped()
        && gates.skipped_by_rollbacks.contains(&gate.kind());
    let finding = if is_skipped { Finding::skipped() } else { judge(gate, facts) };
    GateAnswer {
        gate: gate.clone(),
        passed: finding.remedy.is_none(),
        reason: finding.reason,
        // Reasons, names and branches of records are in it: words of others, which must not look like lines of ours.
        text: joined(&finding.text),
        evidence: finding.evidence.into_iter().map(on_one_line).collect(),
        remedy: finding.remedy,
        overridden: None,
    }
}

fn on_one_line(evidence: GateEvidence) -> GateEvidence {
    GateEvidence { text: joined(&evidence.text), ..evidence }
}

fn judge(gate: &Gate, facts: &Facts) -> Finding {
    match gate {
        Gate::Locked => bans::locked(facts),
        Gate::Vetoed => bans::vetoed(facts),
        Gate::After { environment, ran } => after::judge(environment, *ran, facts),
        Gate::Tested { environment, suites, max_age } => {
            tested::judge(environment, suites, *max_age, facts)
        }
        Gate::CleanSource => clean_source::judge(facts),
        Gate::Signed(wanted) => signed::judge(wanted, facts),
        Gate::SameManifests { environment } => same_manifests::judge(environment, facts),
        Gate::Soak { environment, period } => soak::judge(environment, *period, facts),
        Gate::Approvals(wanted) => approvals::judge(wanted, facts),
        Gate::Windows { windows } => time::windows(windows, facts),
        Gate::Attested(wanted) => attested::judge(wanted, facts),
        Gate::Order { unrelated } => time::order(*unrelated, facts),
        Gate::Freshness { max_age } => time::freshness(*max_age, facts),
        Gate::When { condition, .. } => when::judge(condition, facts),
    }
}

/// What a gate found. It refuses exactly when there is something that would make it pass, so that no refusal leaves a
/// person without a next step.
struct Finding {
    reason: Reason,
    text: String,
    evidence: Vec<GateEvidence>,
    remedy: Option<String>,
}

impl Finding {
    fn pass(reason: Reason, text: String, evidence: Vec<GateEvidence>) -> Self {
        Self { reason, text, evidence, remedy: None }
    }

    fn refuse(reason: Reason, text: String, evidence: Vec<GateEvidence>, remedy: String) -> Self {
        Self { reason, text, evidence, remedy: Some(remedy) }
    }

    fn skipped() -> Self {
        let text = "not checked for rollbacks".to_owned();
        Self::pass(Reason::SkippedByRollback, text, Vec::new())
    }

    fn unreadable(what: &str, cause: &str) -> Self {
        Self::refuse(
            Reason::Unreadable { cause: cause.to_owned() },
            format!("cannot read {what}: {cause}"),
            Vec::new(),
            "fix this, then run again".to_owned(),
        )
    }
}

/// What trusted keys signed of a kind that a gate waits for, and what does not count for the limits of these keys.
fn not_counted<P: Predicate>(rejected: &[RejectedRecord]) -> impl Iterator<Item = GateEvidence> {
    let limited = rejected.iter().filter(|it| {
        it.predicate_type.as_deref() == Some(P::TYPE) && it.rejection.is_limit_of_key()
    });
    limited.map(|it| GateEvidence {
        record: Some(it.record),
        text: format!("does not count: {}", it.rejection),
    })
}

fn to_the_second(at: Timestamp) -> String {
    format!("{at:.0}")
}
