//! What several gates need from the ledger and the live state of another environment.

use jiff::Timestamp;
use verbatim_record::{
    Chain, ChainFault, EnvironmentId, GateEvidence, Promotion, Verified, in_force, vetoes_against,
};

use super::{Finding, to_the_second};
use crate::decision::Reason;
use crate::facts::{Facts, LedgerReading, LiveReading};

/// The ledger of an environment, if it can be relied on.
pub(super) fn ledger<'a>(
    environment: &EnvironmentId,
    facts: &'a Facts,
) -> Result<&'a Chain, Box<Finding>> {
    let what = format!("the ledger of {environment}");
    let chain = match facts.ledgers.get(environment) {
        Some(LedgerReading::Known(chain)) if chain.environment() == environment => chain,
        Some(LedgerReading::Known(chain)) => {
            let cause = format!("it belongs to {}", chain.environment());
            return Err(Finding::unreadable(&what, &cause).into());
        }
        Some(LedgerReading::Unknown(cause)) => return Err(Finding::unreadable(&what, cause).into()),
        None => return Err(Finding::unreadable(&what, "it was not fetched").into()),
    };
    if chain.is_intact() { Ok(chain) } else { Err(broken(chain).into()) }
}

/// That the release was seen running there, as its ledger says.
pub(super) fn live(
    environment: &EnvironmentId,
    head: &Verified<Promotion>,
    facts: &Facts,
) -> Result<(), Box<Finding>> {
    let unreadable =
        |cause: &str| Finding::unreadable(&format!("the live state of {environment}"), cause);
    match facts.live.get(environment) {
        Some(LiveReading::Running(digest)) if *digest == facts.release => Ok(()),
        Some(LiveReading::Running(digest)) => {
            Err(drifted(environment, head, digest.to_string(), facts).into())
        }
        Some(LiveReading::Differs(seen)) => {
            Err(drifted(environment, head, seen.clone(), facts).into())
        }
        Some(LiveReading::Unknown(cause)) => Err(unreadable(cause).into()),
        None => Err(unreadable("it was not looked at").into()),
    }
}

/// When the release came, if it is what the ledger has there. Whoever signed that chose the time: it is not before the
/// release was built, and the chain holds it after the promotion before.
pub(super) fn since(chain: &Chain, facts: &Facts) -> Option<Timestamp> {
    let came = chain.began()?.predicate();
    let is_there = came.release.digest == facts.release;
    is_there.then(|| built(facts).map_or(came.finished_at, |built| built.max(came.finished_at)))
}

/// When the release was built, by the earliest of its build records that say so.
fn built(facts: &Facts) -> Option<Timestamp> {
    let builds = facts.records.iter().flat_map(|records| &records.builds);
    builds
        .filter(|build| build.statement().is_about(&facts.release))
        .filter_map(Verified::recorded_at)
        .min()
}

pub(super) fn broken(chain: &Chain) -> Finding {
    let environment = chain.environment();
    let faults: Vec<String> = chain.faults().iter().map(ToString::to_string).collect();
    let only_forks = chain.faults().iter().all(|fault| matches!(fault, ChainFault::Fork { .. }));
    let remedy = if only_forks {
        format!("promote to {} again: the new record joins the branches", environment.name())
    } else {
        "find out who removed, hid or dated back records, or which key has ended, and restore what was there"
            .to_owned()
    };
    Finding::refuse(
        Reason::LedgerBroken { faults: faults.clone() },
        format!("the ledger of {environment} cannot be relied on"),
        faults.into_iter().map(|text| GateEvidence { record: None, text }).collect(),
        remedy,
    )
}

fn drifted(
    environment: &EnvironmentId,
    head: &Verified<Promotion>,
    seen: String,
    facts: &Facts,
) -> Finding {
    Finding::refuse(
        Reason::Drifted { seen: seen.clone() },
        format!(
            "it is in the ledger of {environment}, but Argo CD shows something else there: {seen}"
        ),
        vec![evidence(head)],
        promote(environment, facts, |promote| format!("put it back: {promote}")),
    )
}

/// The remedy that promotes the release to another environment, made from the command to type. A vetoed release does
/// not get there, whatever anybody types.
pub(super) fn promote(
    environment: &EnvironmentId,
    facts: &Facts,
    remedy: impl FnOnce(&str) -> String,
) -> String {
    for place in [environment, &facts.environment] {
        if is_vetoed(place, facts) {
            return format!("promote a better release: this one is vetoed for {place}");
        }
    }
    remedy(&format!("`verbatim promote {} --release {}`", environment.name(), facts.release))
}

/// Whether a known veto keeps the release out of an environment.
fn is_vetoed(environment: &EnvironmentId, facts: &Facts) -> bool {
    let of_release = facts.records.as_ref().map(|records| records.vetoes.as_slice());
    let of_environment = facts.bans.as_ref().map(|bans| bans.vetoes.as_slice());
    let lists = [of_release.unwrap_or_default(), of_environment.unwrap_or_default()];
    !in_force(&vetoes_against(&facts.release, environment, lists), facts.now).is_empty()
}

pub(super) fn evidence(record: &Verified<Promotion>) -> GateEvidence {
    let promotion = record.predicate();
    GateEvidence {
        record: Some(record.record()),
        text: format!(
            "promotion {} of {} to {} at {}, signed by {}",
            promotion.chain.sequence,
            promotion.release.digest.short(),
            promotion.environment,
            to_the_second(promotion.finished_at),
            record.signed_by(),
        ),
    }
}
