//! A client of container registries, and the tool `verbatim-registry` on top of it.
//!
//! It speaks the [OCI distribution specification][spec] to one registry at a time: digests of tags, manifests, blobs,
//! tags, referrers. It turns a tag into a digest by hashing what it read, never by believing a header; it tells "there
//! is none" from "could not be found out"; and it retries, within a budget, what may be repeated.
//!
//! What an image means, who signed it, and where it may run are not known here.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod attach;
mod blobs;
mod challenge;
pub mod cli;
mod client;
mod config;
mod copy;
mod endpoint;
mod error;
mod fallback;
mod link;
mod login;
mod manifests;
mod need;
mod probe;
mod realm;
mod referrers;
pub mod retry;
mod tags;
mod tls;
mod token;
mod transport;
mod wire;

pub use crate::attach::{Attached, Attachment, Layer};
pub use crate::blobs::{Mount, Upload};
pub use crate::client::Client;
pub use crate::config::{Config, RetryPolicy, Timeouts};
pub use crate::copy::{Copied, CopyOptions};
pub use crate::error::{Cause, DigestClaim, Error, ErrorKind, Problem, Refusal};
pub use crate::manifests::{FetchedManifest, Head, PutAs, PutManifest, Resolved};
pub use crate::probe::Writable;
pub use crate::referrers::{Referrers, ReferrersSource};
pub use crate::tags::DerivedTags;
