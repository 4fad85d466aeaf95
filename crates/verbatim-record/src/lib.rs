//! Signed records about a release: what was built, tested, approved, vetoed, promoted, and by whom.
//!
//! Pure: bytes in, values out. No files, no clock (`now` is an argument), no registry; where records come from and go
//! to is the caller's business.
//!
//! A record is an in-toto [`Statement`] in a DSSE envelope in a Sigstore [`Bundle`], signed with ECDSA P-256. It is made
//! by [`sign`], believed after [`verify`], and stored as [`Bundle::attachment`] says. The promotions of an environment
//! form a [`Chain`].

mod bans;
mod bundle;
mod chain;
mod cosign;
mod custody;
mod dsse;
mod environment;
mod json;
mod key;
mod predicate;
mod records;
mod release;
mod ring;
mod statement;
#[cfg(test)]
mod testing;
mod text;
mod verify;

pub use bans::{in_force, vetoes_against};
pub use bundle::{
    Attachment, BUNDLE_MEDIA_TYPE, Bundle, MAX_BUNDLE_SIZE, PREDICATE_TYPE_ANNOTATION, Payload,
    SignError, sign,
};
pub use chain::{Anchor, AnchorError, Chain, ChainFault};
pub use custody::{Custody, Step, StepKind};
pub use dsse::{PAYLOAD_TYPE, pae};
pub use environment::{
    EMPTY_BLOB, EMPTY_BLOB_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId, EnvironmentIdError,
};
pub use json::JsonText;
pub use key::{KeyError, KeyId, SigningKey, VerifyingKey};
pub use predicate::{
    Adopted, Application, Approval, Ban, Build, BuildDefinition, BuildMetadata, Builder, ChainLink,
    Composed, Evidence, GateResult, Lock, Override, PolicyOrigin, Predicate, PromotedRelease,
    Promotion, PromotionKind, Proof, Provenance, Readback, ReadbackOutcome, Revision, Run,
    RunDetails, Source, SourceClaim, SuiteOutcome, TestOutcome, TestResult, TestRun, Veto,
};
pub use records::{Gathering, Judge, Judged, Records, Rejected};
pub use release::{ReleaseArtifact, ReleaseDocument, ReleaseImage};
pub use ring::{KeyRing, KeyRingError, Power, Powers, Role, Signer, TrustedKey, usual_powers};
pub use statement::{ResourceDescriptor, STATEMENT_TYPE, Statement};
pub use verify::{Expected, MAX_CLOCK_SKEW, Rejection, Verified, verify, verify_any};
