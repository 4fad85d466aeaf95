//! Signed records about a release: what was built, tested, approved, vetoed, promoted, and by whom.
//!
//! Pure: bytes in, values out. No files, no clock (`now` is an argument), no registry; where records come from and go
//! to is the caller's business.
//!
//! A record is an in-toto [`Statement`] in a DSSE envelope in a Sigstore [`Bundle`], signed with ECDSA P-256. It is made
//! by [`sign`], believed after [`verify`], and stored as [`Bundle::attachment`] says. The promotions of an environment
//! form a [`Chain`].
//!
//! Folders, each of which knows only those on its left: `keys`, `artifact` ◄ `predicate` ◄ `envelope` ◄ `ledger`.

mod artifact;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod ledger;
mod predicate;
#[cfg(test)]
mod testing;

pub use artifact::{
    EMPTY_BLOB, EMPTY_BLOB_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId, EnvironmentIdError,
    ReleaseArtifact, ReleaseDocument, ReleaseImage,
};
pub use envelope::{
    BUNDLE_MEDIA_TYPE, Bundle, Expectation, MAX_BUNDLE_SIZE, MAX_CLOCK_SKEW, PAYLOAD_TYPE,
    PREDICATE_TYPE_ANNOTATION, Payload, RecordAttachment, Rejection, STATEMENT_TYPE, SignError,
    Statement, Verified, pae, sign, verify,
};
pub use keys::{
    ClosestIdentity, Credential, Identity, IdentityMismatch, IdentitySubject, KeyEnd, KeyError,
    KeyId, KeyLife, KeyRing, KeyRingError, KeyScope, OutOfScope, Person, Power, Powers, Role,
    Signer, SigningKey, TrustRoot, TrustRootError, TrustedKey, VerifyingKey, relined_keys,
    usual_powers,
};
pub use ledger::{
    Anchor, AnchorError, Anchors, Chain, ChainFault, ChainFit, Custody, CustodyStep,
    CustodyStepKind, HiddenRecord, JudgedRecord, LedgerLog, NamedBy, RecordCollector, RecordJudge,
    Records, RejectedRecord, Testimony, in_force, vetoes_against,
};
pub use predicate::{
    AdoptedImage, AppliedOverride, Approval, Ban, BanPlace, Build, BuildDefinition, BuildMetadata,
    BuildPlatform, BuildSource, ChainLink, CiRun, ComposedRelease, GateEvidence, GateResult,
    HandOver, JsonText, Lock, MAX_SOURCE_COMMITS, PolicyChange, PolicyOrigin, PolicyPart,
    Predicate, PromotedApplication, PromotedRelease, Promotion, PromotionKind, PromotionProof,
    Provenance, Readback, ReadbackOutcome, ResourceDescriptor, Revision, RunDetails,
    SeenApplication, SourceClaim, SourceCommit, SuiteOutcome, SummaryResult, SummaryVerifier,
    TestOutcome, TestResult, TestRun, VerificationSummary, Veto, commits_since,
};
