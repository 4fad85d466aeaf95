//! Why a record does not count.

use jiff::Timestamp;
use serde::Serialize;
use verbatim_oci::Digest;
use verbatim_text::plain;

use crate::artifact::EnvironmentId;
use crate::keys::{ClosestIdentity, KeyEnd, OutOfScope, Role};

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
    /// Signed with a short-lived certificate, and the policy has no trust root.
    #[error("it is signed with a certificate; only configured keys are accepted")]
    Certificate,
    /// The certificate, its log entry, its timestamp or its signature is wrong or missing.
    #[error("its certificate does not count: {}", plain(.0))]
    CertificateInvalid(String),
    /// The certificate is that of no configured identity.
    #[error("{}", unknown_identity(.subject.as_deref(), .closest.as_deref()))]
    UnknownIdentity {
        /// Whom the certificate names.
        subject: Option<String>,
        /// The identity that differs least.
        closest: Option<Box<ClosestIdentity>>,
    },
    /// The certificate is that of several identities, so nobody can say whose word it is.
    #[error("its certificate is that of several identities: {}", .0.join(", "))]
    SeveralIdentities(Vec<String>),
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
    /// Made later than now by more than [`MAX_CLOCK_SKEW`](crate::MAX_CLOCK_SKEW): a wrong clock, here or there.
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

fn unknown_identity(subject: Option<&str>, closest: Option<&ClosestIdentity>) -> String {
    let subject = subject.map_or_else(|| "nobody".to_owned(), |name| format!("`{}`", plain(name)));
    let text = format!("its certificate names {subject}, which is no configured identity");
    match closest {
        Some(ClosestIdentity { name, mismatch }) => {
            format!("{text}: {mismatch}, as `{name}` asks")
        }
        None => text,
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
