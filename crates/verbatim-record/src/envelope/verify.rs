//! Whether a record is to be believed. Fails closed: everything that is not known to be right is a [`Rejection`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_text::plain;

use super::bundle::Envelope;
use super::dsse::{PAYLOAD_TYPE, pae};
use super::json;
use super::statement::{STATEMENT_TYPE, STATEMENT_TYPE_0_1, Statement};
use crate::artifact::EnvironmentId;
use crate::keys::{KeyEnd, KeyId, KeyRing, OutOfScope, Power, Role, Signer};
use crate::predicate::{JsonText, Predicate};

/// How far the clock of a signer may be ahead of ours.
pub const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What a record must be about to count.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The manifest that it was found on: the release, or the environment artifact.
    pub subject: Digest,
    /// The environment that it must be about; `None` for any.
    pub environment: Option<EnvironmentId>,
    /// The project that it must belong to, if it names one; `None` for any.
    pub project: Option<String>,
    /// The time to compare statements with; none may be from the future.
    pub now: Timestamp,
}

/// A statement about what was expected, signed by a trusted key with the role that its predicate needs. Only [`verify`]
/// and [`Records`](crate::Records) make one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified<P> {
    record: Digest,
    #[serde(skip)]
    statement_digest: Digest,
    #[serde(flatten, serialize_with = "signed_by")]
    signer: Arc<Signer>,
    recorded_at: Option<Timestamp>,
    #[serde(skip)]
    environment: Option<EnvironmentId>,
    statement: Statement<P>,
    /// The end of its key, if it counts only with a witness. None leaves this crate without one.
    #[serde(skip)]
    ended: Option<KeyEnd>,
}

/// The part of a signer that goes into JSON.
fn signed_by<S: serde::Serializer>(signer: &Signer, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut fields = serializer.serialize_struct("Signer", 2)?;
    fields.serialize_field("signedBy", &signer.name)?;
    fields.serialize_field("keyId", &signer.key_id)?;
    fields.end()
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
        &self.signer.name
    }

    /// The id of the key that signed it.
    pub fn key_id(&self) -> &KeyId {
        &self.signer.key_id
    }

    /// The owner and the rights of the key.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The time of the statement, as its signer says.
    pub fn recorded_at(&self) -> Option<Timestamp> {
        self.recorded_at
    }

    /// The environment that the statement is about.
    pub fn environment(&self) -> Option<&EnvironmentId> {
        self.environment.as_ref()
    }

    /// The signer, shared.
    pub(crate) fn shared_signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// The end of its key, if the record counts only with a witness.
    pub(crate) fn ended(&self) -> Option<KeyEnd> {
        self.ended
    }

    /// The statement.
    pub fn statement(&self) -> &Statement<P> {
        &self.statement
    }

    /// What the statement says.
    pub fn predicate(&self) -> &P {
        &self.statement.predicate
    }
}

/// Why a record does not count. Text from the record is data here; `Display` makes it harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rejection {
    /// What the registry has of it cannot be read: whoever pushed it left it malformed or incomplete.
    #[error("{}", plain(.0))]
    Unusable(String),
    /// Larger than [`MAX_BUNDLE_SIZE`](crate::MAX_BUNDLE_SIZE).
    #[error("it is too large: {0} bytes")]
    TooLarge(usize),
    /// Not the JSON of a bundle.
    #[error("it is not a Sigstore bundle: {}", plain(.0))]
    NotABundle(String),
    /// A bundle of another kind or version.
    #[error("its media type is `{}`", plain(.0))]
    MediaType(String),
    /// Signed with a short-lived certificate, not with a key.
    #[error("it is signed with a certificate; only configured keys are accepted")]
    Certificate,
    /// Another kind of payload.
    #[error("its payload type is `{}`", plain(.0))]
    PayloadType(String),
    /// No signature, or several.
    #[error("it has {0} signatures instead of one")]
    Signatures(usize),
    /// The key is not configured.
    #[error("it is signed by a key that is not configured (`{}`)", plain(.hint))]
    UnknownKey {
        /// The id in the bundle.
        hint: String,
    },
    /// The key did not sign this payload: payload or signature was changed.
    #[error("the signature does not match: key `{key}` did not sign this payload")]
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
    #[error("its predicate type is `{}`, not `{wanted}`", plain(.found))]
    PredicateType {
        /// The type in the statement.
        found: String,
        /// The type that was looked for.
        wanted: String,
    },
    /// A statement of a type that nothing here reads.
    #[error("its predicate type `{}` is not used here", plain(.0))]
    Foreign(String),
    /// The predicate does not match its schema.
    #[error("its predicate is malformed: {}", plain(.0))]
    Predicate(String),
    /// The key may not make such statements.
    #[error("key `{key}` lacks {}", needed(.roles))]
    Role {
        /// Name of the key.
        key: String,
        /// The roles, one of which is needed.
        roles: Vec<Role>,
    },
    /// It is about something else: a record copied to where it does not belong.
    #[error("it is not about {wanted}")]
    Subject {
        /// The manifest that it was found on.
        wanted: Digest,
    },
    /// It is about another environment.
    #[error("it is about environment {}, not {wanted}", .found.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string))]
    Environment {
        /// The environment in the statement.
        found: Option<EnvironmentId>,
        /// The environment that was looked for.
        wanted: EnvironmentId,
    },
    /// It belongs to another project, which may have the same keys.
    #[error("it is of project `{}`, not of `{wanted}`", plain(.found))]
    Project {
        /// The project in the statement.
        found: String,
        /// The project that was looked for.
        wanted: String,
    },
    /// The parts of the statement contradict each other.
    #[error("it contradicts itself: {}", plain(.0))]
    Contradiction(String),
    /// It is about something that the key may not speak of.
    #[error("key `{key}`: {what}")]
    Scope {
        /// Name of the key.
        key: String,
        /// What it may not speak of.
        what: OutOfScope,
    },
    /// Made before the key began.
    #[error("key `{key}` counts from {first:.0} on; it was made at {at:.0}")]
    BeforeKey {
        /// Name of the key.
        key: String,
        /// The first moment of the key.
        first: Timestamp,
        /// The time in the statement.
        at: Timestamp,
    },
    /// Made after the key ended.
    #[error("key `{key}` is {end}; it was made at {at:.0}, later")]
    AfterKey {
        /// Name of the key.
        key: String,
        /// The end of the key.
        end: KeyEnd,
        /// The time in the statement.
        at: Timestamp,
    },
    /// The key has ended, and only its own word says that the record is older than that.
    #[error("key `{key}` is {end}, and no record of another key from before then names this one")]
    NoWitness {
        /// Name of the key.
        key: String,
        /// The end of the key.
        end: KeyEnd,
    },
    /// Made later than now by more than [`MAX_CLOCK_SKEW`]: a wrong clock, here or there.
    #[error("it was made at {at}, which is in the future; it is {now} here")]
    Future {
        /// The time in the statement.
        at: Timestamp,
        /// The time here.
        now: Timestamp,
    },
}

impl Rejection {
    /// Whether a trusted key signed it that may not say this: for its roles, its scope or its life.
    pub fn is_limit_of_key(&self) -> bool {
        matches!(self, Self::Role { .. } | Self::Scope { .. } | Self::BeforeKey { .. })
            || self.is_end_of_key()
    }

    /// Whether it does not count because its key has ended.
    pub fn is_end_of_key(&self) -> bool {
        matches!(self, Self::AfterKey { .. } | Self::NoWitness { .. })
    }
}

fn needed(roles: &[Role]) -> String {
    match roles {
        [] => "a role for it; no role has".to_owned(),
        [role] => format!("the role `{role}`"),
        many => {
            let names: Vec<_> = many.iter().map(|role| format!("`{role}`")).collect();
            format!("one of the roles {}", names.join(", "))
        }
    }
}

/// Verifies one stored bundle: exactly one signature, by a configured key, over exactly these bytes; a statement of the
/// type `P` by a key with the role for it, about the expected subject and environment, and not from the future.
///
/// # Errors
/// If the record does not count, with the first reason. That is an answer, not a failure.
pub fn verify<P: Predicate>(
    bundle: &[u8],
    ring: &KeyRing,
    expected: &Expectation,
) -> Result<Verified<P>, Rejection> {
    let opened = Opened::open(Digest::of(bundle), &Envelope::open(bundle)?, ring)?;
    let verified = complete(opened, ring, expected)?;
    match without_witness(&verified) {
        Some(rejection) => Err(rejection),
        None => Ok(verified),
    }
}

/// Why a record does not count alone, if it does not: its key has ended.
fn without_witness<P>(verified: &Verified<P>) -> Option<Rejection> {
    let end = verified.ended?;
    Some(Rejection::NoWitness { key: verified.signer.name.clone(), end })
}

/// The rest of [`verify`], after the check of the signature.
pub(crate) fn complete<P: Predicate>(
    opened: Opened,
    ring: &KeyRing,
    expected: &Expectation,
) -> Result<Verified<P>, Rejection> {
    let Opened { record, statement_digest, signer, statement: outer } = opened;
    if outer.predicate_type != P::TYPE {
        return Err(Rejection::PredicateType {
            found: outer.predicate_type,
            wanted: P::TYPE.to_owned(),
        });
    }
    if let Some(power) = P::POWER {
        check_power(ring, &signer, power)?;
    }
    let predicate: P = serde_json::from_value(outer.predicate)
        .map_err(|error| Rejection::Predicate(error.to_string()))?;
    let statement = Statement {
        kind: outer.kind,
        subject: outer.subject,
        predicate_type: outer.predicate_type,
        predicate,
    };
    if let Some(power) = statement.predicate.further_power() {
        check_power(ring, &signer, power)?;
    }
    let subjects = check_subject(&statement, &expected.subject)?;
    check_predicate(&statement.predicate, &subjects, expected)?;
    let (recorded_at, environment) =
        (statement.predicate.recorded_at(), statement.predicate.environment());
    check_scope(&signer, &statement.predicate, expected)?;
    let ended = check_life(&signer, recorded_at, expected.now)?;
    let ended = ended.filter(|_| !statement.predicate.only_keeps_out());
    Ok(Verified { record, statement_digest, signer, recorded_at, environment, statement, ended })
}

/// The same for a statement of any type, of which only the subject is checked. The caller judges which role the key needs
/// and what the predicate has to say. The result has no time.
pub(crate) fn complete_any(
    opened: Opened,
    expected: &Expectation,
) -> Result<Verified<JsonText>, Rejection> {
    let Opened { record, statement_digest, signer, statement } = opened;
    check_subject(&statement, &expected.subject)?;
    let project = signer.scope.check_project(expected.project.as_deref());
    project.map_err(|what| Rejection::Scope { key: signer.name.clone(), what })?;
    let ended = check_life(&signer, None, expected.now)?;
    let Statement { kind, subject, predicate_type, predicate } = statement;
    Ok(Verified {
        record,
        statement_digest,
        signer,
        recorded_at: None,
        environment: None,
        statement: Statement { kind, subject, predicate_type, predicate: predicate.into() },
        ended,
    })
}

/// The statement in a bundle whose signature is right.
pub(crate) struct Opened {
    record: Digest,
    statement_digest: Digest,
    signer: Arc<Signer>,
    statement: Statement<serde_json::Value>,
}

impl Opened {
    /// Checks the signature. From here on the bytes are those of a trusted key; what they say is read by one parser only,
    /// once.
    pub(crate) fn open(
        record: Digest,
        envelope: &Envelope,
        ring: &KeyRing,
    ) -> Result<Self, Rejection> {
        let signer = check_signature(envelope, ring)?;
        let statement = read_statement(&envelope.payload)?;
        if ![STATEMENT_TYPE, STATEMENT_TYPE_0_1].contains(&statement.kind.as_str()) {
            return Err(Rejection::StatementType(statement.kind));
        }
        if statement.predicate_type.is_empty() {
            return Err(Rejection::NotAStatement("its predicate type is empty".to_owned()));
        }
        if !statement.predicate.is_object() {
            return Err(Rejection::NotAStatement("its predicate is not an object".to_owned()));
        }
        let statement_digest = Digest::of(&envelope.payload);
        Ok(Self { record, statement_digest, signer, statement })
    }

    pub(crate) fn predicate_type(&self) -> &str {
        &self.statement.predicate_type
    }
}

/// Reads a payload without a look at its signature.
pub(crate) fn read_statement(payload: &[u8]) -> Result<Statement<serde_json::Value>, Rejection> {
    json::parse_as(payload).map_err(|error| Rejection::NotAStatement(error.to_string()))
}

fn check_power(ring: &KeyRing, signer: &Signer, power: Power) -> Result<(), Rejection> {
    if ring.has_power(&signer.roles, power) {
        return Ok(());
    }
    let roles = ring.roles(power).cloned().collect();
    Err(Rejection::Role { key: signer.name.clone(), roles })
}

fn check_signature(envelope: &Envelope, ring: &KeyRing) -> Result<Arc<Signer>, Rejection> {
    let Some(entry) = ring.find_hint(&envelope.hint) else {
        return Err(Rejection::UnknownKey { hint: envelope.hint.clone() });
    };
    if !entry.key.key.accepts(&pae(PAYLOAD_TYPE, &envelope.payload), &envelope.signature) {
        return Err(Rejection::BadSignature { key: entry.key.name.clone() });
    }
    Ok(Arc::clone(&entry.signer))
}

/// All subjects, if the expected one is among them and every one of them can be compared.
fn check_subject<P>(statement: &Statement<P>, wanted: &Digest) -> Result<Vec<Digest>, Rejection> {
    if !statement.is_about(wanted) {
        return Err(Rejection::Subject { wanted: *wanted });
    }
    let subjects: Vec<Digest> = statement.subjects().collect();
    if subjects.len() != statement.subject.len() {
        return Err(Rejection::Contradiction("a subject has no sha256 digest".to_owned()));
    }
    Ok(subjects)
}

fn check_predicate<P: Predicate>(
    predicate: &P,
    subjects: &[Digest],
    expected: &Expectation,
) -> Result<(), Rejection> {
    predicate.check(subjects).map_err(Rejection::Contradiction)?;
    if let Some(wanted) = &expected.environment {
        let found = predicate.environment();
        let is_for_all = P::IS_FOR_ALL && found.is_none();
        if !is_for_all && found.as_ref() != Some(wanted) {
            return Err(Rejection::Environment { found, wanted: wanted.clone() });
        }
    }
    if let (Some(wanted), Some(found)) = (&expected.project, predicate.project())
        && found != *wanted
    {
        return Err(Rejection::Project { found, wanted: wanted.clone() });
    }
    match predicate.recorded_at() {
        Some(at) if at.duration_since(expected.now) > MAX_CLOCK_SKEW => {
            Err(Rejection::Future { at, now: expected.now })
        }
        _ => Ok(()),
    }
}

/// That the key may speak of what the statement is about. A statement that names no project is about the one at hand.
fn check_scope<P: Predicate>(
    signer: &Signer,
    predicate: &P,
    expected: &Expectation,
) -> Result<(), Rejection> {
    let scope = &signer.scope;
    let check = || {
        let project = predicate.project().or_else(|| expected.project.clone());
        scope.check_project(project.as_deref())?;
        if P::IS_PLACED {
            let environment = predicate.environment();
            scope.check_environment(environment.as_ref().map(EnvironmentId::name))?;
        }
        predicate.suites().map_or(Ok(()), |suites| scope.check_suites(suites))
    };
    check().map_err(|what| Rejection::Scope { key: signer.name.clone(), what })
}

/// The end of the key, if it has come; then the time of the statement, which its signer chose, is no evidence.
fn check_life(
    signer: &Signer,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<KeyEnd>, Rejection> {
    let key = || signer.name.clone();
    let stated = at.unwrap_or(now);
    if let Some(first) = signer.life.not_before.filter(|_| signer.life.is_early(stated)) {
        return Err(Rejection::BeforeKey { key: key(), first, at: stated });
    }
    match (signer.life.end(), at) {
        (Some(end), Some(at)) if at >= end.at => Err(Rejection::AfterKey { key: key(), end, at }),
        _ => Ok(signer.life.ended(now)),
    }
}

#[cfg(test)]
mod tests;
