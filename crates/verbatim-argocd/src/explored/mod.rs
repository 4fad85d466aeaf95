//! Explores the protocol of our writes: every order in which the server, its controller, other clients and runs of ours can
//! take their steps, in worlds small enough that all of it is reached. Only in tests.
//!
//! The promises: no exit 0 with other values than ours; no change of somebody else that a write of ours took back and that
//! is not told, and none that is told and was not lost; no end from which the next run cannot go on.

mod run;
mod search;
mod server;
mod world;

use std::time::Instant;

use run::RunSetup;
use search::{Broken, Explored, explore};
use server::Edit;
use world::{Other, Rule, Setup, World};

fn run(release: &'static str, values: &'static [(&'static str, &'static str)]) -> RunSetup {
    RunSetup { release, environment: Some("shop/dev"), values, minute: 5, after: None }
}

/// A run that writes more than the next one.
fn first() -> RunSetup {
    run("r1", &[("sha", "2"), ("tag", "2")])
}

fn second() -> RunSetup {
    run("r2", &[("tag", "3")])
}

/// One that comes after the deadline of the first one's claim.
fn late() -> RunSetup {
    RunSetup { minute: 40, ..second() }
}

/// One of another environment, with values of its own.
fn beside() -> RunSetup {
    RunSetup { environment: Some("shop/docs"), ..run("r3", &[("docs", "4")]) }
}

fn cli(name: &'static str, value: &'static str) -> Other {
    Other::Cli(Edit::Parameter(name, value))
}

fn kubectl(name: &'static str, value: &'static str) -> Other {
    Other::Kubectl(Edit::Parameter(name, value))
}

fn alone() -> Setup {
    Setup { runs: vec![first()], ..Setup::default() }
}

fn automatic() -> Setup {
    Setup { automated: true, ..alone() }
}

/// Worlds of a few thousand states.
fn small() -> Vec<(&'static str, Setup)> {
    vec![
        ("alone", alone()),
        ("alone, operations with sources", Setup { snapshots: true, ..alone() }),
        ("automatic", automatic()),
        ("a file in git wins", Setup { shadowed: true, ..alone() }),
        (
            "a file in git wins, kubectl",
            Setup { others: vec![kubectl("replicas", "3")], shadowed: true, ..alone() },
        ),
        ("a crash", Setup { crashes: 1, ..alone() }),
        ("an operation fails", Setup { failures: 1, ..alone() }),
        ("a set", Setup { others: vec![Other::Set], ..alone() }),
    ]
}

/// Worlds of up to some million states.
fn large() -> Vec<(&'static str, Setup)> {
    let with = |others: &[Other], setup: Setup| Setup { others: others.to_vec(), ..setup };
    let two = |other: RunSetup, setup: Setup| Setup {
        runs: vec![first(), other],
        is_patient: true,
        is_prompt: true,
        ..setup
    };
    let automatic = || Setup { is_patient: true, ..automatic() };
    let label = Other::Cli(Edit::Annotation("x", "1"));
    vec![
        ("argocd, another value", with(&[cli("replicas", "3")], alone())),
        ("argocd, the same value", with(&[cli("tag", "9")], alone())),
        ("argocd, an annotation", with(&[label], alone())),
        ("kubectl, another value", with(&[kubectl("replicas", "3")], alone())),
        ("kubectl, the same value", with(&[kubectl("tag", "9")], alone())),
        (
            "argocd, the same value, operations with sources",
            Setup { snapshots: true, ..with(&[cli("tag", "9")], alone()) },
        ),
        (
            "argocd and a set",
            with(&[cli("replicas", "3"), Other::Set], Setup { is_patient: true, ..alone() }),
        ),
        ("automatic, argocd, another value", with(&[cli("replicas", "3")], automatic())),
        ("automatic, argocd, the same value", with(&[cli("tag", "9")], automatic())),
        ("automatic, kubectl, the same value", with(&[kubectl("tag", "9")], automatic())),
        ("automatic, a set", with(&[Other::Set], automatic())),
        ("automatic, a crash", Setup { crashes: 1, ..automatic() }),
        ("a lost answer", Setup { lost_answers: 1, ..alone() }),
        (
            "a lost answer, argocd",
            Setup { lost_answers: 1, is_patient: true, ..with(&[cli("replicas", "3")], alone()) },
        ),
        ("a lost answer and a crash", Setup { lost_answers: 1, crashes: 1, ..alone() }),
        (
            "a crash, argocd",
            Setup { crashes: 1, is_patient: true, ..with(&[cli("replicas", "3")], alone()) },
        ),
        ("two runs", two(second(), alone())),
        ("two runs of one release", two(first(), alone())),
        ("a run after the first one's deadline", two(late(), alone())),
        ("two environments", two(beside(), alone())),
        (
            "a crash and a later run",
            two(RunSetup { after: Some(0), ..late() }, Setup { crashes: 1, ..alone() }),
        ),
        ("automatic, two runs", two(second(), automatic())),
    ]
}

/// Explores a world. In its row: the name, all states, the ends, and how long it took.
fn explored(name: &str, setup: &Setup) -> (Explored, String) {
    let began = Instant::now();
    let explored = explore(World::new(setup.clone()));
    let took = began.elapsed().as_secs();
    let Explored { states, ends, .. } = explored;
    (explored, format!("| {name} | {states} | {ends} | {took} s |\n"))
}

#[track_caller]
fn keeps_its_promises(worlds: Vec<(&'static str, Setup)>) -> String {
    let mut rows = String::new();
    for (name, setup) in worlds {
        let (explored, row) = explored(name, &setup);
        if let Some(broken) = explored.broken {
            panic!("{name}: {}\n  {}", broken.promise, broken.steps.join("\n  "));
        }
        print!("{row}");
        rows.push_str(&row);
    }
    rows
}

#[test]
fn no_promise_is_broken_in_small_worlds() {
    keeps_its_promises(small());
}

#[test]
#[ignore = "takes minutes: cargo xtask ci --deep --only model"]
fn no_promise_is_broken_in_large_worlds() {
    let rows = keeps_its_promises(small()) + &keeps_its_promises(large());
    std::fs::write(results(), rows).unwrap();
}

/// Where the command that writes the page finds the rows. Tests run in the folder of their package.
fn results() -> std::path::PathBuf {
    let folder = std::path::Path::new("../../target/tmp");
    std::fs::create_dir_all(folder).unwrap();
    folder.join("model.md")
}

/// What is found without one of the rules.
#[track_caller]
fn found_without(rule: Rule, setup: Setup) -> Broken {
    explore(World::new(Setup { without: vec![rule], ..setup })).broken.unwrap()
}

#[test]
fn each_rule_is_needed() {
    let with = |other: Other| Setup { others: vec![other], ..alone() };
    let cases = [
        (
            Rule::Telling,
            with(kubectl("replicas", "3")),
            "run 0: /spec/source/helm/parameters/replicas/value = 3 of somebody else is gone, and not told",
        ),
        // It plans as if nothing was left, and what it writes to has something left.
        (
            Rule::Leftovers,
            Setup { crashes: 1, ..alone() },
            "the next run ends as Some(Refused) in Over",
        ),
        (Rule::ReadBack, with(kubectl("tag", "9")), "run 0: exit 0, and other values stand there"),
    ];
    for (rule, setup, promise) in cases {
        assert_eq!(found_without(rule, setup).promise, promise, "without {rule:?}");
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask ci --deep --only model"]
fn without_tests_two_runs_write_over_each_other() {
    let two = Setup { runs: vec![first(), second()], is_patient: true, ..alone() };
    let broken = found_without(Rule::Tests, two);
    assert_eq!(broken.promise, "sha=2 of a run without proof stays");
}

#[test]
fn the_shortest_way_to_a_broken_promise_is_told() {
    let set = Setup { others: vec![Other::Set], ..alone() };
    let broken = found_without(Rule::ReadBack, set);
    assert_eq!(broken.promise, "run 0: exit 0, and other values stand there");
    assert_eq!(
        broken.steps[broken.steps.len() - 4..],
        [
            "run 0 sends a request",
            "the server carries out a request of run 0",
            "client 0 goes on",
            "run 0 reads back",
        ]
    );
}
