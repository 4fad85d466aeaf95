//! Whether a record is to be believed. Fails closed: everything that is not known to be right is a [`Rejection`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use verbatim_oci::Digest;

use super::bundle::{Envelope, Seal};
use super::certificate;
use super::dsse::{PAYLOAD_TYPE, pae};
use super::json;
use super::rejection::Rejection;
use super::statement::{STATEMENT_TYPE, STATEMENT_TYPE_0_1, Statement};
use crate::artifact::EnvironmentId;
use crate::keys::{KeyEnd, KeyId, KeyRing, Power, Signer, SignerCertificate, Unidentified};
use crate::predicate::{BuildSource, JsonText, Predicate, Provenance};

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
    let Opened { record, statement_digest, signer, certificate, statement: outer } = opened;
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
    let (stated, environment) =
        (statement.predicate.recorded_at(), statement.predicate.environment());
    check_scope(&signer, &statement.predicate, expected)?;
    let seen_at = certificate.as_ref().map(|certificate| certificate.seen_at);
    if let (Some(stated), Some(seen)) = (stated, seen_at)
        && stated.duration_since(seen) > MAX_CLOCK_SKEW
    {
        let why = format!("it tells of {stated:.0}, and it was signed at {seen:.0}, earlier");
        return Err(Rejection::Contradiction(why));
    }
    if let Some(seen) = seen_at.filter(|seen| seen.duration_since(expected.now) > MAX_CLOCK_SKEW) {
        return Err(Rejection::Future { at: seen, now: expected.now });
    }
    if let (Some(certificate), Some(source)) = (&certificate, statement.predicate.built_from()) {
        check_source(&source, certificate)?;
    }
    let recorded_at = seen_at.or(stated);
    let ended = check_life(&signer, recorded_at, seen_at, expected.now)?;
    let ended = ended.filter(|_| !statement.predicate.only_keeps_out());
    Ok(Verified { record, statement_digest, signer, recorded_at, environment, statement, ended })
}

/// The same for a statement of any type, of which only the subject is checked. The caller judges which role the key needs
/// and what the predicate has to say. The result has no time but that of a certificate.
pub(crate) fn complete_any(
    opened: Opened,
    expected: &Expectation,
) -> Result<Verified<JsonText>, Rejection> {
    let Opened { record, statement_digest, signer, certificate, statement } = opened;
    check_subject(&statement, &expected.subject)?;
    let project = signer.scope.check_project(expected.project.as_deref());
    project.map_err(|what| Rejection::Scope { key: signer.name.clone(), what })?;
    let seen_at = certificate.map(|certificate| certificate.seen_at);
    let ended = check_life(&signer, seen_at, seen_at, expected.now)?;
    let Statement { kind, subject, predicate_type, predicate } = statement;
    Ok(Verified {
        record,
        statement_digest,
        signer,
        recorded_at: seen_at,
        environment: None,
        statement: Statement { kind, subject, predicate_type, predicate: predicate.into() },
        ended,
    })
}

/// The predicate type of what `cosign sign` signs. Its predicate is empty.
/// <https://github.com/sigstore/cosign/blob/v3.1.3/pkg/types/predicate.go>
pub(crate) const IMAGE_SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A signature of an image by a workflow, as a record of its build: of which commit it is, the certificate says, and the
/// statement nothing. That of a key or of a person says nothing of a build at all.
pub(crate) fn complete_signature(
    mut opened: Opened,
    ring: &KeyRing,
    expected: &Expectation,
) -> Result<Verified<Provenance>, Rejection> {
    let told = |certificate: &SignerCertificate| {
        Some(Provenance::of_workflow(
            IMAGE_SIGNATURE_TYPE,
            certificate.subject.as_deref()?,
            certificate.repository.as_deref()?,
            certificate.commit.as_deref()?,
            certificate.reference.as_deref(),
        ))
    };
    let foreign = || Rejection::Foreign(IMAGE_SIGNATURE_TYPE.to_owned());
    let provenance = opened.certificate.as_ref().and_then(told).ok_or_else(foreign)?;
    opened.statement.predicate = serde_json::to_value(provenance)
        .map_err(|error| Rejection::Predicate(error.to_string()))?;
    opened.statement.predicate_type = Provenance::TYPE.to_owned();
    let mut verified: Verified<Provenance> = complete(opened, ring, expected)?;
    // What it is called is what was signed.
    verified.statement.predicate_type = IMAGE_SIGNATURE_TYPE.to_owned();
    Ok(verified)
}

/// The statement in a bundle whose signature is right.
pub(crate) struct Opened {
    record: Digest,
    statement_digest: Digest,
    signer: Arc<Signer>,
    /// What the certificate says, if it was signed with one.
    certificate: Option<SignerCertificate>,
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
        let (signer, certificate) = check_signature(envelope, ring)?;
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
        Ok(Self { record, statement_digest, signer, certificate, statement })
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

fn check_signature(
    envelope: &Envelope,
    ring: &KeyRing,
) -> Result<(Arc<Signer>, Option<SignerCertificate>), Rejection> {
    let (hint, signature) = match &envelope.seal {
        Seal::Key { hint, signature } => (hint, signature),
        Seal::Certificate(bundle) => {
            let root = ring.trust_root().ok_or(Rejection::Certificate)?;
            let certificate = certificate::check(root, bundle, &envelope.payload)?;
            let signer = ring.identify(&certificate).map_err(|why| match why {
                Unidentified::Nobody(closest) => {
                    let (subject, closest) = (certificate.subject.clone(), closest.map(Box::new));
                    Rejection::UnknownIdentity { subject, closest }
                }
                Unidentified::Several(names) => Rejection::SeveralIdentities(names),
            })?;
            return Ok((Arc::clone(signer), Some(certificate)));
        }
    };
    let Some((key, signer)) = ring.find_hint(hint) else {
        return Err(Rejection::UnknownKey { hint: hint.clone() });
    };
    if !key.accepts(&pae(PAYLOAD_TYPE, &envelope.payload), signature) {
        return Err(Rejection::BadSignature { key: signer.name.clone() });
    }
    Ok((Arc::clone(signer), None))
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

/// That a build tells of the source that its certificate names. A workflow signs whatever its steps tell it; the identity
/// provider says for which commit it ran.
fn check_source(source: &BuildSource, certificate: &SignerCertificate) -> Result<(), Rejection> {
    let repository = |url: &Option<String>| {
        let url = url.as_deref()?;
        Some(url.strip_suffix(".git").unwrap_or(url).to_owned())
    };
    let branch = source.branch.as_ref().map(|name| format!("refs/heads/{name}"));
    let reference = branch.or_else(|| source.tag.as_ref().map(|name| format!("refs/tags/{name}")));
    let parts = [
        ("repository", repository(&source.repository), repository(&certificate.repository)),
        ("commit", source.commit.clone(), certificate.commit.clone()),
        ("reference", reference, certificate.reference.clone()),
    ];
    for (part, stated, certified) in parts {
        if let (Some(stated), Some(certified)) = (stated, certified)
            && stated != certified
        {
            let why = format!("its {part} is {stated}, and that of its certificate {certified}");
            return Err(Rejection::Contradiction(why));
        }
    }
    Ok(())
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

/// The end of the key, if it has come; then the time of the statement, which its signer chose, is no evidence. `seen` is
/// when somebody else saw the signature, which is evidence enough.
fn check_life(
    signer: &Signer,
    at: Option<Timestamp>,
    seen: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<KeyEnd>, Rejection> {
    let key = || signer.name.clone();
    let stated = at.unwrap_or(now);
    if let Some(first) = signer.life.not_before.filter(|_| signer.life.is_early(stated)) {
        return Err(Rejection::BeforeKey { key: key(), first, at: stated });
    }
    match (signer.life.end(), at) {
        (Some(end), Some(at)) if at >= end.at => Err(Rejection::AfterKey { key: key(), end, at }),
        _ if seen.is_some() => Ok(None),
        _ => Ok(signer.life.ended(now)),
    }
}

#[cfg(test)]
mod tests;
