//! in-toto Statement v1: what is said about which bytes. Knows no signatures.
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>

use serde::{Deserialize, Serialize};
use verbatim_oci::Digest;

use crate::artifact::EnvironmentId;
use crate::predicate::{
    Approval, HandOver, Lock, Predicate, Promotion, Provenance, ResourceDescriptor, TestResult,
    VerificationSummary, Veto,
};

/// The `_type` of every statement made here.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The `_type` that cosign 3 gives its statements. The fields are the same; only v1 allows more of them in a subject.
pub(crate) const STATEMENT_TYPE_0_1: &str = "https://in-toto.io/Statement/v0.1";

/// A statement with a predicate of one type. Reading ignores fields that this version does not know, as the in-toto
/// parsing rules ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement<P> {
    /// [`STATEMENT_TYPE`]; in statements of cosign that of v0.1, which has the same fields.
    #[serde(rename = "_type")]
    pub kind: String,
    /// What the statement is about; compared by digest, never by name.
    pub subject: Vec<ResourceDescriptor>,
    /// URI of the predicate's schema.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What it says about the subjects.
    pub predicate: P,
}

impl<P: Predicate> Statement<P> {
    fn new(subject: Vec<ResourceDescriptor>, predicate: P) -> Self {
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: P::TYPE.to_owned(),
            predicate,
        }
    }
}

impl<P> Statement<P> {
    /// Whether one of the subjects has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|subject| subject.sha256().as_ref() == Some(digest))
    }

    /// The SHA-256 digests of all subjects that have one, in order.
    pub fn subjects(&self) -> impl Iterator<Item = Digest> + '_ {
        self.subject.iter().filter_map(ResourceDescriptor::sha256)
    }
}

impl Statement<Provenance> {
    /// "This release was built so." `name` is the repository, for people.
    pub fn build(name: &str, release: &Digest, provenance: Provenance) -> Self {
        Self::new(vec![ResourceDescriptor::artifact(name, release)], provenance)
    }
}

impl Statement<TestResult> {
    /// "These suites ran against this release in that environment." `name` is the repository, for people.
    pub fn test(name: &str, release: &Digest, result: TestResult) -> Self {
        let mut subject = vec![ResourceDescriptor::artifact(name, release)];
        subject.extend(result.environment().as_ref().map(ResourceDescriptor::environment));
        Self::new(subject, result)
    }
}

impl Statement<Promotion> {
    /// "This release was moved into that environment." Its two subjects, the release and the environment artifact,
    /// come from the predicate, so that they cannot disagree with it.
    pub fn promotion(promotion: Promotion) -> Self {
        let subject = vec![
            ResourceDescriptor::artifact(&promotion.release.repository, &promotion.release.digest),
            ResourceDescriptor::environment(&promotion.environment),
        ];
        Self::new(subject, promotion)
    }
}

impl Statement<VerificationSummary> {
    /// "This came of checking that release." `name` is the repository, for people.
    pub fn summary(name: &str, release: &Digest, summary: VerificationSummary) -> Self {
        Self::new(vec![ResourceDescriptor::artifact(name, release)], summary)
    }
}

impl Statement<serde_json::Value> {
    /// Anything about a release. `name` is the repository, for people.
    pub fn any(name: &str, release: &Digest, kind: &str, predicate: serde_json::Value) -> Self {
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![ResourceDescriptor::artifact(name, release)],
            predicate_type: kind.to_owned(),
            predicate,
        }
    }
}

impl Statement<Approval> {
    /// "This release may enter that environment." `name` is the repository, for people.
    pub fn approval(name: &str, release: &Digest, approval: Approval) -> Self {
        let subject = vec![
            ResourceDescriptor::artifact(name, release),
            ResourceDescriptor::environment(&approval.environment),
        ];
        Self::new(subject, approval)
    }
}

impl Statement<Veto> {
    /// "This release must not enter that environment", or any; or the lifting of such vetoes. `name` is the repository,
    /// for people.
    pub fn veto(name: &str, release: &Digest, veto: Veto) -> Self {
        let mut subject = vec![ResourceDescriptor::artifact(name, release)];
        subject.extend(veto.environment.as_ref().map(ResourceDescriptor::environment));
        Self::new(subject, veto)
    }

    /// The same, as a part of the ledgers of these environments, if it is for all.
    #[must_use]
    pub fn in_ledgers<'a>(
        mut self,
        environments: impl IntoIterator<Item = &'a EnvironmentId>,
    ) -> Self {
        if self.predicate.environment.is_none() {
            self.subject.extend(environments.into_iter().map(ResourceDescriptor::environment));
        }
        self
    }
}

impl Statement<Lock> {
    /// "No release may enter this environment", or the lifting of such locks. Its subject is the environment alone.
    pub fn lock(lock: Lock) -> Self {
        Self::new(vec![ResourceDescriptor::environment(&lock.environment)], lock)
    }
}

impl Statement<HandOver> {
    /// "Another key goes on in this environment." Its subject is the environment alone.
    pub fn hand_over(hand_over: HandOver) -> Self {
        Self::new(vec![ResourceDescriptor::environment(&hand_over.environment)], hand_over)
    }
}
