//! Records as releases wrote them: every later version reads them, and believes the same.

use super::{Envelope, read_statement, verify};
use crate::predicate::*;
use crate::testing::*;

/// Verifies a record with the keys of these tests, and checks what it says.
#[track_caller]
fn check<P: Predicate>(record: &[u8], says: impl Fn(&P) -> bool) {
    let statement = read_statement(&Envelope::open(record).unwrap().payload).unwrap();
    let subject = statement.subjects().next().unwrap();
    let verified = verify::<P>(record, &ring(), &expecting(subject)).unwrap();
    assert!(says(verified.predicate()), "{}", P::TYPE);
    // It is written today as it was then.
    assert_eq!(serde_json::to_value(verified.predicate()).unwrap(), statement.predicate);
}

macro_rules! record {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/", $name, ".json"))
    };
}

#[test]
fn the_records_of_0_1_0_count() {
    check::<Provenance>(record!("0.1.0/provenance"), |it| it.recorded_at() == Some(at(2)));
    check::<TestResult>(record!("0.1.0/test-result"), |it| {
        it.environment() == Some(environment("dev"))
    });
    check::<Promotion>(record!("0.1.0/promotion"), |it| it.project().as_deref() == Some("shop"));
    check::<Approval>(record!("0.1.0/approval"), |it| it.environment() == Some(environment("dev")));
    check::<Veto>(record!("0.1.0/veto"), |it| it.environment() == Some(environment("production")));
    check::<Lock>(record!("0.1.0/lock"), |it| it.environment() == Some(environment("dev")));
    check::<HandOver>(record!("0.1.0/hand-over"), |it| {
        it.environment() == Some(environment("dev"))
    });
}
