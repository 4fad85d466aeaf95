//! `after`, `tested`, `clean_source`, and the text of a decision.

use super::*;
use crate::decision::Decision;
use crate::facts::LiveReading;
use crate::gate::Presence;

fn after(ran: Presence) -> Gate {
    Gate::After { environment: id("staging"), ran }
}

#[test]
fn after_and_still_there() {
    let gate = || after(Presence::Still);
    let there = |history: &[(&str, i64)]| with_ledger(ledger("staging", history));
    passes(gate(), &there(&[("one", 10)]), Reason::RunsThere { since: at(10) });
    passes(gate(), &there(&[("zero", 5), ("one", 10)]), Reason::RunsThere { since: at(10) });
    // Promoted again without another release in between: it has been there all the time.
    passes(
        gate(),
        &there(&[("zero", 5), ("one", 10), ("one", 30)]),
        Reason::RunsThere { since: at(10) },
    );
    // Gone and come back: it is there since it came back.
    passes(
        gate(),
        &there(&[("one", 10), ("two", 20), ("one", 30)]),
        Reason::RunsThere { since: at(30) },
    );
    refuses(gate(), &there(&[]), Reason::NeverThere);
    refuses(gate(), &there(&[("zero", 5)]), Reason::NeverThere);
    refuses(
        gate(),
        &there(&[("one", 10), ("two", 20)]),
        Reason::Replaced { by: release("two"), at: at(20) },
    );
    refuses(gate(), &there(&[("!one", 10)]), Reason::NotProven);
    refuses(gate(), &there(&[("one", 10), ("!one", 20)]), Reason::NotProven);
}

#[test]
fn after_and_ever_there() {
    let gate = || after(Presence::Ever);
    let there = |history: &[(&str, i64)]| with_ledger(ledger("staging", history));
    passes(gate(), &there(&[("one", 10)]), Reason::RanThere { at: at(10) });
    passes(gate(), &there(&[("one", 10), ("two", 20)]), Reason::RanThere { at: at(10) });
    passes(
        gate(),
        &there(&[("one", 10), ("!one", 20), ("two", 30)]),
        Reason::RanThere { at: at(10) },
    );
    refuses(gate(), &there(&[("!one", 10)]), Reason::NotProven);
    refuses(gate(), &there(&[("two", 20)]), Reason::NeverThere);
}

#[test]
fn a_ledger_that_cannot_be_relied_on_opens_nothing() {
    for ran in [Presence::Still, Presence::Ever] {
        let unreadable = |cause: &str| Reason::Unreadable { cause: cause.to_owned() };
        refuses(after(ran), &facts(), unreadable("it was not fetched"));
        let unknown = LedgerReading::Unknown("503 from the registry".to_owned());
        refuses(after(ran), &with_ledger(unknown), unreadable("503 from the registry"));
        // The ledger of another environment under the name of this one.
        let other = ledger("dev", &[("one", 10)]);
        refuses(after(ran), &with_ledger(other), unreadable("it belongs to shop/dev"));
        // A promotion that somebody took out.
        let bundles = promotions("staging", &[("zero", 5), ("one", 10)]);
        let (passed, reason) =
            ask(after(ran), &with_ledger(LedgerReading::Known(chain_of("staging", &bundles[1..]))));
        assert!(
            !passed && matches!(reason, Reason::LedgerBroken { ref faults } if faults.len() == 1),
            "{reason:?}"
        );
    }
}

#[test]
fn what_was_seen_running_overrules_the_ledger() {
    let seen = |live| Facts {
        live: BTreeMap::from([(id("staging"), live)]),
        ..with_ledger(ledger("staging", &[("one", 10)]))
    };
    let drifted = |seen: &str| Reason::Drifted { seen: seen.to_owned() };
    passes(
        after(Presence::Still),
        &seen(LiveReading::Running(release("one"))),
        Reason::RunsThere { since: at(10) },
    );
    let other = release("two");
    refuses(
        after(Presence::Still),
        &seen(LiveReading::Running(other)),
        drifted(&other.to_string()),
    );
    refuses(
        after(Presence::Still),
        &seen(LiveReading::Differs("two releases".to_owned())),
        drifted("two releases"),
    );
    let cause = "403 from Argo CD".to_owned();
    refuses(
        after(Presence::Still),
        &seen(LiveReading::Unknown(cause.clone())),
        Reason::Unreadable { cause },
    );
    passes(
        after(Presence::Ever),
        &seen(LiveReading::Running(other)),
        Reason::RanThere { at: at(10) },
    );
}

fn suites(names: &[&str]) -> Gate {
    Gate::Tested {
        environment: id("staging"),
        suites: names.iter().map(|name| (*name).to_owned()).collect(),
        max_age: None,
    }
}

#[test]
fn tested_by_name() {
    let missing = |names: &[&str]| Reason::NotTested {
        suites: names.iter().map(|it| (*it).to_owned()).collect(),
    };
    let failed = |names: &[&str], minutes| Reason::TestsFailed {
        suites: names.iter().map(|it| (*it).to_owned()).collect(),
        at: at(minutes),
    };
    let smoke = || suites(&["smoke"]);
    let both = || suites(&["smoke", "load"]);
    let run = |suites: &[&str], minutes| tested("staging", suites, minutes);

    passes(smoke(), &with_records(&[run(&["+smoke"], 10)]), Reason::SuitesPassed { at: at(10) });
    passes(smoke(), &with_records(&[run(&["~smoke"], 10)]), Reason::SuitesPassed { at: at(10) });
    passes(
        smoke(),
        &with_records(&[run(&["+smoke", "-load"], 10)]),
        Reason::SuitesPassed { at: at(10) },
    );
    passes(
        both(),
        &with_records(&[run(&["+smoke"], 10), run(&["+load"], 20)]),
        Reason::SuitesPassed { at: at(20) },
    );
    // The latest result counts, whichever way, and in whatever order the records arrive.
    refuses(
        smoke(),
        &with_records(&[run(&["-smoke"], 20), run(&["+smoke"], 10)]),
        failed(&["smoke"], 20),
    );
    passes(
        smoke(),
        &with_records(&[run(&["+smoke"], 20), run(&["-smoke"], 10)]),
        Reason::SuitesPassed { at: at(20) },
    );
    // A later run of another suite changes nothing.
    refuses(
        smoke(),
        &with_records(&[run(&["-smoke"], 10), run(&["+load"], 20)]),
        failed(&["smoke"], 10),
    );
    // At the same instant the failure counts, however the digests of the two records happen to sort.
    for other in ["+a", "+b", "+c", "+d", "+e", "+f", "+g", "+h"] {
        let records = [run(&["-smoke", other], 10), run(&["+smoke", other], 10)];
        refuses(smoke(), &with_records(&records), failed(&["smoke"], 10));
    }
    refuses(smoke(), &with_records(&[]), missing(&["smoke"]));
    refuses(both(), &with_records(&[run(&["+smoke"], 10)]), missing(&["load"]));
    refuses(both(), &with_records(&[run(&["-smoke"], 10)]), failed(&["smoke"], 10));
    // Somewhere else is nowhere.
    refuses(smoke(), &with_records(&[tested("dev", &["+smoke"], 10)]), missing(&["smoke"]));
}

/// What was tested before the release left and came back says nothing of what is there now.
#[test]
fn tested_since_it_came() {
    let history = [("one", 10), ("two", 20), ("one", 30), ("one", 40)];
    let bundles = promotions("staging", &history);
    let by = |index: usize| Some(bundles[index].digest());
    let passed = |minutes| Some(Reason::SuitesPassed { at: at(minutes) });
    let cases = [
        (by(2), 35, history.len(), passed(35)),
        (by(3), 45, history.len(), passed(45)),
        // It names the promotion before the last one, with no other release in between.
        (by(2), 45, history.len(), passed(45)),
        (by(0), 15, history.len(), None),
        // Whatever its time says.
        (by(0), 45, history.len(), None),
        (Some(release("a promotion that nobody has")), 45, history.len(), None),
        // Old results name no promotion.
        (None, 35, history.len(), passed(35)),
        (None, 15, history.len(), None),
        // It is not there now; what was tested then counts where it is enough that it ran.
        (by(0), 15, 2, passed(15)),
        (None, 15, 2, passed(15)),
    ];
    for (promotion, minutes, length, want) in cases {
        let test = tested_by("staging", &["+smoke"], minutes, promotion);
        let ledger = LedgerReading::Known(chain_of("staging", &bundles[..length]));
        let ledgers = BTreeMap::from([(id("staging"), ledger)]);
        let facts = Facts { ledgers, ..with_records(&[test]) };
        let missing = Reason::NotTested { suites: vec!["smoke".to_owned()] };
        let want = (want.is_some(), want.unwrap_or(missing));
        assert_eq!(ask(suites(&["smoke"]), &facts), want, "{promotion:?} {minutes} {length}");
        // A rollback brings back what was tested when it came.
        let rollback = Facts { is_rollback: true, ledgers: BTreeMap::new(), ..facts };
        let reason = Reason::SuitesPassed { at: at(minutes) };
        assert_eq!(ask(suites(&["smoke"]), &rollback), (true, reason));
    }
    let unknown = LedgerReading::Unknown("the registry is down".to_owned());
    let facts = Facts {
        ledgers: BTreeMap::from([(id("staging"), unknown)]),
        ..with_records(&[tested("staging", &["+smoke"], 10)])
    };
    assert!(!ask(suites(&["smoke"]), &facts).0);
}

#[test]
fn tested_at_all() {
    let any = || suites(&[]);
    let run = |suites: &[&str], minutes| tested("staging", suites, minutes);
    let failed = |minutes| Reason::TestsFailed { suites: Vec::new(), at: at(minutes) };
    passes(any(), &with_records(&[run(&["+smoke"], 10)]), Reason::SuitesPassed { at: at(10) });
    refuses(any(), &with_records(&[run(&["+smoke", "-load"], 10)]), failed(10));
    refuses(any(), &with_records(&[run(&["+smoke"], 10), run(&["-load"], 20)]), failed(20));
    passes(
        any(),
        &with_records(&[run(&["-smoke"], 10), run(&["+load"], 20)]),
        Reason::SuitesPassed { at: at(20) },
    );
    refuses(any(), &with_records(&[]), Reason::NotTested { suites: Vec::new() });
    refuses(any(), &with_records(&[run(&[], 10)]), failed(10));
}

/// A key for some suites does not say that everything passed. That something failed, it does.
#[test]
fn a_key_for_some_suites_keeps_out_and_lets_nobody_in() {
    let load = TrustedKey {
        name: "load".to_owned(),
        key: numbered(8).verifying_key().into(),
        roles: BTreeSet::from([Role::new("tester")]),
        actors: BTreeSet::new(),
        scope: KeyScope { suites: Some(BTreeSet::from(["load".to_owned()])), ..KeyScope::ANYTHING },
        life: KeyLife::UNLIMITED,
    };
    let ring = KeyRing::new(ring().iter().cloned().chain([load])).unwrap();
    let facts = |bundles: &[Bundle]| {
        let bytes = bundles.iter().map(Bundle::bytes);
        let records = Records::of_release(bytes, &ring, release("one"), at(600));
        Facts { records: Ok(records), ..with_records(&[]) }
    };
    let by_load = |suite, minutes| tested_with(&numbered(8), "staging", &[suite], minutes, None);
    let all = || tested("staging", &["+smoke", "+load"], 10);
    let missing = Reason::NotTested { suites: Vec::new() };
    let failed = Reason::TestsFailed { suites: Vec::new(), at: at(20) };
    refuses(suites(&[]), &facts(&[by_load("+load", 20)]), missing);
    refuses(suites(&[]), &facts(&[all(), by_load("-load", 20)]), failed);
    passes(
        suites(&[]),
        &facts(&[all(), by_load("+load", 20)]),
        Reason::SuitesPassed { at: at(10) },
    );
}

#[test]
fn records_of_another_release_say_nothing() {
    let mut facts = with_records(&[tested("staging", &["+smoke"], 10), built(Some("abc"), false)]);
    facts.release = release("two");
    refuses(suites(&["smoke"]), &facts, Reason::NotTested { suites: vec!["smoke".to_owned()] });
    refuses(Gate::CleanSource, &facts, Reason::NoBuildRecord);
    facts.ledgers.insert(id("staging"), ledger("staging", &[("one", 10)]));
    for presence in [Presence::Still, Presence::Ever] {
        refuses(after(presence), &facts, Reason::NeverThere);
    }
}

#[test]
fn records_that_could_not_be_listed_are_not_none() {
    let cause = "timeout".to_owned();
    let facts = Facts { records: Err(cause.clone()), ..facts() };
    for gate in [suites(&["smoke"]), suites(&[]), Gate::CleanSource] {
        refuses(gate, &facts, Reason::Unreadable { cause: cause.clone() });
    }
}

#[test]
fn a_source_that_others_can_look_at() {
    passes(Gate::CleanSource, &with_records(&[built(Some("abc"), false)]), Reason::SourceIsCommit);
    refuses(Gate::CleanSource, &with_records(&[built(Some("abc"), true)]), Reason::DirtySource);
    refuses(Gate::CleanSource, &with_records(&[built(None, true)]), Reason::DirtySource);
    refuses(
        Gate::CleanSource,
        &with_records(&[built(Some("abc"), false), built(Some("abc"), true)]),
        Reason::DirtySource,
    );
    refuses(Gate::CleanSource, &with_records(&[]), Reason::NoBuildRecord);
    refuses(Gate::CleanSource, &with_records(&[built(None, false)]), Reason::NoBuildRecord);
    let foreign =
        BuildSource { commit: Some("abc".to_owned()), foreign: true, ..BuildSource::default() };
    refuses(Gate::CleanSource, &with_records(&[built_from(foreign)]), Reason::ForeignSource);
}

fn refused() -> Decision {
    let mut facts = with_records(&[tested("staging", &["+smoke"], 20), built(Some("abc"), false)]);
    facts.ledgers.insert(id("staging"), ledger("staging", &[("one", 10), ("two", 30)]));
    decide(
        &Gates::new(vec![after(Presence::Still), suites(&["smoke", "load"]), Gate::CleanSource]),
        &facts,
    )
}

#[test]
fn all_gates_are_asked_and_one_refusal_is_enough() {
    let decision = refused();
    assert!(!decision.allowed);
    assert_eq!(
        decision.answers.iter().map(|it| it.passed).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(decision.refusals().count(), 2);
    let results = decision.gate_results();
    assert_eq!(
        results.iter().map(|it| it.gate.as_str()).collect::<Vec<_>>(),
        ["after", "tested", "clean_source"]
    );
    assert!(results.iter().all(|it| !it.evidence.is_empty()));
}

/// The text of a decision, without the digests of records, which say nothing.
fn text(decision: &dyn std::fmt::Display) -> String {
    let text = decision.to_string();
    let mut parts = text.split("(record sha256:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let (hex, rest) = part.split_once(')').unwrap();
        format!("{text}(record {} digits){rest}", hex.len())
    })
}

#[test]
fn no_gates_no_refusal() {
    let decision = decide(&Gates::default(), &facts());
    assert!(decision.allowed);
    insta::assert_snapshot!(text(&decision), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may enter shop/production
      no gates
    ");
    assert_eq!(text(&decision), text(&decision.in_full()));
}

#[test]
fn what_passes_is_a_number() {
    let mut gates = vec![Gate::Locked, Gate::Vetoed, Gate::CleanSource];
    let facts = with_records(&[built(Some("abc"), false)]);
    insta::assert_snapshot!(text(&decide(&Gates::new(gates.clone()), &facts)), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may enter shop/production
      3 gates passed
    ");
    gates.truncate(1);
    insta::assert_snapshot!(text(&decide(&Gates::new(gates), &facts)), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may enter shop/production
      1 gate passed
    ");
}

#[test]
fn a_refusal_for_people() {
    insta::assert_snapshot!(text(&refused()), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may not enter shop/production
      refused  after         sha256:3fc4ccfe7458 replaced it in shop/staging at 2026-11-24T12:30:00Z
                 - promotion 2 of sha256:3fc4ccfe7458 to shop/staging at 2026-11-24T12:30:00Z, signed by ci (record 12 digits)
                 to pass: promote the release that runs in shop/staging, or bring this one back there: `verbatim promote staging --release sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed`
      refused  tested        load did not run in shop/staging
                 - smoke passed at 2026-11-24T12:20:00Z, signed by ci (record 12 digits)
                 to pass: `verbatim test staging --release sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed`
      1 gate passed
    ");
}

#[test]
fn a_refusal_for_people_who_want_everything() {
    insta::assert_snapshot!(text(&refused().in_full()), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may not enter shop/production
      refused  after         sha256:3fc4ccfe7458 replaced it in shop/staging at 2026-11-24T12:30:00Z
                 - promotion 2 of sha256:3fc4ccfe7458 to shop/staging at 2026-11-24T12:30:00Z, signed by ci (record 64 digits)
                 to pass: promote the release that runs in shop/staging, or bring this one back there: `verbatim promote staging --release sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed`
      refused  tested        load did not run in shop/staging
                 - smoke passed at 2026-11-24T12:20:00Z, signed by ci (record 64 digits)
                 to pass: `verbatim test staging --release sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed`
      pass     clean_source  built from a commit
                 - built from commit abc, signed by ci (record 64 digits)
    ");
}

#[test]
fn an_overridden_gate_is_always_shown() {
    let mut decision = refused();
    decision.override_gate("after", "the shop is down").unwrap();
    insta::assert_snapshot!(text(&decision), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may not enter shop/production
      overridden  after         sha256:3fc4ccfe7458 replaced it in shop/staging at 2026-11-24T12:30:00Z
                 - promotion 2 of sha256:3fc4ccfe7458 to shop/staging at 2026-11-24T12:30:00Z, signed by ci (record 12 digits)
                 overridden: the shop is down
      refused     tested        load did not run in shop/staging
                 - smoke passed at 2026-11-24T12:20:00Z, signed by ci (record 12 digits)
                 to pass: `verbatim test staging --release sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed`
      1 gate passed
    ");
    decision.override_gate("tested", "the shop is down").unwrap();
    insta::assert_snapshot!(text(&decision), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may enter shop/production
      overridden  after         sha256:3fc4ccfe7458 replaced it in shop/staging at 2026-11-24T12:30:00Z
                 - promotion 2 of sha256:3fc4ccfe7458 to shop/staging at 2026-11-24T12:30:00Z, signed by ci (record 12 digits)
                 overridden: the shop is down
      overridden  tested        load did not run in shop/staging
                 - smoke passed at 2026-11-24T12:20:00Z, signed by ci (record 12 digits)
                 overridden: the shop is down
      1 gate passed
    ");
    insta::assert_snapshot!(text(&decision.in_full()), @"
    sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed may enter shop/production
      overridden  after         sha256:3fc4ccfe7458 replaced it in shop/staging at 2026-11-24T12:30:00Z
                 - promotion 2 of sha256:3fc4ccfe7458 to shop/staging at 2026-11-24T12:30:00Z, signed by ci (record 64 digits)
                 overridden: the shop is down
      overridden  tested        load did not run in shop/staging
                 - smoke passed at 2026-11-24T12:20:00Z, signed by ci (record 64 digits)
                 overridden: the shop is down
      pass        clean_source  built from a commit
                 - built from commit abc, signed by ci (record 64 digits)
    ");
}

#[test]
fn a_refusal_for_programs() {
    let value = serde_json::to_value(refused()).unwrap();
    assert_eq!(value["allowed"], false);
    let answer = &value["answers"][0];
    assert_eq!(answer["gate"], "after");
    assert_eq!(answer["environment"], "shop/staging");
    assert_eq!(answer["ran"], "still");
    assert_eq!(answer["reason"]["kind"], "replaced");
    assert_eq!(answer["reason"]["by"], release("two").to_string());
    assert!(answer["remedy"].as_str().unwrap().contains("verbatim promote staging"));
    assert_eq!(value["answers"][2]["remedy"], serde_json::Value::Null);
}

#[test]
fn tests_grow_old() {
    let hours = |hours| Gate::Tested {
        environment: id("staging"),
        suites: vec!["smoke".to_owned(), "load".to_owned()],
        max_age: Some(SignedDuration::from_hours(hours)),
    };
    let facts =
        with_records(&[tested("staging", &["+load"], 20), tested("staging", &["+smoke"], 300)]);
    // It is minute 600: the older of the two is nine hours and forty minutes ago.
    passes(hours(10), &facts, Reason::SuitesPassed { at: at(300) });
    refuses(hours(9), &facts, Reason::TestsTooOld { at: at(20) });
    passes(hours(9), &Facts { is_rollback: true, ..facts }, Reason::SuitesPassed { at: at(300) });
    let missing = Facts { is_rollback: true, ..with_records(&[]) };
    let suites = vec!["smoke".to_owned(), "load".to_owned()];
    refuses(hours(9), &missing, Reason::NotTested { suites });
}

#[test]
fn a_rollback_needs_to_have_been_there_once() {
    let history = ledger("staging", &[("one", 10), ("two", 20)]);
    let back = Facts { is_rollback: true, ..with_ledger(history) };
    passes(after(Presence::Still), &back, Reason::RanThere { at: at(10) });
    let never = Facts { is_rollback: true, ..with_ledger(ledger("staging", &[("two", 20)])) };
    refuses(after(Presence::Still), &never, Reason::NeverThere);
}

#[test]
fn a_gate_is_overridden_by_name_and_only_if_it_refuses() {
    let mut decision = refused();
    let unknown = decision.override_gate("windows", "no").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "no gate `windows` before shop/production; its gates are after, tested, clean_source"
    );
    decision.override_gate("after", "the shop is down").unwrap();
    assert!(!decision.allowed);
    assert_eq!(decision.override_reason(), Some("the shop is down"));
    decision.override_gate("clean_source", "it passes anyway").unwrap();
    decision.override_gate("tested", "the shop is down").unwrap();
    assert!(decision.allowed);
    assert_eq!(decision.refusals().count(), 0);
    let results = decision.gate_results();
    let overridden: Vec<_> = results.iter().map(|it| it.overridden.as_deref()).collect();
    assert_eq!(overridden, [Some("the shop is down"), Some("the shop is down"), None]);
    assert_eq!(results.iter().map(|it| it.passed).collect::<Vec<_>>(), [false, false, true]);
}
