//! Whether a record is to be believed. Fails closed: everything that is not known to be right is a [`Rejection`].

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use verbatim_oci::Digest;

use crate::bundle::Envelope;
use crate::dsse::{PAYLOAD_TYPE, pae};
use crate::environment::EnvironmentId;
use crate::json;
use crate::key::KeyId;
use crate::predicate::Predicate;
use crate::ring::{KeyRing, Role};
use crate::statement::{STATEMENT_TYPE, STATEMENT_TYPE_0_1, Statement};
use crate::text::plain;

/// How far the clock of a signer may be ahead of ours.
pub const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What a record has to be about to count.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Digest of the manifest that it was found on: the release, or the environment artifact.
    pub subject: Digest,
    /// The environment that it has to be about; `None` for any.
    pub environment: Option<EnvironmentId>,
    /// Now, against statements from the future.
    pub now: Timestamp,
}

/// A statement that was signed by a trusted key with the role that its predicate needs, about what was expected. Only
/// [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified<P> {
    record: Digest,
    #[serde(skip)]
    statement_digest: Digest,
    signed_by: String,
    key_id: KeyId,
    recorded_at: Option<Timestamp>,
    #[serde(skip)]
    environment: Option<EnvironmentId>,
    statement: Statement<P>,
}

impl<P> Verified<P> {
    /// Digest of the bundle.
    pub fn record(&self) -> Digest {
        self.record
    }

    /// Digest of the signed bytes: the same for two bundles that differ only outside of what is signed.
    pub fn statement_digest(&self) -> Digest {
        self.statement_digest
    }

    /// Name of the key.
    pub fn signed_by(&self) -> &str {
        &self.signed_by
    }

    /// The key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// When, as the signer says.
    pub fn recorded_at(&self) -> Option<Timestamp> {
        self.recorded_at
    }

    /// The environment that it is about.
    pub fn environment(&self) -> Option<&EnvironmentId> {
        self.environment.as_ref()
    }

    /// The statement.
    pub fn statement(&self) -> &Statement<P> {
        &self.statement
    }

    /// What it says.
    pub fn predicate(&self) -> &P {
        &self.statement.predicate
    }
}

/// Why a record does not count. Texts of the record are data here and are made harmless when displayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rejection {
    /// Larger than [`MAX_BUNDLE_SIZE`](crate::MAX_BUNDLE_SIZE).
    #[error("it has {0} bytes, which is too many")]
    TooLarge(usize),
    /// Not the JSON of a bundle.
    #[error("it is not a Sigstore bundle: {}", plain(.0))]
    NotABundle(String),
    /// Another kind or version of bundle.
    #[error("its media type is `{}`", plain(.0))]
    MediaType(String),
    /// Signed with a short-lived certificate instead of a key.
    #[error("it is signed with a certificate; only configured keys are accepted")]
    Certificate,
    /// Another kind of payload.
    #[error("its payload type is `{}`", plain(.0))]
    PayloadType(String),
    /// No signature, or several.
    #[error("it has {0} signatures where exactly one is wanted")]
    Signatures(usize),
    /// The key is not configured.
    #[error("it is signed by a key that is not configured (`{}`)", plain(.hint))]
    UnknownKey {
        /// Id that the bundle gives.
        hint: String,
    },
    /// The signature is not one of the key over the payload: one of them was changed.
    #[error("the signature does not fit: payload or signature is not what key `{key}` signed")]
    BadSignature {
        /// Name of the key.
        key: String,
    },
    /// Signed, but not a statement that has exactly one meaning.
    #[error("its payload is not an in-toto statement: {}", plain(.0))]
    NotAStatement(String),
    /// Another version of the statement.
    #[error("its statement type is `{}`", plain(.0))]
    StatementType(String),
    /// A statement of another kind.
    #[error("its predicate type is `{}`, wanted is `{wanted}`", plain(.found))]
    PredicateType {
        /// What it says.
        found: String,
        /// What was looked for.
        wanted: String,
    },
    /// A statement of a kind that nothing here reads.
    #[error("its predicate type `{}` is not used here", plain(.0))]
    Foreign(String),
    /// The predicate does not follow its schema.
    #[error("its predicate is malformed: {}", plain(.0))]
    Predicate(String),
    /// The key may not make such statements.
    #[error("key `{key}` does not have the role `{role}`")]
    Role {
        /// Name of the key.
        key: String,
        /// The role that the predicate needs.
        role: Role,
    },
    /// It is about something else: a record that was copied to where it does not belong.
    #[error("it is not about {wanted}")]
    Subject {
        /// Digest of the manifest that it was found on.
        wanted: Digest,
    },
    /// It is about another environment.
    #[error("it is about environment {}, wanted is {wanted}", .found.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string))]
    Environment {
        /// What it says.
        found: Option<EnvironmentId>,
        /// What was looked for.
        wanted: EnvironmentId,
    },
    /// The parts of the statement do not fit each other.
    #[error("it contradicts itself: {}", plain(.0))]
    Contradiction(String),
    /// Made later than now, by more than the allowed skew: a wrong clock, here or there.
    #[error("it was made at {at}, which is in the future; it is {now}")]
    Future {
        /// What it says.
        at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
}

/// Verifies one stored bundle: exactly one signature, by a configured key, over exactly these bytes; a statement of the
/// type `P` by a key with the role for it, about the expected subject and environment, and not from the future.
///
/// # Errors
/// The first reason for which the record does not count. That is an answer, not a failure.
pub fn verify<P: Predicate>(
    bundle: &[u8],
    ring: &KeyRing,
    expected: &Expected,
) -> Result<Verified<P>, Rejection> {
    let signed = check_signature(bundle, ring)?;
    // From here on the bytes are those of a trusted key. What they say is read by one parser only, once.
    let value = json::parse(&signed.payload)
        .map_err(|error| Rejection::NotAStatement(error.to_string()))?;
    let outer: Statement<serde_json::Value> = serde_json::from_value(value)
        .map_err(|error| Rejection::NotAStatement(error.to_string()))?;
    if ![STATEMENT_TYPE, STATEMENT_TYPE_0_1].contains(&outer.kind.as_str()) {
        return Err(Rejection::StatementType(outer.kind));
    }
    if outer.predicate_type != P::TYPE {
        return Err(Rejection::PredicateType {
            found: outer.predicate_type,
            wanted: P::TYPE.to_owned(),
        });
    }
    if !signed.key.roles.contains(&P::ROLE) {
        return Err(Rejection::Role { key: signed.key.name.clone(), role: P::ROLE });
    }
    let predicate: P = serde_json::from_value(outer.predicate)
        .map_err(|error| Rejection::Predicate(error.to_string()))?;
    let statement = Statement {
        kind: outer.kind,
        subject: outer.subject,
        predicate_type: outer.predicate_type,
        predicate,
    };
    check_expected(&statement, expected)?;
    Ok(Verified {
        record: Digest::of(bundle),
        statement_digest: Digest::of(&signed.payload),
        signed_by: signed.key.name.clone(),
        key_id: signed.key.key.id(),
        recorded_at: statement.predicate.recorded_at(),
        environment: statement.predicate.environment(),
        statement,
    })
}

struct Signed<'a> {
    payload: Vec<u8>,
    key: &'a crate::ring::TrustedKey,
}

fn check_signature<'a>(bundle: &[u8], ring: &'a KeyRing) -> Result<Signed<'a>, Rejection> {
    let envelope = Envelope::open(bundle)?;
    let Some(key) = ring.find_hint(&envelope.hint) else {
        return Err(Rejection::UnknownKey { hint: envelope.hint });
    };
    if !key.key.accepts(&pae(PAYLOAD_TYPE, &envelope.payload), &envelope.signature) {
        return Err(Rejection::BadSignature { key: key.name.clone() });
    }
    Ok(Signed { payload: envelope.payload, key })
}

fn check_expected<P: Predicate>(
    statement: &Statement<P>,
    expected: &Expected,
) -> Result<(), Rejection> {
    if !statement.is_about(&expected.subject) {
        return Err(Rejection::Subject { wanted: expected.subject });
    }
    let subjects: Vec<Digest> = statement.subjects().collect();
    if subjects.len() != statement.subject.len() {
        return Err(Rejection::Contradiction("a subject has no sha256 digest".to_owned()));
    }
    statement.predicate.check(&subjects).map_err(Rejection::Contradiction)?;
    if let Some(wanted) = &expected.environment {
        let found = statement.predicate.environment();
        if found.as_ref() != Some(wanted) {
            return Err(Rejection::Environment { found, wanted: wanted.clone() });
        }
    }
    match statement.predicate.recorded_at() {
        Some(at) if at.duration_since(expected.now) > MAX_CLOCK_SKEW => {
            Err(Rejection::Future { at, now: expected.now })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::bundle::{BUNDLE_MEDIA_TYPE, Bundle, sign};
    use crate::environment::EnvironmentArtifact;
    use crate::predicate::{ChainLink, Promotion, Provenance, TestOutcome, TestResult};
    use crate::statement::ResourceDescriptor;
    use crate::testing::{
        at, build, environment, expecting, first, key, promoted, promotion, release, ring, test_run,
    };

    /// A bundle around any payload, signed properly, for statements that our own code refuses to sign.
    fn bundle_of(payload: &[u8], number: u8) -> Vec<u8> {
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
    fn check(bundle: &[u8], expected: &Expected, want: &str) {
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
            sign(&Statement::build("shop", &release("one"), build().provenance()), &key(1))
                .unwrap();
        let got =
            verify::<Provenance>(bundle.bytes(), &ring(), &expecting(release("one"))).unwrap();
        assert_eq!(got.predicate().source(), Some(build().source));
        assert_eq!(got.predicate().run(), Some(build().run));
        let run = test_run("dev", TestOutcome::Warned, 3);
        let bundle =
            sign(&Statement::test("shop", &release("one"), run.result()), &key(1)).unwrap();
        let got =
            verify::<TestResult>(bundle.bytes(), &ring(), &expecting(release("one"))).unwrap();
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
        let place = |name: &str| Expected { environment: Some(environment(name)), ..good.clone() };
        check(signed(1).bytes(), &place("dev"), "counts");
        check(signed(1).bytes(), &place("production"), "environment");
        // The clock: finished at minute 1.
        let now = |seconds: i64| Expected {
            now: at(1) - SignedDuration::from_secs(seconds),
            ..good.clone()
        };
        check(signed(1).bytes(), &now(0), "counts");
        check(signed(1).bytes(), &now(300), "counts");
        check(signed(1).bytes(), &now(301), "future");
        // Another kind of statement.
        let tested = sign(
            &Statement::test(
                "shop",
                &release("one"),
                test_run("dev", TestOutcome::Passed, 0).result(),
            ),
            &key(1),
        );
        check(tested.unwrap().bytes(), &good, "predicate-type");
        assert_eq!(
            verify::<Promotion>(signed(1).bytes(), &KeyRing::default(), &good)
                .map_err(|it| kind(&it)),
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
            "certificate",
        );
        check_with(
            &|it| it["verificationMaterial"]["publicKey"]["hint"] = json!(""),
            "unknown-key",
        );
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
        check_with(
            &|it| it["predicate"]["environment"] = json!("shop/production"),
            "contradiction",
        );
        check_with(&|it| it["predicate"]["environment"] = json!("production"), "predicate");
        check_with(
            &|it| it["predicate"]["release"]["digest"] = json!(release("two")),
            "contradiction",
        );
        check_with(&|it| it["predicate"]["chain"]["sequence"] = json!(2), "contradiction");
        check_with(&|it| it["predicate"]["chain"]["sequence"] = json!(-1), "predicate");
        check_with(
            &|it| it["predicate"]["chain"]["previous"] = json!(release("x")),
            "contradiction",
        );
        check_with(&|it| it["subject"] = json!([it["subject"][0]]), "contradiction");
        check_with(
            &|it| it["subject"] = json!([it["subject"][1], it["subject"][0]]),
            "contradiction",
        );
        check_with(&|it| it["subject"][1]["digest"] = json!({ "sha1": "aa" }), "contradiction");
        check_with(&|it| it["subject"][0]["digest"]["sha256"] = json!("AA"), "subject");
        check_with(&|it| it["subject"] = json!([]), "subject");
        check(&bundle_of(b"{}", 1), &good, "not-a-statement");
        check(&bundle_of(b"\xff", 1), &good, "not-a-statement");
        let text = serde_json::to_string(&payload).unwrap();
        let twice = text.replacen(
            r#""environment":"#,
            r#""environment":"shop/production","environment":"#,
            1,
        );
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
        let wrong = ChainLink { sequence: 3, previous: None, merged: Vec::new() };
        let statement = Statement::promotion(promotion("dev", "one", wrong, 0));
        assert!(sign(&statement, &key(1)).is_err());
        let mut statement = Statement::promotion(promotion("dev", "one", first(), 0));
        statement.subject.pop();
        assert!(sign(&statement, &key(1)).is_err());
    }

    #[test]
    fn an_external_signer_makes_the_same_bundle() {
        let statement = Statement::promotion(promotion("dev", "one", first(), 0));
        let payload = crate::bundle::Payload::of(&statement).unwrap();
        let signature = key(1).sign_der(&payload.to_be_signed());
        let made = payload.clone().signed(&key(1).verifying_key(), &signature).unwrap();
        assert_eq!(made, sign(&statement, &key(1)).unwrap());
        assert!(payload.signed(&key(2).verifying_key(), &signature).is_err());
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
}
