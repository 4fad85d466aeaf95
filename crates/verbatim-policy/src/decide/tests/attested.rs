//! `attested`.

use serde_json::{Value, json};
use verbatim_record::Payload;

use super::*;
use crate::condition::Condition;
use crate::decide::ATTESTED_VARIABLES;
use crate::gate::{StatementRequirement, StatementTime};

const REPORT: &str = "https://example.com/vulnerabilities/v1";

fn report(predicate: Value, number: u8) -> Bundle {
    let statement = Statement::any("shop", &release("one"), REPORT, predicate);
    let payload = Payload::read(serde_json::to_vec(&statement).unwrap()).unwrap();
    payload.signed_by(&numbered(number)).unwrap()
}

fn reports(bundles: &[Bundle]) -> Facts {
    let types = BTreeSet::from([REPORT.to_owned()]);
    let bytes = bundles.iter().map(Bundle::bytes);
    let records = Records::with_attestations(bytes, &ring(), release("one"), at(600), &types);
    Facts { records: Ok(records), ..facts() }
}

fn gate(condition: Option<&str>, latest: Option<Option<i64>>) -> Gate {
    Gate::Attested(StatementRequirement {
        predicate_type: REPORT.to_owned(),
        role: Role::new("qa"),
        condition: condition.map(|text| Condition::parse(text, ATTESTED_VARIABLES).unwrap()),
        latest: latest.map(|hours| StatementTime {
            field: vec!["scan".to_owned(), "finishedOn".to_owned()],
            max_age: hours.map(SignedDuration::from_hours),
        }),
    })
}

fn found(critical: u32, minutes: i64) -> Value {
    json!({ "critical": critical, "scan": { "finishedOn": at(minutes).to_string() } })
}

const NONE: Option<&str> = Some("predicate.critical == 0");

#[test]
fn somebody_with_the_role_says_the_right_thing() {
    let carl = 4;
    passes(gate(None, None), &reports(&[report(found(9, 0), carl)]), Reason::Attested);
    passes(gate(NONE, None), &reports(&[report(found(0, 0), carl)]), Reason::Attested);
    refuses(gate(NONE, None), &reports(&[report(found(1, 0), carl)]), Reason::AttestedOtherwise);
    refuses(gate(NONE, None), &reports(&[]), Reason::NotAttested);
    // Anna is no qa.
    refuses(gate(NONE, None), &reports(&[report(found(0, 0), 2)]), Reason::NotAttested);
    refuses(gate(None, None), &reports(&[report(found(0, 0), 2)]), Reason::NotAttested);
    // A field that is not there.
    refuses(gate(NONE, None), &reports(&[report(json!({}), carl)]), Reason::AttestedOtherwise);
    let other = Facts { release: release("two"), ..reports(&[report(found(0, 0), carl)]) };
    refuses(gate(NONE, None), &other, Reason::NotAttested);
    let cause = "timeout".to_owned();
    let unknown = Facts { records: Err(cause.clone()), ..facts() };
    refuses(gate(NONE, None), &unknown, Reason::Unreadable { cause });
}

#[test]
fn of_several_all_count_or_the_latest() {
    let (carl, ben) = (4, 3);
    let both = [report(found(1, 10), carl), report(found(0, 300), ben)];
    refuses(gate(NONE, None), &reports(&both), Reason::AttestedOtherwise);
    passes(gate(NONE, Some(None)), &reports(&both), Reason::Attested);
    let worse = [report(found(0, 10), carl), report(found(1, 300), ben)];
    refuses(gate(NONE, Some(None)), &reports(&worse), Reason::AttestedOtherwise);
    // Five hours ago.
    passes(gate(NONE, Some(Some(5))), &reports(&both), Reason::Attested);
    refuses(gate(NONE, Some(Some(4))), &reports(&both), Reason::AttestedOtherwise);
    refuses(gate(None, Some(Some(4))), &reports(&both), Reason::AttestedOtherwise);
    // From the future, or without a time: it might be the latest, and it is none.
    let tomorrow = [report(found(0, 606), carl)];
    refuses(gate(NONE, Some(None)), &reports(&tomorrow), Reason::AttestedOtherwise);
    for time in [json!("yesterday"), json!(7), json!(null)] {
        let silent = json!({ "critical": 0, "scan": { "finishedOn": time } });
        let records = [report(found(0, 300), carl), report(silent, carl)];
        refuses(gate(NONE, Some(None)), &reports(&records), Reason::AttestedOtherwise);
    }
}
