//! `after`: the release was proven in another environment, and still runs there.

use verbatim_record::{Chain, EnvironmentId, Promotion, Verified};

use super::ledgers::{broken, evidence, ledger, live, promote, since};
use super::{Finding, not_counted, to_the_second};
use crate::decision::Reason;
use crate::facts::Facts;
use crate::gate::Presence;

pub(super) fn judge(environment: &EnvironmentId, ran: Presence, facts: &Facts) -> Finding {
    let chain = match ledger(environment, facts) {
        Ok(chain) => chain,
        Err(finding) => return *finding,
    };
    // A rollback goes back to what ran there once; by now something else does.
    let ran = if facts.is_rollback { Presence::Ever } else { ran };
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
        Presence::Ever => Finding::pass(
            Reason::RanThere { at: proven.predicate().finished_at },
            format!("proven in {environment} at {}", to_the_second(proven.predicate().finished_at)),
            vec![evidence(proven)],
        ),
        Presence::Still => still(environment, chain, facts),
    }
}

fn still(environment: &EnvironmentId, chain: &Chain, facts: &Facts) -> Finding {
    let Some(head) = chain.head() else {
        // Not reached: the chain is intact and has a promotion. If it ever were, the answer is no.
        return broken(chain);
    };
    let (now_there, at) = (head.predicate().release.digest, head.predicate().finished_at);
    if now_there != facts.release {
        return Finding::refuse(
            Reason::Replaced { by: now_there, at },
            format!("{} replaced it in {environment} at {}", now_there.short(), to_the_second(at)),
            vec![evidence(head)],
            promote(environment, facts, |promote| {
                format!(
                    "promote the release that runs in {environment}, or bring this one back there: {promote}"
                )
            }),
        );
    }
    if !head.predicate().is_proven() {
        return not_proven(environment, head, facts);
    }
    if facts.live.contains_key(environment)
        && let Err(finding) = live(environment, head, facts)
    {
        return *finding;
    }
    let since = since(chain, facts).unwrap_or(at);
    Finding::pass(
        Reason::RunsThere { since },
        format!("proven in {environment}, there since {}", to_the_second(since)),
        vec![evidence(head)],
    )
}

fn never(environment: &EnvironmentId, chain: &Chain, facts: &Facts) -> Finding {
    let head = chain.head().map(evidence).into_iter();
    let evidence = head.chain(not_counted::<Promotion>(chain.not_counted())).collect();
    Finding::refuse(
        Reason::NeverThere,
        format!("never promoted to {environment}"),
        evidence,
        promote(environment, facts, ToOwned::to_owned),
    )
}

fn not_proven(environment: &EnvironmentId, record: &Verified<Promotion>, facts: &Facts) -> Finding {
    Finding::refuse(
        Reason::NotProven,
        format!("its promotion to {environment} was not fully proven"),
        vec![evidence(record)],
        promote(environment, facts, ToOwned::to_owned),
    )
}
