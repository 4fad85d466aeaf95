//! Copying: an image with everything it consists of, and with everything that refers to it, to another repository of the
//! same or of another registry.
//!
//! Manifests are copied byte for byte, so digests stay. Content goes through memory in pieces and never lies there whole.
//! A manifest is written after everything that it names.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference, Repository, Tag};

use crate::auth::scope::TokenScope;
use crate::http::transport::ResponseStream;
use crate::http::wire::{BodyStream, RequestBody};
use crate::operations::attach::entry;
use crate::operations::manifests::{FetchedManifest, ManifestName};
use crate::{Client, DigestClaim, Error, ErrorKind, MountResult};

/// How many manifests are copied at the same time.
const CONCURRENCY: usize = 8;

/// How deep indexes and referrers may be nested. Nobody nests them deeper than three.
const DEEPEST: usize = 16;

/// What is copied beside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// What refers to the image and to its parts, and what refers to that.
    pub referrers: bool,
    /// Whether a tag may be moved that names something else.
    pub overwrite: bool,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounts {
    /// Manifests and indexes that were written or were there, referrers among them.
    pub manifests: u64,
    /// Referrers.
    pub referrers: u64,
    /// Blobs that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: u64,
    /// Blobs that were there.
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

/// From where to where.
#[derive(Clone, Copy)]
struct CopyRoute<'a> {
    from: &'a Repository,
    to: &'a Repository,
}

impl Client {
    /// Copies the manifest `image` from the repository `from` to the repository `to`, and names it `tag` there. What is
    /// there already is not sent again.
    ///
    /// # Errors
    ///
    /// Besides failures of either registry: [`ErrorKind::TagTaken`], before anything is written, and
    /// [`ErrorKind::NotListed`] if a referrer is stored and not listed.
    pub async fn copy(
        &self,
        from: &Repository,
        image: &FetchedManifest,
        to: &Repository,
        tag: Option<&Tag>,
        options: CopyOptions,
    ) -> Result<CopyCounts, Error> {
        let named = tag.map(|tag| Reference::by_tag(to.clone(), tag.clone()));
        if let Some(named) = named.as_ref().filter(|_| !options.overwrite)
            && let Some(found) = self.find_manifest(named).await?
            && found.digest != image.digest
        {
            let kind = ErrorKind::TagTaken { found: found.digest };
            return Err(found.error(format!("copy to {named}"), kind));
        }
        let way = CopyRoute { from, to };
        let mut parts = BTreeSet::new();
        let mut copied = self.copy_manifest(way, image.clone(), 0, &mut parts).await?;
        if options.referrers {
            copied.add(self.copy_referrers(way, parts).await?);
        }
        if let Some(tag) = tag {
            // Last: whoever sees the tag finds everything.
            let name = ManifestName::Tag(tag.clone());
            self.put_manifest(to, &name, &image.own_media_type()?, image.bytes.clone()).await?;
        }
        Ok(copied)
    }

    /// Copies a manifest and everything that it names. `done` are the digests of the manifests that were copied.
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
                        let kind =
                            ErrorKind::Malformed("indexes in indexes without end".to_owned());
                        return Err(manifest.error("copy", kind));
                    }
                    for part in index.manifests {
                        let part = Reference::by_digest(way.from.clone(), part.digest);
                        let part = self.manifest(&part).await?;
                        copied.add(self.copy_manifest(way, part, depth + 1, done).await?);
                    }
                }
                Manifest::Image(image) => {
                    let target = Reference::by_digest(way.to.clone(), manifest.digest);
                    if self.head(&target).await?.is_some() {
                        // A registry takes a manifest only with its blobs.
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

    async fn copy_blobs(
        &self,
        way: CopyRoute<'_>,
        blobs: impl Iterator<Item = Descriptor>,
    ) -> Result<CopyCounts, Error> {
        let distinct: BTreeMap<Digest, Descriptor> =
            // Layers that lie elsewhere by their type, and may not be passed on.
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
        if self.has_blob_for(to, &blob.digest, TokenScope::push(to)).await? {
            return Ok(CopyCounts { existed: 1, ..CopyCounts::default() });
        }
        if self.mount(to, &blob.digest, from).await? == MountResult::Mounted {
            return Ok(CopyCounts { mounted: 1, ..CopyCounts::default() });
        }
        // The semaphore is never closed.
        let _permit = self.copies().acquire().await.ok();
        let call = self.blob_call("copy", from, &blob.digest, blob.size)?;
        let call = &call;
        let open = || {
            async move {
                let pieces = BodyStream::new(verified(self.transport().open(call).await?, blob));
                Ok(RequestBody::Stream { pieces, size: blob.size })
            }
            .boxed()
        };
        self.send(to, blob.digest, open).await?;
        Ok(CopyCounts { sent: 1, sent_bytes: blob.size, ..CopyCounts::default() })
    }

    /// Copies what refers to any of `subjects`, and what refers to that, and sees to it that it is listed there.
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
                    // An entry of a listing that says itself that it is about something else is not listed again.
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
            ErrorKind::Malformed("referrers of referrers without end".to_owned()),
        ))
    }
}

/// Types of layers that are fetched from where they are, by their licence.
fn is_foreign(blob: &Descriptor) -> bool {
    blob.media_type.contains(".nondistributable.") || blob.media_type.contains(".foreign.")
}

/// The pieces of a blob as they come. The last one is held back until size and hash of all are known to be right, so that
/// a registry never gets the whole of a wrong one.
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
