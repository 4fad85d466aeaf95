//! Copies an image, with its parts and its referrers, to another repository of the same or of another registry.
//!
//! Manifests are copied byte for byte, so digests stay. Content passes through memory in chunks. A manifest is written
//! after everything that it names.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference, Repository, Tag};

use crate::http::transport::ResponseStream;
use crate::http::wire::{BodyStream, RequestBody};
use crate::operations::attach::entry;
use crate::operations::manifests::{FetchedManifest, ManifestName};
use crate::{Client, DigestClaim, Error, ErrorKind, MountResult};

/// How many manifests are copied at the same time.
const CONCURRENCY: usize = 8;

/// How deep indexes and referrers may be nested. In practice the depth is three or less.
const DEEPEST: usize = 16;

/// What to copy besides the image, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// Also copy the referrers of the image and its parts, and their referrers.
    pub referrers: bool,
    /// Also move a tag that names another image.
    pub overwrite: bool,
}

/// The counts of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounts {
    /// Manifests and indexes, copied or already there, including referrers.
    pub manifests: u64,
    /// Referrers.
    pub referrers: u64,
    /// Blobs that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry mounted from another of its repositories.
    pub mounted: u64,
    /// Blobs that were already there.
    pub existed: u64,
}

impl CopyCounts {
    fn add(&mut self, other: Self) {
        self.manifests += other.manifests;
        self.referrers += other.referrers;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.mounted += other.mounted;
        self.existed += other.existed;
    }
}

/// The source and the target of a copy.
#[derive(Clone, Copy)]
struct CopyRoute<'a> {
    from: &'a Repository,
    to: &'a Repository,
}

impl Client {
    /// Copies the manifest `image` from the repository `from` to the repository `to`, and tags it `tag` there. Does not
    /// send content that is already there.
    ///
    /// # Errors
    ///
    /// Besides failures of either registry: [`ErrorKind::TagTaken`], before anything is written, and
    /// [`ErrorKind::NotListed`] if a referrer is stored but not listed.
    pub async fn copy(
        &self,
        from: &Repository,
        image: &FetchedManifest,
        to: &Repository,
        tag: Option<&Tag>,
        options: CopyOptions,
    ) -> Result<CopyCounts, Error> {
        let named = tag.map(|tag| Reference::by_tag(to.clone(), tag.clone()));
        let mut is_tagged = false;
        if let Some(named) = named.as_ref().filter(|_| !options.overwrite)
            && let Some(found) = self.find_manifest(named).await?
        {
            if found.digest != image.digest {
                let kind = ErrorKind::TagTaken { found: found.digest };
                return Err(found.error(format!("copy to {named}"), kind));
            }
            is_tagged = true;
        }
        let way = CopyRoute { from, to };
        let mut parts = BTreeSet::new();
        let mut copied = self.copy_manifest(way, image.clone(), 0, &mut parts).await?;
        if options.referrers {
            copied.add(self.copy_referrers(way, parts).await?);
        }
        if let Some(tag) = tag.filter(|_| !is_tagged) {
            // Last: a client that sees the tag finds everything.
            let name = ManifestName::Tag(tag.clone());
            self.put_manifest(to, &name, &image.own_media_type()?, image.bytes.clone()).await?;
        }
        Ok(copied)
    }

    /// Copies a manifest and everything that it names. `done` holds the digests of copied manifests.
    fn copy_manifest<'a>(
        &'a self,
        way: CopyRoute<'a>,
        manifest: FetchedManifest,
        depth: usize,
        done: &'a mut BTreeSet<Digest>,
    ) -> BoxFuture<'a, Result<CopyCounts, Error>> {
        async move {
            let mut copied = CopyCounts { manifests: 1, ..CopyCounts::default() };
            if !done.insert(manifest.digest) {
                return Ok(CopyCounts::default());
            }
            let media_type = manifest.own_media_type()?;
            match manifest.parse()? {
                Manifest::Index(index) => {
                    if depth == DEEPEST {
                        let kind = ErrorKind::Malformed("indexes are nested too deeply".to_owned());
                        return Err(manifest.error("copy", kind));
                    }
                    let (blobs, parts): (Vec<_>, Vec<_>) =
                        index.manifests.into_iter().partition(Descriptor::is_blob);
                    copied.add(self.copy_blobs(way, blobs.into_iter()).await?);
                    for part in parts {
                        let part = Reference::by_digest(way.from.clone(), part.digest);
                        let part = self.manifest(&part).await?;
                        copied.add(self.copy_manifest(way, part, depth + 1, done).await?);
                    }
                }
                Manifest::Image(image) => {
                    let target = Reference::by_digest(way.to.clone(), manifest.digest);
                    if self.is_stored(&target).await? {
                        // Registries accept a manifest only with its blobs.
                        return Ok(copied);
                    }
                    let blobs = image.layers.into_iter().chain([image.config]);
                    copied.add(self.copy_blobs(way, blobs).await?);
                }
                _ => {}
            }
            self.put_manifest(way.to, &ManifestName::Digest, &media_type, manifest.bytes).await?;
            Ok(copied)
        }
        .boxed()
    }

    /// Whether a manifest is there. A registry that does not tell gets it written.
    async fn is_stored(&self, target: &Reference) -> Result<bool, Error> {
        match self.head(target).await {
            Err(error) if error.kind().refusal().is_some() => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    async fn copy_blobs(
        &self,
        way: CopyRoute<'_>,
        blobs: impl Iterator<Item = Descriptor>,
    ) -> Result<CopyCounts, Error> {
        let distinct: BTreeMap<Digest, Descriptor> =
            // Layers that are stored elsewhere by their type, and may not be redistributed.
            blobs.filter(|blob| !is_foreign(blob)).map(|blob| (blob.digest, blob)).collect();
        stream::iter(distinct.into_values())
            .map(|blob| async move { self.copy_blob(way, &blob).await })
            .buffer_unordered(CONCURRENCY)
            .try_fold(CopyCounts::default(), |mut all, one| async move {
                all.add(one);
                Ok(all)
            })
            .await
    }

    async fn copy_blob(&self, way: CopyRoute<'_>, blob: &Descriptor) -> Result<CopyCounts, Error> {
        let CopyRoute { from, to } = way;
        if self.may_skip(to, &blob.digest).await? {
            return Ok(CopyCounts { existed: 1, ..CopyCounts::default() });
        }
        if self.mount(to, &blob.digest, from).await? == MountResult::Mounted {
            return Ok(CopyCounts { mounted: 1, ..CopyCounts::default() });
        }
        // The semaphore is never closed.
        let _permit = self.copies().acquire().await.ok();
        let call = self.blob_call("copy", from, &blob.digest, blob.size).await?;
        let (call, place) = (&call, call.place());
        let open = || {
            let place = place.clone();
            async move {
                let pieces = verified(self.transport().open(call).await?, blob);
                let pieces = BodyStream::new(pieces.map_err(move |kind| place.error(kind)));
                Ok(RequestBody::Stream { pieces, size: blob.size })
            }
            .boxed()
        };
        self.send(to, blob.digest, open).await?;
        Ok(CopyCounts { sent: 1, sent_bytes: blob.size, ..CopyCounts::default() })
    }

    /// Copies the referrers of `subjects`, and their referrers, and makes sure that they are listed.
    async fn copy_referrers(
        &self,
        way: CopyRoute<'_>,
        subjects: BTreeSet<Digest>,
    ) -> Result<CopyCounts, Error> {
        let mut all = CopyCounts::default();
        let mut done = subjects.clone();
        let mut layer: Vec<Digest> = subjects.into_iter().collect();
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            for subject in layer {
                let listed = self.referrers(way.from, &subject, None).await?.descriptors;
                let copies = stream::iter(&listed).map(|referrer| async move {
                    let reference = Reference::by_digest(way.from.clone(), referrer.digest);
                    let manifest = self.manifest(&reference).await?;
                    let entry = entry(manifest.parse()?, &manifest.bytes);
                    let mut parts = BTreeSet::new();
                    let copied = self.copy_manifest(way, manifest, 0, &mut parts).await?;
                    Ok::<_, Error>((copied, entry, parts))
                });
                let copies: Vec<_> = copies.buffered(CONCURRENCY).try_collect().await?;
                let mut entries = Vec::new();
                for (copied, entry, parts) in copies {
                    all.add(CopyCounts { referrers: 1, ..copied });
                    // A referrer whose own subject is another one is not listed again.
                    entries.extend(entry.filter(|(of, _)| of.digest == subject).map(|it| it.1));
                    next.extend(parts.into_iter().filter(|part| done.insert(*part)));
                }
                if !entries.is_empty() {
                    self.see_listed(way.to, &subject, &entries).await?;
                }
            }
            if next.is_empty() {
                return Ok(all);
            }
            layer = next;
        }
        Err(Error::at(
            "copy referrers",
            way.from.to_string(),
            ErrorKind::Malformed("referrers are nested too deeply".to_owned()),
        ))
    }
}

/// Types of layers that must be fetched from their origin, by their licence.
fn is_foreign(blob: &Descriptor) -> bool {
    blob.media_type.contains(".nondistributable.") || blob.media_type.contains(".foreign.")
}

/// The chunks of a blob. The last one is held back until the size and the hash of all are verified, so a registry never
/// gets a complete wrong blob.
fn verified(
    stream: ResponseStream,
    blob: &Descriptor,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, ErrorKind>> + Send + 'static {
    struct VerifiedBlob {
        stream: ResponseStream,
        held: Option<bytes::Bytes>,
        hash: Sha256,
        left: u64,
        expected: Digest,
        limit: u64,
        ended: bool,
    }
    let state = VerifiedBlob {
        stream,
        held: None,
        hash: Sha256::new(),
        left: blob.size,
        expected: blob.digest,
        limit: blob.size,
        ended: false,
    };
    stream::try_unfold(state, |mut state| async move {
        if state.ended {
            return Ok(None);
        }
        loop {
            let Some(chunk) = state.stream.chunk().await? else {
                let actual = Digest::from_sha256(state.hash.clone().finalize().into());
                if actual != state.expected {
                    let (claim, expected) = (DigestClaim::Asked, state.expected);
                    return Err(ErrorKind::DigestMismatch { claim, expected, actual });
                }
                state.ended = true;
                return Ok(state.held.take().map(|last| (last, state)));
            };
            let size = chunk.len() as u64;
            state.left =
                state.left.checked_sub(size).ok_or(ErrorKind::TooLarge { limit: state.limit })?;
            state.hash.update(&chunk);
            if let Some(piece) = state.held.replace(chunk) {
                return Ok(Some((piece, state)));
            }
        }
    })
}
