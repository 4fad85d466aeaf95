//! Whether a release may enter: the answers of all gates, the order of releases, the place in the ledger. Pure. An
//! [`Admitted`] is made here and nowhere else, and everything that writes begins with one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use verbatim_console::Failure;
use verbatim_oci::Digest;
use verbatim_policy::{Decision, Gates, Outlook, ReleaseOrder, decide, outlook};
use verbatim_record::{
    Anchor, Chain, ChainLink, EnvironmentId, Promotion, PromotionKind, Verified,
};

use super::charts;
use super::gather::{Movement, Question, Situation};
use crate::environment::applications::{ObservedApp, reference};
use crate::environment::missing::{MissingApp, missing};
use crate::environment::rules::PolicyStamp;
use crate::records::running;
use crate::release::result::ReleaseResult;
use crate::release::{Release, builds};

/// What every stage of a promotion knows of it, and what its result says besides what was done.
#[derive(Debug)]
pub(crate) struct Considered {
    /// What kind of move it is.
    pub kind: PromotionKind,
    /// The release, with its tag.
    pub release: Release,
    pub decision: Decision,
    /// What else people should know.
    pub notes: Vec<String>,
    /// The release that got a veto.
    pub vetoed: Option<Digest>,
    /// Files with records that have yet to be attached.
    pub kept: Vec<PathBuf>,
    /// Applications of the last promotion that left the environment for good, as somebody says.
    pub without: Vec<String>,
    /// When all of it was known.
    pub decided_at: Timestamp,
}

/// A release about which all gates were asked.
#[derive(Debug)]
pub(crate) struct Decided {
    considered: Box<Considered>,
    seen: Vec<ObservedApp>,
    admission: Result<LedgerPlace, Refusal>,
}

/// A release that may enter. Its only constructor is [`Decided::admit`].
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(super) considered: Box<Considered>,
    pub(super) seen: Vec<ObservedApp>,
    pub(super) place: LedgerPlace,
    /// Private, so that nobody else makes one.
    _admitted: (),
}

/// A release that may not enter. It can be shown, and nothing else: what it would change can be looked at, but never
/// carried out.
#[derive(Debug)]
pub struct Refused {
    pub(super) considered: Box<Considered>,
    pub(super) seen: Vec<ObservedApp>,
    pub(super) refusal: Refusal,
}

/// Why a release may not enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A gate refuses; the decision has the answers, this is the end of the ledger.
    Gates(Option<Anchor>),
    /// A newer release runs there.
    Superseded(Box<ReleaseResult>),
    /// Nothing can be added to the ledger.
    Ledger(Vec<String>),
    /// Applications of the last promotion are not part of the environment now.
    Missing(Vec<MissingApp>),
    /// Another release was promoted while a restore was prepared.
    PromotedMeanwhile,
}

/// What the ledger is going to say, as far as it is known before anything is written.
#[derive(Clone, Debug)]
pub(crate) struct LedgerPlace {
    /// Why, in the words of the person who asked for it.
    pub reason: Option<String>,
    /// The number, and the record before it.
    pub link: ChainLink,
    /// The release that is there according to the ledger.
    pub before: Option<Digest>,
    /// The end of the ledger.
    pub previous: Option<Anchor>,
    /// The commit that the release was built from.
    pub commit: Option<String>,
    /// The policy of the last promotion that had one.
    pub policy_before: Option<PolicyStamp>,
    /// Whether a proof is worth a record.
    pub record_when: RecordWhen,
}

/// When the proof of a release becomes a record: a proof of what the ledger says already is none.
#[derive(Clone, Debug)]
pub(crate) enum RecordWhen {
    Always,
    Written,
    /// If something was written, or if these are not the charts that it runs with, by application.
    WrittenOrOther(BTreeMap<String, Vec<String>>),
}

impl RecordWhen {
    /// Whether a proof of this promotion becomes a record.
    pub(super) fn includes(&self, promotion: &Promotion, is_written: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Written => is_written,
            Self::WrittenOrOther(known) => is_written || charts::revisions(promotion) != *known,
        }
    }
}

impl Decided {
    /// Asks all gates, and judges whether the release may enter.
    pub(crate) fn decide(
        gates: &Gates,
        question: &Question<'_>,
        situation: Situation,
    ) -> Result<Self, Failure> {
        let Situation { release, facts, seen, ledger } = situation;
        let mut decision = decide(gates, &facts);
        question.overrides.apply(&mut decision)?;
        let commit = facts.records.as_ref().ok().and_then(builds::source);
        let commit = commit.and_then(|source| source.commit);
        let (without, missing) = left_out(question.without, missing(&ledger, &seen), &seen)?;
        let ledger = LedgerView { ledger: &ledger, order: facts.order, missing };
        let admission = admission(&question.movement, &decision, ledger, commit);
        let kind = question.movement.kind();
        let decided_at = facts.now;
        let considered =
            Considered { without, decided_at, ..Considered::new(kind, release, decision) };
        Ok(Self { considered: Box::new(considered), seen, admission })
    }

    /// Decides without asking any gate: somebody breaks the glass, for a reason that becomes part of the record.
    pub(super) fn break_glass(
        release: Release,
        environment: EnvironmentId,
        reason: Option<String>,
        before: Option<Digest>,
        end: Option<Anchor>,
    ) -> Self {
        let decision =
            Decision { release: release.digest, environment, allowed: true, answers: Vec::new() };
        let link = match end {
            Some(anchor) => ChainLink {
                seen: Vec::new(),
                sequence: anchor.sequence.saturating_add(1),
                previous: Some(anchor.record),
                merged: Vec::new(),
            },
            None => ChainLink { seen: Vec::new(), sequence: 1, previous: None, merged: Vec::new() },
        };
        let place = LedgerPlace {
            reason,
            link,
            before,
            previous: end,
            commit: None,
            policy_before: None,
            record_when: RecordWhen::Always,
        };
        let considered = Box::new(Considered::new(PromotionKind::BreakGlass, release, decision));
        Self { considered, seen: Vec::new(), admission: Ok(place) }
    }

    /// The same, with more for people to know.
    #[must_use]
    pub(super) fn noting(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.considered.notes.extend(notes);
        self
    }

    /// What may become of it if nothing is done but to wait. What keeps it out besides gates does not go away.
    pub(super) fn outlook(&self) -> Outlook {
        match self.admission {
            Ok(_) => Outlook::Open,
            Err(Refusal::Gates(_)) => outlook(&self.considered.decision),
            Err(_) => Outlook::Closed,
        }
    }

    /// Lets the release in, or says why not.
    pub(crate) fn admit(self) -> Result<Admitted, Refused> {
        let Self { considered, seen, admission } = self;
        match admission {
            Ok(place) => Ok(Admitted { considered, seen, place, _admitted: () }),
            Err(refusal) => Err(Refused { considered, seen, refusal }),
        }
    }
}

impl Considered {
    fn new(kind: PromotionKind, release: Release, decision: Decision) -> Self {
        let (notes, vetoed, kept, without) = (Vec::new(), None, Vec::new(), Vec::new());
        let decided_at = Timestamp::UNIX_EPOCH;
        Self { kind, release, decision, notes, vetoed, kept, without, decided_at }
    }
}

/// The ledger of the environment, and what follows from it for the release.
struct LedgerView<'a> {
    ledger: &'a Chain,
    order: ReleaseOrder,
    /// The applications of its end that nobody finds now and nobody left out.
    missing: Vec<MissingApp>,
}

/// The missing applications that somebody leaves out, and the others. To leave out what is there would be believed, and
/// would not happen.
fn left_out(
    without: &[String],
    missing: Vec<MissingApp>,
    seen: &[ObservedApp],
) -> Result<(Vec<String>, Vec<MissingApp>), Failure> {
    let is_said = |app: &MissingApp| without.iter().any(|name| app.is_called(name));
    let (left_out, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_said);
    let is_there = |name: &&String| {
        let called =
            |it: &ObservedApp| it.app.name == **name || reference(&it.app).to_string() == **name;
        seen.iter().any(called) && !left_out.iter().any(|app| app.is_called(name))
    };
    match without.iter().find(is_there) {
        Some(name) => {
            Err(Failure::usage(format!("--without {name}: it is part of the environment"))
                .hint("take it out of `apps` in verbatim.yaml, or take its label away"))
        }
        None => Ok((left_out.iter().map(ToString::to_string).collect(), missing)),
    }
}

fn admission(
    movement: &Movement<'_>,
    decision: &Decision,
    LedgerView { ledger, order, missing }: LedgerView<'_>,
    commit: Option<String>,
) -> Result<LedgerPlace, Refusal> {
    let there = running(ledger);
    if let (Movement::Promote { backwards: false, .. }, ReleaseOrder::Older(_), Some(newer)) =
        (movement, order, there)
    {
        return Err(Refusal::Superseded(Box::new(newer.into())));
    }
    let link = ledger
        .next()
        .map_err(|faults| Refusal::Ledger(faults.iter().map(ToString::to_string).collect()))?;
    let (before, previous) = (there.map(|release| release.digest), ledger.anchor());
    if let Movement::Restore { recorded, .. } = movement
        && before != Some(*recorded)
    {
        return Err(Refusal::PromotedMeanwhile);
    }
    if !missing.is_empty() {
        return Err(Refusal::Missing(missing));
    }
    if !decision.allowed {
        return Err(Refusal::Gates(previous));
    }
    let (reason, record_when) = match movement {
        Movement::Promote { again, .. } => {
            let head = ledger.head().map(Verified::predicate);
            let is_there = |head: &&Promotion| !again && head.release.digest == decision.release;
            let known = head.filter(is_there).map(charts::revisions);
            let when = known.map_or(RecordWhen::Always, RecordWhen::WrittenOrOther);
            (decision.override_reason(), when)
        }
        Movement::Apply(_) => (decision.override_reason(), RecordWhen::Always),
        Movement::RollBack { reason } => (*reason, RecordWhen::Always),
        // If everything is in its place, that is only proven once more.
        Movement::Restore { reason, .. } => (*reason, RecordWhen::Written),
    };
    let reason = reason.map(ToOwned::to_owned);
    let policy_before = PolicyStamp::last(ledger.promotions());
    Ok(LedgerPlace { reason, link, before, previous, commit, policy_before, record_when })
}
