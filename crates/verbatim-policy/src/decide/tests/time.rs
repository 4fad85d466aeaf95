//! `windows`, `soak`, `order`.

use jiff::tz::TimeZone;

use super::*;
use crate::facts::LiveReading;
use crate::windows::{WindowKind, ZonedWindow};

fn window(kind: WindowKind, text: &str, zone: &str) -> ZonedWindow {
    ZonedWindow {
        kind,
        window: text.parse().unwrap(),
        zone_name: zone.to_owned(),
        zone: TimeZone::get(zone).unwrap(),
    }
}

fn windows(allow: &str, zone: &str) -> Gate {
    Gate::Windows { windows: vec![window(WindowKind::Allow, allow, zone)] }
}

#[test]
fn a_window_says_when_it_opens() {
    // It is ten at night in London on a Tuesday, midnight in Kyiv.
    passes(windows("Tue 21:00-23:00", "UTC"), &facts(), Reason::WindowOpen);
    passes(windows("Wed 00:00-01:00", "Europe/Kyiv"), &facts(), Reason::WindowOpen);
    let opens = Some("2026-11-25T07:00:00Z".parse().unwrap());
    let office = windows("Mon-Thu 09:00-16:00", "Europe/Kyiv");
    refuses(office.clone(), &facts(), Reason::WindowClosed { opens });
    let decision = decide(&Gates::new(vec![office.clone()]), &facts());
    assert_eq!(
        decision.answers[0].remedy.as_deref(),
        Some("wait until 2026-11-25T07:00:00Z (Wed 2026-11-25 09:00 in Europe/Kyiv)")
    );
    refuses(windows("2020-01-01", "UTC"), &facts(), Reason::WindowClosed { opens: None });
    let back = Facts { is_rollback: true, ..facts() };
    passes(office.clone(), &back, Reason::SkippedByRollback);
    // Unless the policy says otherwise.
    let mut gates = Gates::new(vec![office]);
    gates.skipped_by_rollbacks.clear();
    assert!(!decide(&gates, &back).allowed);
}

#[test]
fn the_windows_that_matter_are_evidence() {
    use WindowKind::{Allow, Deny};
    // It is Tuesday.
    for (windows, want) in [
        ([(Allow, "Mon"), (Allow, "Tue"), (Deny, "Mon")], "allow Tue (UTC)"),
        ([(Allow, "Tue"), (Deny, "Mon"), (Deny, "Tue")], "deny Tue (UTC)"),
        ([(Allow, "Mon"), (Deny, "Wed"), (Deny, "Thu")], "allow Mon (UTC)"),
    ] {
        let windows = windows.map(|(kind, day)| window(kind, day, "UTC")).to_vec();
        let decision = decide(&Gates::new(vec![Gate::Windows { windows }]), &facts());
        let evidence: Vec<_> = decision.answers[0].evidence.iter().map(|it| &it.text).collect();
        assert_eq!(evidence, [want]);
    }
}

/// Nobody gets in, ever; only somebody who may break the glass.
#[test]
fn a_policy_that_locks_everybody_out_can_be_overridden() {
    let mut decision = decide(&Gates::new(vec![windows("2020-01-01", "UTC")]), &facts());
    assert!(!decision.allowed);
    assert!(decision.answers[0].remedy.as_ref().unwrap().contains("override the gate"));
    decision.override_gate("windows", "the policy was wrong").unwrap();
    assert!(decision.allowed);
    assert_eq!(decision.gate_results()[0].overridden.as_deref(), Some("the policy was wrong"));
}

#[test]
fn a_release_soaks() {
    let soak = |minutes| Gate::Soak {
        environment: id("staging"),
        period: SignedDuration::from_mins(minutes),
    };
    let there = |live: LiveReading, healthy: Option<i64>| Facts {
        live: BTreeMap::from([(id("staging"), live)]),
        healthy_since: healthy.map(|minutes| (id("staging"), at(minutes))).into_iter().collect(),
        ..with_ledger(ledger("staging", &[("zero", 5), ("one", 100), ("one", 400)]))
    };
    let running = || LiveReading::Running(release("one"));
    passes(soak(500), &there(running(), None), Reason::Soaked { since: at(100) });
    refuses(soak(501), &there(running(), None), Reason::Soaking { since: at(100), until: at(601) });
    // It was ill in between, or healthy before it came.
    passes(soak(50), &there(running(), Some(550)), Reason::Soaked { since: at(550) });
    refuses(
        soak(51),
        &there(running(), Some(550)),
        Reason::Soaking { since: at(550), until: at(601) },
    );
    passes(soak(500), &there(running(), Some(50)), Reason::Soaked { since: at(100) });
    // Something else is there, or nobody knows.
    let drifted = |seen: &str| Reason::Drifted { seen: seen.to_owned() };
    let degraded = LiveReading::Differs("web is Degraded".to_owned());
    refuses(soak(1), &there(degraded, None), drifted("web is Degraded"));
    let unreadable = |cause: &str| Reason::Unreadable { cause: cause.to_owned() };
    refuses(soak(1), &there(LiveReading::Unknown("403".to_owned()), None), unreadable("403"));
    let unseen = Facts { live: BTreeMap::new(), ..there(running(), None) };
    refuses(soak(1), &unseen, unreadable("it was not looked at"));
    refuses(soak(1), &facts(), unreadable("it was not fetched"));
    let with = |history: &[(&str, i64)]| Facts {
        live: BTreeMap::from([(id("staging"), running())]),
        ..with_ledger(ledger("staging", history))
    };
    let replaced = Reason::Replaced { by: release("two"), at: at(20) };
    refuses(soak(1), &with(&[("one", 10), ("two", 20)]), replaced);
    refuses(soak(1), &with(&[]), Reason::NeverThere);
    refuses(soak(1), &with(&[("!one", 10)]), Reason::NeverThere);
    // A clock that is behind that of the promotion.
    refuses(soak(1), &with(&[("one", 603)]), Reason::Soaking { since: at(603), until: at(604) });
}

/// The quiet ledger of staging lets a record be dated back to its last promotion, and not the release to before it was built.
#[test]
fn nothing_soaks_before_it_was_built() {
    let built = |minutes| super::release::built_as(|build| build.finished_at = at(minutes));
    let facts = |builds: &[Bundle]| Facts {
        live: BTreeMap::from([(id("staging"), LiveReading::Running(release("one")))]),
        ledgers: BTreeMap::from([(id("staging"), ledger("staging", &[("zero", 5), ("one", 6)]))]),
        ..with_records(builds)
    };
    let soak = Gate::Soak { environment: id("staging"), period: SignedDuration::from_mins(60) };
    passes(soak.clone(), &facts(&[]), Reason::Soaked { since: at(6) });
    passes(soak.clone(), &facts(&[built(3)]), Reason::Soaked { since: at(6) });
    let soaking = Reason::Soaking { since: at(590), until: at(650) };
    refuses(soak.clone(), &facts(&[built(590)]), soaking);
    // Somebody adopted it later: it was there before.
    passes(soak, &facts(&[built(590), built(500)]), Reason::Soaked { since: at(500) });
    let after = Gate::After { environment: id("staging"), ran: crate::gate::Presence::Still };
    passes(after, &facts(&[built(590)]), Reason::RunsThere { since: at(590) });
}

#[test]
fn nothing_goes_backwards() {
    let two = release("two");
    let gate = |unrelated| Gate::Order { unrelated };
    let stands = |order| Facts { order, ..facts() };
    for order in [ReleaseOrder::First, ReleaseOrder::Same, ReleaseOrder::Newer] {
        passes(gate(false), &stands(order), Reason::NotOlder);
    }
    refuses(gate(true), &stands(ReleaseOrder::Older(two)), Reason::Older { than: two });
    refuses(
        gate(false),
        &stands(ReleaseOrder::Unrelated(two)),
        Reason::NotComparable { with: two },
    );
    passes(gate(true), &stands(ReleaseOrder::Unrelated(two)), Reason::NotOlder);
    let back = Facts { is_rollback: true, ..stands(ReleaseOrder::Older(two)) };
    passes(gate(false), &back, Reason::SkippedByRollback);
}
