//! Identities in the place of keys: what the certificate of a signature must say. Judges values; whether the certificate
//! is to be believed is judged by the trust root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use verbatim_text::plain;
use wildmatch::WildMatchPattern;

use super::key::KeyId;

/// Who signs without a key of their own: with a certificate of a few minutes, which says who they were then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Who knew them: the URL of the identity provider.
    pub issuer: String,
    /// What the provider calls them.
    pub subject: IdentitySubject,
    /// The repository that a workflow ran for. `None`: the one that the subject is part of. A workflow that others may
    /// call signs for whoever calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A pattern for the git reference that a workflow ran for, such as `refs/tags/v*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What started a workflow, such as `push`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// What an identity provider calls somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentitySubject {
    /// Exactly this: a mail address, or the URI of a workload.
    Exact(String),
    /// The URI of a workflow, at any reference: what stands before the `@`.
    Workflow(String),
}

/// What a certificate says that is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignerCertificate {
    /// The subject alternative name; none if it is of another kind than an address or a URI.
    pub(crate) subject: Option<String>,
    pub(crate) issuer: Option<String>,
    /// The URL of the repository that a CI ran for.
    pub(crate) repository: Option<String>,
    /// The commit that it ran for.
    pub(crate) commit: Option<String>,
    /// The git reference that it ran for.
    pub(crate) reference: Option<String>,
    /// What started it.
    pub(crate) event: Option<String>,
    /// The earliest time at which a log or a timestamp authority saw the signature.
    pub(crate) seen_at: Timestamp,
}

/// Where a certificate is not that of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("its {part} is {}, not {}", .found.as_ref().map_or_else(|| "not named".to_owned(), |it| format!("`{}`", plain(it))), wanted)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMismatch {
    /// The part that differs, such as `subject`.
    pub part: &'static str,
    /// What the certificate says.
    pub found: Option<String>,
    /// What the identity asks for.
    pub wanted: String,
}

/// The identity that a certificate comes closest to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosestIdentity {
    /// The name that people give it.
    pub name: String,
    /// Where the certificate differs.
    #[serde(flatten)]
    pub mismatch: IdentityMismatch,
}

impl IdentityMismatch {
    /// How many parts were compared before this one.
    pub(super) fn progress(&self) -> usize {
        ["issuer", "subject", "repository", "ref", "event"]
            .iter()
            .position(|part| *part == self.part)
            .unwrap_or_default()
    }
}

impl Identity {
    /// The name of this identity where keys have theirs.
    pub fn id(&self) -> KeyId {
        // Texts and nothing else always become JSON; an empty one would merely be the id of no identity.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        KeyId::of_identity(&BASE64.encode(Sha256::digest(canonical)))
    }

    /// Whether a certificate is that of this identity.
    pub(crate) fn check(&self, certificate: &SignerCertificate) -> Result<(), IdentityMismatch> {
        let is = |part, found: &Option<String>, wanted: &str| {
            ensure(part, found, wanted, |found| found == wanted)
        };
        is("issuer", &certificate.issuer, &self.issuer)?;
        let subject = &certificate.subject;
        match &self.subject {
            IdentitySubject::Exact(wanted) => is("subject", subject, wanted)?,
            IdentitySubject::Workflow(wanted) => ensure("subject", subject, wanted, |found| {
                found.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('@'))
            })?,
        }
        self.check_repository(certificate)?;
        if let Some(pattern) = &self.reference {
            let matches = |found: &str| WildMatchPattern::<'*', '?'>::new(pattern).matches(found);
            ensure("ref", &certificate.reference, pattern, matches)?;
        }
        match &self.event {
            Some(event) => is("event", &certificate.event, event),
            None => Ok(()),
        }
    }

    fn check_repository(&self, certificate: &SignerCertificate) -> Result<(), IdentityMismatch> {
        let (part, found) = ("repository", &certificate.repository);
        let (subject, is_workflow) = match &self.subject {
            IdentitySubject::Exact(subject) => (subject, false),
            IdentitySubject::Workflow(workflow) => (workflow, true),
        };
        match &self.repository {
            Some(wanted) => ensure(part, found, wanted, |found| found == wanted),
            // A person has none.
            None if found.is_none() && !is_workflow => Ok(()),
            None => ensure(part, found, &format!("that of {subject}"), |found| {
                subject.strip_prefix(found).is_some_and(|rest| rest.starts_with('/'))
            }),
        }
    }
}

fn ensure(
    part: &'static str,
    found: &Option<String>,
    wanted: &str,
    is_right: impl Fn(&str) -> bool,
) -> Result<(), IdentityMismatch> {
    if found.as_deref().is_some_and(is_right) {
        return Ok(());
    }
    Err(IdentityMismatch { part, found: found.clone(), wanted: wanted.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://token.actions.githubusercontent.com";
    const WORKFLOW: &str = "https://github.com/acme/shop/.github/workflows/release.yml";

    fn certificate() -> SignerCertificate {
        SignerCertificate {
            subject: Some(format!("{WORKFLOW}@refs/heads/main")),
            issuer: Some(ISSUER.to_owned()),
            repository: Some("https://github.com/acme/shop".to_owned()),
            commit: Some("ffac537e6cbbf934b08745a378932722df287a53".to_owned()),
            reference: Some("refs/heads/main".to_owned()),
            event: Some("push".to_owned()),
            seen_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn identity() -> Identity {
        Identity {
            issuer: ISSUER.to_owned(),
            subject: IdentitySubject::Workflow(WORKFLOW.to_owned()),
            repository: None,
            reference: Some("refs/heads/main".to_owned()),
            event: Some("push".to_owned()),
        }
    }

    /// The part that differs.
    #[track_caller]
    fn check(identity: &Identity, certificate: &SignerCertificate, want: Option<&str>) {
        let got = identity.check(certificate).err();
        assert_eq!(got.as_ref().map(|it| it.part), want, "{got:?}");
    }

    #[test]
    fn every_part_of_a_certificate_is_compared() {
        let with = |change: &dyn Fn(&mut SignerCertificate)| {
            let mut certificate = certificate();
            change(&mut certificate);
            certificate
        };
        let some = |text: &str| Some(text.to_owned());
        check(&identity(), &certificate(), None);
        for (want, change) in [
            (
                "issuer",
                &(|it: &mut SignerCertificate| it.issuer = None) as &dyn Fn(&mut SignerCertificate),
            ),
            ("issuer", &|it| it.issuer = some("https://accounts.google.com")),
            ("issuer", &|it| it.issuer = some(&format!("{ISSUER}/"))),
            ("subject", &|it| it.subject = None),
            ("subject", &|it| it.subject = some(WORKFLOW)),
            ("subject", &|it| it.subject = some(&format!("{WORKFLOW}.yml@refs/heads/main"))),
            ("subject", &|it| {
                it.subject = some(
                    "https://github.com/evil/shop/.github/workflows/release.yml@refs/heads/main",
                );
            }),
            ("repository", &|it| it.repository = None),
            ("repository", &|it| it.repository = some("https://github.com/evil/shop")),
            ("repository", &|it| it.repository = some("https://github.com/acme/sho")),
            ("repository", &|it| it.repository = some("")),
            ("ref", &|it| it.reference = None),
            ("ref", &|it| it.reference = some("refs/heads/main2")),
            ("ref", &|it| it.reference = some("refs/pull/1/merge")),
            ("event", &|it| it.event = None),
            ("event", &|it| it.event = some("pull_request_target")),
        ] {
            check(&identity(), &with(change), Some(want));
        }
    }

    #[test]
    fn a_workflow_that_others_call_signs_for_one_repository() {
        let caller = "https://github.com/acme/web".to_owned();
        let called = SignerCertificate { repository: Some(caller.clone()), ..certificate() };
        check(&identity(), &called, Some("repository"));
        let exact = IdentitySubject::Exact(format!("{WORKFLOW}@refs/heads/main"));
        let exact = Identity { subject: exact, ..identity() };
        check(&exact, &certificate(), None);
        check(&exact, &called, Some("repository"));
        let for_caller = Identity { repository: Some(caller), ..identity() };
        check(&for_caller, &called, None);
        check(&for_caller, &certificate(), Some("repository"));
    }

    #[test]
    fn a_person_is_known_by_an_address() {
        let person = Identity {
            issuer: "https://accounts.google.com".to_owned(),
            subject: IdentitySubject::Exact("anna@example.com".to_owned()),
            repository: None,
            reference: None,
            event: None,
        };
        let of = |subject: &str| SignerCertificate {
            subject: Some(subject.to_owned()),
            issuer: Some(person.issuer.clone()),
            repository: None,
            commit: None,
            reference: None,
            event: None,
            seen_at: Timestamp::UNIX_EPOCH,
        };
        check(&person, &of("anna@example.com"), None);
        check(&person, &of("anna@example.com.evil.org"), Some("subject"));
        check(&person, &of("Anna@example.com"), Some("subject"));
    }

    #[test]
    fn a_reference_may_be_a_pattern() {
        let tags = Identity { reference: Some("refs/tags/v*".to_owned()), ..identity() };
        let at = |reference: &str| SignerCertificate {
            reference: Some(reference.to_owned()),
            ..certificate()
        };
        check(&tags, &at("refs/tags/v1.2"), None);
        check(&tags, &at("refs/heads/refs/tags/v1"), Some("ref"));
        assert_ne!(tags.id(), identity().id());
        assert_eq!(identity().id(), identity().id());
    }
}
