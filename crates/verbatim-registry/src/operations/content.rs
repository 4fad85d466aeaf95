//! The content of a referrer, which anybody who may push can have made. One that is malformed, too large or incomplete is an
//! answer about that referrer and no failure of the registry: otherwise whoever may push could stop everybody who reads.
//!
//! What may be the registry's fault, or that of a proxy before it, stays an error: it could hide a record that counts.

use bytes::Bytes;
use verbatim_oci::{Descriptor, Digest, Manifest, ManifestError, Reference, Repository};

use crate::error::{DigestClaim, ErrorResponse};
use crate::http::transport::Call;
use crate::operations::manifests::{MANIFEST_LIMIT, check};
use crate::{Client, Error, ErrorKind};

/// What a referrer holds.
#[derive(Debug)]
pub enum ReferrerContent {
    /// Its first layer, verified.
    Bytes(Bytes),
    /// Nothing that can be used; why.
    Unusable(UnusableReferrer),
}

/// Why a referrer cannot be used. All of it is the doing of who pushed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableReferrer {
    /// The manifest is larger than registries have to accept.
    #[error("its manifest has {size} bytes, more than {MANIFEST_LIMIT}")]
    LargeManifest {
        /// The size in the listing.
        size: u64,
    },
    /// The bytes are those of its digest, and no manifest.
    #[error("its manifest is malformed: {0}")]
    Manifest(ManifestError),
    /// An index, or a manifest without layers.
    #[error("it has no content")]
    Empty,
    /// More than the caller reads.
    #[error("its content has more than {limit} bytes")]
    LargeContent {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The manifest says another size.
    #[error("its content has {actual} bytes, its manifest says {told}")]
    Size {
        /// The size in the manifest.
        told: u64,
        /// The size of the content.
        actual: u64,
    },
    /// The registry does not have the content, and says so of this blob.
    #[error("its content is not in the registry")]
    Missing,
}

impl Client {
    /// Reads the first layer of a listed referrer, of at most `limit` bytes; without a request, if listing or manifest embed
    /// it.
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached or refuses, does not have the listed manifest, or sends other bytes than those of a
    /// digest.
    pub async fn referrer_content(
        &self,
        repository: &Repository,
        entry: &Descriptor,
        limit: u64,
    ) -> Result<ReferrerContent, Error> {
        match self.content(repository, entry, limit).await? {
            Ok(bytes) => Ok(ReferrerContent::Bytes(bytes)),
            Err(why) => Ok(ReferrerContent::Unusable(why)),
        }
    }

    async fn content(
        &self,
        repository: &Repository,
        entry: &Descriptor,
        limit: u64,
    ) -> Result<Result<Bytes, UnusableReferrer>, Error> {
        let manifest = match entry.embedded() {
            Some(content) => content.into(),
            None if entry.size > MANIFEST_LIMIT => {
                return Ok(Err(UnusableReferrer::LargeManifest { size: entry.size }));
            }
            None => self.manifest_bytes(repository, entry.digest).await?,
        };
        // By its bytes alone: what a header says of them is not the doing of who pushed them.
        let layer = match Manifest::parse(&manifest, None) {
            Ok(Manifest::Image(image)) => image.layers.into_iter().next(),
            Ok(_) => None,
            Err(error) => return Ok(Err(UnusableReferrer::Manifest(error))),
        };
        let Some(layer) = layer else { return Ok(Err(UnusableReferrer::Empty)) };
        if layer.size > limit {
            return Ok(Err(UnusableReferrer::LargeContent { limit }));
        }
        match layer.embedded() {
            Some(content) => Ok(Ok(content.into())),
            None => self.layer_bytes(repository, &layer, limit).await,
        }
    }

    /// The bytes of a manifest, whatever they are.
    async fn manifest_bytes(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Bytes, Error> {
        let reference = Reference::by_digest(repository.clone(), digest);
        let call = self.manifest_call(format!("read {reference}"), &reference).await?;
        let answer = self.transport().call(&call).await?;
        check(&call, DigestClaim::Asked, digest, Digest::of(&answer.body))?;
        Ok(answer.body)
    }

    async fn layer_bytes(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        limit: u64,
    ) -> Result<Result<Bytes, UnusableReferrer>, Error> {
        let call = self.blob_call("read", repository, &layer.digest, limit).await?;
        let call = Call { answers: &[404], ..call };
        let answer = match self.transport().call(&call).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.kind(), ErrorKind::TooLarge { .. }) => {
                return Ok(Err(UnusableReferrer::LargeContent { limit }));
            }
            Err(error) => return Err(error),
        };
        if answer.status == 404 {
            let response = ErrorResponse::read(answer.status, &answer.body);
            // Others say 404 of everything that they do not show.
            return match response.has_code("BLOB_UNKNOWN") {
                true => Ok(Err(UnusableReferrer::Missing)),
                false => Err(call.error(ErrorKind::NotFound(response))),
            };
        }
        check(&call, DigestClaim::Asked, layer.digest, Digest::of(&answer.body))?;
        let (told, actual) = (layer.size, answer.body.len() as u64);
        match told == actual {
            true => Ok(Ok(answer.body)),
            false => Ok(Err(UnusableReferrer::Size { told, actual })),
        }
    }
}
