//! Ten thousand records, every one signed and verified.

mod many;

use many::Found;
use verbatim_policy::{Gate, GateKind, decide};
use verbatim_record::{JudgedRecord, Records};

/// All gates are asked, all records count, and one record more that does not count changes nothing.
#[test]
fn ten_thousand_records_are_verified() {
    let gates = many::gates().unwrap();
    let kinds: std::collections::BTreeSet<GateKind> = gates.list.iter().map(Gate::kind).collect();
    assert_eq!(kinds.len(), GateKind::ALL.len(), "every gate is asked");
    let records = many::records(10_000).unwrap();
    let (of_release, of_ledger) = (many::judge_of_release(), many::judge_of_ledger().unwrap());
    let judged = |found: Found| -> Vec<JudgedRecord> {
        let judge = if found == Found::Release { &of_release } else { &of_ledger };
        let those = records.iter().filter(|(place, _)| *place == found);
        those.map(|(_, bundle)| judge.judge(bundle.bytes())).collect()
    };
    let (release, ledger) = (judged(Found::Release), judged(Found::Ledger));
    let gathered = |judged: &[JudgedRecord]| judged.iter().cloned().collect::<Records>();
    let facts = many::facts(gathered(&release), gathered(&ledger)).unwrap();
    let counted = facts.records.as_ref().unwrap();
    assert_eq!(counted.rejected, []);
    let sizes = [
        counted.builds.len(),
        counted.tests.len(),
        counted.attestations.len(),
        counted.approvals.len(),
        counted.vetoes.len(),
        ledger.len(),
    ];
    assert_eq!(sizes, [1, 1250, 1250, 1250, 1249, 5000]);
    let decision = decide(&gates, &facts);
    assert!(decision.allowed, "{decision}");

    // One byte of one record of the ledger: its place in the chain is empty.
    let mut broken = ledger;
    let (_, bundle) = &records[2_500];
    let mut bytes = bundle.bytes().to_vec();
    let at = bytes.windows(7).position(|window| window == b"\"sig\":\"").unwrap() + 20;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    broken[2_500] = of_ledger.judge(&bytes);
    let facts = many::facts(gathered(&release), gathered(&broken)).unwrap();
    assert!(!decide(&gates, &facts).allowed);

    // One record of a ledger of another release among those of this one.
    let mut foreign = release;
    foreign.push(of_release.judge(bundle.bytes()));
    let facts = many::facts(gathered(&foreign), gathered(&judged(Found::Ledger))).unwrap();
    assert_eq!(facts.records.as_ref().unwrap().rejected.len(), 1);
    assert!(decide(&gates, &facts).allowed);
}
