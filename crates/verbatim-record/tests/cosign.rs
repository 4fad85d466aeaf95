//! The real cosign and this crate read each other's bundles. On files: no registry, no network.
//!
//! The program is named by `VERBATIM_TEST_COSIGN`. Without it the tests say that they did nothing, unless
//! `VERBATIM_TEST_REQUIRE=1`, with which they fail.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tempfile::TempDir;
use verbatim_oci::Digest;
use verbatim_record::{
    Approval, Build, BuildSource, Bundle, CiRun, EnvironmentArtifact, EnvironmentId, Expectation,
    KeyLife, KeyRing, KeyScope, Lock, Predicate, Promotion, Provenance, Rejection, Role,
    SigningKey, Statement, SuiteOutcome, TestOutcome, TestResult, TestRun, TrustedKey, Veto, sign,
    verify,
};

const BLOB: &[u8] = b"the bytes that were built";

struct Bench {
    cosign: PathBuf,
    folder: TempDir,
}

impl Bench {
    fn new() -> Option<Self> {
        let bench = Self {
            cosign: needs::service(needs::Service::Cosign)?.into(),
            folder: tempfile::tempdir().unwrap(),
        };
        bench.write("blob", BLOB);
        bench.write("key.pub", signer().verifying_key().to_pem().unwrap().as_bytes());
        bench.write("other.pub", other().verifying_key().to_pem().unwrap().as_bytes());
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.cosign)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", "")
            .output()
            .unwrap()
    }

    fn accepts(&self, bundle: &[u8], key: &str, predicate_type: &str) -> Result<(), String> {
        self.write("bundle.json", bundle);
        let output = self.run(&[
            "verify-blob-attestation",
            "--bundle=bundle.json",
            &format!("--key={key}"),
            "--insecure-ignore-tlog=true",
            &format!("--type={predicate_type}"),
            "blob",
        ]);
        if output.status.success() { Ok(()) } else { Err(text(&output)) }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn generated(byte: u8) -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(byte);
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap()
}

fn signer() -> SigningKey {
    generated(11)
}

fn other() -> SigningKey {
    generated(12)
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn staging() -> EnvironmentId {
    "shop/staging".parse().unwrap()
}

fn provenance() -> Provenance {
    Build {
        source: BuildSource {
            repository: Some("https://git.example.com/acme/shop".to_owned()),
            commit: Some("ffac537e6cbbf934b08745a378932722df287a53".to_owned()),
            ..BuildSource::default()
        },
        image: "registry.example.com/acme/shop:42".to_owned(),
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
        started_at: now(),
        finished_at: now(),
    }
    .provenance()
}

fn test_result() -> TestResult {
    TestRun {
        seen: Vec::new(),
        environment: staging(),
        suites: vec![SuiteOutcome { suite: "smoke".to_owned(), outcome: TestOutcome::Passed }],
        promotion: None,
        before: Vec::new(),
        after: Vec::new(),
        run: CiRun::default(),
        started_at: now(),
        finished_at: now(),
    }
    .result()
}

fn approval() -> Approval {
    Approval {
        seen: Vec::new(),
        environment: staging(),
        reason: "looks good".to_owned(),
        at: now(),
        until: None,
        plan: None,
        run: CiRun::default(),
    }
}

fn veto() -> Veto {
    Veto {
        seen: Vec::new(),
        environment: Some(staging()),
        lifts: Vec::new(),
        reason: "it leaks".to_owned(),
        at: now(),
        until: None,
        run: CiRun::default(),
    }
}

fn lock() -> Lock {
    Lock {
        seen: Vec::new(),
        environment: staging(),
        lifts: Vec::new(),
        reason: "audit".to_owned(),
        at: now(),
        until: None,
        run: CiRun::default(),
    }
}

fn promotion() -> Promotion {
    let proven = json!({ "outcome": "proven", "evidence": { "imageID": "sha256:…" } });
    let promotion = json!({
        "environment": staging(),
        "release": {
            "digest": Digest::of(BLOB), "repository": "registry.example.com/acme/shop", "tag": "42",
        },
        "applications": [{
            "name": "shop-staging", "server": "https://argocd.example.com",
            "proof": { "spec": proven, "operation": proven, "manifests": proven, "running": proven },
        }],
        "startedAt": now(), "finishedAt": now(), "chain": { "sequence": 1 },
    });
    serde_json::from_value(promotion).unwrap()
}

#[test]
fn cosign_accepts_every_kind_of_record() {
    let Some(bench) = Bench::new() else { return };
    let release = Digest::of(BLOB);
    let key = signer();
    let records = [
        (Provenance::TYPE, sign(&Statement::build("shop", &release, provenance()), &key).unwrap()),
        (TestResult::TYPE, sign(&Statement::test("shop", &release, test_result()), &key).unwrap()),
        (Promotion::TYPE, sign(&Statement::promotion(promotion()), &key).unwrap()),
        (Approval::TYPE, sign(&Statement::approval("shop", &release, approval()), &key).unwrap()),
        (Veto::TYPE, sign(&Statement::veto("shop", &release, veto()), &key).unwrap()),
        (Lock::TYPE, sign(&Statement::lock(lock()), &key).unwrap()),
    ];
    for (predicate_type, record) in &records {
        // The subject of a lock is the environment.
        let artifact = EnvironmentArtifact::of(&staging());
        let subject = if *predicate_type == Lock::TYPE { artifact.bytes() } else { BLOB };
        bench.write("blob", subject);
        let accepts = |key, kind| bench.accepts(record.bytes(), key, kind);
        assert_eq!(accepts("key.pub", predicate_type), Ok(()), "{predicate_type}");
        assert!(accepts("other.pub", predicate_type).is_err(), "another key");
        assert!(accepts("key.pub", "urn:example:something-else").is_err(), "another type");
        let tampered = tampered(record);
        assert!(bench.accepts(&tampered, "key.pub", predicate_type).is_err(), "a changed payload");
    }
    bench.write("blob", b"other bytes");
    let (kind, record) = &records[2];
    assert!(bench.accepts(record.bytes(), "key.pub", kind).is_err(), "another subject");
}

/// The bundle with the case of one letter of the payload's base64 changed.
fn tampered(record: &Bundle) -> Vec<u8> {
    let mut bytes = record.bytes().to_vec();
    let payload = br#""payload":""#;
    let start =
        bytes.windows(payload.len()).position(|window| window == payload).unwrap() + payload.len();
    let letter = bytes[start + 40..].iter().position(u8::is_ascii_alphabetic).unwrap() + start + 40;
    bytes[letter] ^= 0x20;
    bytes
}

/// An approval that was written by hand: what docs/records.md shows.
const BY_HAND: &str =
    r#"{ "environment": "shop/staging", "reason": "looks good", "at": "2026-11-24T12:00:00Z" }"#;

#[test]
fn what_cosign_signs_counts_here() {
    let Some(bench) = Bench::new() else { return };
    // One key for both, and cosign's file of it.
    bench.write("plain.pem", signer().to_pkcs8_pem().unwrap().expose_secret().as_bytes());
    run_ok(
        &bench,
        &["import-key-pair", "--key=plain.pem", "--output-key-prefix=imported", "--yes"],
    );
    let encrypted = fs::read_to_string(bench.path("imported.key")).unwrap();
    let opened = SigningKey::from_pem_with(&encrypted, Some(&SecretString::from(""))).unwrap();
    assert_eq!(opened.verifying_key(), signer().verifying_key());

    let attest = |predicate: &[u8], kind: &str| {
        bench.write("predicate.json", predicate);
        let kind = format!("--type={kind}");
        run_ok(
            &bench,
            &[
                "attest-blob",
                "--key=imported.key",
                "--predicate=predicate.json",
                &kind,
                "--bundle=made.json",
                "--new-bundle-format=true",
                "--use-signing-config=false",
                "--tlog-upload=false",
                "--yes",
                "blob",
            ],
        );
        read(&bench.path("made.json"))
    };
    let bundle = attest(&serde_json::to_vec(&test_result()).unwrap(), TestResult::TYPE);
    let ring = |roles: &[Role]| {
        let key = signer().verifying_key().into();
        let roles: BTreeSet<Role> = roles.iter().cloned().collect();
        let ci = TrustedKey {
            name: "ci".to_owned(),
            key,
            roles,
            actors: BTreeSet::new(),
            scope: KeyScope::ANYTHING,
            life: KeyLife::UNLIMITED,
        };
        KeyRing::new([ci]).unwrap()
    };
    let expected = Expectation {
        subject: Digest::of(BLOB),
        environment: Some(staging()),
        project: None,
        now: now(),
    };
    let got = verify::<TestResult>(&bundle, &ring(&[Role::TESTER]), &expected).unwrap();
    assert_eq!(*got.predicate(), test_result());
    let refused = verify::<TestResult>(&bundle, &ring(&[Role::PROMOTER]), &expected);
    assert!(matches!(refused, Err(Rejection::Role { .. })), "{refused:?}");

    let bundle = attest(BY_HAND.as_bytes(), Approval::TYPE);
    let lead = ring(&[Role::new("release-manager")]);
    let got = verify::<Approval>(&bundle, &lead, &expected).unwrap();
    assert_eq!(*got.predicate(), approval());
    let elsewhere =
        Expectation { environment: Some("shop/production".parse().unwrap()), ..expected };
    let refused = verify::<Approval>(&bundle, &lead, &elsewhere);
    assert!(matches!(refused, Err(Rejection::Environment { .. })), "{refused:?}");
}

fn run_ok(bench: &Bench, arguments: &[&str]) {
    let output = bench.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}
