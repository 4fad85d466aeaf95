//! Reads, hashes and writes manifests.

use bytes::Bytes;
use http::Method;
use verbatim_http::RedactedUrl;
use verbatim_oci::{
    Descriptor, Digest, Manifest, Platform, Reference, Repository, Tag, media_type,
};

use crate::auth::scope::TokenScope;
use crate::error::{DigestClaim, ErrorResponse};
use crate::http::transport::{Call, RegistryResponse};
use crate::http::wire::RequestBody;
use crate::operations::fallback::overwriting_refused;
use crate::{Client, Error, ErrorKind};

/// The specification asks registries to accept manifests of 4 MiB; tools write no larger ones.
pub(crate) const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

/// The largest answer to a written manifest, in bytes.
const SMALL: u64 = 64 * 1024;

/// A manifest as it was read. The digest is the hash of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The hash of `bytes`.
    pub digest: Digest,
    /// The media type from the response header.
    pub media_type: String,
    /// The bytes, unchanged.
    pub bytes: Bytes,
    url: RedactedUrl,
}

impl FetchedManifest {
    /// Reads the document.
    ///
    /// # Errors
    ///
    /// If the bytes are not a manifest or index of schema 2, or contradict the media type of the response.
    pub fn parse(&self) -> Result<Manifest, Error> {
        let media_type = Some(self.media_type.as_str()).filter(|text| !text.is_empty());
        Manifest::parse(&self.bytes, media_type)
            .map_err(|error| self.error("read the manifest", ErrorKind::Manifest(error)))
    }

    /// The media type of the document, else of the response.
    pub(crate) fn own_media_type(&self) -> Result<String, Error> {
        Ok(self.parse()?.media_type().to_owned())
    }

    /// An error about this manifest.
    pub(crate) fn error(&self, action: impl Into<String>, kind: ErrorKind) -> Error {
        Error::at(action, &self.url, kind)
    }

    /// The descriptor of this manifest.
    ///
    /// # Errors
    ///
    /// As [`FetchedManifest::parse`].
    pub fn descriptor(&self) -> Result<Descriptor, Error> {
        let manifest = self.parse()?;
        Ok(Descriptor { digest: self.digest, ..Descriptor::of(manifest.media_type(), &self.bytes) })
    }
}

/// A reference with its digest, and the manifest that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedManifest {
    /// The given reference with the digest. The tag stays, for people.
    pub reference: Reference,
    /// The manifest.
    pub manifest: FetchedManifest,
}

impl ResolvedManifest {
    /// The digest: the hash of the manifest's bytes.
    pub fn digest(&self) -> Digest {
        self.manifest.digest
    }
}

/// What a registry claims about a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest, if the registry sends one.
    pub digest: Option<Digest>,
    /// The media type, if the registry sends one.
    pub media_type: Option<String>,
    /// The size in bytes, if the registry sends it.
    pub size: Option<u64>,
}

/// The name under which a manifest is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestName {
    /// A tag.
    Tag(Tag),
    /// Its digest, and no tag.
    Digest,
}

/// A stored manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The hash of the bytes that were sent. The registry did not contradict it.
    pub digest: Digest,
    /// The subject, if the registry says (`OCI-Subject`) that it will list the manifest among its referrers.
    pub subject: Option<Digest>,
}

impl Client {
    /// Turns a reference into a digest: reads the manifest with one GET and hashes it. For a multi-platform image this
    /// is the digest of the index.
    ///
    /// # Errors
    ///
    /// Besides failures of the registry: [`ErrorKind::DigestMismatch`] if the hash of the content differs from the
    /// reference or the registry's header.
    pub async fn resolve(&self, reference: &Reference) -> Result<ResolvedManifest, Error> {
        let manifest = self.manifest(reference).await?;
        Ok(ResolvedManifest { reference: reference.pinned(manifest.digest), manifest })
    }

    /// Turns a reference into the digest of the image for one platform. If the reference names no index, returns the
    /// image itself.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`], and [`ErrorKind::NoPlatform`] if the index has no such image.
    pub async fn resolve_for(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedManifest, Error> {
        let resolved = self.resolve(reference).await?;
        let Manifest::Index(index) = resolved.manifest.parse()? else { return Ok(resolved) };
        match index.image_for(platform) {
            Some(image) => self.resolve(&reference.pinned(image.digest)).await,
            None => {
                let available = index.images().filter_map(|image| image.platform.clone()).collect();
                let kind = ErrorKind::NoPlatform { wanted: platform.clone(), available };
                Err(resolved.manifest.error(format!("resolve {reference} for {platform}"), kind))
            }
        }
    }

    /// Reads a manifest, with one GET, and hashes it.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`].
    pub async fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, Error> {
        let call = self.manifest_call(format!("read {reference}"), reference).await?;
        let answer = self.transport().call(&call).await?;
        fetched(&call, reference.digest, &answer)
    }

    /// Reads the manifest that a descriptor points to, without a request if the descriptor embeds it.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`].
    pub async fn described(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<FetchedManifest, Error> {
        let reference = Reference::by_digest(repository.clone(), descriptor.digest);
        let Some(content) = descriptor.embedded() else { return self.manifest(&reference).await };
        let call = self.manifest_call(format!("read {reference}"), &reference).await?;
        let fetched = FetchedManifest {
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
            bytes: content.into(),
            url: RedactedUrl::of_request(&call.url),
        };
        fetched.parse()?;
        Ok(fetched)
    }

    /// Reads a manifest that may be absent: `None` if the registry answers 404.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`].
    pub async fn find_manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<FetchedManifest>, Error> {
        self.find_manifest_within(reference, MANIFEST_LIMIT).await
    }

    pub(crate) async fn find_manifest_within(
        &self,
        reference: &Reference,
        limit: u64,
    ) -> Result<Option<FetchedManifest>, Error> {
        Ok(self.manifest_or_absence(reference, limit).await?.ok())
    }

    /// Reads a manifest that may be absent, or what the registry says of its absence.
    pub(crate) async fn manifest_or_absence(
        &self,
        reference: &Reference,
        limit: u64,
    ) -> Result<Result<FetchedManifest, ErrorResponse>, Error> {
        let call = self.manifest_call(format!("read {reference}"), reference).await?;
        let call = Call { answers: &[404], limit, ..call };
        let answer = self.transport().call(&call).await?;
        if answer.status == 404 {
            return Ok(Err(ErrorResponse::read(answer.status, &answer.body)));
        }
        fetched(&call, reference.digest, &answer).map(Ok)
    }

    /// Asks whether a manifest exists, without reading it: `None` if the registry answers 404. The answer holds claims;
    /// [`Client::resolve`] hashes.
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached or refuses.
    pub async fn head(&self, reference: &Reference) -> Result<Option<ManifestHead>, Error> {
        let call = self.manifest_call(format!("look for {reference}"), reference).await?;
        let call = Call { method: Method::HEAD, answers: &[404], ..call };
        let answer = self.transport().call(&call).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let digest = claimed_digest(&answer);
        if let (Some(asked), Some(claimed)) = (reference.digest, digest) {
            check(&call, DigestClaim::Asked, asked, claimed)?;
        }
        let size = answer.header("content-length").and_then(|text| text.parse().ok());
        Ok(Some(ManifestHead { digest, media_type: content_type(&answer), size }))
    }

    /// Writes a manifest, byte for byte, and checks the digest in the response. If the response for a tag has none,
    /// reads the manifest back. A registry may refuse to write what is there already: that is no error.
    ///
    /// # Errors
    ///
    /// Besides failures of the registry: [`ErrorKind::DigestMismatch`] if it stored something else.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        name: &ManifestName,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<StoredManifest, Error> {
        let (digest, reference) = named(repository, name, &bytes);
        match self.put(repository, name, media_type, bytes, true).await {
            Err(error) if overwriting_refused(error.kind()).is_some() => {
                // A tag that must not change, and that already is what it should be.
                match self.find_manifest(&reference).await {
                    Ok(Some(found)) if found.digest == digest => {
                        Ok(StoredManifest { digest, subject: None })
                    }
                    _ => Err(error),
                }
            }
            put => put,
        }
    }

    pub(crate) async fn put(
        &self,
        repository: &Repository,
        name: &ManifestName,
        media_type: &str,
        bytes: Bytes,
        repeat: bool,
    ) -> Result<StoredManifest, Error> {
        let (digest, reference) = named(repository, name, &bytes);
        let url = self.url(repository, &format!("manifests/{}", reference.manifest_name())).await?;
        let call = Call {
            method: Method::PUT,
            need: TokenScope::push(repository),
            body: RequestBody::Bytes { content_type: media_type.to_owned(), bytes },
            repeat,
            ..Call::get(format!("write {reference}"), repository, url, SMALL)
        };
        let answer = self.transport().call(&call).await?;
        match claimed_digest(&answer) {
            Some(claimed) => check(&call, DigestClaim::Header, claimed, digest)?,
            None if *name == ManifestName::Digest => {}
            None => {
                let stored = self.manifest(&reference).await?;
                check(&call, DigestClaim::Asked, digest, stored.digest)?;
            }
        }
        let subject = answer.header("oci-subject").and_then(|text| text.trim().parse().ok());
        Ok(StoredManifest { digest, subject })
    }

    pub(crate) async fn manifest_call<'a>(
        &self,
        action: String,
        reference: &'a Reference,
    ) -> Result<Call<'a>, Error> {
        let repository = &reference.repository;
        let url = self.url(repository, &format!("manifests/{}", reference.manifest_name())).await?;
        let call = Call::get(action, repository, url, MANIFEST_LIMIT);
        Ok(Call { accept: &media_type::ALL_MANIFESTS, ..call })
    }
}

/// The digest of a manifest, and the reference under which it is written.
fn named(repository: &Repository, name: &ManifestName, bytes: &[u8]) -> (Digest, Reference) {
    let digest = Digest::of(bytes);
    let reference = match name {
        ManifestName::Tag(tag) => Reference::by_tag(repository.clone(), tag.clone()),
        ManifestName::Digest => Reference::by_digest(repository.clone(), digest),
    };
    (digest, reference)
}

/// Checks an answer that carries a manifest: the hash of its bytes is what was asked for, and what the header says.
fn fetched(
    call: &Call<'_>,
    asked: Option<Digest>,
    answer: &RegistryResponse,
) -> Result<FetchedManifest, Error> {
    let digest = Digest::of(&answer.body);
    if let Some(asked) = asked {
        check(call, DigestClaim::Asked, asked, digest)?;
    }
    if let Some(claimed) = claimed_digest(answer) {
        check(call, DigestClaim::Header, claimed, digest)?;
    }
    let fetched = FetchedManifest {
        digest,
        media_type: content_type(answer).unwrap_or_default(),
        bytes: answer.body.clone(),
        url: RedactedUrl::of_request(&call.url),
    };
    // A proxy's welcome page has a digest, too; it must not be deployed.
    fetched.parse()?;
    Ok(fetched)
}

pub(crate) fn check(
    call: &Call<'_>,
    claim: DigestClaim,
    expected: Digest,
    actual: Digest,
) -> Result<(), Error> {
    match expected == actual {
        true => Ok(()),
        false => Err(call.error(ErrorKind::DigestMismatch { claim, expected, actual })),
    }
}

/// The digest in the header, if it is a SHA-256 one. What cannot be read claims nothing, and the content is hashed anyway.
pub(crate) fn claimed_digest(answer: &RegistryResponse) -> Option<Digest> {
    let text = answer.header("docker-content-digest")?.trim();
    // Some proxies send an entity tag here.
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    text.parse().ok()
}

/// The type of the body, without parameters.
pub(crate) fn content_type(answer: &RegistryResponse) -> Option<String> {
    let text = answer.header("content-type")?.split(';').next().unwrap_or_default().trim();
    (!text.is_empty()).then(|| text.to_ascii_lowercase())
}
