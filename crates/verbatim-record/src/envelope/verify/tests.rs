//! What counts and what does not: tables of good and of tampered bundles.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde_json::{Value, json};

mod limits;

use super::*;
use crate::artifact::EnvironmentArtifact;
use crate::envelope::bundle::{Bundle, Payload, sign};
use crate::predicate::{
    Approval, ChainLink, CiRun, Lock, Promotion, Provenance, ResourceDescriptor, TestOutcome,
    TestResult, Veto,
};
use crate::testing::{
    at, build, bundle_of, environment, expecting, first, key, promoted, promotion, release, ring,
    run, test_run,
};

fn value_of(bundle: &Bundle) -> Value {
    serde_json::from_slice(bundle.bytes()).unwrap()
}

fn payload_of(bundle: &Bundle) -> Value {
    let payload = value_of(bundle)["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap()
}

fn kind(rejection: &Rejection) -> String {
    serde_json::to_value(rejection).unwrap()["kind"].as_str().unwrap().to_owned()
}

#[track_caller]
fn check(bundle: &[u8], expected: &Expectation, want: &str) {
    let got = verify::<Promotion>(bundle, &ring(), expected);
    let got = got.map_or_else(|rejection| kind(&rejection), |_| "counts".to_owned());
    assert_eq!(got, want);
}

#[test]
fn what_was_signed_is_what_is_read() {
    let bundle = promoted("dev", "one", first(), 0);
    for subject in [release("one"), *EnvironmentArtifact::of(&environment("dev")).digest()] {
        let got = verify::<Promotion>(bundle.bytes(), &ring(), &expecting(subject)).unwrap();
        assert_eq!(*got.predicate(), promotion("dev", "one", first(), 0));
        assert_eq!((got.signed_by(), got.record()), ("ci", bundle.digest()));
        assert_eq!(got.environment(), Some(&environment("dev")));
        assert_eq!(got.recorded_at(), Some(at(1)));
    }
    let bundle =
        sign(&Statement::build("shop", &release("one"), build().provenance()), &key(1)).unwrap();
    let got = verify::<Provenance>(bundle.bytes(), &ring(), &expecting(release("one"))).unwrap();
    assert_eq!(got.predicate().source(), Some(build().source));
    assert_eq!(got.predicate().run(), Some(build().run));
    let run = test_run("dev", TestOutcome::Warned, 3);
    let bundle = sign(&Statement::test("shop", &release("one"), run.result()), &key(1)).unwrap();
    let got = verify::<TestResult>(bundle.bytes(), &ring(), &expecting(release("one"))).unwrap();
    assert_eq!(got.environment(), Some(&environment("dev")));
    assert_eq!(got.recorded_at(), Some(run.finished_at));
    assert_eq!(got.predicate().suite("smoke"), Some(TestOutcome::Warned));
    assert_eq!(got.predicate().run(), Some(run.run));
}

#[test]
fn the_same_statement_gives_the_same_bytes() {
    assert_eq!(promoted("dev", "one", first(), 0), promoted("dev", "one", first(), 0));
}

#[test]
fn who_may_say_what_about_what() {
    let good = expecting(release("one"));
    let statement = || Statement::promotion(promotion("dev", "one", first(), 0));
    let signed = |number| sign(&statement(), &key(number)).unwrap();
    check(signed(1).bytes(), &good, "counts");
    check(signed(2).bytes(), &good, "role");
    check(signed(3).bytes(), &good, "unknown-key");
    // A record of another release, copied to this one.
    check(signed(1).bytes(), &expecting(release("two")), "subject");
    let place = |name: &str| Expectation { environment: Some(environment(name)), ..good.clone() };
    check(signed(1).bytes(), &place("dev"), "counts");
    check(signed(1).bytes(), &place("production"), "environment");
    // The clock: finished at minute 1.
    let now = |seconds: i64| Expectation {
        now: at(1) - SignedDuration::from_secs(seconds),
        ..good.clone()
    };
    check(signed(1).bytes(), &now(0), "counts");
    check(signed(1).bytes(), &now(300), "counts");
    check(signed(1).bytes(), &now(301), "future");
    // Another kind of statement.
    let tested = sign(
        &Statement::test("shop", &release("one"), test_run("dev", TestOutcome::Passed, 0).result()),
        &key(1),
    );
    check(tested.unwrap().bytes(), &good, "predicate-type");
    assert_eq!(
        verify::<Promotion>(signed(1).bytes(), &KeyRing::default(), &good).map_err(|it| kind(&it)),
        Err("unknown-key".to_owned())
    );
}

#[test]
fn the_envelope_is_read_strictly() {
    let good = expecting(release("one"));
    let check_with = |change: &dyn Fn(&mut Value), want| {
        let mut value = value_of(&promoted("dev", "one", first(), 0));
        change(&mut value);
        check(&serde_json::to_vec(&value).unwrap(), &good, want);
    };
    let other = value_of(
        &sign(&Statement::promotion(promotion("dev", "one", first(), 0)), &key(2)).unwrap(),
    );
    let envelope = |value: &mut Value, key: &str, to: Value| value["dsseEnvelope"][key] = to;
    check_with(&|_| {}, "counts");
    check_with(
        &|it| it["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
        "media-type",
    );
    check_with(&|it| it["extra"] = json!(1), "not-a-bundle");
    check_with(&|it| it["messageSignature"] = json!({}), "not-a-bundle");
    check_with(&|it| it["verificationMaterial"] = json!({}), "not-a-bundle");
    check_with(
        &|it| it["verificationMaterial"]["certificate"] = json!({ "rawBytes": "AAAA" }),
        "not-a-bundle",
    );
    check_with(
        &|it| {
            let certificate = json!({ "certificate": { "rawBytes": "AAAA" }, "tlogEntries": [] });
            it["verificationMaterial"] = certificate;
        },
        "certificate",
    );
    check_with(&|it| it["verificationMaterial"]["publicKey"]["hint"] = json!(""), "unknown-key");
    check_with(
        &|it| it["verificationMaterial"] = other["verificationMaterial"].clone(),
        "bad-signature",
    );
    check_with(&|it| it["verificationMaterial"]["tlogEntries"] = json!([]), "counts");
    check_with(&|it| envelope(it, "payloadType", json!("application/json")), "payload-type");
    check_with(&|it| envelope(it, "signatures", json!([])), "signatures");
    check_with(
        &|it| {
            let own = it["dsseEnvelope"]["signatures"][0].clone();
            envelope(it, "signatures", json!([own, other["dsseEnvelope"]["signatures"][0]]));
        },
        "signatures",
    );
    check_with(
        &|it| envelope(it, "signatures", other["dsseEnvelope"]["signatures"].clone()),
        "bad-signature",
    );
    check_with(&|it| envelope(it, "payload", json!("####")), "not-a-bundle");
    check_with(&|it| it["dsseEnvelope"] = Value::Null, "not-a-bundle");
    check(b"", &good, "not-a-bundle");
    check(&vec![b' '; crate::MAX_BUNDLE_SIZE + 1], &good, "too-large");
    // The same envelope twice under one key: which of them counts?
    let text = String::from_utf8(promoted("dev", "one", first(), 0).bytes().to_vec()).unwrap();
    let twice = text.replacen(
        '{',
        r#"{"dsseEnvelope":{"payload":"","payloadType":"","signatures":[]},"#,
        1,
    );
    check(twice.as_bytes(), &good, "not-a-bundle");
}

#[test]
fn a_statement_has_one_meaning() {
    let good = expecting(release("one"));
    let payload = payload_of(&promoted("dev", "one", first(), 0));
    let check_with = |change: &dyn Fn(&mut Value), want| {
        let mut value = payload.clone();
        change(&mut value);
        check(&bundle_of(&serde_json::to_vec(&value).unwrap(), 1), &good, want);
    };
    check_with(&|_| {}, "counts");
    check_with(&|it| it["vendor_field"] = json!(1), "counts");
    check_with(&|it| it["predicate"]["vendor_field"] = json!({ "a": 1 }), "counts");
    check_with(&|it| it["_type"] = json!("https://in-toto.io/Statement/v0.1"), "counts");
    check_with(&|it| it["_type"] = json!("https://in-toto.io/Statement/v2"), "statement-type");
    check_with(&|it| it["predicate"]["environment"] = json!("shop/production"), "contradiction");
    check_with(&|it| it["predicate"]["environment"] = json!("production"), "predicate");
    check_with(&|it| it["predicate"]["release"]["digest"] = json!(release("two")), "contradiction");
    check_with(&|it| it["predicate"]["chain"]["sequence"] = json!(2), "contradiction");
    check_with(&|it| it["predicate"]["chain"]["sequence"] = json!(-1), "predicate");
    check_with(&|it| it["predicate"]["chain"]["merged"] = json!([release("x")]), "contradiction");
    check_with(&|it| it["predicate"]["chain"]["previous"] = json!(release("x")), "contradiction");
    check_with(&|it| it["subject"] = json!([it["subject"][0]]), "contradiction");
    check_with(&|it| it["subject"] = json!([it["subject"][1], it["subject"][0]]), "contradiction");
    check_with(&|it| it["subject"][1]["digest"] = json!({ "sha1": "aa" }), "contradiction");
    check_with(&|it| it["subject"][0]["digest"]["sha256"] = json!("AA"), "subject");
    check_with(&|it| it["subject"] = json!([]), "subject");
    check(&bundle_of(b"{}", 1), &good, "not-a-statement");
    check(&bundle_of(b"\xff", 1), &good, "not-a-statement");
    let text = serde_json::to_string(&payload).unwrap();
    let twice =
        text.replacen(r#""environment":"#, r#""environment":"shop/production","environment":"#, 1);
    check(&bundle_of(twice.as_bytes(), 1), &good, "not-a-statement");
    check(&bundle_of(format!("{text}{text}").as_bytes(), 1), &good, "not-a-statement");
    // Nobody else's signature makes any of it better.
    check(&bundle_of(text.as_bytes(), 3), &good, "unknown-key");
}

#[test]
fn a_test_result_without_its_environment_is_about_none() {
    let bundle_with = |change: &dyn Fn(&mut TestResult)| {
        let mut result = test_run("dev", TestOutcome::Passed, 0).result();
        change(&mut result);
        let statement = Statement::test("shop", &release("one"), result);
        bundle_of(&serde_json::to_vec(&statement).unwrap(), 1)
    };
    let check = |bundle: &[u8], want: Result<Option<EnvironmentId>, &str>| {
        let got = verify::<TestResult>(bundle, &ring(), &expecting(release("one")));
        let got = got.map(|it| it.environment().cloned()).map_err(|it| kind(&it));
        assert_eq!(got, want.map_err(ToOwned::to_owned));
    };
    check(&bundle_with(&|_| {}), Ok(Some(environment("dev"))));
    check(&bundle_with(&|it| it.configuration.clear()), Ok(None));
    // The name of one environment with the digest of another.
    check(
        &bundle_with(&|it| it.configuration[0].name = Some("shop/production".to_owned())),
        Ok(None),
    );
    // Two environments: in which of them did it pass?
    check(
        &bundle_with(&|it| {
            let other = test_run("production", TestOutcome::Passed, 0).result();
            it.configuration.extend(other.configuration);
        }),
        Ok(None),
    );
    check(&bundle_with(&|it| it.failed_tests.push("load".to_owned())), Err("contradiction"));
    check(&bundle_with(&|it| it.configuration[0].annotations.clear()), Err("contradiction"));
}

#[test]
fn a_subject_that_cannot_be_compared_is_refused() {
    let mut statement = Statement::build("shop", &release("one"), build().provenance());
    let check = |statement: &Statement<Provenance>| {
        let bundle = bundle_of(&serde_json::to_vec(statement).unwrap(), 1);
        verify::<Provenance>(&bundle, &ring(), &expecting(release("one")))
            .map_err(|it| kind(&it))
            .err()
    };
    assert_eq!(check(&statement), None);
    statement
        .subject
        .push(ResourceDescriptor { name: Some("other".to_owned()), ..Default::default() });
    assert_eq!(check(&statement), Some("contradiction".to_owned()));
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let wrong = ChainLink { sequence: 3, previous: None, merged: Vec::new(), seen: Vec::new() };
    let statement = Statement::promotion(promotion("dev", "one", wrong, 0));
    assert!(sign(&statement, &key(1)).is_err());
    let mut statement = Statement::promotion(promotion("dev", "one", first(), 0));
    statement.subject.pop();
    assert!(sign(&statement, &key(1)).is_err());
}

#[test]
fn an_external_signer_makes_the_same_bundle() {
    let statement = Statement::promotion(promotion("dev", "one", first(), 0));
    let kept = Payload::of(&statement).unwrap().bytes().to_vec();
    let payload = Payload::read(kept).unwrap();
    let signature = key(1).sign_der(&payload.to_be_signed());
    let made = payload.clone().signed(&key(1).verifying_key(), &signature).unwrap();
    assert_eq!(made, sign(&statement, &key(1)).unwrap());
    assert!(payload.signed(&key(2).verifying_key(), &signature).is_err());
}

/// What became of a statement of any type, made by a key, found on a subject.
#[track_caller]
fn check_statement<P: Predicate>(
    statement: &Statement<P>,
    number: u8,
    found_on: Digest,
    environment: Option<&str>,
    want: &str,
) {
    let environment = environment.map(crate::testing::environment);
    let expected = Expectation { environment, ..expecting(found_on) };
    let bundle = bundle_of(&serde_json::to_vec(statement).unwrap(), number);
    let got = verify::<P>(&bundle, &ring(), &expected);
    let got = got.map_or_else(|rejection| kind(&rejection), |_| "counts".to_owned());
    assert_eq!(got, want);
}

fn artifact(name: &str) -> Digest {
    *EnvironmentArtifact::of(&environment(name)).digest()
}

#[test]
fn an_approval_is_bound_to_its_release_and_its_environment() {
    let (one, two) = (release("one"), release("two"));
    let approval = || Approval {
        seen: Vec::new(),
        environment: environment("dev"),
        reason: String::new(),
        at: at(0),
        until: None,
        plan: None,
        run: CiRun::default(),
    };
    let statement = || Statement::approval("shop", &one, approval());
    // Any trusted key may; the gate asks for the role.
    check_statement(&statement(), 1, one, Some("dev"), "counts");
    check_statement(&statement(), 2, one, Some("dev"), "counts");
    check_statement(&statement(), 3, one, Some("dev"), "unknown-key");
    check_statement(&statement(), 2, artifact("dev"), Some("dev"), "counts");
    // Replayed for another release, or another environment.
    check_statement(&statement(), 2, two, Some("dev"), "subject");
    check_statement(&statement(), 2, one, Some("production"), "environment");
    let with = |change: &dyn Fn(&mut Statement<Approval>)| {
        let mut changed = statement();
        change(&mut changed);
        changed
    };
    // As `cosign attest` makes it: v0.1, and the release alone.
    let by_cosign = with(&|it| {
        it.kind = STATEMENT_TYPE_0_1.to_owned();
        it.subject.truncate(1);
    });
    check_statement(&by_cosign, 2, one, Some("dev"), "counts");
    let elsewhere = ResourceDescriptor::environment(&environment("production"));
    let turned = with(&|it| it.subject.reverse());
    let other = with(&|it| it.subject[1] = elsewhere.clone());
    let no_release = with(&|it| drop(it.subject.remove(0)));
    let several = with(&|it| it.subject.push(ResourceDescriptor::artifact("shop", &two)));
    for statement in [&turned, &other, &several] {
        check_statement(statement, 2, one, Some("dev"), "contradiction");
    }
    check_statement(&no_release, 2, artifact("dev"), Some("dev"), "contradiction");
    let tomorrow = with(&|it| it.predicate.at = at(60 * 24 + 6));
    check_statement(&tomorrow, 2, one, Some("dev"), "future");
}

#[test]
fn a_veto_is_bound_to_its_release() {
    let one = release("one");
    let statement = |place: Option<&str>| {
        let veto = Veto {
            seen: Vec::new(),
            environment: place.map(environment),
            lifts: Vec::new(),
            reason: "it leaks".to_owned(),
            at: at(0),
            until: None,
            run: run(),
        };
        Statement::veto("shop", &one, veto)
    };
    for place in [Some("dev"), None] {
        check_statement(&statement(place), 1, one, None, "counts");
        check_statement(&statement(place), 2, one, None, "counts");
        // A key that may only build and test.
        check_statement(&statement(place), 4, one, None, "role");
        check_statement(&statement(place), 2, release("two"), None, "subject");
        let mut silent = statement(place);
        silent.predicate.reason = " ".to_owned();
        check_statement(&silent, 2, one, None, "contradiction");
        let mut lifting = statement(place);
        lifting.predicate.lifts.push(release("a record"));
        check_statement(&lifting, 2, one, None, "counts");
        lifting.predicate.until = Some(at(9));
        check_statement(&lifting, 2, one, None, "contradiction");
    }
    check_statement(&statement(Some("dev")), 2, artifact("dev"), Some("dev"), "counts");
    check_statement(&statement(Some("dev")), 2, one, Some("production"), "environment");
    let production = ResourceDescriptor::environment(&environment("production"));
    let with = |change: &dyn Fn(&mut Vec<ResourceDescriptor>)| {
        let mut changed = statement(Some("dev"));
        change(&mut changed.subject);
        changed
    };
    check_statement(&with(&|it| it.truncate(1)), 2, one, None, "counts");
    check_statement(&with(&|it| it.reverse()), 2, one, None, "contradiction");
    check_statement(&with(&|it| it[1] = production.clone()), 2, one, None, "contradiction");
    check_statement(&with(&|it| drop(it.remove(0))), 2, artifact("dev"), None, "contradiction");
    let mut everywhere = statement(None);
    everywhere.subject.push(ResourceDescriptor::environment(&environment("dev")));
    check_statement(&everywhere, 2, one, None, "counts");
    // One for all environments is a part of the ledger of each that there was.
    check_statement(&everywhere, 2, artifact("dev"), Some("dev"), "counts");
    check_statement(&everywhere, 2, artifact("production"), Some("production"), "subject");
}

/// Two projects may share a key and a repository, and neither speaks for the other.
#[test]
fn a_record_counts_in_its_project_alone() {
    let one = release("one");
    let in_project =
        |project: &str| Expectation { project: Some(project.to_owned()), ..expecting(one) };
    let built = Statement::build("shop", &one, build().provenance());
    let veto = Veto {
        seen: Vec::new(),
        environment: None,
        lifts: Vec::new(),
        reason: "it leaks".to_owned(),
        at: at(0),
        until: None,
        run: run(),
    };
    let vetoed = Statement::veto("shop", &one, veto);
    let tested = test_run("dev", TestOutcome::Passed, 0).result();
    let tested = Statement::test("shop", &one, tested);
    for (project, want) in [("shop", "counts"), ("blog", "project")] {
        let expected = in_project(project);
        let kind_of = |outcome: Result<(), Rejection>| {
            outcome.map_or_else(|it| kind(&it), |()| "counts".to_owned())
        };
        let bundle = sign(&built, &key(1)).unwrap();
        let got = verify::<Provenance>(bundle.bytes(), &ring(), &expected).map(drop);
        assert_eq!(kind_of(got), want);
        let bundle = sign(&vetoed, &key(1)).unwrap();
        let got = verify::<Veto>(bundle.bytes(), &ring(), &expected).map(drop);
        assert_eq!(kind_of(got), want);
        let bundle = sign(&tested, &key(1)).unwrap();
        let got = verify::<TestResult>(bundle.bytes(), &ring(), &expected).map(drop);
        assert_eq!(kind_of(got), want);
    }
    // Provenance of another builder names no project.
    let mut foreign = build().provenance();
    foreign.build_definition.internal_parameters.clear();
    let bundle = sign(&Statement::build("shop", &one, foreign), &key(1)).unwrap();
    assert!(verify::<Provenance>(bundle.bytes(), &ring(), &in_project("blog")).is_ok());
}

#[test]
fn a_lock_is_bound_to_its_environment() {
    let statement = || {
        Statement::lock(Lock {
            seen: Vec::new(),
            environment: environment("dev"),
            lifts: Vec::new(),
            reason: "audit".to_owned(),
            at: at(0),
            until: Some(at(9)),
            run: run(),
        })
    };
    check_statement(&statement(), 1, artifact("dev"), Some("dev"), "counts");
    check_statement(&statement(), 4, artifact("dev"), Some("dev"), "role");
    check_statement(&statement(), 1, artifact("production"), Some("production"), "subject");
    let mut moved = statement();
    moved.predicate.environment = environment("production");
    check_statement(&moved, 1, artifact("dev"), Some("production"), "contradiction");
}

/// Going past a gate is for those who may, and a record of it by anybody else does not count.
#[test]
fn an_overridden_gate_needs_a_key_for_it() {
    let statement = |overridden: Option<&str>| {
        let mut promotion = promotion("dev", "one", first(), 0);
        promotion.gates = vec![crate::predicate::GateResult {
            gate: "windows".to_owned(),
            passed: false,
            reason: "closed".to_owned(),
            evidence: Vec::new(),
            overridden: overridden.map(ToOwned::to_owned),
        }];
        Statement::promotion(promotion)
    };
    let subject = release("one");
    check_statement(&statement(None), 1, subject, None, "counts");
    check_statement(&statement(Some("the shop is down")), 1, subject, None, "role");
    check_statement(&statement(Some("the shop is down")), 5, subject, None, "counts");
}

/// Every byte of a bundle, changed in one bit.
#[test]
fn a_changed_bit_anywhere_is_refused() {
    let bundle = promoted("dev", "one", first(), 0);
    let expected = expecting(release("one"));
    let ring = ring();
    let mut bytes = bundle.bytes().to_vec();
    for place in 0..bytes.len() {
        // The bit walks, so that all eight are tried many times.
        let bit = 1 << (place % 8);
        bytes[place] ^= bit;
        let got = verify::<Promotion>(&bytes, &ring, &expected);
        assert!(got.is_err(), "byte {place}, bit {bit}: {:?}", String::from_utf8_lossy(&bytes));
        bytes[place] ^= bit;
    }
    assert!(verify::<Promotion>(&bytes, &ring, &expected).is_ok());
}

proptest! {
    #[test]
    fn a_changed_byte_anywhere_is_refused(place in any::<prop::sample::Index>(), to in any::<u8>()) {
        let bundle = promoted("dev", "one", first(), 0);
        let mut bytes = bundle.bytes().to_vec();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != to);
        bytes[place] = to;
        prop_assert!(verify::<Promotion>(&bytes, &ring(), &expecting(release("one"))).is_err());
    }

    #[test]
    fn a_changed_payload_is_refused_however_it_is_wrapped(place in any::<prop::sample::Index>(), to in any::<u8>()) {
        let bundle = promoted("dev", "one", first(), 0);
        let mut value = value_of(&bundle);
        let payload = value["dsseEnvelope"]["payload"].as_str().unwrap();
        let mut payload = BASE64.decode(payload).unwrap();
        let place = place.index(payload.len());
        prop_assume!(payload[place] != to);
        payload[place] = to;
        value["dsseEnvelope"]["payload"] = json!(BASE64.encode(&payload));
        let got = verify::<Promotion>(&serde_json::to_vec(&value).unwrap(), &ring(), &expecting(release("one")));
        prop_assert_eq!(got.map_err(|it| kind(&it)).err(), Some("bad-signature".to_owned()));
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), payload in "[\\[\\]{}\":,a-z0-9]{0,80}") {
        let expected = expecting(release("one"));
        prop_assert!(verify::<Promotion>(&bytes, &ring(), &expected).is_err());
        prop_assert!(verify::<Provenance>(&bundle_of(payload.as_bytes(), 1), &ring(), &expected).is_err());
    }
}
