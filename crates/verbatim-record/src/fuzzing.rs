//! What `tests/fuzz` calls: readers of records that nobody outside may call, because nothing that they read is signed.

use crate::envelope::{Statement, read_statement};
use crate::predicate::*;

/// Reads a signed payload as a statement of each type; gives how many types it has.
pub fn statement(payload: &[u8]) -> usize {
    let Ok(statement) = read_statement(payload) else { return 0 };
    [
        is::<Provenance>(&statement),
        is::<TestResult>(&statement),
        is::<Promotion>(&statement),
        is::<Approval>(&statement),
        is::<Veto>(&statement),
        is::<Lock>(&statement),
        is::<HandOver>(&statement),
        is::<VerificationSummary>(&statement),
    ]
    .into_iter()
    .filter(|it| *it)
    .count()
}

fn is<P: Predicate>(statement: &Statement<serde_json::Value>) -> bool {
    let subjects: Vec<_> = statement.subjects().collect();
    let Ok(predicate) = serde_json::from_value::<P>(statement.predicate.clone()) else {
        return false;
    };
    let _ = (predicate.recorded_at(), predicate.environment(), predicate.project());
    let _ = (predicate.suites(), predicate.further_power());
    statement.predicate_type == P::TYPE && predicate.check(&subjects).is_ok()
}
