//! The ledger of one environment as a chain: is every promotion there?
//!
//! Each promotion names its predecessor by hash, so none in the middle can be left out; an anchor kept elsewhere (on the
//! applications, in CI outputs) shows when the end was cut off. Registries cannot compare-and-set, so two jobs may append
//! at the same time; the next promotion names both and joins the branches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use super::records::RejectedRecord;
use crate::artifact::EnvironmentId;
use crate::envelope::{MAX_CLOCK_SKEW, Rejection, Verified};
use crate::predicate::{ChainLink, Predicate as _, Promotion};

/// The verified promotions of one environment, oldest first, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    environment: EnvironmentId,
    promotions: Vec<Verified<Promotion>>,
    #[serde(skip)]
    heads: Vec<Digest>,
    faults: Vec<ChainFault>,
    #[serde(skip)]
    not_counted: Vec<RejectedRecord>,
}

/// Something that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ChainFault {
    /// A promotion names a predecessor that is not there: removed, hidden, or signed by a key that is not trusted, or no
    /// longer.
    #[error("promotion {sequence} follows record {record}, which is missing or does not count")]
    Missing {
        /// The record that should be there.
        record: Digest,
        /// The number of the promotion that names it.
        sequence: u64,
    },
    /// A promotion's number is not one more than that of its predecessors.
    #[error("record {record} has number {found} instead of {wanted}")]
    Sequence {
        /// The misnumbered record.
        record: Digest,
        /// The number in it.
        found: u64,
        /// The number that fits.
        wanted: u64,
    },
    /// A promotion says that it ended before one that it follows: its time is wrong, or dated back.
    #[error(
        "record {record} (promotion {sequence}) ended at {at:.0}, and the one before it at {before:.0}, which is later"
    )]
    Time {
        /// The record with the earlier time.
        record: Digest,
        /// Its number.
        sequence: u64,
        /// Its end.
        at: Timestamp,
        /// The end of the one before it.
        before: Timestamp,
    },
    /// A promotion that the chain needs is there and does not count.
    #[error("promotion record {record} does not count: {rejection}")]
    Rejected {
        /// The record.
        record: Digest,
        /// Why it does not count.
        rejection: Rejection,
    },
    /// Several promotions have no successor: two jobs promoted at the same time. The next promotion joins them.
    #[error("{} promotions were made at the same time, and none has a successor: {}", .heads.len(), list(.heads))]
    Fork {
        /// The records without a successor.
        heads: Vec<Digest>,
    },
    /// An anchor names a promotion that is not there: the end of the chain was cut off or is hidden.
    #[error("promotion {} (record {}) is known elsewhere and missing here", .anchor.sequence, .anchor.record)]
    Cut {
        /// The promotion that is known elsewhere.
        anchor: Anchor,
    },
}

fn list(records: &[Digest]) -> String {
    records.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The last promotion of an environment, as it is kept outside of the registry: `7@sha256:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Anchor {
    /// Its number in the chain, from 1.
    pub sequence: u64,
    /// Digest of its record.
    pub record: Digest,
}

/// Why a text is not an anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an anchor (`NUMBER@sha256:…`)")]
pub struct AnchorError(String);

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sequence, self.record)
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let parse = || {
            let (sequence, record) = text.split_once('@')?;
            let number = sequence.parse().ok()?;
            // Printing gives back the same text, so `+7` and `007` are out.
            (format!("{number}") == sequence).then_some(())?;
            Some(Self { sequence: number, record: record.parse().ok()? })
        };
        parse().ok_or_else(|| AnchorError(text.to_owned()))
    }
}

impl TryFrom<String> for Anchor {
    type Error = AnchorError;

    fn try_from(text: String) -> Result<Self, AnchorError> {
        text.parse()
    }
}

impl From<Anchor> for String {
    fn from(anchor: Anchor) -> Self {
        anchor.to_string()
    }
}

/// One promotion with its copies: bundles whose signed bytes are the same.
struct Node {
    promotion: Verified<Promotion>,
    parents: Vec<Digest>,
}

impl Chain {
    /// Checks the promotions of `environment` against each other and against what is known elsewhere; leaves out those of
    /// other environments. An anchor may be behind the end, and must be in the chain.
    pub fn verify(
        environment: &EnvironmentId,
        promotions: impl IntoIterator<Item = Verified<Promotion>>,
        anchors: &[Anchor],
    ) -> Self {
        let mut nodes: BTreeMap<Digest, Node> = BTreeMap::new();
        // One signed text can have several bundles around it; each of them names the same promotion.
        let mut names: BTreeMap<Digest, Digest> = BTreeMap::new();
        for promotion in promotions {
            if promotion.predicate().environment != *environment {
                continue;
            }
            let statement = promotion.statement_digest();
            names.insert(promotion.record(), statement);
            let parents = promotion.predicate().chain.parents().copied().collect();
            nodes.entry(statement).or_insert(Node { promotion, parents });
        }
        let faults = faults(&nodes, &names, anchors);
        let heads = heads(&nodes, &names);
        let mut promotions: Vec<_> = nodes.into_values().map(|node| node.promotion).collect();
        promotions.sort_by_key(position);
        let environment = environment.clone();
        Self { environment, promotions, heads, faults, not_counted: Vec::new() }
    }

    /// The same chain, which says of a promotion that it misses why that does not count, if it is among these.
    ///
    /// An anchor that names a record of a key that has ended is no fault: the policy took that record out of the ledger, and
    /// nobody hides it. It ends with the last promotion that counts, and goes on from there.
    #[must_use]
    pub fn explained(mut self, rejected: &[RejectedRecord]) -> Self {
        let why = |record: &Digest| {
            rejected.iter().find(|it| it.record == *record).map(|it| &it.rejection)
        };
        self.faults.retain_mut(|fault| {
            let (missing, is_anchor) = match fault {
                ChainFault::Missing { record, .. } => (*record, false),
                ChainFault::Cut { anchor } => (anchor.record, true),
                _ => return true,
            };
            match why(&missing) {
                Some(rejection) if is_anchor && rejection.is_end_of_key() => false,
                Some(rejection) => {
                    *fault = ChainFault::Rejected { record: missing, rejection: rejection.clone() };
                    true
                }
                None => true,
            }
        });
        let limited = rejected.iter().filter(|it| {
            it.predicate_type.as_deref() == Some(Promotion::TYPE) && it.rejection.is_limit_of_key()
        });
        self.not_counted = limited.cloned().collect();
        self
    }

    /// Promotions of trusted keys that do not count, for what their keys may say and how long.
    pub fn not_counted(&self) -> &[RejectedRecord] {
        &self.not_counted
    }

    /// The latest time that some promotion names as its end.
    pub fn latest_end(&self) -> Option<Timestamp> {
        self.promotions.iter().map(|it| it.predicate().finished_at).max()
    }

    /// The environment whose ledger this is.
    pub fn environment(&self) -> &EnvironmentId {
        &self.environment
    }

    /// All promotions, oldest first.
    pub fn promotions(&self) -> &[Verified<Promotion>] {
        &self.promotions
    }

    /// What is wrong; empty for a chain to rely on.
    pub fn faults(&self) -> &[ChainFault] {
        &self.faults
    }

    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }

    /// The last promotion; `None` if there is none, or if a fault leaves open which it is.
    pub fn head(&self) -> Option<&Verified<Promotion>> {
        if !self.is_intact() {
            return None;
        }
        self.promotions.last()
    }

    /// The proven promotion with which the release at the end came. A release that is promoted again, with no other in
    /// between, has been there all the time.
    pub fn began(&self) -> Option<&Verified<Promotion>> {
        self.stay().iter().find(|it| it.predicate().is_proven())
    }

    /// The promotions of the release at the end since another one was there, oldest first.
    pub fn stay(&self) -> &[Verified<Promotion>] {
        let Some(head) = self.head() else { return &[] };
        let release = head.predicate().release.digest;
        let others = |it: &Verified<Promotion>| it.predicate().release.digest != release;
        let begin = self.promotions.iter().rposition(others).map_or(0, |last| last + 1);
        self.promotions.get(begin..).unwrap_or_default()
    }

    /// The records that are missing. A listing may have left them out, so fetch each by its digest, which is that of its
    /// blob, before giving up the chain.
    pub fn missing(&self) -> impl Iterator<Item = Digest> + '_ {
        self.faults.iter().filter_map(|fault| match fault {
            ChainFault::Missing { record, .. } => Some(*record),
            ChainFault::Cut { anchor } => Some(anchor.record),
            _ => None,
        })
    }

    /// The anchor to keep where the owner of the registry cannot change it.
    pub fn anchor(&self) -> Option<Anchor> {
        self.head()
            .map(|head| Anchor { sequence: head.predicate().chain.sequence, record: head.record() })
    }

    /// The place of the next promotion, which joins a fork.
    ///
    /// # Errors
    /// If something is missing or misnumbered, which a further promotion would hide; with those faults.
    pub fn next(&self) -> Result<ChainLink, Vec<ChainFault>> {
        let serious: Vec<_> = self
            .faults
            .iter()
            .filter(|it| !matches!(it, ChainFault::Fork { .. }))
            .cloned()
            .collect();
        if !serious.is_empty() {
            return Err(serious);
        }
        let mut heads: Vec<_> =
            self.promotions.iter().filter(|it| self.heads.contains(&it.record())).collect();
        heads.sort_by_key(|head| position(head));
        let Some(last) = heads.pop() else {
            return Ok(ChainLink { sequence: 1, previous: None, merged: Vec::new() });
        };
        Ok(ChainLink {
            // The highest number is last, so this is one more than every predecessor's.
            sequence: last.predicate().chain.sequence.saturating_add(1),
            previous: Some(last.record()),
            merged: heads.iter().map(|head| head.record()).collect(),
        })
    }
}

impl Verified<Promotion> {
    /// The anchor of this promotion, to write as soon as it is recorded.
    pub fn anchor(&self) -> Anchor {
        Anchor { sequence: self.predicate().chain.sequence, record: self.record() }
    }
}

fn position(promotion: &Verified<Promotion>) -> (u64, jiff::Timestamp, Digest) {
    let predicate = promotion.predicate();
    (predicate.chain.sequence, predicate.finished_at, promotion.record())
}

/// The promotions that no other one follows.
fn heads(nodes: &BTreeMap<Digest, Node>, names: &BTreeMap<Digest, Digest>) -> Vec<Digest> {
    let followed: BTreeSet<&Digest> = nodes
        .values()
        .flat_map(|node| &node.parents)
        .filter_map(|parent| names.get(parent))
        .collect();
    nodes
        .iter()
        .filter(|(statement, _)| !followed.contains(statement))
        .map(|(_, node)| node.promotion.record())
        .collect()
}

fn faults(
    nodes: &BTreeMap<Digest, Node>,
    names: &BTreeMap<Digest, Digest>,
    anchors: &[Anchor],
) -> Vec<ChainFault> {
    let mut faults = Vec::new();
    let sequence_of =
        |record: &Digest| Some(nodes.get(names.get(record)?)?.promotion.predicate().chain.sequence);
    for node in nodes.values() {
        let sequence = node.promotion.predicate().chain.sequence;
        let known: Vec<Option<u64>> = node.parents.iter().map(sequence_of).collect();
        for (parent, known) in node.parents.iter().zip(&known) {
            if known.is_none() {
                faults.push(ChainFault::Missing { record: *parent, sequence });
            }
        }
        let wanted = known.iter().flatten().max().map_or(1, |highest| highest.saturating_add(1));
        if known.iter().all(Option::is_some) && sequence != wanted {
            let record = node.promotion.record();
            faults.push(ChainFault::Sequence { record, found: sequence, wanted });
        }
    }
    faults.extend(nodes.values().flat_map(|node| times(node, nodes, names)));
    let heads = heads(nodes, names);
    if heads.len() > 1 {
        faults.push(ChainFault::Fork { heads });
    }
    for anchor in anchors {
        if sequence_of(&anchor.record) != Some(anchor.sequence) {
            faults.push(ChainFault::Cut { anchor: *anchor });
        }
    }
    faults
}

/// Whether the times of a promotion and of those that it follows grow. Whoever signs chooses the time, so this is what keeps
/// a record from being dated back to before what it has seen.
///
/// Two clocks may differ. Whoever made it read those before it, which count only if they are not more than
/// [`MAX_CLOCK_SKEW`] in the future; so no right promotion is earlier than one before it by more than that.
fn times<'a>(
    node: &'a Node,
    nodes: &'a BTreeMap<Digest, Node>,
    names: &'a BTreeMap<Digest, Digest>,
) -> impl Iterator<Item = ChainFault> + 'a {
    let promotion = node.promotion.predicate();
    let ends = node.parents.iter().filter_map(|parent| {
        Some(nodes.get(names.get(parent)?)?.promotion.predicate().finished_at)
    });
    let latest =
        ends.max().filter(|before| before.duration_since(promotion.finished_at) > MAX_CLOCK_SKEW);
    latest.into_iter().map(|before| ChainFault::Time {
        record: node.promotion.record(),
        sequence: promotion.chain.sequence,
        at: promotion.finished_at,
        before,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::KeyEnd;
    use crate::testing::{at, counted, environment, first, release};

    fn after(previous: &Verified<Promotion>) -> ChainLink {
        ChainLink {
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
        let missing = |record: usize, sequence| ChainFault::Missing {
            record: ledger[record].record(),
            sequence,
        };
        check(&ledger[1..], &[], &[missing(0, 2)]);
        check(
            &[ledger[0].clone(), ledger[1].clone(), ledger[3].clone()],
            &[],
            &[missing(2, 4), ChainFault::Fork { heads: forked(&[&ledger[1], &ledger[3]]) }],
        );
        // The end can be cut off without a trace in what remains: only an anchor tells.
        check(&ledger[..3], &[], &[]);
        check(
            &ledger[..3],
            &[ledger[3].anchor()],
            &[ChainFault::Cut { anchor: ledger[3].anchor() }],
        );
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
        let of =
            |record| RejectedRecord { record, predicate_type: None, rejection: rejection.clone() };
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
            ChainLink { sequence: 4, previous: Some(right.record()), merged: vec![left.record()] }
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
}
