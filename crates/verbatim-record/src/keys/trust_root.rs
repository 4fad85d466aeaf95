//! Whom identities are believed: the certificate authorities, logs and timestamp authorities that a policy pins, in the
//! form of Sigstore (`trusted_root.json`). Nothing is fetched.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sigstore_verify::Verifier;
use sigstore_verify::crypto::parse_certificate_info;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{DerCertificate, TimeRange};
use verbatim_oci::Digest;

use super::ring_provider;

/// A trust root. What it names, a signature must have: an entry in one of its logs, a certificate in one of its logs of
/// certificates. In any case somebody in it must have seen the time.
#[derive(Clone)]
pub struct TrustRoot {
    verifier: Arc<Verifier>,
    digest: Digest,
    logs: BTreeSet<Vec<u8>>,
    has_certificate_logs: bool,
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Why a text is not a usable trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustRootError {
    /// It is not the JSON of one.
    #[error("not a trusted root of Sigstore: {0}")]
    Form(String),
    /// A key, a certificate or a time in it cannot be used.
    #[error("unusable: {0}")]
    Unusable(String),
    /// Nobody in it makes certificates.
    #[error("it names no certificate authority")]
    NoAuthority,
    /// Nobody in it tells the time, and a certificate counts for minutes.
    #[error(
        "it names no log and no timestamp authority, so nothing tells when a signature was made"
    )]
    NoTime,
}

impl TrustRoot {
    /// Reads a `trusted_root.json`.
    ///
    /// # Errors
    /// If it is none, or not all of it can be used.
    pub fn from_json(text: &str) -> Result<Self, TrustRootError> {
        ring_provider::install();
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| TrustRootError::Form(error.to_string()))?;
        let mut root = TrustedRoot::from_json(text)
            .map_err(|error| TrustRootError::Form(error.to_string()))?;
        narrow(&mut root)?;
        if root.certificate_authorities.is_empty() {
            return Err(TrustRootError::NoAuthority);
        }
        if root.tlogs.is_empty() && root.timestamp_authorities.is_empty() {
            return Err(TrustRootError::NoTime);
        }
        let verifier =
            Verifier::new(&root).map_err(|error| TrustRootError::Unusable(error.to_string()))?;
        Ok(Self {
            verifier: Arc::new(verifier),
            // Not of the bytes: how it is indented says nothing.
            digest: Digest::of(value.to_string().as_bytes()),
            logs: root.tlogs.iter().map(|log| log.log_id.key_id.as_bytes().to_vec()).collect(),
            has_certificate_logs: !root.ctlogs.is_empty(),
        })
    }

    /// The hash of what it says, however it was written.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether a signature must be in a log.
    pub(crate) fn has_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Whether it names a log with this id. The verifier finds the log by what is signed and leaves the id as it is.
    pub(crate) fn has_log(&self, id: &[u8]) -> bool {
        self.logs.contains(id)
    }

    /// Whether a certificate must be in a log.
    pub(crate) fn has_certificate_logs(&self) -> bool {
        self.has_certificate_logs
    }
}

/// Has each authority count while all certificates of its chain do, and its trust root says so. The verifier takes each of
/// them for an anchor, and of an anchor it does not look at the time.
fn narrow(root: &mut TrustedRoot) -> Result<(), TrustRootError> {
    for authority in &mut root.certificate_authorities {
        let chain = authority.cert_chain.certificates.iter().map(|it| &it.raw_bytes);
        authority.valid_for = Some(within(authority.valid_for, chain)?);
    }
    for authority in &mut root.timestamp_authorities {
        let chain = authority.cert_chain.certificates.iter().map(|it| &it.raw_bytes);
        authority.valid_for = Some(within(authority.valid_for, chain)?);
    }
    // One that never counts is no mistake of the others.
    let counts = |window: &Option<TimeRange>| {
        window.is_none_or(|it| it.end.is_none_or(|end| it.start <= end))
    };
    root.certificate_authorities.retain(|it| counts(&it.valid_for));
    root.timestamp_authorities.retain(|it| counts(&it.valid_for));
    Ok(())
}

/// The part of a window in which all certificates of a chain count.
fn within<'a>(
    window: Option<TimeRange>,
    chain: impl Iterator<Item = &'a DerCertificate>,
) -> Result<TimeRange, TrustRootError> {
    let mut window = window.unwrap_or(TimeRange::new(Timestamp::MIN, None));
    for certificate in chain {
        let own = parse_certificate_info(certificate)
            .map_err(|error| TrustRootError::Unusable(error.to_string()))?;
        window.start = window.start.max(own.not_before);
        window.end = Some(window.end.map_or(own.not_after, |end| end.min(own.not_after)));
    }
    Ok(window)
}
