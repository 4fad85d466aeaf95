//! Fixtures of the unit tests: keys, statements, and a ledger to break.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use verbatim_oci::Digest;

use crate::artifact::EnvironmentId;
use crate::envelope::{
    BUNDLE_MEDIA_TYPE, Bundle, Expectation, PAYLOAD_TYPE, Statement, Verified, pae, sign, verify,
};
use crate::keys::{KeyLife, KeyRing, KeyScope, Role, SigningKey, TrustedKey};
use crate::predicate::*;

/// The same key for the same number.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap()
}

/// `ci` (key 1) builds, tests and promotes; `lead` (key 2) has a role of the team's own; key 3 is nobody's; `builds`
/// (key 4) does not promote; `on-call` (key 5) may go past gates.
pub(crate) fn ring() -> KeyRing {
    let trusted = |name: &str, number, roles: &[Role]| TrustedKey {
        name: name.to_owned(),
        key: key(number).verifying_key().into(),
        roles: roles.iter().cloned().collect(),
        actors: BTreeSet::new(),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    };
    KeyRing::new([
        trusted("ci", 1, &[Role::BUILDER, Role::TESTER, Role::PROMOTER]),
        trusted("lead", 2, &[Role::new("release-manager")]),
        trusted("builds", 4, &[Role::BUILDER, Role::TESTER]),
        trusted("on-call", 5, &[Role::PROMOTER, Role::BREAK_GLASS]),
    ])
    .unwrap()
}

pub(crate) fn at(minutes: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

pub(crate) fn release(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub(crate) fn environment(name: &str) -> EnvironmentId {
    EnvironmentId::new("shop", name).unwrap()
}

pub(crate) fn run() -> CiRun {
    CiRun {
        project: Some("shop".to_owned()),
        ci: Some("github".to_owned()),
        pipeline: Some("github.com/acme/shop/.github/workflows/ci.yml".to_owned()),
        number: Some(42),
        url: Some("https://github.com/acme/shop/actions/runs/1".to_owned()),
        actor: Some("alice".to_owned()),
    }
}

pub(crate) fn build() -> Build {
    Build {
        source: BuildSource {
            repository: Some("https://github.com/acme/shop".to_owned()),
            commit: Some("ffac537e6cbbf934b08745a378932722df287a53".to_owned()),
            head: None,
            branch: Some("main".to_owned()),
            tag: None,
            dirty: false,
            foreign: false,
        },
        image: "registry.example.com/acme/shop:42.ffac537".to_owned(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: vec!["linux/amd64".to_owned()],
        build_args: vec!["VERSION".to_owned()],
        ignored_inputs: BTreeMap::new(),
        builder: "buildkit".to_owned(),
        builder_id: Build::builder_id("github"),
        versions: BTreeMap::from([("verbatim".to_owned(), "0.1.0".to_owned())]),
        run: run(),
        started_at: at(0),
        finished_at: at(2),
    }
}

pub(crate) fn test_run(place: &str, outcome: TestOutcome, minutes: i64) -> TestRun {
    TestRun {
        environment: environment(place),
        suites: vec![SuiteOutcome { suite: "smoke".to_owned(), outcome }],
        promotion: None,
        before: Vec::new(),
        after: Vec::new(),
        seen: Vec::new(),
        run: run(),
        started_at: at(minutes),
        finished_at: at(minutes + 1),
    }
}

pub(crate) fn promotion(place: &str, what: &str, chain: ChainLink, minutes: i64) -> Promotion {
    let proven = json!({ "outcome": "proven", "evidence": { "seen": what } });
    let promotion = json!({
        "environment": environment(place),
        "release": {
            "digest": release(what), "repository": "registry.example.com/acme/shop", "tag": "42.ffac537",
            "commit": "ffac537e6cbbf934b08745a378932722df287a53",
        },
        "applications": [{
            "name": format!("shop-{place}"), "server": "https://argocd.example.com",
            "proof": { "spec": proven, "operation": proven, "manifests": proven, "running": proven },
        }],
        "plan": release("plan"), "policy": release("policy"), "run": run(),
        "startedAt": at(minutes), "finishedAt": at(minutes + 1), "chain": chain,
    });
    serde_json::from_value(promotion).unwrap()
}

pub(crate) fn first() -> ChainLink {
    ChainLink { sequence: 1, previous: None, merged: Vec::new(), seen: Vec::new() }
}

/// A promotion signed by `ci`.
pub(crate) fn promoted(place: &str, what: &str, chain: ChainLink, minutes: i64) -> Bundle {
    sign(&Statement::promotion(promotion(place, what, chain, minutes)), &key(1)).unwrap()
}

pub(crate) fn expecting(subject: Digest) -> Expectation {
    Expectation { subject, environment: None, project: None, now: at(60 * 24) }
}

pub(crate) fn counted(
    place: &str,
    what: &str,
    chain: ChainLink,
    minutes: i64,
) -> Verified<Promotion> {
    let bundle = promoted(place, what, chain, minutes);
    verify(bundle.bytes(), &ring(), &expecting(release(what))).unwrap()
}

/// A bundle around any payload, signed properly, for statements that our own code refuses to sign.
pub(crate) fn bundle_of(payload: &[u8], number: u8) -> Vec<u8> {
    let key = key(number);
    let signature = key.sign_der(&pae(PAYLOAD_TYPE, payload));
    let bundle = json!({
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.verifying_key().id().as_str() } },
        "dsseEnvelope": {
            "payload": BASE64.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": BASE64.encode(signature) }],
        },
    });
    serde_json::to_vec(&bundle).unwrap()
}

/// A record that nobody has listed.
pub(crate) fn signed_elsewhere() -> Bundle {
    promoted("elsewhere", "none", first(), 0)
}
