//! The decision: every gate is asked, all answers are kept. One module a gate.

mod after;
mod clean_source;
mod tested;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use verbatim_record::Evidence;

use crate::decision::{Answer, Decision, Reason};
use crate::facts::Facts;
use crate::gate::{Gate, Gates};

/// Asks every gate. The release may enter if none refuses; no gates, no refusal.
pub fn decide(gates: &Gates, facts: &Facts) -> Decision {
    let answers: Vec<Answer> = gates.0.iter().map(|gate| answer(gate, facts)).collect();
    Decision {
        release: facts.release,
        environment: facts.environment.clone(),
        allowed: answers.iter().all(|answer| answer.passed),
        answers,
    }
}

fn answer(gate: &Gate, facts: &Facts) -> Answer {
    let finding = match gate {
        Gate::After { environment, ran } => after::judge(environment, *ran, facts),
        Gate::Tested { environment, suites } => tested::judge(environment, suites, facts),
        Gate::CleanSource => clean_source::judge(facts),
    };
    Answer {
        gate: gate.clone(),
        passed: finding.remedy.is_none(),
        reason: finding.reason,
        text: finding.text,
        evidence: finding.evidence,
        remedy: finding.remedy,
    }
}

/// What a gate found. It refuses exactly when there is something that would make it pass, so that no refusal leaves a
/// person without a next step.
struct Finding {
    reason: Reason,
    text: String,
    evidence: Vec<Evidence>,
    remedy: Option<String>,
}

impl Finding {
    fn pass(reason: Reason, text: String, evidence: Vec<Evidence>) -> Self {
        Self { reason, text, evidence, remedy: None }
    }

    fn refuse(reason: Reason, text: String, evidence: Vec<Evidence>, remedy: String) -> Self {
        Self { reason, text, evidence, remedy: Some(remedy) }
    }

    fn unreadable(what: &str, cause: &str) -> Self {
        Self::refuse(
            Reason::Unreadable { cause: cause.to_owned() },
            format!("{what} could not be read, which is not the same as empty: {cause}"),
            Vec::new(),
            "make it readable, then run again".to_owned(),
        )
    }
}

/// Seconds are enough for a person.
fn told(at: Timestamp) -> String {
    format!("{at:.0}")
}
