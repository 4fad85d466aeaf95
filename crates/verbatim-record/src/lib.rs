//! Signed records about a release: what was built, tested, promoted, and by whom.
//!
//! Pure: bytes in, values out. No files, no clock (`now` is an argument), no registry; where records come from and go
//! to is the caller's business.
//!
//! A record is an in-toto [`Statement`] in a DSSE envelope in a Sigstore [`Bundle`], signed with ECDSA P-256. It is made
//! by [`sign`], believed after [`verify`], and stored as [`Bundle::attachment`] says. The promotions of an environment
//! form a [`Chain`].

mod bundle;
mod chain;
mod custody;
mod dsse;
mod environment;
mod json;
mod key;
mod predicate;
mod records;
mod ring;
mod statement;
#[cfg(test)]
mod testing;
mod text;
mod verify;

pub use bundle::{
    Attachment, BUNDLE_MEDIA_TYPE, Bundle, MAX_BUNDLE_SIZE, Payload, SignError, sign,
};
pub use chain::{Anchor, AnchorError, Chain, ChainFault};
pub use custody::{Custody, Step, StepKind};
pub use dsse::{PAYLOAD_TYPE, pae};
pub use environment::{
    EMPTY_BLOB, EMPTY_BLOB_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId, EnvironmentIdError,
};
pub use key::{KeyError, KeyId, SigningKey, VerifyingKey};
pub use predicate::{
    Application, Build, BuildDefinition, BuildMetadata, Builder, ChainLink, Evidence, GateResult,
    Override, Predicate, PromotedRelease, Promotion, Proof, Provenance, Readback, ReadbackOutcome,
    Revision, Run, RunDetails, Source, SuiteOutcome, TestOutcome, TestResult, TestRun,
};
pub use records::{Records, Rejected};
pub use ring::{KeyRing, KeyRingError, Role, TrustedKey};
pub use statement::{ResourceDescriptor, STATEMENT_TYPE, Statement};
pub use verify::{Expected, MAX_CLOCK_SKEW, Rejection, Verified, verify};
