//! `soak`: the release has been in another environment, healthy, for some time. From when it came, by the ledger, and
//! since when all applications have been healthy, by Argo CD; the later of the two.

use jiff::SignedDuration;
use verbatim_record::{EnvironmentId, GateEvidence};

use super::ledgers::{broken, evidence, ledger, live, promote, since};
use super::{Finding, to_the_second};
use crate::decision::Reason;
use crate::facts::Facts;

pub(super) fn judge(environment: &EnvironmentId, period: SignedDuration, facts: &Facts) -> Finding {
    let chain = match ledger(environment, facts) {
        Ok(chain) => chain,
        Err(finding) => return *finding,
    };
    let never = |text: String| {
        Finding::refuse(
            Reason::NeverThere,
            text,
            Vec::new(),
            promote(environment, facts, ToOwned::to_owned),
        )
    };
    let Some(head) = chain.head() else {
        return match chain.is_intact() {
            true => never(format!("nothing promoted to {environment} yet")),
            false => broken(chain),
        };
    };
    if head.predicate().release.digest != facts.release {
        let (by, at) = (head.predicate().release.digest, head.predicate().finished_at);
        return Finding::refuse(
            Reason::Replaced { by, at },
            format!("{} has been in {environment} since {}", by.short(), to_the_second(at)),
            vec![evidence(head)],
            promote(environment, facts, ToOwned::to_owned),
        );
    }
    let Some(came) = since(chain, facts) else {
        return never(format!("its promotion to {environment} was not fully proven"));
    };
    if let Err(finding) = live(environment, head, facts) {
        return *finding;
    }
    let mut evidence = vec![evidence(head)];
    let healthy = facts.healthy_since.get(environment).copied();
    if let Some(healthy) = healthy {
        let text = format!("healthy since {}, according to Argo CD", to_the_second(healthy));
        evidence.push(GateEvidence { record: None, text });
    }
    let since = healthy.map_or(came, |healthy| healthy.max(came));
    let until = since.saturating_add(period).unwrap_or(jiff::Timestamp::MAX);
    if facts.now >= until {
        let text = format!("healthy in {environment} since {}", to_the_second(since));
        return Finding::pass(Reason::Soaked { since }, text, evidence);
    }
    Finding::refuse(
        Reason::Soaking { since, until },
        format!(
            "healthy in {environment} since {}, for less than {period:#}",
            to_the_second(since)
        ),
        evidence,
        format!("wait until {}", to_the_second(until)),
    )
}
