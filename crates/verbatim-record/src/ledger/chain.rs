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

use super::log::{HiddenRecord, LedgerLog};
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
    #[serde(skip)]
    seen: Vec<Digest>,
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
    /// A record of another kind is known and not there: a ban, an approval, a test, a hand-over.
    #[error("record {}, which {} names, is missing", .0.record, .0.named_by)]
    Hidden(HiddenRecord),
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

/// What is known of the end of a ledger from outside of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors {
    /// The last promotions, as different applications and jobs know them.
    pub promotions: Vec<Anchor>,
    /// The last records of other kinds.
    pub records: Vec<Digest>,
}

impl Anchors {
    /// Nothing is known.
    pub const NONE: &Self = &Self { promotions: Vec::new(), records: Vec::new() };
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

/// How a promotion that was signed earlier fits into the chain as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFit {
    /// It is a part of it already, with this record.
    There(Digest),
    /// It follows its end, or it is what somebody misses there.
    Next,
    /// Others have followed that it does not know: it would be a fork.
    Behind {
        /// The end of the chain.
        end: Anchor,
    },
    /// It follows a record that is not there.
    Ahead {
        /// That record.
        record: Digest,
    },
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
        Self { environment, promotions, heads, faults, not_counted: Vec::new(), seen: Vec::new() }
    }

    /// The same chain within the whole ledger, of which the promotions are a part.
    #[must_use]
    pub fn within(mut self, log: &LedgerLog) -> Self {
        self.faults.extend(log.hidden().iter().cloned().map(ChainFault::Hidden));
        self.seen = log.seen();
        self
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
            ChainFault::Hidden(hidden) => Some(hidden.record),
            _ => None,
        })
    }

    /// What the next record of the ledger names, of whatever kind it is: the records that nothing has followed yet.
    pub fn seen(&self) -> &[Digest] {
        &self.seen
    }

    /// The anchor to keep where the owner of the registry cannot change it.
    pub fn anchor(&self) -> Option<Anchor> {
        self.head()
            .map(|head| Anchor { sequence: head.predicate().chain.sequence, record: head.record() })
    }

    /// How a promotion fits in that was signed when the chain may have been another.
    pub fn fit(&self, promotion: &Verified<Promotion>) -> ChainFit {
        let statement = promotion.statement_digest();
        if let Some(it) = self.promotions.iter().find(|it| it.statement_digest() == statement) {
            return ChainFit::There(it.record());
        }
        if self.missing().any(|record| record == promotion.record()) {
            return ChainFit::Next;
        }
        let parents: BTreeSet<&Digest> = promotion.predicate().chain.parents().collect();
        let is_there = |record: &Digest| self.promotions.iter().any(|it| it.record() == *record);
        if let Some(record) = parents.iter().find(|parent| !is_there(parent)) {
            return ChainFit::Ahead { record: **record };
        }
        let is_head = |it: &&Verified<Promotion>| self.heads.contains(&it.record());
        let mut heads = self.promotions.iter().filter(is_head);
        match heads.rfind(|it| !parents.contains(&it.record())) {
            Some(end) => ChainFit::Behind { end: end.anchor() },
            None => ChainFit::Next,
        }
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
            let seen = self.seen.clone();
            return Ok(ChainLink { sequence: 1, previous: None, merged: Vec::new(), seen });
        };
        let is_promotion =
            |record: &Digest| heads.iter().chain([&last]).any(|it| it.record() == *record);
        let seen = self.seen.iter().copied().filter(|record| !is_promotion(record)).collect();
        Ok(ChainLink {
            seen,
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
mod tests;
