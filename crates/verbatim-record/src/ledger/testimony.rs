//! How old the records of a key are that has ended. Its holder chooses the times in them, so a record counts only if
//! another key had seen it before the end: a record of that key names it, or one that is named so names it. Each names the
//! bytes by their hash, so what is named is older.
//!
//! Two kinds of records are such witnesses: promotions, which name what they follow and what their gates rest on, and
//! hand-overs. The key of a hand-over must be one that may say whatever the ended key might: otherwise a weak key could
//! date back what a strong one signs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use verbatim_oci::Digest;

use crate::envelope::Verified;
use crate::keys::{KeyEnd, KeyId, Signer};
use crate::predicate::Predicate;

/// Which records of ended keys other keys had seen before the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testimony {
    seen: BTreeMap<KeyId, BTreeSet<Digest>>,
}

impl Testimony {
    /// Adds what other records say.
    pub fn extend(&mut self, other: Self) {
        for (key, seen) in other.seen {
            self.seen.entry(key).or_default().extend(seen);
        }
    }

    /// Whether another key had seen this record before the end of its key.
    pub(super) fn covers(&self, key: &KeyId, record: &Digest) -> bool {
        self.seen.get(key).is_some_and(|seen| seen.contains(record))
    }
}

/// A record that says which ones are older than it.
#[derive(Debug)]
pub(super) struct Witness {
    record: Digest,
    signer: Arc<Signer>,
    at: Option<Timestamp>,
    names: Vec<Digest>,
    /// Whether its key must be one that may say whatever the other might.
    must_include: bool,
    /// Whether it counts: its own key has not ended, or a witness is found for it.
    counts: bool,
}

impl Witness {
    pub(super) fn of<P: Predicate>(record: &Verified<P>, must_include: bool, counts: bool) -> Self {
        Self {
            record: record.record(),
            signer: Arc::clone(record.shared_signer()),
            at: record.recorded_at(),
            names: record.predicate().names(),
            must_include,
            counts,
        }
    }

    /// Whether what it names is older than the end of this key.
    fn is_one_for(&self, ended: &Signer, end: KeyEnd) -> bool {
        let includes =
            ended.roles.is_subset(&self.signer.roles) && self.signer.scope.includes(&ended.scope);
        self.counts
            && self.signer.key_id != ended.key_id
            && self.at.is_some_and(|at| at < end.at)
            && (includes || !self.must_include)
    }
}

/// What these witnesses say of these keys, which have ended, beyond what is known from elsewhere.
pub(super) fn testimony(
    ended: &[(Arc<Signer>, KeyEnd)],
    mut witnesses: Vec<Witness>,
    known: &Testimony,
) -> Testimony {
    let mut told = known.clone();
    let names: BTreeMap<Digest, Vec<Digest>> =
        witnesses.iter().map(|witness| (witness.record, witness.names.clone())).collect();
    loop {
        for (signer, end) in ended {
            let seen = told.seen.entry(signer.key_id.clone()).or_default();
            let own = witnesses.iter().filter(|witness| witness.is_one_for(signer, *end));
            let mut open: Vec<Digest> = own.flat_map(|witness| &witness.names).copied().collect();
            open.extend(seen.iter().filter_map(|record| names.get(record)).flatten());
            while let Some(record) = open.pop() {
                if seen.insert(record) {
                    open.extend(names.get(&record).into_iter().flatten());
                }
            }
        }
        // A record for which a witness was found is one itself.
        let mut more = false;
        for witness in witnesses.iter_mut().filter(|witness| !witness.counts) {
            witness.counts = told.covers(&witness.signer.key_id, &witness.record);
            more |= witness.counts;
        }
        if !more {
            return told;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Bundle, Statement, sign};
    use crate::keys::{KeyLife, KeyRing, KeyScope, Role, TrustedKey};
    use crate::ledger::{Chain, ChainFault, Records};
    use crate::predicate::{ChainLink, GateEvidence, GateResult, HandOver, TestOutcome};
    use crate::testing::{at, build, environment, first, key, promotion, release, run, test_run};

    const OLD: u8 = 1;
    const NEW: u8 = 2;
    const WEAK: u8 = 3;

    /// `old` ends at minute 100, `new` may say the same, `weak` may only test.
    fn ring(revoked: bool) -> KeyRing {
        let pipeline = [Role::BUILDER, Role::TESTER, Role::PROMOTER];
        let trusted = |name: &str, number, roles: &[Role], life| TrustedKey {
            name: name.to_owned(),
            key: key(number).verifying_key().into(),
            roles: roles.iter().cloned().collect(),
            actors: BTreeSet::new(),
            scope: KeyScope::ANYTHING,
            life,
        };
        let end = Some(at(100));
        let life = match revoked {
            true => KeyLife { revoked_at: end, ..KeyLife::UNLIMITED },
            false => KeyLife { not_after: end, ..KeyLife::UNLIMITED },
        };
        KeyRing::new([
            trusted("old", OLD, &pipeline, life),
            trusted("new", NEW, &pipeline, KeyLife::UNLIMITED),
            trusted("weak", WEAK, &[Role::TESTER], KeyLife::UNLIMITED),
        ])
        .unwrap()
    }

    fn after(previous: Option<(&Bundle, u64)>) -> ChainLink {
        previous.map_or_else(first, |(record, sequence)| ChainLink {
            seen: Vec::new(),
            sequence: sequence + 1,
            previous: Some(record.digest()),
            merged: Vec::new(),
        })
    }

    /// A ledger: who signed each promotion, and when it ended.
    fn ledger(promotions: &[(u8, i64)]) -> Vec<Bundle> {
        let mut ledger: Vec<Bundle> = Vec::new();
        for (sequence, (number, minutes)) in (0..).zip(promotions) {
            let link = after(ledger.last().map(|last| (last, sequence)));
            let what = format!("release {sequence}");
            let promotion = promotion("dev", &what, link, minutes - 1);
            ledger.push(sign(&Statement::promotion(promotion), &key(*number)).unwrap());
        }
        ledger
    }

    fn hand_over(seen: &[&Bundle], number: u8, minutes: i64) -> Bundle {
        let hand_over = HandOver {
            environment: environment("dev"),
            from: key(OLD).verifying_key().id().to_string(),
            to: key(NEW).verifying_key().id().to_string(),
            seen: seen.iter().map(|record| record.digest()).collect(),
            at: at(minutes),
            run: run(),
        };
        sign(&Statement::hand_over(hand_over), &key(number)).unwrap()
    }

    fn read<'a>(bundles: impl IntoIterator<Item = &'a Bundle>, now: i64, revoked: bool) -> Records {
        let bytes = bundles.into_iter().map(|bundle| bundle.bytes().to_vec());
        Records::of_environment(bytes, &ring(revoked), &environment("dev"), at(now))
    }

    /// Which promotions count, by their numbers, and whether the chain is whole with the last of them as its anchor.
    #[track_caller]
    fn check(bundles: &[Bundle], now: i64, counted: &[u64], whole: bool) {
        for revoked in [false, true] {
            for turned in [false, true] {
                let mut bundles: Vec<&Bundle> = bundles.iter().collect();
                if turned {
                    bundles.reverse();
                }
                let records = read(bundles, now, revoked);
                let number = |it: &Verified<crate::Promotion>| it.predicate().chain.sequence;
                let got: Vec<u64> = records.promotions.iter().map(number).collect();
                assert_eq!(got, counted, "{:?}", records.rejected);
                let chain = Chain::verify(&environment("dev"), records.promotions, &[]);
                assert_eq!(chain.is_intact(), whole, "{:?}", chain.faults());
            }
        }
    }

    #[test]
    fn a_rotation_leaves_the_ledger_whole() {
        // Until the key ends, nothing is asked.
        check(&ledger(&[(OLD, 10), (OLD, 20)]), 99, &[1, 2], true);
        // The new key went on while the old one counted: it has seen all of it.
        check(&ledger(&[(OLD, 10), (OLD, 20), (NEW, 90)]), 500, &[1, 2, 3], true);
        check(&ledger(&[(OLD, 10), (NEW, 20), (OLD, 30), (NEW, 90)]), 500, &[1, 2, 3, 4], true);
        // Nobody promoted between the rotation and the end: the hand-over has seen the end of the ledger.
        let mut handed = ledger(&[(OLD, 10), (OLD, 20)]);
        handed.push(hand_over(&[&handed[1]], NEW, 30));
        check(&handed, 500, &[1, 2], true);
        // It goes on with the new key, years later.
        let mut on = ledger(&[(OLD, 10), (OLD, 20), (NEW, 5000)]);
        on.push(hand_over(&[&on[1]], NEW, 30));
        check(&on, 6000, &[1, 2, 3], true);
    }

    #[test]
    fn what_only_an_ended_key_says_does_not_count() {
        // Dated back to before the end, and nobody else knew it then.
        check(&ledger(&[(OLD, 10), (NEW, 20), (OLD, 30)]), 500, &[1, 2], true);
        check(&ledger(&[(OLD, 10), (OLD, 20)]), 500, &[], true);
        // Another key saw it, after the end.
        let late = ledger(&[(OLD, 10), (NEW, 20), (OLD, 30), (NEW, 100)]);
        check(&late, 500, &[1, 2, 4], false);
        // Its own word, and that of a key that could not have said it.
        for number in [OLD, WEAK] {
            let mut handed = ledger(&[(OLD, 10), (OLD, 20)]);
            handed.push(hand_over(&[&handed[1]], number, 30));
            check(&handed, 500, &[], true);
        }
        // A hand-over of after the end comes too late.
        let mut handed = ledger(&[(OLD, 10), (OLD, 20)]);
        handed.push(hand_over(&[&handed[1]], NEW, 100));
        check(&handed, 500, &[], true);
        // Dated after the end.
        check(&ledger(&[(OLD, 10), (NEW, 20), (OLD, 101)]), 500, &[1, 2], true);
    }

    #[test]
    fn the_reason_names_the_key_and_its_end() {
        let told = |bundles: &[Bundle], revoked| {
            read(bundles, 500, revoked).rejected.iter().map(|it| it.rejection.to_string()).collect()
        };
        let unseen = ledger(&[(OLD, 10)]);
        let want = "key `old` is revoked since 2026-11-24T13:40:00Z, and no record of another key from before then names this one";
        let got: Vec<String> = told(&unseen, true);
        assert_eq!(got, [want]);
        let got: Vec<String> = told(&unseen, false);
        assert_eq!(got, [want.replace("revoked", "retired")]);
        let got: Vec<String> = told(&ledger(&[(OLD, 101)]), true);
        let want = "key `old` is revoked since 2026-11-24T13:40:00Z; it was made at 2026-11-24T13:41:00Z, later";
        assert_eq!(got, [want]);
    }

    /// The chain names the promotions, and they the records that their gates rest on.
    #[test]
    fn a_promotion_has_seen_what_its_gates_rest_on() {
        let built = Statement::build("shop", &release("one"), build().provenance());
        let built = sign(&built, &key(OLD)).unwrap();
        let tested = |minutes| {
            let result = test_run("dev", TestOutcome::Passed, minutes).result();
            sign(&Statement::test("shop", &release("one"), result), &key(OLD)).unwrap()
        };
        let (tested, unseen) = (tested(10), tested(20));
        let evidence =
            |record: &Bundle| GateEvidence { record: Some(record.digest()), text: String::new() };
        let mut entered = promotion("dev", "one", first(), 30);
        entered.gates.push(GateResult {
            gate: "tested".to_owned(),
            passed: true,
            reason: String::new(),
            evidence: vec![evidence(&built), evidence(&tested)],
            overridden: None,
        });
        let entered = sign(&Statement::promotion(entered), &key(OLD)).unwrap();
        let followed = promotion("dev", "two", after(Some((&entered, 1))), 40);
        let followed = sign(&Statement::promotion(followed), &key(NEW)).unwrap();
        let of_release = [&built, &tested, &unseen, &entered].map(|it| it.bytes().to_vec());
        let records = Records::of_release(of_release, &ring(true), release("one"), at(500));
        // The list of the release alone has no witness.
        assert!(records.builds.is_empty() && records.tests.is_empty());
        assert_eq!(records.rejected.len(), 4);
        let ledger = read([&entered, &followed], 500, true);
        let records = records.with_testimony(&ledger.testimony(&ring(true), at(500)));
        assert_eq!(records.builds.len(), 1);
        assert_eq!(records.promotions.len(), 1);
        let tests: Vec<Digest> = records.tests.iter().map(Verified::record).collect();
        assert_eq!(tests, [tested.digest()]);
        let rejected: Vec<Digest> = records.rejected.iter().map(|it| it.record).collect();
        assert_eq!(rejected, [unseen.digest()]);
    }

    /// Whoever leaves, leaves no gate open.
    #[test]
    fn what_keeps_out_stays_when_its_key_ends() {
        let failed = |number, minutes| {
            let result = test_run("dev", TestOutcome::Failed, minutes).result();
            sign(&Statement::test("shop", &release("one"), result), &key(number)).unwrap()
        };
        let bundles = [failed(OLD, 10), failed(OLD, 110)].map(|it| it.bytes().to_vec());
        let records = Records::of_release(bundles, &ring(true), release("one"), at(500));
        assert_eq!(records.tests.len(), 1);
        assert_eq!(records.tests[0].recorded_at(), Some(at(11)));
    }

    /// Of three keys, each vouches for the one before.
    #[test]
    fn keys_that_end_one_after_the_other() {
        let trusted = |number: u8, end: Option<i64>| TrustedKey {
            name: format!("key {number}"),
            key: key(number).verifying_key().into(),
            roles: BTreeSet::from([Role::PROMOTER]),
            actors: BTreeSet::new(),
            scope: KeyScope::ANYTHING,
            life: KeyLife { not_after: end.map(at), ..KeyLife::UNLIMITED },
        };
        let ring =
            KeyRing::new([trusted(1, Some(100)), trusted(2, Some(200)), trusted(3, None)]).unwrap();
        let read = |ledger: &[Bundle]| {
            let bytes = ledger.iter().map(|bundle| bundle.bytes().to_vec());
            let records = Records::of_environment(bytes, &ring, &environment("dev"), at(900));
            Chain::verify(&environment("dev"), records.promotions, &[])
        };
        let whole = read(&ledger(&[(1, 10), (2, 20), (2, 30), (3, 190), (3, 300)]));
        assert!(whole.is_intact());
        assert_eq!(whole.promotions().len(), 5);
        // The third key came after the end of the second, so it says nothing of the first either.
        let torn = read(&ledger(&[(1, 10), (2, 20), (2, 30), (3, 200)]));
        assert!(matches!(torn.faults(), [ChainFault::Missing { sequence: 4, .. }]), "{torn:?}");
    }
}
