//! A statement as signed bytes: making them, reading them, believing them. What follows from several records is not
//! known here.

mod bundle;
mod certificate;
mod dsse;
mod json;
mod rejection;
#[cfg(test)]
mod released;
mod statement;
mod verify;

pub use bundle::{
    BUNDLE_MEDIA_TYPE, Bundle, MAX_BUNDLE_SIZE, PREDICATE_TYPE_ANNOTATION, Payload,
    RecordAttachment, SignError, sign,
};
pub use dsse::{PAYLOAD_TYPE, pae};
pub use rejection::Rejection;
pub use statement::{STATEMENT_TYPE, Statement};
pub use verify::{Expectation, MAX_CLOCK_SKEW, Verified, verify};

pub(crate) use bundle::Envelope;
pub(crate) use verify::{
    IMAGE_SIGNATURE_TYPE, Opened, complete, complete_any, complete_signature, read_statement,
};
