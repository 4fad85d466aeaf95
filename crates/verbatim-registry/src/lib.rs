//! A client of container registries, and the tool `verbatim-registry` on top of it.
//!
//! It speaks the [OCI distribution specification][spec] to one registry at a time: digests of tags, manifests, blobs,
//! tags, referrers. It turns a tag into a digest by hashing what it read, never by believing a header; it tells "there
//! is none" from "could not be found out"; and it retries, within a budget, what may be repeated.
//!
//! What an image means, who signed it, and where it may run are not known here.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod auth;
pub mod cli;
mod error;
mod http;
mod operations;

pub use crate::error::{DigestClaim, Error, ErrorKind, ErrorResponse, NetworkError, ResponseError};
pub use crate::http::client::Client;
pub use crate::http::config::{Config, Timeouts};
pub use crate::operations::attach::{AttachedReferrer, Attachment, Layer};
pub use crate::operations::blobs::{MountResult, UploadResult};
pub use crate::operations::copy::{CopyCounts, CopyOptions};
pub use crate::operations::manifests::{
    FetchedManifest, ManifestHead, ManifestName, ResolvedManifest, StoredManifest,
};
pub use crate::operations::probe::WritableRepository;
pub use crate::operations::referrers::{Referrers, ReferrersSource};
pub use crate::operations::tags::DerivedTags;
