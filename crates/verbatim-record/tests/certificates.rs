//! Bundles with certificates: those that sigstore-go and sigstore-verify test themselves with, changed ones, and ones that
//! were made with something wrong; and whether sigstore-go says the same of each.
//!
//! `VERBATIM_TEST_VECTORS` names the folder that `cargo xtask rig vectors` prints. Without it the tests say that they did
//! nothing, unless `VERBATIM_TEST_REQUIRE=1`, with which they fail.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use test_sigstore::{Claims, Flaw, Sigstore};
use verbatim_oci::Digest;
use verbatim_record::{
    Identity, IdentitySubject, KeyLife, KeyRing, KeyScope, Provenance, Records, Rejection, Role,
    TrustRoot, TrustedKey, Verified,
};

/// What sigstore-go says of a bundle; no error is a yes.
#[derive(Debug, Deserialize)]
struct Verdict {
    error: Option<String>,
    #[serde(default)]
    times: Vec<Timestamp>,
    certificate: Option<Summary>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    subject_alternative_name: String,
    /// GitHub signs some of its own statements with certificates that name none.
    #[serde(default)]
    issuer: String,
}

/// The folder of the vectors, and those of the crates whose test data is read.
struct Bench {
    vectors: PathBuf,
    verify: PathBuf,
    trust_root: PathBuf,
}

impl Bench {
    fn new() -> Option<Self> {
        let vectors = needs::service(needs::Service::Vectors)?.into();
        let mut metadata = needs::cargo();
        metadata.args(["metadata", "--format-version=1", "--locked", "--offline"]);
        let metadata = metadata.current_dir(needs::workspace_root()).output().unwrap().stdout;
        let metadata: Value = serde_json::from_slice(&metadata).unwrap();
        let package = |name: &str| {
            let packages = metadata["packages"].as_array().unwrap();
            let package = packages.iter().find(|it| it["name"] == name).unwrap();
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            manifest.parent().unwrap().to_owned()
        };
        let (verify, trust_root) = (package("sigstore-verify"), package("sigstore-trust-root"));
        Some(Self { vectors, verify, trust_root })
    }

    /// A file of sigstore-go, of the crate that verifies, or of the crate with the trust roots.
    fn path(&self, name: &str) -> PathBuf {
        let (of, name) = name.split_once(": ").unwrap();
        match of {
            "go" => self.vectors.join("sigstore-go").join(name),
            "verify" => self.verify.join("test_data").join(name),
            _ => self.trust_root.join("src").join(name),
        }
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn root(&self, name: &str) -> TrustRoot {
        TrustRoot::from_json(&self.read(name).to_string()).unwrap()
    }

    fn verdicts_of(&self, sigstore: &Sigstore, bundles: &[Value]) -> Vec<Verdict> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trusted_root.json");
        fs::write(&path, sigstore.trusted_root().to_string()).unwrap();
        self.verdicts(&path, bundles)
    }

    fn verdicts(&self, root: &Path, bundles: &[Value]) -> Vec<Verdict> {
        let mut program = Command::new(self.vectors.join("bin/vectors"));
        program.arg("bundles").arg(root).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = program.spawn().unwrap();
        let lines: String = bundles.iter().map(|bundle| format!("{bundle}\n")).collect();
        let mut stdin = program.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
        let output = program.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<Verdict> =
            answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), bundles.len());
        answers
    }
}

fn trusted(name: &str, identity: Identity) -> TrustedKey {
    TrustedKey {
        name: name.to_owned(),
        key: identity.into(),
        roles: BTreeSet::from([Role::BUILDER]),
        actors: BTreeSet::new(),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    }
}

fn exactly(subject: &str, issuer: &str) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: IdentitySubject::Exact(subject.to_owned()),
        repository: None,
        reference: None,
        event: None,
    }
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// What counts of a bundle here, or why it does not, when it is found on this release.
fn judged(
    ring: &KeyRing,
    bundle: &Value,
    release: Digest,
) -> Result<(String, Timestamp), Rejection> {
    let types =
        statement(bundle)["predicateType"].as_str().map(str::to_owned).into_iter().collect();
    let bytes = bundle.to_string().into_bytes();
    let records = Records::with_attestations([bytes], ring, release, now(), &types);
    if let Some(rejected) = records.rejected.first() {
        return Err(rejected.rejection.clone());
    }
    let signer = |name: &str, at: Option<Timestamp>| (name.to_owned(), at.unwrap());
    let builds = records.builds.iter().map(|it| signer(it.signed_by(), it.recorded_at()));
    let others = records.attestations.iter().map(|it| signer(it.signed_by(), it.recorded_at()));
    Ok(builds.chain(others).next().unwrap())
}

fn statement(bundle: &Value) -> Value {
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap_or_default();
    serde_json::from_slice(&BASE64.decode(payload).unwrap_or_default()).unwrap_or_default()
}

/// The release that a bundle is about; any if it is about none that a registry has.
fn release_of(bundle: &Value) -> Digest {
    let hex = statement(bundle)["subject"][0]["digest"]["sha256"].as_str().map(str::to_owned);
    let digest = hex.and_then(|hex| format!("sha256:{hex}").parse().ok());
    digest.unwrap_or_else(|| Digest::of(b"nothing that anybody has signed"))
}

/// Whether a signature is believed whose certificate is that of nobody in the ring.
fn is_believed(root: &TrustRoot, bundle: &Value) -> Result<(), String> {
    let ring = KeyRing::default().with_trust_root(root.clone());
    match judged(&ring, bundle, release_of(bundle)) {
        Err(Rejection::UnknownIdentity { .. }) => Ok(()),
        Err(other) => Err(other.to_string()),
        Ok(counted) => panic!("{counted:?}"),
    }
}

const PUBLIC_GOOD: &str = "go: pkg/testing/data/trusted-roots/public-good.json";
const STAGING: &str = "roots: trusted_root_staging.json";
const GITHUB: &str = "roots: trusted_root_github.json";
/// The provenance of a package that a GitHub workflow published.
const NPM: &str = "go: pkg/testing/data/bundles/sigstore.js@2.0.0-provenance.sigstore.json";

/// Bundles around statements, with a trust root, and whether they are to be believed.
const BUNDLES: [(&str, &str, bool); 14] = [
    (PUBLIC_GOOD, NPM, true),
    (PUBLIC_GOOD, "go: pkg/testing/data/bundles/dsse.sigstore.json", true),
    (PUBLIC_GOOD, "go: pkg/testing/data/bundles/dsse-2sigs.sigstore.json", false),
    (PUBLIC_GOOD, "go: examples/bundle-provenance.json", true),
    // Signed by the registry, with a key.
    (PUBLIC_GOOD, "go: examples/bundle-publish.json", false),
    (PUBLIC_GOOD, "verify: bundles/conda-attestation.sigstore.json", true),
    (PUBLIC_GOOD, "verify: bundles/github-private-attestation.sigstore.json", false),
    // Of a private repository: no log, but a timestamp of GitHub's.
    (GITHUB, "verify: bundles/github-private-attestation.sigstore.json", true),
    (GITHUB, "verify: bundles/conda-attestation.sigstore.json", false),
    (GITHUB, NPM, false),
    // The second version of the log has no time of its own.
    (STAGING, "verify: bundles/conda-attestation-rekor2.sigstore.json", true),
    (STAGING, "verify: upstream/sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json", true),
    (STAGING, NPM, false),
    (PUBLIC_GOOD, "verify: bundles/conda-attestation-rekor2.sigstore.json", false),
];

#[test]
fn bundles_are_judged_as_by_sigstore_go() {
    let Some(bench) = Bench::new() else { return };
    for (root_name, name, want) in BUNDLES {
        let (path, bundle) = (bench.path(root_name), bench.read(name));
        let verdicts = bench.verdicts(&path, std::slice::from_ref(&bundle));
        let [Verdict { error, times, certificate }] = &verdicts[..] else { panic!() };
        let root = bench.root(root_name);
        let ours = is_believed(&root, &bundle);
        assert_eq!((ours.is_ok(), error.is_none()), (want, want), "{name}: {ours:?}, {error:?}");
        let Some(Summary { subject_alternative_name: subject, issuer }) = certificate else {
            continue;
        };
        // Who it is, and since when it is known.
        let ring = |identities: Vec<Identity>| {
            let keys = identities.into_iter().zip(["a", "b"]).map(|(it, name)| trusted(name, it));
            KeyRing::new(keys).unwrap().with_trust_root(root.clone())
        };
        let got = |identities| judged(&ring(identities), &bundle, release_of(&bundle));
        let right = exactly(subject, issuer);
        match got(vec![right.clone()]) {
            Ok(counted) => assert_eq!(counted, ("a".to_owned(), *times.iter().min().unwrap())),
            // npm names its packages by SHA-512.
            Err(Rejection::Subject { .. }) => {
                assert!(statement(&bundle)["subject"][0]["digest"]["sha256"].is_null());
            }
            // One statement is made for tests alone, and does not say how its subject was built.
            Err(Rejection::Predicate(_)) => assert!(name.contains("a.dsse.staging"), "{name}"),
            Err(other) => assert!(issuer.is_empty(), "{name}: {other}"),
        }
        let wrong = got(vec![exactly(subject, &format!("{issuer}/"))]);
        let Err(Rejection::UnknownIdentity { closest: Some(closest), .. }) = wrong else {
            panic!("{name}: {wrong:?}")
        };
        assert_eq!(closest.mismatch.part, "issuer");
        if subject.contains("/.github/workflows/") {
            let also = Identity { reference: Some("*".to_owned()), ..right.clone() };
            let several = got(vec![right, also]);
            assert!(matches!(several, Err(Rejection::SeveralIdentities(_))), "{several:?}");
        }
    }
}

/// All places of a document, from the outside to the inside.
fn places(value: &Value) -> Vec<String> {
    let below = |key: String, value: &Value| {
        let inner = places(value).into_iter().map(move |place| format!("/{key}{place}"));
        inner.collect::<Vec<_>>()
    };
    let inner: Vec<String> = match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| below(key.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(array) => array
            .iter()
            .enumerate()
            .flat_map(|(index, value)| below(index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    std::iter::once(String::new()).chain(inner).collect()
}

/// The bundle with one thing changed, in every way that there is; and parts of other bundles in the place of its own.
fn changed(bundle: &Value, others: &[Value]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for place in places(bundle).into_iter().skip(1) {
        let value = bundle.pointer(&place).unwrap();
        let mut put = |what: &str, to: Value| {
            if to != *value {
                let mut changed = bundle.clone();
                *changed.pointer_mut(&place).unwrap() = to;
                all.push((format!("{place}: {what}"), changed));
            }
        };
        put("null", Value::Null);
        match value {
            Value::String(text) => {
                put("empty", json!(""));
                if let Ok(number) = text.parse::<i64>() {
                    put("one more", json!((number + 1).to_string()));
                    put("zero", json!("0"));
                } else if let Ok(bytes) = BASE64.decode(text) {
                    for at in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                        let mut bytes = bytes.clone();
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 1;
                        }
                        put("a bit", json!(BASE64.encode(&bytes)));
                    }
                    put("a byte more", json!(BASE64.encode([&bytes[..], b"x"].concat())));
                } else {
                    put("a letter more", json!(format!("{text}x")));
                }
            }
            Value::Array(array) => {
                put("none", json!([]));
                put("twice", json!([&array[..], &array[..]].concat()));
                // One more log entry, of which no log says anything.
                if let Some(mut bare) =
                    array.first().filter(|it| it["logIndex"].is_string()).cloned()
                {
                    bare["logIndex"] = json!("7");
                    for part in ["inclusionProof", "inclusionPromise"] {
                        bare.as_object_mut().unwrap().remove(part);
                    }
                    put("an entry more", json!([&array[..], &[bare]].concat()));
                }
            }
            _ => {}
        }
        for (number, other) in others.iter().enumerate() {
            if let Some(theirs) = other.pointer(&place) {
                put(&format!("that of {number}"), theirs.clone());
            }
        }
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut without = bundle.clone();
        if let Some(Value::Object(object)) = without.pointer_mut(parent) {
            object.remove(&key.replace("~1", "/").replace("~0", "~"));
            all.push((format!("{place}: gone"), without));
        }
    }
    all
}

/// What sigstore-go overlooks and is refused here: it takes null for nothing, does not read the kind of an entry beside its
/// body, leaves out timestamps and certificates that it cannot use, and where a root has no log, asks for no entry that the
/// version of a bundle must have. Of the second version of the log it reads no body, as it computes what the log has seen.
const STRICTER: [&str; 9] = [
    "/canonicalizedBody",
    "/inclusionProof/rootHash",
    "/inclusionProof/treeSize",
    ": null",
    "/mediaType",
    "/kindVersion",
    "/timestampVerificationData",
    "/x509CertificateChain/certificates/1",
    "/x509CertificateChain/certificates/2",
];

/// The one thing that sigstore-go minds and the crate does not: a certificate that lies beside a timestamp. Neither checks the
/// timestamp with it, but with that of the trust root.
const UNUSED_CERTIFICATE: &str =
    "certificate embedded in the TSR does not match the provided TSA certificate";

/// What sigstore-go does not believe is not believed here, however a bundle was changed.
#[test]
fn changed_bundles_are_judged_as_by_sigstore_go() {
    let Some(bench) = Bench::new() else { return };
    let good = BUNDLES.iter().filter(|(_, _, want)| *want);
    let bundles: Vec<Value> = good.clone().map(|(_, name, _)| bench.read(name)).collect();
    let (mut believed, mut refused) = (0, 0);
    for ((root_name, name, _), bundle) in good.zip(&bundles) {
        let (texts, values): (Vec<_>, Vec<_>) = changed(bundle, &bundles).into_iter().unzip();
        let verdicts = bench.verdicts(&bench.path(root_name), &values);
        let root = bench.root(root_name);
        for ((what, value), Verdict { error, .. }) in texts.iter().zip(&values).zip(&verdicts) {
            match (is_believed(&root, value), error) {
                (Ok(()), None) => believed += 1,
                (Err(_), Some(_)) => refused += 1,
                (Ok(()), Some(error)) if error.contains(UNUSED_CERTIFICATE) => {}
                (Ok(()), Some(error)) => panic!("{name} {what}: believed, in spite of {error}"),
                (Err(why), None) => {
                    let is_known = STRICTER.iter().any(|known| what.contains(known));
                    assert!(is_known, "{name} {what}: {why}");
                }
            }
        }
    }
    // Otherwise nothing was changed that matters, or all of it.
    assert!(believed > 20 && refused > 1000, "{believed} {refused}");
}

const REPOSITORY: &str = "https://github.com/acme/shop";
const COMMIT: &str = "ffac537e6cbbf934b08745a378932722df287a53";

fn release() -> Digest {
    Digest::of(b"the bytes that were built")
}

/// When everything here is signed.
fn signed_at() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn claims() -> Claims {
    Claims::workflow("acme/shop", "release.yml", COMMIT)
}

/// Provenance as GitHub writes it: `actions/attest-build-provenance`.
fn provenance(source: &str, commit: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "registry.example.com/acme/shop", "digest": { "sha256": release().hex() } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": { "workflow": {
                    "ref": "refs/heads/main", "repository": REPOSITORY, "path": ".github/workflows/release.yml",
                } },
                "internalParameters": { "github": { "event_name": "push", "runner_environment": "github-hosted" } },
                "resolvedDependencies": [{ "uri": source, "digest": { "gitCommit": commit } }],
            },
            "runDetails": {
                "builder": { "id": format!("{REPOSITORY}/.github/workflows/release.yml@refs/heads/main") },
                "metadata": { "invocationId": format!("{REPOSITORY}/actions/runs/1/attempts/1") },
            },
        },
    })
}

fn right_provenance() -> Value {
    provenance("git+https://github.com/acme/shop@refs/heads/main", COMMIT)
}

fn workflow() -> Identity {
    Identity {
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        subject: IdentitySubject::Workflow(format!("{REPOSITORY}/.github/workflows/release.yml")),
        repository: None,
        reference: Some("refs/heads/main".to_owned()),
        event: Some("push".to_owned()),
    }
}

fn root_of(sigstore: &Sigstore) -> TrustRoot {
    TrustRoot::from_json(&sigstore.trusted_root().to_string()).unwrap()
}

/// The build record in a bundle, for a ring of one key.
fn build(
    root: &TrustRoot,
    key: TrustedKey,
    bundle: &Value,
) -> Result<Verified<Provenance>, Rejection> {
    let ring = KeyRing::new([key]).unwrap().with_trust_root(root.clone());
    let bytes = bundle.to_string().into_bytes();
    let mut records = Records::of_release([bytes], &ring, release(), now());
    match records.rejected.pop() {
        Some(rejected) => Err(rejected.rejection),
        None => Ok(records.builds.pop().unwrap()),
    }
}

#[test]
fn provenance_of_a_workflow_is_a_build_record() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let made = sigstore.attest(right_provenance().to_string().as_bytes(), &claims(), signed_at());
    let made = made.unwrap();
    let counted = build(&root, trusted("ci", workflow()), &made).unwrap();
    assert_eq!(counted.signed_by(), "ci");
    // GitHub's provenance tells no time; the log does.
    assert_eq!(counted.recorded_at(), Some(signed_at()));
    let source = counted.predicate().source().unwrap();
    assert_eq!(source.repository.as_deref(), Some(REPOSITORY));
    assert_eq!((source.commit.as_deref(), source.branch.as_deref()), (Some(COMMIT), Some("main")));
    // Another authority, and no trust root at all.
    let elsewhere = root_of(&Sigstore::new().unwrap());
    let refused = build(&elsewhere, trusted("ci", workflow()), &made);
    assert!(matches!(refused, Err(Rejection::CertificateInvalid(_))), "{refused:?}");
    let ring = KeyRing::new([trusted("ci", workflow())]).unwrap();
    assert_eq!(judged(&ring, &made, release()), Err(Rejection::Certificate));
}

/// `cosign sign` says nothing of a build; the certificate of a workflow says for which commit it ran.
#[test]
fn a_workflow_that_signs_an_image_has_built_it() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let kind = "https://sigstore.dev/cosign/sign/v1";
    let text = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": release().hex() } }],
        "predicateType": kind,
        "predicate": {},
    })
    .to_string();
    let signed = |claims: &Claims| sigstore.attest(text.as_bytes(), claims, signed_at()).unwrap();
    let counted = build(&root, trusted("ci", workflow()), &signed(&claims())).unwrap();
    let source = counted.predicate().source().unwrap();
    assert_eq!(source.repository.as_deref(), Some(REPOSITORY));
    assert_eq!((source.commit.as_deref(), source.branch.as_deref()), (Some(COMMIT), Some("main")));
    assert_eq!(counted.predicate().run_details.builder.id, claims().subject);
    assert_eq!(counted.recorded_at(), Some(signed_at()));
    assert_eq!(counted.statement().predicate_type, kind);
    // It takes the role of a builder, for the image that was signed, and a workflow.
    let tester = TrustedKey { roles: BTreeSet::from([Role::TESTER]), ..trusted("ci", workflow()) };
    let refused = build(&root, tester, &signed(&claims()));
    assert!(matches!(refused, Err(Rejection::Role { .. })), "{refused:?}");
    let elsewhere = sigstore.attest(
        text.replace(&release().hex(), &Digest::of(b"other bytes").hex()).as_bytes(),
        &claims(),
        signed_at(),
    );
    let refused = build(&root, trusted("ci", workflow()), &elsewhere.unwrap());
    assert!(matches!(refused, Err(Rejection::Subject { .. })), "{refused:?}");
    let anna = exactly("anna@example.com", "https://accounts.example.com");
    let of_anna = Claims {
        issuer: anna.issuer.clone(),
        subject: "anna@example.com".to_owned(),
        repository: None,
        commit: None,
        reference: None,
        event: None,
    };
    let refused = build(&root, trusted("anna", anna), &signed(&of_anna));
    assert!(matches!(refused, Err(Rejection::Foreign(_))), "{refused:?}");
}

#[test]
fn a_certificate_of_somebody_else_does_not_count() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let text = right_provenance().to_string();
    let got = |claims: &Claims| {
        let made = sigstore.attest(text.as_bytes(), claims, signed_at()).unwrap();
        match build(&root, trusted("ci", workflow()), &made) {
            Err(Rejection::UnknownIdentity { closest: Some(closest), .. }) => closest.mismatch.part,
            other => panic!("{other:?}"),
        }
    };
    let right = claims();
    let other = |text: &str| Some(text.to_owned());
    for (want, claims) in [
        ("issuer", Claims { issuer: "https://accounts.example.com".to_owned(), ..right.clone() }),
        ("subject", Claims::workflow("acme/shop", "tests.yml", COMMIT)),
        ("subject", Claims::workflow("evil/shop", "release.yml", COMMIT)),
        (
            "repository",
            Claims { repository: other("https://github.com/evil/fork"), ..right.clone() },
        ),
        ("ref", Claims { reference: other("refs/heads/mine"), ..right.clone() }),
        ("ref", Claims { reference: None, ..right.clone() }),
        ("event", Claims { event: other("pull_request_target"), ..right.clone() }),
    ] {
        assert_eq!(got(&claims), want);
    }
}

/// A workflow signs what its steps tell it. For which commit it ran, the certificate says.
#[test]
fn a_build_tells_of_the_source_of_its_certificate() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let from = "git+https://github.com/acme/shop@refs/heads/main";
    for (source, commit, counts) in [
        (from, COMMIT, true),
        ("https://github.com/acme/shop.git", COMMIT, true),
        (from, "0000000000000000000000000000000000000000", false),
        ("git+https://github.com/acme/web@refs/heads/main", COMMIT, false),
        ("git+https://github.com/acme/shop@refs/heads/release", COMMIT, false),
        ("git+https://github.com/acme/shop@refs/tags/main", COMMIT, false),
    ] {
        let text = provenance(source, commit).to_string();
        let made = sigstore.attest(text.as_bytes(), &claims(), signed_at()).unwrap();
        match build(&root, trusted("ci", workflow()), &made) {
            Ok(_) => assert!(counts, "{source} {commit}"),
            Err(Rejection::Contradiction(why)) => assert!(!counts, "{source} {commit}: {why}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn the_life_of_an_identity_is_compared_with_the_time_of_the_log() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let text = right_provenance().to_string();
    let made = sigstore.attest(text.as_bytes(), &claims(), signed_at()).unwrap();
    let (first, last) = (Some(signed_at()), Some(signed_at() + SignedDuration::from_secs(1)));
    let none = KeyLife::UNLIMITED;
    for (life, want) in [
        (none, None),
        (KeyLife { not_before: first, ..none }, None),
        (KeyLife { not_before: last, ..none }, Some("before-key")),
        // Who signed before the end needs no witness: the log is one.
        (KeyLife { not_after: last, ..none }, None),
        (KeyLife { revoked_at: last, ..none }, None),
        (KeyLife { not_after: first, ..none }, Some("after-key")),
        (KeyLife { revoked_at: first, ..none }, Some("after-key")),
    ] {
        let got = build(&root, TrustedKey { life, ..trusted("ci", workflow()) }, &made).err();
        let kind = got.map(|it| serde_json::to_value(it).unwrap()["kind"].clone());
        assert_eq!(kind, want.map(Value::from), "{life:?}");
    }
    // It cannot tell of what came after it.
    for (finished, counts) in [("2026-11-01T12:04:00Z", true), ("2026-11-01T12:06:00Z", false)] {
        let mut late = right_provenance();
        late["predicate"]["runDetails"]["metadata"]["finishedOn"] = json!(finished);
        let late = sigstore.attest(late.to_string().as_bytes(), &claims(), signed_at()).unwrap();
        assert_eq!(build(&root, trusted("ci", workflow()), &late).is_ok(), counts, "{finished}");
    }
}

/// Everybody can read the id of an identity, and write it into a bundle.
#[test]
fn nobody_signs_with_the_id_of_an_identity() {
    let sigstore = Sigstore::new().unwrap();
    let text = right_provenance().to_string();
    let mut made = sigstore.attest(text.as_bytes(), &claims(), signed_at()).unwrap();
    made["verificationMaterial"] = json!({ "publicKey": { "hint": workflow().id().as_str() } });
    let refused = build(&root_of(&sigstore), trusted("ci", workflow()), &made);
    assert!(matches!(refused, Err(Rejection::UnknownKey { .. })), "{refused:?}");
}

#[test]
fn what_is_wrong_with_a_bundle_is_found() {
    let sigstore = Sigstore::new().unwrap();
    let root = root_of(&sigstore);
    let text = right_provenance().to_string();
    let made = |flaw| sigstore.attest_with(text.as_bytes(), &claims(), signed_at(), flaw).unwrap();
    let bundles: Vec<(Option<Flaw>, Value)> =
        std::iter::once(None).chain(Flaw::ALL.map(Some)).map(|flaw| (flaw, made(flaw))).collect();
    for (flaw, bundle) in &bundles {
        assert_eq!(is_believed(&root, bundle).is_ok(), flaw.is_none(), "{flaw:?}");
    }
    let Some(bench) = Bench::new() else { return };
    let values: Vec<Value> = bundles.iter().map(|(_, bundle)| bundle.clone()).collect();
    let verdicts = bench.verdicts_of(&sigstore, &values);
    for ((flaw, _), Verdict { error, .. }) in bundles.iter().zip(verdicts) {
        assert_eq!(error.is_none(), flaw.is_none(), "{flaw:?}: {error:?}");
    }
}

/// A trust root may say of an authority that it counts for ever; its own certificate says until when.
#[test]
fn an_authority_that_has_ended_vouches_for_nothing() {
    let text = right_provenance().to_string();
    for (minutes, counts) in [(11, true), (-11, false)] {
        let sigstore = Sigstore::until(signed_at() + SignedDuration::from_mins(minutes)).unwrap();
        let made = sigstore.attest(text.as_bytes(), &claims(), signed_at()).unwrap();
        assert_eq!(is_believed(&root_of(&sigstore), &made).is_ok(), counts, "{minutes}");
        let Some(bench) = Bench::new() else { continue };
        let [Verdict { error, .. }] = &bench.verdicts_of(&sigstore, &[made])[..] else { panic!() };
        assert_eq!(error.is_none(), counts, "{minutes}: {error:?}");
    }
}
