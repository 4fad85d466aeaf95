//! The ledger of one environment as a log: is every record there, of whatever kind?
//!
//! Each record names those that were at the end when it was made, so whoever hides one has to hide all that came after it.
//! The last promotion, which names what it has seen, is known on the applications, and so are the last bans. What nobody has
//! named yet is at the end: several records may be, as a registry has no compare-and-set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use verbatim_oci::Digest;

use super::records::{Entry, Records};

/// The most records that one names. A ledger that is older than this rule has no names, and begins with many ends; each
/// record joins as many of them, the oldest first.
const MAX_SEEN: usize = 64;

/// What the records of an environment say of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerLog {
    heads: Vec<Digest>,
    hidden: Vec<HiddenRecord>,
}

/// A record that is known and not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HiddenRecord {
    /// Its digest.
    pub record: Digest,
    /// What names it.
    pub named_by: NamedBy,
}

/// What names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedBy {
    /// A later record, which counts.
    Record(Digest),
    /// An application of the environment.
    Application,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => write!(f, "record {record}"),
            Self::Application => f.write_str("an application"),
        }
    }
}

impl LedgerLog {
    /// Reads the records of an environment as a log. `anchored` are records that its applications name.
    ///
    /// What is there and does not count is not hidden: why it does not is told elsewhere. The promotions before a promotion
    /// are those of the [`Chain`](super::Chain).
    pub fn of(records: &Records, anchored: &[Digest]) -> Self {
        let entries: Vec<Entry> = records.entries().collect();
        // One signed text can have several bundles around it: all of them are one record.
        let spellings: BTreeMap<Digest, Digest> =
            entries.iter().map(|entry| (entry.record, entry.statement)).collect();
        let present: BTreeSet<Digest> =
            spellings.keys().copied().chain(records.rejected.iter().map(|it| it.record)).collect();
        let followed: BTreeSet<Digest> = entries
            .iter()
            .flat_map(|entry| entry.seen.iter().chain(&entry.before))
            .filter_map(|named| spellings.get(named).copied())
            .collect();
        let mut heads: Vec<&Entry> =
            entries.iter().filter(|entry| !followed.contains(&entry.statement)).collect();
        heads.sort_by_key(|entry| (entry.at, entry.record));
        let mut told = BTreeSet::new();
        heads.retain(|entry| told.insert(entry.statement));
        let named = entries
            .iter()
            .flat_map(|entry| entry.seen.iter().map(|it| (*it, NamedBy::Record(entry.record))));
        let anchored = anchored.iter().map(|it| (*it, NamedBy::Application));
        let mut hidden: BTreeMap<Digest, NamedBy> = BTreeMap::new();
        for (record, named_by) in named.chain(anchored) {
            if !present.contains(&record) {
                hidden.entry(record).or_insert(named_by);
            }
        }
        Self {
            heads: heads.iter().map(|entry| entry.record).collect(),
            hidden: hidden
                .into_iter()
                .map(|(record, named_by)| HiddenRecord { record, named_by })
                .collect(),
        }
    }

    /// What the next record names: the records that nobody has named yet.
    pub fn seen(&self) -> Vec<Digest> {
        self.heads.iter().take(MAX_SEEN).copied().collect()
    }

    /// The records that are known and not there. A listing may have left them out, so fetch each by its digest, which is
    /// that of its blob, before giving up the ledger.
    pub fn hidden(&self) -> &[HiddenRecord] {
        &self.hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Bundle, Statement, sign};
    use crate::predicate::{Approval, Lock, TestOutcome};
    use crate::testing::{
        at, environment, first, key, promoted, release, ring, run, signed_elsewhere, test_run,
    };

    fn lock(seen: &[&Bundle], minutes: i64, number: u8) -> Bundle {
        let lock = Lock {
            environment: environment("dev"),
            lifts: Vec::new(),
            reason: "freeze".to_owned(),
            at: at(minutes),
            until: None,
            seen: digests(seen),
            run: run(),
        };
        sign(&Statement::lock(lock), &key(number)).unwrap()
    }

    fn test(seen: &[&Bundle], minutes: i64) -> Bundle {
        let mut tested = test_run("dev", TestOutcome::Failed, minutes);
        tested.seen = digests(seen);
        sign(&Statement::test("shop", &release("one"), tested.result()), &key(1)).unwrap()
    }

    fn approval(seen: &[&Bundle], minutes: i64) -> Bundle {
        let approval = Approval {
            environment: environment("dev"),
            reason: String::new(),
            at: at(minutes),
            until: None,
            plan: None,
            seen: digests(seen),
            run: run(),
        };
        sign(&Statement::approval("shop", &release("one"), approval), &key(2)).unwrap()
    }

    fn digests(bundles: &[&Bundle]) -> Vec<Digest> {
        bundles.iter().map(|it| it.digest()).collect()
    }

    #[track_caller]
    fn check(bundles: &[&Bundle], anchored: &[&Bundle], seen: &[&Bundle], hidden: &[&Bundle]) {
        for order in [bundles.to_vec(), bundles.iter().rev().copied().collect()] {
            let bytes = order.iter().map(|it| it.bytes());
            let records = Records::of_environment(bytes, &ring(), &environment("dev"), at(60));
            let log = LedgerLog::of(&records, &digests(anchored));
            assert_eq!(log.seen(), digests(seen));
            let got: BTreeSet<Digest> = log.hidden().iter().map(|it| it.record).collect();
            assert_eq!(got, digests(hidden).into_iter().collect());
        }
    }

    #[test]
    fn what_came_after_a_record_shows_that_it_is_missing() {
        let promotion = promoted("dev", "one", first(), 0);
        let tested = test(&[&promotion], 2);
        let locked = lock(&[&tested], 4, 1);
        let approved = approval(&[&locked], 6);
        check(&[], &[], &[], &[]);
        check(&[&promotion, &tested, &locked, &approved], &[], &[&approved], &[]);
        // Whatever is left out in the middle.
        check(&[&promotion, &locked, &approved], &[], &[&promotion, &approved], &[&tested]);
        check(&[&promotion, &tested, &approved], &[], &[&tested, &approved], &[&locked]);
        // At the end only an application knows.
        check(&[&promotion, &tested, &locked], &[], &[&locked], &[]);
        check(&[&promotion, &tested, &locked], &[&approved], &[&locked], &[&approved]);
        check(&[&promotion, &tested, &locked, &approved], &[&locked], &[&approved], &[]);
        // Two at a time are two ends, and the next one joins them.
        let beside = approval(&[&tested], 5);
        check(&[&promotion, &tested, &locked, &beside], &[], &[&locked, &beside], &[]);
        let next = lock(&[&locked, &beside], 7, 2);
        check(&[&promotion, &tested, &locked, &beside, &next], &[], &[&next], &[]);
    }

    #[test]
    fn a_promotion_names_what_is_not_a_promotion_beside_the_one_before() {
        let locked = lock(&[], 0, 1);
        let mut link = first();
        link.seen = digests(&[&locked]);
        let promotion = promoted("dev", "one", link, 2);
        check(&[&locked, &promotion], &[], &[&promotion], &[]);
        check(&[&promotion], &[], &[&promotion], &[&locked]);
        let mut link = first();
        (link.sequence, link.previous) = (2, Some(promotion.digest()));
        let second = promoted("dev", "two", link, 4);
        check(&[&locked, &promotion, &second], &[], &[&second], &[]);
        // The chain tells that, and not twice.
        check(&[&locked, &second], &[], &[&locked, &second], &[]);
    }

    #[test]
    fn what_does_not_count_is_not_hidden_and_hides_nothing() {
        let foreign = lock(&[], 0, 3);
        let after = lock(&[&foreign], 2, 1);
        check(&[&foreign, &after], &[], &[&after], &[]);
        check(&[&after], &[], &[&after], &[&foreign]);
        // Whoever has no key names in vain.
        let inventor = lock(&[&signed_elsewhere()], 4, 3);
        check(&[&inventor], &[], &[], &[]);
    }

    #[test]
    fn a_ledger_without_names_is_joined_little_by_little() {
        let old: Vec<Bundle> = (0..70).map(|minutes| lock(&[], minutes, 1)).collect();
        let bytes = old.iter().map(Bundle::bytes);
        let records = Records::of_environment(bytes, &ring(), &environment("dev"), at(90));
        let seen = LedgerLog::of(&records, &[]).seen();
        assert_eq!(seen, old[..MAX_SEEN].iter().map(Bundle::digest).collect::<Vec<_>>());
    }
}
