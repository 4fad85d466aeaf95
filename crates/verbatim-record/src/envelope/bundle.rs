//! Sigstore bundle v0.3 around a DSSE envelope: the bytes that are stored, and how they are stored.
//! Makes and reads bundles; `verify` decides which to believe.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbatim_oci::Digest;

use super::certificate;
use super::dsse::{PAYLOAD_TYPE, pae};
use super::json;
use super::rejection::Rejection;
use super::statement::Statement;
use crate::keys::{SigningKey, VerifyingKey};
use crate::predicate::{Predicate, Promotion, Provenance, TestResult};

/// Media type of a bundle, and artifact type of the manifest that carries it.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Annotation with the predicate type of a stored record, as cosign writes it, so that clients can choose what to fetch.
pub const PREDICATE_TYPE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// Largest bundle that is read, in bytes. Ours take a few kilobytes.
pub const MAX_BUNDLE_SIZE: usize = 4 * 1024 * 1024;

/// A signed record as bytes, with what it claims to be about. **Not verified**: decide nothing by it before
/// [`verify`](crate::verify()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    bytes: Vec<u8>,
    predicate_type: String,
    subjects: Vec<Digest>,
    created: Option<Timestamp>,
    statement: Digest,
}

/// Why a statement was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Every reader would refuse the statement.
    #[error("the statement contradicts itself: {0}")]
    Contradiction(String),
    /// The signature of an external signer is not by this key over these bytes.
    #[error("the signature is not by this key")]
    ForeignSignature,
    /// The statement cannot be written or read as JSON.
    #[error("the statement is not valid JSON of its type")]
    Json(#[source] serde_json::Error),
}

/// Signs a statement. The same statement and key give the same bytes.
///
/// # Errors
/// If the statement contradicts itself, so that [`verify`](crate::verify()) would refuse it.
pub fn sign<P: Predicate>(statement: &Statement<P>, key: &SigningKey) -> Result<Bundle, SignError> {
    Payload::of(statement)?.signed_by(key)
}

/// A statement as bytes for an external signer: a key management service, a hardware token.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: Vec<u8>,
    predicate_type: String,
}

impl Payload {
    /// Fixes the bytes of a statement.
    ///
    /// # Errors
    /// If the statement contradicts itself.
    pub fn of<P: Predicate>(statement: &Statement<P>) -> Result<Self, SignError> {
        let subjects: Vec<Digest> = statement.subjects().collect();
        statement.predicate.check(&subjects).map_err(SignError::Contradiction)?;
        let bytes = serde_json::to_vec(statement).map_err(SignError::Json)?;
        Ok(Self { bytes, predicate_type: P::TYPE.to_owned() })
    }

    /// Reads the bytes of a statement that was kept unsigned.
    ///
    /// # Errors
    /// If they are not a statement.
    pub fn read(bytes: Vec<u8>) -> Result<Self, SignError> {
        let Claims { predicate_type, .. } = Claims::read(&bytes).map_err(SignError::Json)?;
        Ok(Self { bytes, predicate_type })
    }

    /// The statement, as it is signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `predicateType` URI of the statement.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// The digests of its subjects, in their order.
    pub fn subjects(&self) -> Vec<Digest> {
        Claims::read(&self.bytes).map(|claims| claims.subjects).unwrap_or_default()
    }

    /// When what it says happened, if it says so.
    pub fn created(&self) -> Option<Timestamp> {
        Claims::read(&self.bytes).ok()?.created
    }

    /// The bundle with a signature by this key.
    ///
    /// # Errors
    /// If the key refuses its own signature; no such case is known.
    pub fn signed_by(self, key: &SigningKey) -> Result<Bundle, SignError> {
        let signature = key.sign_der(&self.to_be_signed());
        self.signed(&key.verifying_key(), &signature)
    }

    /// The bytes to sign, with ECDSA over SHA-256.
    pub fn to_be_signed(&self) -> Vec<u8> {
        pae(PAYLOAD_TYPE, &self.bytes)
    }

    /// The bundle with this signature (DER).
    ///
    /// # Errors
    /// If `key` did not make the signature over these bytes.
    pub fn signed(self, key: &VerifyingKey, signature: &[u8]) -> Result<Bundle, SignError> {
        if !key.accepts(&self.to_be_signed(), signature) {
            return Err(SignError::ForeignSignature);
        }
        let raw = RawBundle {
            media_type: BUNDLE_MEDIA_TYPE.to_owned(),
            verification_material: RawMaterial {
                public_key: Some(RawPublicKey { hint: key.id().as_str().to_owned() }),
                ..RawMaterial::default()
            },
            dsse_envelope: Some(RawEnvelope {
                payload: BASE64.encode(&self.bytes),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![RawSignature { sig: BASE64.encode(signature), keyid: None }],
            }),
            message_signature: None,
        };
        let claims = Claims::read(&self.bytes).map_err(SignError::Json)?;
        let statement = Digest::of(&self.bytes);
        Ok(Bundle::new(serde_json::to_vec(&raw).map_err(SignError::Json)?, claims, statement))
    }
}

impl Bundle {
    fn new(bytes: Vec<u8>, claims: Claims, statement: Digest) -> Self {
        let Claims { predicate_type, subjects, created } = claims;
        Self { bytes, predicate_type, subjects, created, statement }
    }

    /// Reads a stored bundle **without verifying it**: to attach a saved record, or to list what is there.
    ///
    /// # Errors
    /// If the bytes are not a bundle of this kind around a statement.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Rejection> {
        let envelope = Envelope::open(&bytes)?;
        let claims = Claims::read(&envelope.payload)
            .map_err(|error| Rejection::NotAStatement(error.to_string()))?;
        let statement = Digest::of(&envelope.payload);
        Ok(Self::new(bytes, claims, statement))
    }

    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of [`Self::bytes`]: the name of the record in chains and anchors. It is also the digest of the blob in
    /// the registry, so a record that a listing lacks can be fetched.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The claimed predicate type.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// The digest of the statement, which is the same in every bundle around it.
    pub fn statement_digest(&self) -> Digest {
        self.statement
    }

    /// When what it says happened, if it says so; not verified.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// How to store the record in a registry.
    pub fn attachment(&self) -> RecordAttachment {
        let mut annotations = BTreeMap::from([
            ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
            (PREDICATE_TYPE_ANNOTATION.to_owned(), self.predicate_type.clone()),
        ]);
        // The time of the record, not of the upload: a second attempt then makes the same manifest.
        if let Some(created) = self.created {
            annotations.insert("org.opencontainers.image.created".to_owned(), created.to_string());
        }
        RecordAttachment {
            artifact_type: BUNDLE_MEDIA_TYPE,
            layer_media_type: BUNDLE_MEDIA_TYPE,
            layer: self.bytes.clone(),
            annotations,
            subjects: self.subjects.iter().rev().copied().collect(),
        }
    }
}

/// An OCI manifest to be, one for each of `subjects`: config is the empty blob, one layer, annotations on the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAttachment {
    /// `artifactType` of the manifest.
    pub artifact_type: &'static str,
    /// Media type of the only layer.
    pub layer_media_type: &'static str,
    /// The content of the only layer: the bundle.
    pub layer: Vec<u8>,
    /// Annotations of the manifest, and of its entry in a fallback index; clients choose by them what to fetch.
    pub annotations: BTreeMap<String, String>,
    /// The manifests to attach it to, in this order. Promotions name the environment artifact first: a job that is killed
    /// in between has then extended the ledger, which decides, and not only the history of the release.
    pub subjects: Vec<Digest>,
}

/// What a statement claims, unverified.
pub(crate) struct Claims {
    pub(crate) predicate_type: String,
    pub(crate) subjects: Vec<Digest>,
    created: Option<Timestamp>,
}

impl Claims {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, serde_json::Error> {
        let statement: Statement<Value> = json::parse_as(payload)?;
        let subjects = statement.subjects().collect();
        let created = match statement.predicate_type.as_str() {
            Provenance::TYPE => recorded_at::<Provenance>(statement.predicate),
            TestResult::TYPE => recorded_at::<TestResult>(statement.predicate),
            Promotion::TYPE => recorded_at::<Promotion>(statement.predicate),
            _ => None,
        };
        Ok(Self { predicate_type: statement.predicate_type, subjects, created })
    }
}

fn recorded_at<P: Predicate>(predicate: Value) -> Option<Timestamp> {
    serde_json::from_value::<P>(predicate).ok()?.recorded_at()
}

/// The parts of a bundle that matter, decoded, still unverified.
pub(crate) struct Envelope {
    pub(crate) payload: Vec<u8>,
    pub(crate) seal: Seal,
}

/// What says who signed.
pub(crate) enum Seal {
    /// A signature by the key that `hint` names.
    Key { hint: String, signature: Vec<u8> },
    /// A signature with a certificate, in a bundle of any version.
    Certificate(Box<sigstore_verify::types::Bundle>),
}

impl Envelope {
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.len() > MAX_BUNDLE_SIZE {
            return Err(Rejection::TooLarge(bytes.len()));
        }
        // A repeated field is an error in every struct below; nothing looks into what is kept as a value.
        let raw: RawBundle = serde_json::from_slice(bytes)
            .map_err(|error| Rejection::NotABundle(error.to_string()))?;
        let material = &raw.verification_material;
        let has_certificate =
            material.certificate.is_some() || material.x509_certificate_chain.is_some();
        if raw.media_type != BUNDLE_MEDIA_TYPE && !has_certificate {
            return Err(Rejection::MediaType(raw.media_type));
        }
        let Some(envelope) = raw.dsse_envelope else {
            return Err(Rejection::NotABundle("it has no DSSE envelope".to_owned()));
        };
        if raw.message_signature.is_some() {
            return Err(Rejection::NotABundle("it has a second content".to_owned()));
        }
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(Rejection::PayloadType(envelope.payload_type));
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(Rejection::Signatures(envelope.signatures.len()));
        };
        match raw.verification_material.public_key {
            Some(_) if has_certificate => {
                Err(Rejection::NotABundle("it has a key and a certificate".to_owned()))
            }
            Some(RawPublicKey { hint }) => Ok(Self {
                payload: decode(&envelope.payload)?,
                seal: Seal::Key { hint, signature: decode(&signature.sig)? },
            }),
            None if has_certificate
                && signature.keyid.as_deref().is_some_and(|id| !id.is_empty()) =>
            {
                Err(Rejection::NotABundle("its signature names a key besides".to_owned()))
            }
            None if has_certificate => Self::with_certificate(bytes),
            None => Err(Rejection::NotABundle("it names no key".to_owned())),
        }
    }

    fn with_certificate(bytes: &[u8]) -> Result<Self, Rejection> {
        let not_a_bundle = |error: &dyn std::error::Error| Rejection::NotABundle(error.to_string());
        let text = std::str::from_utf8(bytes).map_err(|error| not_a_bundle(&error))?;
        let bundle = sigstore_verify::types::Bundle::from_json(text)
            .map_err(|error| not_a_bundle(&error))?;
        let payload = certificate::payload(&bundle)
            .ok_or_else(|| Rejection::NotABundle("it has no DSSE envelope".to_owned()))?;
        Ok(Self { payload: payload.to_vec(), seal: Seal::Certificate(Box::new(bundle)) })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Rejection> {
    BASE64.decode(text).map_err(|error| Rejection::NotABundle(format!("base64: {error}")))
}

// The wire form. Unlike statements, it allows no unknown fields: the envelope is not signed, so a field that we do not
// understand may be anybody's.

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawBundle {
    media_type: String,
    verification_material: RawMaterial,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<RawEnvelope>,
    #[serde(default, skip_serializing)]
    message_signature: Option<Value>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMaterial {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<RawPublicKey>,
    #[serde(default, skip_serializing)]
    certificate: Option<Value>,
    #[serde(default, skip_serializing)]
    x509_certificate_chain: Option<Value>,
    // Entries of a transparency log and timestamps add to a signature by a known key; they are not needed. Those of a
    // certificate are read elsewhere.
    #[serde(default, skip_serializing, rename = "tlogEntries")]
    _tlog_entries: Option<Value>,
    #[serde(default, skip_serializing, rename = "timestampVerificationData")]
    _timestamps: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPublicKey {
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<RawSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::EnvironmentArtifact;
    use crate::predicate::TestOutcome;
    use crate::testing::{build, environment, first, key, promoted, release, test_run};

    #[test]
    fn an_attachment_is_what_cosign_looks_for() {
        let bundle = promoted("dev", "one", first(), 0);
        let attachment = bundle.attachment();
        assert_eq!(attachment.artifact_type, "application/vnd.dev.sigstore.bundle.v0.3+json");
        assert_eq!(attachment.layer_media_type, attachment.artifact_type);
        assert_eq!(attachment.layer, bundle.bytes());
        let annotations: Vec<_> = attachment
            .annotations
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            annotations,
            [
                ("dev.sigstore.bundle.content", "dsse-envelope"),
                ("dev.sigstore.bundle.predicateType", "urn:verbatim:promotion:v1"),
                ("org.opencontainers.image.created", "2026-11-24T12:01:00Z"),
            ]
        );
        let environment = *EnvironmentArtifact::of(&environment("dev")).digest();
        assert_eq!(attachment.subjects, [environment, release("one")], "the ledger first");
    }

    #[test]
    fn a_record_is_as_old_as_what_it_tells() {
        let (shop, key) = (release("one"), key(1));
        let run = test_run("dev", TestOutcome::Passed, 3);
        for (bundle, want) in [
            (sign(&Statement::build("shop", &shop, build().provenance()), &key), "12:02:00"),
            (sign(&Statement::test("shop", &shop, run.result()), &key), "12:04:00"),
            (Ok(promoted("dev", "one", first(), 0)), "12:01:00"),
        ] {
            let annotations = bundle.unwrap().attachment().annotations;
            let created = &annotations["org.opencontainers.image.created"];
            assert_eq!(*created, format!("2026-11-24T{want}Z"));
        }
    }

    #[test]
    fn a_saved_record_is_attached_as_the_fresh_one() {
        let bundle = promoted("dev", "one", first(), 0);
        let saved = Bundle::read(bundle.bytes().to_vec()).unwrap();
        assert_eq!(saved, bundle);
        assert_eq!(saved.attachment(), bundle.attachment());
        assert!(Bundle::read(b"{}".to_vec()).is_err());
    }

    /// The wire form, so that nobody changes it by accident: other tools read it.
    #[test]
    fn the_wire_form() {
        let bundle = promoted("dev", "one", first(), 0);
        let value: Value = serde_json::from_slice(bundle.bytes()).unwrap();
        let mut fields: Vec<String> = Vec::new();
        walk("", &value, &mut fields);
        assert_eq!(
            fields,
            [
                "/dsseEnvelope/payload",
                "/dsseEnvelope/payloadType",
                "/dsseEnvelope/signatures/0/sig",
                "/mediaType",
                "/verificationMaterial/publicKey/hint",
            ]
        );
    }

    fn walk(place: &str, value: &Value, fields: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                object
                    .iter()
                    .for_each(|(key, value)| walk(&format!("{place}/{key}"), value, fields));
            }
            Value::Array(array) => {
                array
                    .iter()
                    .enumerate()
                    .for_each(|(at, value)| walk(&format!("{place}/{at}"), value, fields));
            }
            _ => fields.push(place.to_owned()),
        }
    }
}
