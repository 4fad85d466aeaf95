//! The table of cases of every gate. All records in it are really signed and verified: there is no other way to make one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use verbatim_oci::Digest;
use verbatim_record::{
    Build, BuildSource, Bundle, Chain, ChainLink, CiRun, EnvironmentId, KeyLife, KeyRing, KeyScope,
    Promotion, ReadbackOutcome, Records, Revision, Role, SigningKey, SourceCommit, Statement,
    SuiteOutcome, TestOutcome, TestRun, TrustedKey, sign,
};

use super::decide;
use crate::decision::Reason;
use crate::facts::{Author, Bans, Facts, LedgerReading, ReleaseOrder};
use crate::gate::{Gate, Gates};

mod attested;
mod bans;
mod earlier;
mod people;
mod release;
mod time;

fn numbered(number: u8) -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap()
}

fn key() -> SigningKey {
    numbered(1)
}

/// `ci` (key 1) is that of the pipeline; `anna` (2), `ben` (3) and `carl` (4) are people.
fn ring() -> KeyRing {
    let trusted = |name: &str, number, roles: &[&str]| TrustedKey {
        name: name.to_owned(),
        key: numbered(number).verifying_key().into(),
        roles: roles.iter().map(|role| Role::new(*role)).collect(),
        actors: BTreeSet::from([format!("{name}@example.com")]),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    };
    KeyRing::new([
        trusted("ci", 1, &["builder", "tester", "promoter"]),
        trusted("anna", 2, &["release-manager"]),
        trusted("ben", 3, &["release-manager", "qa"]),
        trusted("carl", 4, &["qa"]),
    ])
    .unwrap()
}

fn at(minutes: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

fn id(name: &str) -> EnvironmentId {
    EnvironmentId::new("shop", name).unwrap()
}

fn release(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn promotion(
    place: &str,
    what: &str,
    minutes: i64,
    proof: ReadbackOutcome,
    chain: ChainLink,
    revisions: &[Revision],
) -> Bundle {
    let proven = json!({ "outcome": "proven" });
    let promotion = json!({
        "environment": id(place),
        "release": { "digest": release(what), "repository": "registry.example.com/shop" },
        "applications": [{
            "name": format!("shop-{place}"), "server": "https://argocd.example.com", "revisions": revisions,
            "proof": {
                "spec": proven, "operation": proven, "manifests": proven, "running": { "outcome": proof },
            },
        }],
        "startedAt": at(minutes), "finishedAt": at(minutes), "chain": chain,
    });
    let promotion: Promotion = serde_json::from_value(promotion).unwrap();
    sign(&Statement::promotion(promotion), &key()).unwrap()
}

/// The first promotion there, with what it was rendered from.
fn promotion_with(place: &str, what: &str, minutes: i64, revisions: &[Revision]) -> Bundle {
    let link = ChainLink { sequence: 1, previous: None, merged: Vec::new(), seen: Vec::new() };
    promotion(place, what, minutes, ReadbackOutcome::Proven, link, revisions)
}

/// The ledger of `place`: releases by name, at these minutes, each after the other. `!` in front of a name: its proof
/// is not complete.
fn promotions(place: &str, history: &[(&str, i64)]) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    for (sequence, (what, minutes)) in (1..).zip(history) {
        let previous = bundles.last().map(Bundle::digest);
        let link = ChainLink { sequence, previous, merged: Vec::new(), seen: Vec::new() };
        let (what, proof) = match what.strip_prefix('!') {
            Some(what) => (what, ReadbackOutcome::Unproven),
            None => (*what, ReadbackOutcome::Proven),
        };
        bundles.push(promotion(place, what, *minutes, proof, link, &[]));
    }
    bundles
}

fn chain_of(place: &str, bundles: &[Bundle]) -> Chain {
    let records =
        Records::of_environment(bundles.iter().map(Bundle::bytes), &ring(), &id(place), at(600));
    assert_eq!(records.rejected, []);
    Chain::verify(&id(place), records.promotions, &[])
}

fn ledger(place: &str, history: &[(&str, i64)]) -> LedgerReading {
    LedgerReading::Known(chain_of(place, &promotions(place, history)))
}

/// A test run of release `one`: suites with `+` passed, with `~` warned, with `-` failed.
fn tested(place: &str, suites: &[&str], minutes: i64) -> Bundle {
    tested_by(place, suites, minutes, None)
}

/// The same, by the promotion that it names.
fn tested_by(place: &str, suites: &[&str], minutes: i64, promotion: Option<Digest>) -> Bundle {
    tested_with(&key(), place, suites, minutes, promotion)
}

/// The same, with another key.
fn tested_with(
    key: &SigningKey,
    place: &str,
    suites: &[&str],
    minutes: i64,
    promotion: Option<Digest>,
) -> Bundle {
    let suites = suites
        .iter()
        .map(|suite| {
            let (verdict, name) = suite.split_at(1);
            let outcome = match verdict {
                "+" => TestOutcome::Passed,
                "~" => TestOutcome::Warned,
                _ => TestOutcome::Failed,
            };
            SuiteOutcome { suite: name.to_owned(), outcome }
        })
        .collect();
    let run = TestRun {
        seen: Vec::new(),
        environment: id(place),
        suites,
        promotion,
        before: Vec::new(),
        after: Vec::new(),
        run: CiRun::default(),
        started_at: at(minutes),
        finished_at: at(minutes),
    };
    sign(&Statement::test("shop", &release("one"), run.result()), key).unwrap()
}

fn built(commit: Option<&str>, dirty: bool) -> Bundle {
    built_from(BuildSource {
        commit: commit.map(ToOwned::to_owned),
        dirty,
        ..BuildSource::default()
    })
}

fn build(source: BuildSource) -> Build {
    Build {
        source,
        image: "registry.example.com/shop:1".to_owned(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        build_args: Vec::new(),
        ignored_inputs: BTreeMap::new(),
        builder: "classic".to_owned(),
        builder_id: Build::builder_id("git"),
        versions: BTreeMap::new(),
        run: CiRun::default(),
        started_at: at(0),
        finished_at: at(0),
    }
}

fn built_from(source: BuildSource) -> Bundle {
    signed_build(&build(source))
}

fn signed_build(build: &Build) -> Bundle {
    sign(&Statement::build("shop", &release("one"), build.provenance()), &key()).unwrap()
}

/// Facts about release `one` on its way to production.
fn facts() -> Facts {
    Facts {
        release: release("one"),
        environment: id("production"),
        records: Ok(Records::default()),
        is_rollback: false,
        is_beyond_previous: false,
        bans: Ok(Bans::default()),
        ledgers: BTreeMap::new(),
        live: BTreeMap::new(),
        healthy_since: BTreeMap::new(),
        manifests: Ok(Vec::new()),
        order: ReleaseOrder::First,
        commit_there: None,
        author: Author { actor: Some("merge-queue".to_owned()), ..Author::default() },
        plan: None,
        labels: Ok(BTreeMap::new()),
        applications: serde_json::Value::Null,
        run: CiRun::default(),
        now: at(600),
    }
}

fn with_records(bundles: &[Bundle]) -> Facts {
    let bytes = bundles.iter().map(Bundle::bytes);
    let records = Records::of_release(bytes, &ring(), release("one"), at(600));
    assert_eq!(records.rejected, []);
    Facts { records: Ok(records), ..with_ledger(ledger("staging", &[])) }
}

fn with_ledger(ledger: LedgerReading) -> Facts {
    Facts { ledgers: BTreeMap::from([(id("staging"), ledger)]), ..facts() }
}

/// Asks one gate; checks what is true of every answer, and returns the reason.
#[track_caller]
fn ask(gate: Gate, facts: &Facts) -> (bool, Reason) {
    let decision = decide(&Gates::new(vec![gate.clone()]), facts);
    let [answer] = decision.answers.as_slice() else {
        panic!("one gate, one answer: {decision:?}")
    };
    assert_eq!(answer.gate, gate);
    assert_eq!(decision.allowed, answer.passed);
    assert_eq!(answer.remedy.is_none(), answer.passed, "a refusal says what would make it pass");
    assert!(!answer.text.is_empty());
    (answer.passed, answer.reason.clone())
}

#[track_caller]
fn passes(gate: Gate, facts: &Facts, want: Reason) {
    assert_eq!(ask(gate, facts), (true, want));
}

#[track_caller]
fn refuses(gate: Gate, facts: &Facts, want: Reason) {
    assert_eq!(ask(gate, facts), (false, want));
}
