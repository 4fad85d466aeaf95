//! Whether a signature with a certificate is to be believed, by a trust root, and what the certificate says. The work is
//! that of `sigstore-verify`; here stands what it is asked, and what it leaves to its caller.
//!
//! It reads the clock for one thing: a log or a timestamp that is from the future is refused.

use std::collections::BTreeSet;

use sigstore_verify::types::{
    ArtifactDigest, Bundle, HashAlgorithm, SignatureContent, TransparencyLogEntry,
};
use sigstore_verify::{VerificationPolicy, VerificationResult};

use super::rejection::Rejection;
use super::verify::read_statement;
use crate::keys::{SignerCertificate, TrustRoot};
use crate::predicate::ResourceDescriptor;

/// Most entries of logs, and most timestamps, that are looked at. Each costs a signature, and anybody may attach a bundle.
/// As in sigstore-go: <https://github.com/sigstore/sigstore-go/blob/v1.2.2/internal/limits/limits.go>
const MOST_WITNESSES: usize = 32;

/// The bytes that the signature is about. What was verified is what is read: nothing reads them in another way.
pub(super) fn payload(bundle: &Bundle) -> Option<&[u8]> {
    match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => Some(envelope.payload.as_bytes()),
        _ => None,
    }
}

/// What the certificate of a signature says, if all of it is to be believed.
pub(super) fn check(
    root: &TrustRoot,
    bundle: &Bundle,
    payload: &[u8],
) -> Result<SignerCertificate, Rejection> {
    let invalid = |why: &str| Rejection::CertificateInvalid(why.to_owned());
    let material = &bundle.verification_material;
    let (entries, timestamps) =
        (&material.tlog_entries, &material.timestamp_verification_data.rfc3161_timestamps);
    if entries.len() > MOST_WITNESSES || timestamps.len() > MOST_WITNESSES {
        return Err(invalid("it has more log entries or timestamps than anybody needs"));
    }
    // Of one entry nobody counts two.
    let mut seen = BTreeSet::new();
    let is_new = |entry: &TransparencyLogEntry| {
        seen.insert((entry.log_id.key_id.as_bytes().to_vec(), entry.log_index.as_i64()))
    };
    if !entries.iter().all(is_new) {
        return Err(invalid("it has one log entry twice"));
    }
    if !entries.iter().all(|entry| root.has_log(entry.log_id.key_id.as_bytes())) {
        return Err(invalid("it has an entry of a log that is not in the trust root"));
    }
    // The verifier reports success for a loop over no entry.
    let is_logged = |entry: &TransparencyLogEntry| {
        entry.inclusion_proof.is_some() || entry.inclusion_promise.is_some()
    };
    if root.has_logs() && !(entries.iter().any(is_logged) && entries.iter().all(is_logged)) {
        return Err(invalid("it is in no transparency log"));
    }
    let mut asked = VerificationPolicy::any_identity();
    if !root.has_logs() {
        asked = asked.skip_tlog_unsafe();
    }
    if !root.has_certificate_logs() {
        asked = asked.skip_sct();
    }
    let artifact = first_subject(payload)?;
    let result = root
        .verifier()
        .verify(artifact, bundle, &asked)
        .map_err(|error| Rejection::CertificateInvalid(error.to_string()))?;
    let is_complete = result.certificate_verified()
        && (result.tlog_verified() || !root.has_logs())
        && (result.sct_verified() || !root.has_certificate_logs());
    if !is_complete {
        return Err(invalid("not all of it was verified"));
    }
    described(&result).ok_or_else(|| invalid("nothing tells when it was signed"))
}

/// The verifier wants to be told what the statement is about. Which release it must be about is asked later, of every
/// statement alike, so it is told what the statement says.
fn first_subject(payload: &[u8]) -> Result<ArtifactDigest, Rejection> {
    let statement = read_statement(payload)?;
    let digest = |subject: &ResourceDescriptor| {
        let of = |name, algorithm| {
            let bytes = from_hex(subject.digest.get(name)?)?;
            ArtifactDigest::new(algorithm, bytes).ok()
        };
        of("sha256", HashAlgorithm::Sha2256).or_else(|| of("sha512", HashAlgorithm::Sha2512))
    };
    statement
        .subject
        .iter()
        .find_map(digest)
        .ok_or_else(|| Rejection::NotAStatement("no subject has a digest".to_owned()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn described(result: &VerificationResult) -> Option<SignerCertificate> {
    let certificate = result.certificate()?;
    let claims = &certificate.ci_claims;
    Some(SignerCertificate {
        subject: certificate.identity.as_ref().map(|name| name.as_str().to_owned()),
        issuer: certificate.issuer.clone(),
        repository: claims.source_repository_uri.clone(),
        commit: claims.source_repository_digest.clone(),
        reference: claims.source_repository_ref.clone(),
        event: claims.build_trigger.clone(),
        // Whoever saw it first proves how old it is; all of them are within the life of the certificate.
        seen_at: result.verified_timestamps().iter().min().copied()?,
    })
}
