//! Chains that are whole, cut, forked and dated back.

use proptest::prelude::*;

use super::*;
use crate::keys::KeyEnd;
use crate::testing::{at, counted, environment, first, release};

fn after(previous: &Verified<Promotion>) -> ChainLink {
    ChainLink {
        seen: Vec::new(),
        sequence: previous.predicate().chain.sequence + 1,
        previous: Some(previous.record()),
        merged: Vec::new(),
    }
}

/// `one`, `two`, `three`, … each after the other.
fn ledger(length: usize) -> Vec<Verified<Promotion>> {
    let mut ledger: Vec<Verified<Promotion>> = Vec::new();
    for number in 0..length {
        let link = ledger.last().map_or_else(first, after);
        let minutes = i64::try_from(number).unwrap() * 10;
        ledger.push(counted("dev", &format!("release {number}"), link, minutes));
    }
    ledger
}

fn verified(promotions: &[Verified<Promotion>], anchors: &[Anchor]) -> Chain {
    Chain::verify(&environment("dev"), promotions.iter().cloned(), anchors)
}

#[track_caller]
fn check(promotions: &[Verified<Promotion>], anchors: &[Anchor], want: &[ChainFault]) {
    let chain = verified(promotions, anchors);
    assert_eq!(chain.faults(), want);
    assert_eq!(chain.head().is_some(), want.is_empty() && !promotions.is_empty());
    assert_eq!(chain.anchor().is_some(), chain.head().is_some());
}

#[test]
fn an_empty_ledger_is_intact_and_begins_with_one() {
    let chain = verified(&[], &[]);
    assert!(chain.is_intact());
    assert_eq!(chain.next(), Ok(first()));
}

#[test]
fn a_whole_chain_in_any_order_with_copies_and_strangers() {
    let ledger = ledger(4);
    let mut shuffled =
        vec![ledger[2].clone(), ledger[0].clone(), ledger[3].clone(), ledger[1].clone()];
    shuffled.push(ledger[1].clone());
    shuffled.push(counted("production", "release 9", first(), 0));
    check(&shuffled, &[ledger[3].anchor(), ledger[0].anchor()], &[]);
    let chain = verified(&shuffled, &[]);
    assert_eq!(chain.promotions(), ledger);
    assert_eq!(chain.head(), Some(&ledger[3]));
    assert_eq!(chain.next(), Ok(after(&ledger[3])));
}

/// A letter is a release.
#[test]
fn a_release_is_there_since_it_came() {
    for (releases, want) in
        [("", None), ("a", Some(1)), ("ab", Some(2)), ("abbb", Some(2)), ("bab", Some(3))]
    {
        let mut ledger: Vec<Verified<Promotion>> = Vec::new();
        for (name, minutes) in releases.chars().zip(0..) {
            let link = ledger.last().map_or_else(first, after);
            ledger.push(counted("dev", &name.to_string(), link, minutes));
        }
        let chain = verified(&ledger, &[]);
        let began = chain.began().map(|began| began.predicate().chain.sequence);
        assert_eq!(began, want, "{releases}");
    }
}

#[test]
fn what_is_missing_is_missed() {
    let ledger = ledger(4);
    let missing =
        |record: usize, sequence| ChainFault::Missing { record: ledger[record].record(), sequence };
    check(&ledger[1..], &[], &[missing(0, 2)]);
    check(
        &[ledger[0].clone(), ledger[1].clone(), ledger[3].clone()],
        &[],
        &[missing(2, 4), ChainFault::Fork { heads: forked(&[&ledger[1], &ledger[3]]) }],
    );
    // The end can be cut off without a trace in what remains: only an anchor tells.
    check(&ledger[..3], &[], &[]);
    check(&ledger[..3], &[ledger[3].anchor()], &[ChainFault::Cut { anchor: ledger[3].anchor() }]);
    check(&[], &[ledger[0].anchor()], &[ChainFault::Cut { anchor: ledger[0].anchor() }]);
    let lie = Anchor { sequence: 9, ..ledger[3].anchor() };
    check(&ledger, &[lie], &[ChainFault::Cut { anchor: lie }]);
}

/// Heads come in the order of the signed bytes, which no test can foresee.
fn forked(heads: &[&Verified<Promotion>]) -> Vec<Digest> {
    let mut heads: Vec<_> =
        heads.iter().map(|head| (head.statement_digest(), head.record())).collect();
    heads.sort();
    heads.into_iter().map(|(_, record)| record).collect()
}

#[test]
fn numbers_have_to_fit() {
    let ledger = ledger(2);
    let wrong = ChainLink { sequence: 7, ..after(&ledger[1]) };
    let jump = counted("dev", "release 7", wrong, 70);
    let fault = ChainFault::Sequence { record: jump.record(), found: 7, wanted: 3 };
    check(&[ledger[0].clone(), ledger[1].clone(), jump], &[], &[fault]);
}

/// A clock may be behind that of the promotion before by as much as that one may be ahead of a reader.
#[test]
fn times_grow() {
    let ledger = ledger(2);
    for (minutes, is_right) in [(20, true), (10, true), (5, true), (4, false), (-9, false)] {
        let next = counted("dev", "late", after(&ledger[1]), minutes);
        let fault = ChainFault::Time {
            record: next.record(),
            sequence: 3,
            at: at(minutes + 1),
            before: at(11),
        };
        let want = if is_right { Vec::new() } else { vec![fault] };
        check(&[ledger[0].clone(), ledger[1].clone(), next.clone()], &[], &want);
        let chain = verified(&[ledger[0].clone(), ledger[1].clone(), next], &[]);
        assert_eq!(chain.next().is_ok(), is_right);
        assert_eq!(chain.latest_end(), Some(at(11).max(at(minutes + 1))));
    }
    // Of two that it joins, the later counts.
    let right = counted("dev", "right", after(&ledger[0]), 40);
    let link = ChainLink {
        seen: Vec::new(),
        sequence: 3,
        previous: Some(ledger[1].record()),
        merged: vec![right.record()],
    };
    let joined = counted("dev", "joined", link, 20);
    let all = [ledger[0].clone(), ledger[1].clone(), right, joined];
    assert!(matches!(verified(&all, &[]).faults(), [ChainFault::Time { .. }]));
}

#[test]
fn a_promotion_that_does_not_count_is_told_from_one_that_is_gone() {
    let ledger = ledger(3);
    let rejection = Rejection::Certificate;
    let of = |record| RejectedRecord { record, predicate_type: None, rejection: rejection.clone() };
    let explained = |kept: &[Verified<Promotion>], anchors: &[Anchor], rejected| {
        let chain = verified(kept, anchors).explained(&[of(rejected)]);
        assert_eq!(chain.next().unwrap_err(), chain.faults());
        chain.faults().to_vec()
    };
    for (kept, anchors, record) in [
        (&ledger[1..], &[][..], ledger[0].record()),
        (&ledger[..2], &[ledger[2].anchor()], ledger[2].record()),
    ] {
        let rejected = ChainFault::Rejected { record, rejection: rejection.clone() };
        assert_eq!(explained(kept, anchors, record), [rejected]);
        let other = explained(kept, anchors, release("other"));
        assert!(matches!(&other[..], [ChainFault::Missing { .. } | ChainFault::Cut { .. }]));
    }
    // The policy took the end out, and nobody hides it.
    let end = KeyEnd { at: at(5), revoked: true };
    let ended = RejectedRecord {
        rejection: Rejection::NoWitness { key: "ci".to_owned(), end },
        ..of(ledger[2].record())
    };
    let cut = verified(&ledger[..2], &[ledger[2].anchor()]).explained(&[ended]);
    assert_eq!((cut.faults(), cut.head()), (&[][..], Some(&ledger[1])));
}

#[test]
fn two_at_the_same_time_are_joined_by_the_next() {
    let ledger = ledger(2);
    let left = counted("dev", "left", after(&ledger[1]), 30);
    let right = counted("dev", "right", after(&ledger[1]), 31);
    let mut all = vec![ledger[0].clone(), ledger[1].clone(), left.clone(), right.clone()];
    check(
        &all,
        &[left.anchor(), right.anchor()],
        &[ChainFault::Fork { heads: forked(&[&left, &right]) }],
    );
    let told = verified(&all, &[]).faults()[0].to_string();
    for head in [&left, &right] {
        assert!(told.contains(&head.record().to_string()), "{told}");
    }
    let next = verified(&all, &[]).next().unwrap();
    assert_eq!(
        next,
        ChainLink {
            seen: Vec::new(),
            sequence: 4,
            previous: Some(right.record()),
            merged: vec![left.record()]
        }
    );
    let joined = counted("dev", "joined", next, 40);
    all.push(joined.clone());
    check(&all, &[left.anchor(), right.anchor(), joined.anchor()], &[]);
    // Neither branch can be hidden any more.
    all.retain(|it| it.record() != left.record());
    check(&all, &[], &[ChainFault::Missing { record: left.record(), sequence: 4 }]);
}

#[test]
fn nothing_is_appended_to_a_chain_with_a_hole() {
    let ledger = ledger(3);
    let chain = verified(&ledger[1..], &[]);
    assert_eq!(
        chain.next(),
        Err(vec![ChainFault::Missing { record: ledger[0].record(), sequence: 2 }])
    );
    assert_eq!(chain.missing().collect::<Vec<_>>(), [ledger[0].record()]);
    let cut = verified(&ledger[..2], &[ledger[2].anchor()]);
    assert!(cut.next().is_err());
    assert_eq!(cut.missing().collect::<Vec<_>>(), [ledger[2].record()]);
}

#[test]
fn anchors_are_read_as_they_are_printed() {
    let anchor = ledger(1)[0].anchor();
    let text = anchor.to_string();
    assert_eq!(text, format!("1@{}", anchor.record));
    assert_eq!(text.parse(), Ok(anchor));
    let digest = anchor.record;
    for text in [
        "",
        "1",
        "@",
        &format!("{digest}"),
        &format!("+1@{digest}"),
        &format!("01@{digest}"),
        &format!("-1@{digest}"),
        "1@sha256:ab",
    ] {
        assert_eq!(text.parse::<Anchor>(), Err(AnchorError(text.to_owned())));
    }
}

proptest! {
    /// Whatever is taken out of a chain, its anchor and the records that remain tell.
    #[test]
    fn no_record_can_be_taken_out(length in 1_usize..6, gone in any::<prop::sample::Index>()) {
        let ledger = ledger(length);
        let anchor = ledger[length - 1].anchor();
        prop_assert!(verified(&ledger, &[anchor]).is_intact());
        let mut rest = ledger;
        rest.remove(gone.index(length));
        prop_assert!(!verified(&rest, &[anchor]).is_intact());
    }
}

#[test]
fn what_was_signed_earlier_fits_or_would_fork() {
    let all = ledger(3);
    let [one, two, three] = &all[..] else { panic!("three") };
    let other = counted("dev", "another release", after(one), 15);
    let end = |it: &Verified<Promotion>| ChainFit::Behind { end: it.anchor() };
    type Case<'a> = (&'a [Verified<Promotion>], &'a [Anchor], &'a Verified<Promotion>, ChainFit);
    let cases: [Case<'_>; 9] = [
        (&[], &[], one, ChainFit::Next),
        (&all[..1], &[], two, ChainFit::Next),
        (&all[..2], &[], two, ChainFit::There(two.record())),
        // Others came in its place.
        (&[one.clone(), other.clone()], &[], two, end(&other)),
        (&all[..1], &[], &counted("dev", "first too", first(), 5), end(one)),
        (&all, &[], &other, end(three)),
        // One before it is missing, and then the one that somebody misses is back.
        (&all[..1], &[], three, ChainFit::Ahead { record: two.record() }),
        (&[one.clone(), three.clone()], &[], two, ChainFit::Next),
        (&all[..2], &[three.anchor()], three, ChainFit::Next),
    ];
    for (promotions, anchors, late, want) in cases {
        assert_eq!(verified(promotions, anchors).fit(late), want);
    }
}
