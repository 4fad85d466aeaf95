//! A client of container registries, and the tool `verbatim-registry` on top of it.
//!
//! It speaks the [OCI distribution specification][spec] to one registry at a time: digests of tags, manifests, blobs,
//! tags, referrers. It turns a tag into a digest by hashing the manifest, never by trusting a header. It distinguishes
//! "there is none" from "cannot find out". It retries idempotent requests within a budget.
//!
//! It does not know what an image means, who signed it, or where it may run.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod auth;
#[expect(
    missing_docs,
    reason = "comments here are help, and groups have theirs where they are declared"
)]
pub mod cli;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod operations;

pub use crate::error::{
    DigestClaim, Error, ErrorKind, ErrorResponse, NetworkError, ResponseError, UnusableLogin,
};
pub use crate::http::client::Client;
pub use crate::http::config::{Config, Timeouts};
pub use crate::operations::attach::{AttachedReferrer, Attachment, Layer};
pub use crate::operations::blobs::{MountResult, UploadResult};
pub use crate::operations::content::{ReferrerContent, UnusableReferrer};
pub use crate::operations::copy::{CopyCounts, CopyOptions};
pub use crate::operations::manifests::{
    FetchedManifest, ManifestHead, ManifestName, ResolvedManifest, StoredManifest,
};
pub use crate::operations::referrers::{Referrers, ReferrersSource};
pub use crate::operations::tags::DerivedTags;
