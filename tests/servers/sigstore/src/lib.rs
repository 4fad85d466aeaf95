//! Who makes certificates of a few minutes, and the log that keeps them: what Fulcio and Rekor do, in the process and
//! without a network. Bundles are as cosign writes them. What can be wrong with one is a [`Flaw`].

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
    SigningKey as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// The name of the log in its checkpoints.
const LOG: &str = "rekor.example.com";

/// How long a certificate counts, as with Fulcio.
const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A certificate authority and a log.
pub struct Sigstore {
    authority: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    log: KeyPair,
}

/// Whom a certificate is for, as an identity provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The identity provider.
    pub issuer: String,
    /// The URI of a workload, or a mail address.
    pub subject: String,
    /// The repository that a CI runs for.
    pub repository: Option<String>,
    /// The commit that it runs for.
    pub commit: Option<String>,
    /// The git reference that it runs for.
    pub reference: Option<String>,
    /// What started it.
    pub event: Option<String>,
}

impl Claims {
    /// A GitHub workflow that a push to `main` has started.
    pub fn workflow(repository: &str, file: &str, commit: &str) -> Self {
        let repository = format!("https://github.com/{repository}");
        Self {
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            subject: format!("{repository}/.github/workflows/{file}@refs/heads/main"),
            repository: Some(repository),
            commit: Some(commit.to_owned()),
            reference: Some("refs/heads/main".to_owned()),
            event: Some("push".to_owned()),
        }
    }
}

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It was signed an hour after the end of the certificate.
    Expired,
    /// The certificate is for servers, not for code.
    Purpose,
    /// It is in no log.
    NoEntry,
    /// Its entry has no promise, so nothing tells the time.
    NoPromise,
    /// Its entry has no proof.
    NoProof,
    /// Its entry is that of another signature.
    OtherEntry,
    /// The log has promised another time.
    OtherTime,
    /// Its signature is by another key than that of the certificate.
    OtherKey,
    /// Its statement was changed after it was signed.
    OtherStatement,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Expired,
        Self::Purpose,
        Self::NoEntry,
        Self::NoPromise,
        Self::NoProof,
        Self::OtherEntry,
        Self::OtherTime,
        Self::OtherKey,
        Self::OtherStatement,
    ];
}

impl Sigstore {
    /// With keys of its own.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn new() -> Result<Self> {
        Self::until(Timestamp::MAX)
    }

    /// The same, whose certificate authority ends then, whatever its trust root says.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn until(end: Timestamp) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("certificates for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if end < Timestamp::MAX {
            params.not_after = OffsetDateTime::from_unix_timestamp(end.as_second())?;
        }
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().to_vec();
        let authority = Issuer::new(params, key);
        Ok(Self { authority, certificate, log: KeyPair::generate()? })
    }

    /// The `trusted_root.json` that believes it.
    pub fn trusted_root(&self) -> Value {
        let always = json!({ "start": "2020-01-01T00:00:00Z" });
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": format!("https://{LOG}"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": BASE64.encode(self.log.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": always,
                },
                "logId": { "keyId": BASE64.encode(self.log_id()) },
            }],
            "certificateAuthorities": [{
                "subject": { "organization": "example.com", "commonName": "certificates for tests" },
                "uri": "https://fulcio.example.com",
                "certChain": { "certificates": [{ "rawBytes": BASE64.encode(&self.certificate) }] },
                "validFor": always,
            }],
        })
    }

    /// A bundle around this statement, signed with a certificate at this time.
    ///
    /// # Errors
    /// If the claims are no text of certificates.
    pub fn attest(&self, statement: &[u8], claims: &Claims, at: Timestamp) -> Result<Value> {
        self.attest_with(statement, claims, at, None)
    }

    /// The same with something wrong.
    ///
    /// # Errors
    /// If the claims are no text of certificates.
    pub fn attest_with(
        &self,
        statement: &[u8],
        claims: &Claims,
        at: Timestamp,
        flaw: Option<Flaw>,
    ) -> Result<Value> {
        let key = KeyPair::generate()?;
        let is = |one| flaw == Some(one);
        let from = if is(Flaw::Expired) { at - SignedDuration::from_mins(70) } else { at };
        let certificate = self.certificate(&key, claims, from, is(Flaw::Purpose))?;
        let signer = if is(Flaw::OtherKey) { KeyPair::generate()? } else { key };
        let signature = signer.sign(&pae(statement))?;
        // It means the same, and is not what was signed.
        let other = [statement, b" "].concat();
        let logged = if is(Flaw::OtherEntry) { &other } else { statement };
        let mut entry = self.entry(logged, &signature, &certificate, at)?;
        let mut remove = |part: &str| entry.as_object_mut().and_then(|entry| entry.remove(part));
        match flaw {
            Some(Flaw::NoPromise) => drop(remove("inclusionPromise")),
            Some(Flaw::NoProof) => drop(remove("inclusionProof")),
            Some(Flaw::OtherTime) => {
                let time = at.as_second() - 1;
                entry["integratedTime"] = json!(time.to_string());
            }
            _ => {}
        }
        let entries = if is(Flaw::NoEntry) { json!([]) } else { json!([entry]) };
        let shown = if is(Flaw::OtherStatement) { &other } else { statement };
        Ok(json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": BASE64.encode(&certificate) },
                "tlogEntries": entries,
            },
            "dsseEnvelope": {
                "payload": BASE64.encode(shown),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{ "sig": BASE64.encode(&signature) }],
            },
        }))
    }

    /// A certificate as Fulcio makes it.
    /// <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>
    fn certificate(
        &self,
        key: &KeyPair,
        claims: &Claims,
        from: Timestamp,
        for_servers: bool,
    ) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let subject = claims.subject.as_str().try_into().context("not a name of a certificate")?;
        params.subject_alt_names = vec![match claims.subject.contains("://") {
            true => SanType::URI(subject),
            false => SanType::Rfc822Name(subject),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match for_servers {
            true => ExtendedKeyUsagePurpose::ServerAuth,
            false => ExtendedKeyUsagePurpose::CodeSigning,
        }];
        params.not_before = OffsetDateTime::from_unix_timestamp(from.as_second())?;
        params.not_after = OffsetDateTime::from_unix_timestamp((from + LIFE).as_second())?;
        let claimed = [
            (8, Some(&claims.issuer)),
            (12, claims.repository.as_ref()),
            (13, claims.commit.as_ref()),
            (14, claims.reference.as_ref()),
            (20, claims.event.as_ref()),
        ];
        for (number, text) in claimed {
            let Some(text) = text else { continue };
            let oid = [1, 3, 6, 1, 4, 1, 57264, 1, number];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, utf8(text)?));
        }
        Ok(params.signed_by(key, &self.authority)?.der().to_vec())
    }

    /// The only entry of the log, as Rekor keeps it.
    fn entry(
        &self,
        statement: &[u8],
        signature: &[u8],
        certificate: &[u8],
        at: Timestamp,
    ) -> Result<Value> {
        let sha256 = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": sha256(b"nobody can know") },
                "payloadHash": { "algorithm": "sha256", "value": sha256(statement) },
                "signatures": [{
                    "signature": BASE64.encode(signature),
                    "verifier": BASE64.encode(pem(certificate)),
                }],
            },
        })
        .to_string();
        // Keys are sorted and there is no white space: this is the canonical form.
        let promised = json!({
            "body": BASE64.encode(&body),
            "integratedTime": at.as_second(),
            "logID": hex::encode(self.log_id()),
            "logIndex": 0,
        })
        .to_string();
        let root = BASE64.encode(Sha256::digest([&[0], body.as_bytes()].concat()));
        let note = format!("{LOG} - 1\n1\n{root}\n");
        let signed = [&self.log_id()[..4], &self.log.sign(note.as_bytes())?].concat();
        let checkpoint = format!("{note}\n\u{2014} {LOG} {}\n", BASE64.encode(signed));
        Ok(json!({
            "logIndex": "0",
            "logId": { "keyId": BASE64.encode(self.log_id()) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": at.as_second().to_string(),
            "inclusionPromise": {
                "signedEntryTimestamp": BASE64.encode(self.log.sign(promised.as_bytes())?),
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": { "envelope": checkpoint },
            },
            "canonicalizedBody": BASE64.encode(&body),
        }))
    }

    fn log_id(&self) -> [u8; 32] {
        Sha256::digest(self.log.subject_public_key_info()).into()
    }
}

/// The payload type of statements.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What is signed of a statement.
fn pae(statement: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), statement.len());
    [head.as_bytes(), statement].concat()
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A UTF8String of DER.
fn utf8(text: &str) -> Result<Vec<u8>> {
    let length = u8::try_from(text.len()).context("a longer text than certificates have here")?;
    let head = if length < 0x80 { vec![0x0c, length] } else { vec![0x0c, 0x81, length] };
    Ok([&head, text.as_bytes()].concat())
}

fn pem(certificate: &[u8]) -> String {
    let text = BASE64.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
