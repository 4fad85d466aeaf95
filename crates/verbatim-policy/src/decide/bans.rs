//! `locked` and `vetoed`: nobody keeps the environment closed, or this release out. Always checked, configured or not.

use verbatim_record::{Ban, BanPlace, GateEvidence, Lock, Verified, in_force, vetoes_against};

use super::{Finding, to_the_second};
use crate::decision::Reason;
use crate::facts::Facts;

pub(super) fn locked(facts: &Facts) -> Finding {
    let environment = &facts.environment;
    let locks: &[Verified<Lock>] = match &facts.bans {
        Ok(bans) => &bans.locks,
        Err(cause) => return Finding::unreadable(&format!("the locks of {environment}"), cause),
    };
    let own: Vec<_> =
        locks.iter().filter(|lock| lock.environment() == Some(environment)).cloned().collect();
    let locks = in_force(&own, facts.now);
    if locks.is_empty() {
        return Finding::pass(Reason::NotLocked, "not locked".to_owned(), Vec::new());
    }
    Finding::refuse(
        Reason::Locked { locks: locks.iter().map(|lock| lock.record()).collect() },
        format!("{environment} is locked: {}", reasons(&locks)),
        locks.iter().map(|lock| evidence("lock", lock)).collect(),
        format!(
            "{}`verbatim unlock {} --reason 'no longer needed'`",
            wait(&locks),
            environment.name()
        ),
    )
}

pub(super) fn vetoed(facts: &Facts) -> Finding {
    let environment = &facts.environment;
    let of_release = match &facts.records {
        Ok(records) => &records.vetoes,
        Err(cause) => return Finding::unreadable("the vetoes of the release", cause),
    };
    let of_environment = match &facts.bans {
        Ok(bans) => &bans.vetoes,
        Err(cause) => return Finding::unreadable(&format!("the vetoes of {environment}"), cause),
    };
    let lists = [of_release.as_slice(), of_environment.as_slice()];
    let own = vetoes_against(&facts.release, environment, lists);
    let vetoes = in_force(&own, facts.now);
    if vetoes.is_empty() {
        return Finding::pass(Reason::NotVetoed, "no veto".to_owned(), Vec::new());
    }
    let place = match vetoes.iter().any(|veto| veto.environment().is_none()) {
        true => String::new(),
        false => format!(" --environment {}", environment.name()),
    };
    Finding::refuse(
        Reason::Vetoed { vetoes: vetoes.iter().map(|veto| veto.record()).collect() },
        format!("vetoed: {}", reasons(&vetoes)),
        vetoes.iter().map(|veto| evidence("veto", veto)).collect(),
        format!(
            "{}`verbatim unveto --release {}{place} --reason 'no longer needed'`, or promote a better release",
            wait(&vetoes),
            facts.release
        ),
    )
}

fn reasons<P: BanPlace>(bans: &[&Verified<Ban<P>>]) -> String {
    bans.iter().map(|ban| ban.predicate().reason.as_str()).collect::<Vec<_>>().join("; ")
}

/// When the last of them expires, if all of them do.
fn wait<P: BanPlace>(bans: &[&Verified<Ban<P>>]) -> String {
    let ends: Option<Vec<_>> = bans.iter().map(|ban| ban.predicate().until).collect();
    let last = ends.and_then(|ends| ends.into_iter().max());
    last.map_or_else(String::new, |last| format!("wait until {}, or ", to_the_second(last)))
}

fn evidence<P: BanPlace>(kind: &str, ban: &Verified<Ban<P>>) -> GateEvidence {
    let place = match ban.environment() {
        Some(environment) => format!("of {environment}"),
        None => "for every environment".to_owned(),
    };
    let mut text = format!("{kind} {place}");
    if let Some(at) = ban.recorded_at() {
        text.push_str(&format!(" at {}", to_the_second(at)));
    }
    if let Some(until) = ban.predicate().until {
        text.push_str(&format!(" until {}", to_the_second(until)));
    }
    text.push_str(&format!(", signed by {}: {}", ban.signed_by(), ban.predicate().reason));
    GateEvidence { record: Some(ban.record()), text }
}
