//! Statements that the project in-toto tests itself with, and what its implementation in Go says of them: what it refuses
//! does not count here either.
//!
//! `VERBATIM_TEST_VECTORS` names the folder that `cargo xtask rig vectors` prints. Without it the tests say that they did
//! nothing, unless `VERBATIM_TEST_REQUIRE=1`, with which they fail.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use verbatim_oci::Digest;
use verbatim_record::{
    KeyLife, KeyRing, KeyScope, Payload, Predicate, Provenance, Records, Rejection, Role,
    SigningKey, TrustedKey,
};

/// What the implementation in Go says of a text; no error is a yes.
#[derive(Debug, Deserialize)]
struct Verdict {
    error: Option<String>,
}

/// Its verdicts on texts, each on a line of its own.
fn verdicts(vectors: &Path, of: &str, texts: &[String]) -> Vec<Verdict> {
    let mut program = Command::new(vectors.join("bin/vectors"));
    program.arg(of).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = program.spawn().unwrap();
    program.stdin.take().unwrap().write_all((texts.join("\n") + "\n").as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Verdict> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

/// The JSON texts in the tests of a Go package: what is in backquotes.
fn texts(vectors: &Path, file: &str) -> Vec<String> {
    let source = fs::read_to_string(vectors.join("in-toto").join(file)).unwrap();
    let quoted = source.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with('{')).map(str::to_owned).collect()
}

fn key() -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(7);
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap()
}

fn ring() -> KeyRing {
    let trusted = TrustedKey {
        name: "builder".to_owned(),
        key: key().verifying_key().into(),
        roles: BTreeSet::from([Role::BUILDER]),
        actors: BTreeSet::new(),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    };
    KeyRing::new([trusted]).unwrap()
}

/// Whether a statement about this release counts, whatever its type, when a trusted key has signed it.
fn counts(payload: &str, release: Digest) -> Result<(), String> {
    let refused = |error: &dyn std::error::Error| error.to_string();
    let payload = Payload::read(payload.as_bytes().to_vec()).map_err(|error| refused(&error))?;
    let bundle = payload.signed_by(&key()).map_err(|error| refused(&error))?;
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let types = BTreeSet::from([bundle.predicate_type().to_owned()]);
    let records = Records::with_attestations([bundle.bytes()], &ring(), release, now, &types);
    match &records.rejected[..] {
        [] => Ok(()),
        [one] if matches!(one.rejection, Rejection::Foreign(_)) => panic!("{}", one.rejection),
        [one, ..] => Err(one.rejection.to_string()),
    }
}

/// The same statement about a release: `alg1` is no digest that OCI has.
fn about(text: &str, release: &Digest) -> String {
    text.replace(r#""alg1":"abc123""#, &format!(r#""sha256":"{}""#, release.hex()))
}

fn vectors() -> Option<PathBuf> {
    needs::service(needs::Service::Vectors).map(PathBuf::from)
}

#[test]
fn statements_are_judged_as_by_in_toto() {
    let Some(vectors) = vectors() else { return };
    let release = Digest::of(b"the bytes that were built");
    let good = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "it", "digest": { "sha256": release.hex() } }],
        "predicateType": "urn:example:any",
        "predicate": { "a": 1 },
    });
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let twice = good.to_string().replace(r#""predicate":"#, r#""predicate":{},"predicate":"#);
    // Their own, and more of the kind: an algorithm without a digest, a digest that is none, another type of a field.
    let mut statements: Vec<String> = texts(&vectors, "go/v1/statement_test.go")
        .iter()
        .flat_map(|text| match text.contains("%s") {
            true => ["1", "0.1", "2", "0.2"].map(|version| text.replace("%s", version)).to_vec(),
            false => vec![text.clone()],
        })
        .map(|text| about(&text, &release))
        .collect();
    assert_eq!(statements.len(), 11);
    statements.extend([good.to_string(), twice]);
    statements.extend(
        [json!({}), json!([]), Value::Null, json!(""), json!("x"), json!(1)]
            .map(|value| with("/subject", value)),
    );
    let other = |digest: Value| with("/subject/0/digest", digest);
    statements.extend([
        other(json!({})),
        other(Value::Null),
        other(json!({ "sha256": "badDigest" })),
        other(json!({ "sha256": &release.hex()[..6] })),
        other(json!({ "sha256": 1 })),
        other(json!({ "sha1": "a1234567b1234567c1234567d1234567e1234567" })),
        with("/subject/0", json!({ "downloadLocation": "https://example.com/test.zip" })),
        with("/predicateType", json!("")),
        with("/predicateType", Value::Null),
        with("/predicate", Value::Null),
        with("/_type", Value::Null),
        with("/_type", json!("https://in-toto.io/Statement/v1 ")),
        with("/_type", json!("https://in-toto.io/statement/v1")),
    ]);
    let theirs = verdicts(&vectors, "statements", &statements);
    let mut both = (0, 0);
    for (text, Verdict { error }) in statements.iter().zip(theirs) {
        let ours = counts(text, release);
        match (&error, &ours) {
            (None, Ok(())) => both.0 += 1,
            (Some(_), Err(_)) => both.1 += 1,
            // What does not say which bytes it is about, or only by another algorithm, is about no image.
            (None, Err(why)) if why.contains("it is not about") => {
                assert!(!text.contains(&release.hex()), "{text}: {why}");
            }
            _ => panic!("in-toto: {error:?}; here: {ours:?}; {text}"),
        }
    }
    assert_eq!(both, (4, 27), "yes, and no");
}

#[test]
fn provenance_is_judged_as_by_in_toto() {
    let Some(vectors) = vectors() else { return };
    let release = Digest::of(b"the bytes that were built");
    let provenances = texts(&vectors, "go/predicates/provenance/v1/provenance_test.go");
    assert_eq!(provenances.len(), 7);
    let theirs = verdicts(&vectors, "provenances", &provenances);
    for (text, Verdict { error }) in provenances.iter().zip(theirs) {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{}","predicate":{text}}}"#,
            release.hex(),
            Provenance::TYPE,
        );
        let ours = counts(&statement, release);
        assert_eq!(ours.is_ok(), error.is_none(), "in-toto: {error:?}; here: {ours:?}; {text}");
    }
}
