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

pub use crate::error::{Cause, DigestClaim, Error, ErrorKind, Problem, Refusal};
pub use crate::http::client::Client;
pub use crate::http::config::{Config, Timeouts};
pub use crate::operations::attach::{Attached, Attachment, Layer};
pub use crate::operations::blobs::{Mount, Upload};
pub use crate::operations::copy::{Copied, CopyOptions};
pub use crate::operations::manifests::{FetchedManifest, Head, PutAs, PutManifest, Resolved};
pub use crate::operations::probe::Writable;
pub use crate::operations::referrers::{Referrers, ReferrersSource};
pub use crate::operations::tags::DerivedTags;
