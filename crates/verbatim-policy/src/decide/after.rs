//! `after`: the release was proven in another environment, and still runs there.

use jiff::Timestamp;
use verbatim_oci::Digest;
use verbatim_record::{Chain, ChainFault, EnvironmentId, Evidence, Promotion, Verified};

use super::{Finding, told};
use crate::decision::Reason;
use crate::facts::{Facts, Ledger, Live};
use crate::gate::Ran;

pub(super) fn judge(environment: &EnvironmentId, ran: Ran, facts: &Facts) -> Finding {
    let what = format!("the ledger of {environment}");
    let chain = match facts.ledgers.get(environment) {
        Some(Ledger::Known(chain)) if chain.environment() == environment => chain,
        Some(Ledger::Known(chain)) => {
            let cause = format!("it is that of {}", chain.environment());
            return Finding::unreadable(&what, &cause);
        }
        Some(Ledger::Unknown(cause)) => return Finding::unreadable(&what, cause),
        None => return Finding::unreadable(&what, "it was not fetched"),
    };
    if !chain.is_intact() {
        return broken(chain);
    }
    let there: Vec<_> = chain
        .promotions()
        .iter()
        .filter(|it| it.predicate().release.digest == facts.release)
        .collect();
    let Some(latest) = there.last() else {
        return never(environment, chain, facts);
    };
    let Some(proven) = there.iter().rfind(|it| it.predicate().is_proven()) else {
        return not_proven(environment, latest, facts);
    };
    match ran {
        Ran::Ever => Finding::pass(
            Reason::RanThere { at: proven.predicate().finished_at },
            format!("proven in {environment} at {}", told(proven.predicate().finished_at)),
            vec![evidence(proven)],
        ),
        Ran::Still => still(environment, chain, facts),
    }
}

fn still(environment: &EnvironmentId, chain: &Chain, facts: &Facts) -> Finding {
    let promote = promote(environment, facts);
    let Some(head) = chain.head() else {
        // Not reached: the chain is intact and has a promotion. If it ever were, the answer is no.
        return broken(chain);
    };
    let (now_there, at) = (head.predicate().release.digest, head.predicate().finished_at);
    if now_there != facts.release {
        return Finding::refuse(
            Reason::Replaced { by: now_there, at },
            format!("{} replaced it in {environment} at {}", now_there.short(), told(at)),
            vec![evidence(head)],
            format!(
                "promote the release that runs in {environment}, or bring this one back there: {promote}"
            ),
        );
    }
    if !head.predicate().is_proven() {
        return not_proven(environment, head, facts);
    }
    match facts.live.get(environment) {
        None => {}
        Some(Live::Running(digest)) if *digest == facts.release => {}
        Some(Live::Running(digest)) => {
            return drifted(environment, head, digest.to_string(), &promote);
        }
        Some(Live::Differs(seen)) => return drifted(environment, head, seen.clone(), &promote),
        Some(Live::Unknown(cause)) => {
            return Finding::unreadable(&format!("the live state of {environment}"), cause);
        }
    }
    let since = since(chain, facts.release).unwrap_or(at);
    Finding::pass(
        Reason::RunsThere { since },
        format!("proven in {environment}, where it has been since {}", told(since)),
        vec![evidence(head)],
    )
}

/// When the release came, if it was promoted again without another one in between.
fn since(chain: &Chain, release: Digest) -> Option<Timestamp> {
    chain
        .promotions()
        .iter()
        .rev()
        .map(Verified::predicate)
        .take_while(|it| it.release.digest == release)
        .filter(|it| it.is_proven())
        .last()
        .map(|first| first.finished_at)
}

fn broken(chain: &Chain) -> Finding {
    let environment = chain.environment();
    let faults: Vec<String> = chain.faults().iter().map(ToString::to_string).collect();
    let only_forks = chain.faults().iter().all(|fault| matches!(fault, ChainFault::Fork { .. }));
    let remedy = if only_forks {
        format!("promote to {} once more: its record joins the branches", environment.name())
    } else {
        "find out who removed or hid records, and put them back".to_owned()
    };
    Finding::refuse(
        Reason::LedgerBroken { faults: faults.clone() },
        format!("the ledger of {environment} cannot be relied on"),
        faults.into_iter().map(|text| Evidence { record: None, text }).collect(),
        remedy,
    )
}

fn never(environment: &EnvironmentId, chain: &Chain, facts: &Facts) -> Finding {
    let evidence = chain.head().map(evidence).into_iter().collect();
    Finding::refuse(
        Reason::NeverThere,
        format!("it was never promoted to {environment}"),
        evidence,
        promote(environment, facts),
    )
}

fn not_proven(environment: &EnvironmentId, record: &Verified<Promotion>, facts: &Facts) -> Finding {
    Finding::refuse(
        Reason::NotProven,
        format!("its promotion to {environment} has no complete proof"),
        vec![evidence(record)],
        promote(environment, facts),
    )
}

fn drifted(
    environment: &EnvironmentId,
    head: &Verified<Promotion>,
    seen: String,
    promote: &str,
) -> Finding {
    Finding::refuse(
        Reason::Drifted { seen: seen.clone() },
        format!("the ledger of {environment} names it, but something else was seen there: {seen}"),
        vec![evidence(head)],
        format!("put it back: {promote}"),
    )
}

fn promote(environment: &EnvironmentId, facts: &Facts) -> String {
    format!("`verbatim promote {} --release {}`", environment.name(), facts.release)
}

fn evidence(record: &Verified<Promotion>) -> Evidence {
    let promotion = record.predicate();
    Evidence {
        record: Some(record.record()),
        text: format!(
            "promotion {} of {} to {} at {}, signed by {}",
            promotion.chain.sequence,
            promotion.release.digest.short(),
            promotion.environment,
            told(promotion.finished_at),
            record.signed_by(),
        ),
    }
}
