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
mod tests;
