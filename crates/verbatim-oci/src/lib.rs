//! The names and the documents of container images.
//!
//! Names (digest, tag, repository, reference, platform) are types that cannot hold a wrong value: parse them once, at the
//! edge. Documents (manifest, index, descriptor) follow the [OCI image specification][image] and Docker's
//! schema 2, which differs in media types only.
//!
//! This crate is pure: it knows no network, no file, no clock. What asks a registry belongs into `verbatim-registry`.
//!
//! [image]: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md

mod descriptor;
mod digest;
mod lenient;
mod manifest;
pub mod media_type;
mod platform;
mod reference;
mod repository;
mod tag;

pub use crate::descriptor::Descriptor;
pub use crate::digest::{Digest, DigestError, short_digests};
pub use crate::manifest::{ImageManifest, Index, Manifest, ManifestError};
pub use crate::platform::{Platform, PlatformError};
pub use crate::reference::{Reference, ReferenceError, ReferenceErrorKind};
pub use crate::repository::{Repository, RepositoryError};
pub use crate::tag::{Tag, TagError};

/// Serde by the printed form, for the types that are names.
macro_rules! serde_by_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text =
                    <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_by_text;
