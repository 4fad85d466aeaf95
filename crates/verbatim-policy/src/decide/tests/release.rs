//! `signed`, `freshness`, `same_manifests`, `when`: what the release is, and what it is rendered with.

use serde_json::json;

use super::*;
use crate::condition::Condition;
use crate::decide::WHEN_VARIABLES;
use crate::gate::BuildRequirement;

/// A build of release `one` on GitHub from the branch `main`, with changes.
pub(super) fn built_as(change: impl FnOnce(&mut Build)) -> Bundle {
    let source = BuildSource {
        repository: Some("https://git.example.com/acme/shop".to_owned()),
        commit: Some("abc".to_owned()),
        branch: Some("main".to_owned()),
        ..BuildSource::default()
    };
    let mut build = Build { builder_id: Build::builder_id("github"), ..build(source) };
    change(&mut build);
    signed_build(&build)
}

fn signed(builders: &[&str], sources: &[&str], branches: &[&str]) -> Gate {
    let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
    Gate::Signed(BuildRequirement {
        builders: owned(builders),
        sources: owned(sources),
        branches: owned(branches),
    })
}

#[test]
fn a_trusted_build() {
    let facts = with_records(&[built_as(|_| {})]);
    let good = || {
        signed(
            &["urn:verbatim:builder:github"],
            &["https://git.example.com/acme/*"],
            &["main", "release/*"],
        )
    };
    passes(good(), &facts, Reason::TrustedBuild);
    passes(signed(&[], &[], &["main"]), &facts, Reason::TrustedBuild);
    refuses(signed(&["urn:verbatim:builder:gitlab"], &[], &[]), &facts, Reason::UntrustedBuild);
    refuses(signed(&[], &["https://git.example.com/other/*"], &[]), &facts, Reason::UntrustedBuild);
    refuses(signed(&[], &[], &["release/*"]), &facts, Reason::UntrustedBuild);
    // What is not named is not trusted.
    let silent = with_records(&[built_as(|build| build.source.branch = None)]);
    refuses(signed(&[], &[], &["*"]), &silent, Reason::UntrustedBuild);
    // One good record is enough.
    let laptop = built_as(|build| build.builder_id = Build::builder_id("laptop"));
    passes(good(), &with_records(&[laptop.clone(), built_as(|_| {})]), Reason::TrustedBuild);
    refuses(good(), &with_records(&[laptop]), Reason::UntrustedBuild);
    refuses(good(), &with_records(&[]), Reason::NoBuildRecord);
    let other = Facts { release: release("two"), ..facts };
    refuses(good(), &other, Reason::NoBuildRecord);
    // Never skipped.
    let mut gates = Gates::new(vec![good()]);
    gates.skipped_by_rollbacks.insert(crate::gate::GateKind::Signed);
    let back = Facts { is_rollback: true, ..with_records(&[]) };
    assert!(!decide(&gates, &back).allowed);
}

#[test]
fn a_fresh_build() {
    let within = |hours| Gate::Freshness { max_age: SignedDuration::from_hours(hours) };
    let facts = with_records(&[built_as(|_| {})]);
    // Built at noon; it is ten at night.
    passes(within(10), &facts, Reason::Fresh { built: at(0) });
    refuses(within(9), &facts, Reason::Stale { built: at(0) });
    refuses(within(10), &with_records(&[]), Reason::NoBuildRecord);
    let back = Facts { is_rollback: true, ..facts };
    passes(within(9), &back, Reason::SkippedByRollback);
}

fn revision(repository: &str, path: &str, revision: &str) -> Revision {
    Revision {
        repository: repository.to_owned(),
        path: Some(path.to_owned()),
        revision: revision.to_owned(),
    }
}

/// Release `one`, proven in staging with these revisions, on its way to be rendered from those.
fn rendered(tried: &[Revision], now: &[Revision]) -> Facts {
    let bundle = promotion_with("staging", "one", 10, tried);
    Facts {
        manifests: Ok(now.to_vec()),
        ..with_ledger(LedgerReading::Known(chain_of("staging", &[bundle])))
    }
}

#[test]
fn the_same_manifests() {
    let gate = || Gate::SameManifests { environment: id("staging") };
    let git = "https://git.example.com/acme/shop.git";
    let a = |path: &str| revision(git, path, "aaa");
    let b = |path: &str| revision(git, path, "bbb");
    passes(gate(), &rendered(&[a("chart")], &[a("chart")]), Reason::SameManifests);
    refuses(gate(), &rendered(&[a("chart")], &[b("chart")]), Reason::OtherManifests);
    // Another folder of the same commit; the address with and without `.git`.
    passes(gate(), &rendered(&[a("envs/staging")], &[a("envs/production")]), Reason::SameManifests);
    let bare = revision("https://git.example.com/acme/shop", "chart", "aaa");
    passes(gate(), &rendered(&[a("chart")], &[bare]), Reason::SameManifests);
    // The same folder counts before others of the repository.
    refuses(gate(), &rendered(&[a("chart"), b("values")], &[b("chart")]), Reason::OtherManifests);
    // Every source has to be known there.
    let more = revision("https://charts.example.com", "redis", "1.2.3");
    let unknown = rendered(&[a("chart")], &[a("chart"), more.clone()]);
    refuses(gate(), &unknown, Reason::OtherManifests);
    assert_eq!(
        decide(&Gates::new(vec![gate()]), &unknown).answers[0].text,
        "https://charts.example.com (redis) is at 1.2.3, which was not proven there"
    );
    passes(
        gate(),
        &rendered(&[more.clone(), a("chart")], &[a("chart"), more]),
        Reason::SameManifests,
    );
    // Nothing is not the same as anything.
    refuses(gate(), &rendered(&[], &[]), Reason::OtherManifests);
    refuses(
        gate(),
        &rendered(&[revision(git, "chart", "")], &[revision(git, "chart", "")]),
        Reason::OtherManifests,
    );
    let cause = "403".to_owned();
    let unknown = Facts { manifests: Err(cause.clone()), ..rendered(&[], &[]) };
    refuses(gate(), &unknown, Reason::Unreadable { cause });
    refuses(gate(), &with_ledger(ledger("staging", &[("two", 10)])), Reason::NeverThere);
}

fn when(text: &str) -> Gate {
    let condition = Condition::parse(text, WHEN_VARIABLES).unwrap();
    Gate::When { name: "own".to_owned(), condition }
}

/// An image with one label.
fn labelled(image: &str, label: &str, value: &str) -> (String, BTreeMap<String, String>) {
    (image.to_owned(), [(label.to_owned(), value.to_owned())].into())
}

#[test]
fn a_condition_of_the_team() {
    let facts = Facts {
        labels: Ok([labelled("app", "team", "web")].into()),
        applications: json!([{ "name": "shop", "labels": { "tier": "front" } }]),
        run: CiRun { number: Some(7), ..CiRun::default() },
        live: BTreeMap::from([(id("staging"), crate::facts::LiveReading::Running(release("one")))]),
        ..with_records(&[built_as(|_| {}), tested("staging", &["+smoke"], 10)])
    };
    for holds in [
        "release.labels.team == 'web'",
        "release.images.app.labels.team == 'web'",
        "release.branch == 'main' && release.builder.endsWith('github')",
        "now - timestamp(release.builtAt) < duration('11h')",
        "records.tests.exists(test, 'smoke' in test.predicate.passedTests && test.signedBy == 'ci')",
        "live.staging.running == release.digest",
        "applications.all(app, app.labels.tier == 'front')",
        "environment.name == 'production' && !release.rollback",
        "run.number == 7",
    ] {
        passes(when(holds), &facts, Reason::Holds);
    }
    refuses(when("release.labels.team == 'db'"), &facts, Reason::DoesNotHold);
    let no_answer = |cause: &str| Reason::NoAnswer { cause: cause.to_owned() };
    refuses(
        when("release.labels.owner == 'web'"),
        &facts,
        no_answer("there is no field `release.labels.owner`"),
    );
    refuses(
        when("live.dev.running == release.digest"),
        &facts,
        no_answer("there is no field `live.dev`"),
    );
    refuses(when("release.labels"), &facts, no_answer("it gives a map, not true or false"));
    // Of several images each has its own.
    let both = [labelled("app", "team", "web"), labelled("worker", "tier", "back")];
    let several = Facts { labels: Ok(both.into()), ..facts.clone() };
    passes(when("release.images.all(name, name in ['app', 'worker'])"), &several, Reason::Holds);
    passes(
        when("release.images.exists(name, has(release.images[name].labels.tier))"),
        &several,
        Reason::Holds,
    );
    let all = when("release.images.all(name, has(release.images[name].labels.team))");
    refuses(all, &several, Reason::DoesNotHold);
    for text in ["release.labels.team == 'web'", "!has(release.labels.experimental)"] {
        refuses(when(text), &several, no_answer("there is no field `release.labels`"));
    }
    let cause = "timeout".to_owned();
    let unknown = Facts { records: Err(cause.clone()), ..facts.clone() };
    refuses(
        when("records.tests.size() == 0"),
        &unknown,
        Reason::Unreadable { cause: cause.clone() },
    );
    let unknown = Facts { labels: Err(cause.clone()), ..facts };
    refuses(when("true || release.digest == ''"), &unknown, Reason::Unreadable { cause });
    // What is not used need not be known.
    passes(when("now > timestamp('2026-01-01T00:00:00Z')"), &unknown, Reason::Holds);
}
