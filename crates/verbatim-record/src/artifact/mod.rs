//! The OCI artifacts that records are attached to. Their bytes never change; no signature and no statement comes in here.

mod environment;
mod release;

pub use environment::{
    EMPTY_BLOB, EMPTY_BLOB_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId, EnvironmentIdError,
};
pub use release::{ReleaseArtifact, ReleaseDocument, ReleaseImage};
