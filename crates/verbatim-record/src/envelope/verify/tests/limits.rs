//! What a key may speak of, and how long.

use std::collections::BTreeSet;

use super::*;
use crate::keys::{KeyLife, KeyScope, Role, TrustedKey};
use crate::predicate::{SuiteOutcome, TestRun};

/// Key 6, with a scope and a life, reads its own statements.
#[track_caller]
fn check_limited<P: Predicate>(
    (scope, life): (&KeyScope, KeyLife),
    statement: &Statement<P>,
    project: Option<&str>,
    want: &str,
) {
    let limited = TrustedKey {
        name: "limited".to_owned(),
        key: key(6).verifying_key().into(),
        roles: [Role::BUILDER, Role::TESTER, Role::PROMOTER].into(),
        actors: BTreeSet::new(),
        scope: scope.clone(),
        life,
    };
    let ring = KeyRing::new([limited]).unwrap();
    let expected = Expectation {
        project: project.map(ToOwned::to_owned),
        ..expecting(statement.subjects().next().unwrap())
    };
    let got = verify::<P>(sign(statement, &key(6)).unwrap().bytes(), &ring, &expected);
    let got = got.map_or_else(|rejection| rejection.to_string(), |_| "counts".to_owned());
    assert_eq!(got, want);
}

fn only(names: &[&str]) -> Option<BTreeSet<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_key_speaks_for_its_environments() {
    let scope = KeyScope { environments: only(&["dev", "qa"]), ..KeyScope::ANYTHING };
    let limits = (&scope, KeyLife::UNLIMITED);
    let not = |place: &str| {
        format!("key `limited`: it speaks for the environments dev, qa only, not for {place}")
    };
    let release = release("one");
    let veto = |place: Option<&str>| Veto {
        seen: Vec::new(),
        environment: place.map(environment),
        lifts: Vec::new(),
        reason: "it leaks".to_owned(),
        at: at(0),
        until: None,
        run: run(),
    };
    for (place, want) in [("dev", "counts".to_owned()), ("production", not("`production`"))] {
        let promoted = Statement::promotion(promotion(place, "one", first(), 0));
        check_limited(limits, &promoted, None, &want);
        let tested = test_run(place, TestOutcome::Passed, 0).result();
        check_limited(limits, &Statement::test("shop", &release, tested), None, &want);
        check_limited(limits, &Statement::veto("shop", &release, veto(Some(place))), None, &want);
        let lock = Lock {
            seen: Vec::new(),
            environment: environment(place),
            lifts: Vec::new(),
            reason: "freeze".to_owned(),
            at: at(0),
            until: None,
            run: run(),
        };
        check_limited(limits, &Statement::lock(lock), None, &want);
    }
    // What is about all of them is about others, too; how something was built is about none.
    let all = not("all, or for one without a name");
    check_limited(limits, &Statement::veto("shop", &release, veto(None)), None, &all);
    let mut tested = test_run("dev", TestOutcome::Passed, 0).result();
    tested.configuration.clear();
    check_limited(limits, &Statement::test("shop", &release, tested), None, &all);
    check_limited(
        limits,
        &Statement::build("shop", &release, build().provenance()),
        None,
        "counts",
    );
}

#[test]
fn a_key_speaks_for_its_projects() {
    let scope = KeyScope { projects: only(&["shop"]), ..KeyScope::ANYTHING };
    let other = KeyScope { projects: only(&["other"]), ..KeyScope::ANYTHING };
    let not = |project: &str| {
        format!("key `limited`: it speaks for the projects other only, not for {project}")
    };
    let promoted = Statement::promotion(promotion("dev", "one", first(), 0));
    let built = Statement::build("shop", &release("one"), build().provenance());
    for (scope, want) in [(&scope, "counts".to_owned()), (&other, not("`shop`"))] {
        check_limited((scope, KeyLife::UNLIMITED), &promoted, None, &want);
        check_limited((scope, KeyLife::UNLIMITED), &built, None, &want);
    }
    // Provenance of another tool names no project: it is about the one at hand.
    let mut foreign = build().provenance();
    foreign.build_definition.internal_parameters.clear();
    let foreign = Statement::build("shop", &release("one"), foreign);
    let limits = |scope| (scope, KeyLife::UNLIMITED);
    check_limited(limits(&scope), &foreign, Some("shop"), "counts");
    check_limited(limits(&other), &foreign, Some("shop"), &not("`shop`"));
    check_limited(limits(&other), &foreign, None, &not("all, or for one without a name"));
}

#[test]
fn a_key_speaks_for_its_suites() {
    let scope = KeyScope { suites: only(&["load", "smoke"]), ..KeyScope::ANYTHING };
    let limits = (&scope, KeyLife::UNLIMITED);
    let result = |suites: &[&str]| {
        let suite =
            |name: &&str| SuiteOutcome { suite: (*name).to_owned(), outcome: TestOutcome::Passed };
        let suites = suites.iter().map(suite).collect();
        let tested = TestRun { suites, ..test_run("dev", TestOutcome::Passed, 0) }.result();
        Statement::test("shop", &release("one"), tested)
    };
    let not = |suite: &str| {
        format!("key `limited`: it speaks for the suites load, smoke only, not for {suite}")
    };
    check_limited(limits, &result(&["smoke"]), None, "counts");
    check_limited(limits, &result(&["smoke", "load"]), None, "counts");
    check_limited(limits, &result(&["smoke", "audit"]), None, &not("`audit`"));
    check_limited(limits, &result(&[]), None, &not("all, or for one without a name"));
    // What is no test is not limited by it.
    let promoted = Statement::promotion(promotion("dev", "one", first(), 0));
    check_limited(limits, &promoted, None, "counts");
}

/// The promotion ended at minute 11; it is read a day later.
#[test]
fn a_key_has_a_life() {
    let promoted = Statement::promotion(promotion("dev", "one", first(), 10));
    let check = |life, want: &str| {
        check_limited((&KeyScope::ANYTHING, life), &promoted, None, want);
    };
    let life = |first: Option<i64>, last: Option<i64>, revoked: Option<i64>| KeyLife {
        not_before: first.map(at),
        not_after: last.map(at),
        revoked_at: revoked.map(at),
    };
    check(life(Some(11), None, None), "counts");
    let early =
        "key `limited` counts from 2026-11-24T12:12:00Z on; it was made at 2026-11-24T12:11:00Z";
    check(life(Some(12), None, None), early);
    let later = |word: &str| {
        format!(
            "key `limited` is {word} since 2026-11-24T12:11:00Z; it was made at 2026-11-24T12:11:00Z, later"
        )
    };
    check(life(None, Some(11), None), &later("retired"));
    check(life(None, Some(99), Some(11)), &later("revoked"));
    // Nobody else says that it is older than the end.
    let alone = |word: &str| {
        format!(
            "key `limited` is {word} since 2026-11-24T12:12:00Z, and no record of another key from before then names this one"
        )
    };
    check(life(None, Some(12), None), &alone("retired"));
    check(life(None, None, Some(12)), &alone("revoked"));
    // The end is still to come.
    check(life(None, Some(60 * 24 + 1), None), "counts");
}
