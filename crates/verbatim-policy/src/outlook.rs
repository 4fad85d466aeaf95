//! Whether it helps to wait: which of the gates that refuse may open, and not before when. Pure; who waits, and for how
//! long, is the runner's.

use std::fmt;

use jiff::Timestamp;

use crate::decision::{Decision, GateAnswer, Reason};

/// What may become of a decision if nothing is done but to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// The release may enter now.
    Open,
    /// Every gate that refuses may open.
    Awaited(Vec<AwaitedGate>),
    /// A gate refuses that stays closed, however long anybody waits.
    Closed,
}

/// A gate that refuses and may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedGate {
    /// Its name.
    pub gate: String,
    /// Not before this time, if it is known.
    pub opens: Option<Timestamp>,
}

/// When to look at the gates again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextLook {
    /// At this time.
    At(Timestamp),
    /// Never: no gate opens before the time is over.
    TooLate,
}

/// What opens a gate.
enum Opening {
    /// Time does, and not before this one if it is known; or other people do, and nobody knows when.
    Awaited(Option<Timestamp>),
    /// Nothing that happens while one waits.
    Never,
}

/// What is awaited before a release may enter.
pub fn outlook(decision: &Decision) -> Outlook {
    let mut awaited = Vec::new();
    for answer in decision.refusals() {
        match opening(&answer.reason) {
            Opening::Awaited(opens) => awaited.push(AwaitedGate::of(answer, opens)),
            Opening::Never => return Outlook::Closed,
        }
    }
    if awaited.is_empty() { Outlook::Open } else { Outlook::Awaited(awaited) }
}

/// When to look again at gates that are awaited until `deadline`: every `pause`, and as soon as all of those can be open that
/// only time opens.
pub fn next_look(
    awaited: &[AwaitedGate],
    pause: jiff::SignedDuration,
    now: Timestamp,
    deadline: Timestamp,
) -> NextLook {
    let earliest = awaited.iter().filter_map(|it| it.opens).max();
    if now >= deadline || earliest.is_some_and(|earliest| earliest > deadline) {
        return NextLook::TooLate;
    }
    let soon = now.saturating_add(pause).unwrap_or(Timestamp::MAX).min(deadline);
    NextLook::At(earliest.filter(|earliest| *earliest > now).map_or(soon, |it| it.min(soon)))
}

/// Whom or what a gate waits for, by the reason why it refuses. A release that was not promoted to the environment before,
/// or whose tests failed, is not awaited: that is for a pipeline to do, and to do first.
fn opening(reason: &Reason) -> Opening {
    match reason {
        Reason::Soaking { until, .. } => Opening::Awaited(Some(*until)),
        Reason::WindowClosed { opens: Some(opens) } => Opening::Awaited(Some(*opens)),
        // It may be lifted at any time.
        Reason::Locked { .. } => Opening::Awaited(None),
        Reason::NotApproved { .. }
        | Reason::NotTested { .. }
        | Reason::TestsTooOld { .. }
        | Reason::NotAttested => Opening::Awaited(None),
        // A registry or a server that was away for a moment.
        Reason::Unreadable { .. } => Opening::Awaited(None),
        _ => Opening::Never,
    }
}

impl AwaitedGate {
    fn of(answer: &GateAnswer, opens: Option<Timestamp>) -> Self {
        Self { gate: answer.gate.name(), opens }
    }
}

impl fmt::Display for AwaitedGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.gate)?;
        match self.opens {
            Some(opens) => write!(f, " (not before {opens:.0})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use verbatim_oci::Digest;

    use super::*;
    use crate::gate::Gate;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn decision(reasons: &[Reason]) -> Decision {
        let answer = |reason: &Reason| GateAnswer {
            gate: Gate::Locked,
            passed: false,
            reason: reason.clone(),
            text: String::new(),
            evidence: Vec::new(),
            remedy: Some(String::new()),
            overridden: None,
        };
        Decision {
            release: Digest::of(b"release"),
            environment: "shop/dev".parse().unwrap(),
            allowed: reasons.is_empty(),
            answers: reasons.iter().map(answer).collect(),
        }
    }

    #[test]
    fn what_time_or_people_open_is_awaited_and_nothing_else() {
        let soaking = Reason::Soaking { since: at(0), until: at(30) };
        let closed = Reason::WindowClosed { opens: Some(at(50)) };
        let approval = Reason::NotApproved { missing: 1, by: Vec::new() };
        let gate = |opens| AwaitedGate { gate: "locked".to_owned(), opens };
        let awaited = |opens: &[Option<Timestamp>]| {
            Outlook::Awaited(opens.iter().map(|opens| gate(*opens)).collect())
        };
        let vetoed = Reason::Vetoed { vetoes: Vec::new() };
        let failed = Reason::TestsFailed { suites: Vec::new(), at: at(0) };
        let cases: [(&[Reason], Outlook); 9] = [
            (&[], Outlook::Open),
            (std::slice::from_ref(&soaking), awaited(&[Some(at(30))])),
            (
                &[soaking.clone(), closed, approval.clone()],
                awaited(&[Some(at(30)), Some(at(50)), None]),
            ),
            (&[Reason::Locked { locks: Vec::new() }], awaited(&[None])),
            (&[Reason::NotTested { suites: Vec::new() }], awaited(&[None])),
            // One that stays closed is enough.
            (&[soaking.clone(), vetoed], Outlook::Closed),
            (&[approval, Reason::ForeignSource], Outlook::Closed),
            (&[Reason::WindowClosed { opens: None }], Outlook::Closed),
            (&[failed], Outlook::Closed),
        ];
        for (reasons, want) in cases {
            assert_eq!(outlook(&decision(reasons)), want, "{reasons:?}");
        }
        let mut overridden = decision(&[Reason::Vetoed { vetoes: Vec::new() }]);
        overridden.override_gate("locked", "all is down").unwrap();
        assert_eq!(outlook(&overridden), Outlook::Open);
    }

    #[test]
    fn it_is_looked_again_when_something_may_have_changed() {
        let gate = |opens| AwaitedGate { gate: "soak".to_owned(), opens };
        let (pause, now, end) = (SignedDuration::from_mins(5), at(10), at(60));
        let cases: [(&[Option<Timestamp>], Timestamp, NextLook); 8] = [
            (&[None], now, NextLook::At(at(15))),
            (&[Some(at(12))], now, NextLook::At(at(12))),
            (&[Some(at(12)), Some(at(40))], now, NextLook::At(at(15))),
            // Whatever people do, the last of the others opens too late.
            (&[None, Some(at(61))], now, NextLook::TooLate),
            (&[Some(at(60))], at(58), NextLook::At(at(60))),
            (&[None], at(58), NextLook::At(at(60))),
            (&[None], at(60), NextLook::TooLate),
            // It was to be open, and is not: a clock differs.
            (&[Some(at(9))], now, NextLook::At(at(15))),
        ];
        for (opens, now, want) in cases {
            let awaited: Vec<AwaitedGate> = opens.iter().map(|opens| gate(*opens)).collect();
            assert_eq!(next_look(&awaited, pause, now, end), want, "{opens:?} {now}");
        }
    }
}
