//! Attaches documents: stores them as referrers of a manifest, and makes sure that they are listed.
//!
//! The document is an [image manifest with a subject][spec] and an empty configuration. Knows nothing about the content
//! of its layers.
//!
//! [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use verbatim_http::chance;
use verbatim_oci::{
    Descriptor, Digest, ImageManifest, Manifest, Reference, Repository, media_type,
};

use crate::operations::manifests::ManifestName;
use crate::{Client, Error, ErrorKind, ReferrersSource};

/// The configuration of an artifact without one.
const EMPTY: &[u8] = b"{}";

/// Content up to this size, of all layers of a document, is [embedded] in its manifest, too: the manifest then has it
/// all, without a second request. The specification asks registries to accept manifests of 4 MiB.
///
/// [embedded]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#embedded-content
const EMBEDDED_LIMIT: usize = 32 * 1024;

/// How often to read the listing of the referrers API until it shows a new referrer.
const MOST_LOOKS: u32 = 6;

/// A document to attach.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The manifest that it refers to.
    pub subject: Descriptor,
    /// Its artifact type.
    pub artifact_type: String,
    /// Its content; the specification wants at least one layer.
    pub layers: Vec<Layer>,
    /// Annotations of the manifest; the listing has them, too.
    pub annotations: BTreeMap<String, String>,
}

/// One part of the content of a document.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its type.
    pub media_type: String,
    /// The content.
    pub bytes: Bytes,
    /// Annotations of the layer.
    pub annotations: BTreeMap<String, String>,
}

/// An attached document: stored, and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedReferrer {
    /// The descriptor of its manifest.
    pub descriptor: Descriptor,
    /// The listing that shows it.
    pub source: ReferrersSource,
}

impl AttachedReferrer {
    fn at(entry: Descriptor, source: ReferrersSource) -> Self {
        Self { descriptor: Descriptor { data: None, ..entry }, source }
    }
}

impl Attachment {
    /// The bytes of the manifest. The same attachment always has the same bytes, and so the same digest.
    pub fn manifest_bytes(&self) -> Bytes {
        let size: usize = self.layers.iter().map(|layer| layer.bytes.len()).sum();
        let describe = match size <= EMBEDDED_LIMIT {
            true => Descriptor::embedding,
            false => Descriptor::of,
        };
        let layers = self.layers.iter().map(|layer| Descriptor {
            annotations: layer.annotations.clone(),
            ..describe(&layer.media_type, &layer.bytes)
        });
        let subject = Descriptor {
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
            data: None,
            ..self.subject.clone()
        };
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: Some(self.artifact_type.clone()),
            config: Descriptor::of(media_type::OCI_EMPTY, EMPTY),
            layers: layers.collect(),
            subject: Some(subject),
            annotations: self.annotations.clone(),
        };
        // Maps with text as keys, numbers and texts: nothing that JSON cannot hold.
        serde_json::to_vec(&manifest).unwrap_or_default().into()
    }

    /// The digest that the manifest will have.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes())
    }
}

impl Client {
    /// Stores a document as a referrer of its subject, and reads the listing back until it shows it. The listing is the
    /// registry's referrers API or, without one, the index under the fallback tag, which is then written.
    ///
    /// Idempotent: does not change what is already stored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotListed`] if everything is stored but not listed; [`Client::relist`] can
    /// complete that later. Any other error may leave the document stored and not listed.
    pub async fn attach(
        &self,
        repository: &Repository,
        attachment: &Attachment,
    ) -> Result<AttachedReferrer, Error> {
        self.push_blob(repository, Bytes::from_static(EMPTY)).await?;
        for layer in &attachment.layers {
            self.push_blob(repository, layer.bytes.clone()).await?;
        }
        let bytes = attachment.manifest_bytes();
        let entry = Descriptor {
            artifact_type: Some(attachment.artifact_type.clone()),
            annotations: attachment.annotations.clone(),
            ..Descriptor::embedding(media_type::OCI_MANIFEST, &bytes)
        };
        self.put_manifest(repository, &ManifestName::Digest, media_type::OCI_MANIFEST, bytes)
            .await?;
        let subject = &attachment.subject.digest;
        let source = self.see_listed(repository, subject, std::slice::from_ref(&entry)).await?;
        Ok(AttachedReferrer::at(entry, source))
    }

    /// Lists a stored document that is missing from the listing of its subject: reads it by its digest, and continues
    /// as [`Client::attach`] does.
    ///
    /// # Errors
    ///
    /// As [`Client::attach`], and [`ErrorKind::NoSubject`] if the document refers to nothing.
    pub async fn relist(
        &self,
        repository: &Repository,
        document: &Digest,
    ) -> Result<AttachedReferrer, Error> {
        let reference = Reference::by_digest(repository.clone(), *document);
        let fetched = self.manifest(&reference).await?;
        let manifest = fetched.parse()?;
        let media_type = manifest.media_type().to_owned();
        let Some((subject, entry)) = entry(manifest, &fetched.bytes) else {
            let place = reference.to_string();
            return Err(Error::at("list it as a referrer", place, ErrorKind::NoSubject(*document)));
        };
        // A registry with a referrers API lists manifests when they are written, so this writes it again.
        self.put_manifest(repository, &ManifestName::Digest, &media_type, fetched.bytes).await?;
        let entries = std::slice::from_ref(&entry);
        let source = self.see_listed(repository, &subject.digest, entries).await?;
        Ok(AttachedReferrer::at(entry, source))
    }

    /// Reads the listing until it shows all of `entries`. Without a referrers API, writes the listing.
    pub(crate) async fn see_listed(
        &self,
        repository: &Repository,
        subject: &Digest,
        entries: &[Descriptor],
    ) -> Result<ReferrersSource, Error> {
        let mut missing = Digest::of(b"");
        let policy = self.config().retry;
        for look in 1..=MOST_LOOKS {
            // Not filtered by type: a registry that filters wrongly would hide it.
            let Some(listed) = self.listed_by_api(repository, subject, None).await? else {
                self.list_in_fallback(repository, subject, entries).await?;
                return Ok(ReferrersSource::FallbackTag);
            };
            let have: BTreeSet<Digest> = listed.iter().map(|have| have.digest).collect();
            match entries.iter().find(|entry| !have.contains(&entry.digest)) {
                None => return Ok(ReferrersSource::Api),
                Some(entry) => missing = entry.digest,
            }
            if look < MOST_LOOKS {
                tokio::time::sleep(policy.wait_after(look, chance())).await;
            }
        }
        let kind = ErrorKind::NotListed { record: missing };
        let place = format!("{repository}@{subject}");
        Err(Error::at(format!("list {missing} as a referrer"), place, kind))
    }
}

/// The subject of a document, and its entry in the listing. The entry embeds the document, for listings with room for
/// it.
pub(crate) fn entry(manifest: Manifest, bytes: &[u8]) -> Option<(Descriptor, Descriptor)> {
    let media_type = manifest.media_type().to_owned();
    let (artifact_type, subject, annotations) = match manifest {
        Manifest::Image(image) => {
            // By the specification, the type of the configuration replaces a missing artifact type.
            let kind = image.artifact_type.unwrap_or(image.config.media_type);
            (Some(kind), image.subject, image.annotations)
        }
        Manifest::Index(index) => (index.artifact_type, index.subject, index.annotations),
        _ => (None, None, BTreeMap::new()),
    };
    let entry =
        Descriptor { artifact_type, annotations, ..Descriptor::embedding(&media_type, bytes) };
    Some((subject?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_the_one_of_the_specification() {
        let attachment = Attachment {
            subject: Descriptor {
                annotations: BTreeMap::from([("dropped".into(), "x".into())]),
                ..Descriptor::embedding(media_type::OCI_INDEX, b"subject")
            },
            artifact_type: "application/vnd.example+json".into(),
            layers: vec![Layer {
                media_type: "text/plain".into(),
                bytes: Bytes::from_static(b"hi"),
                annotations: BTreeMap::from([("a".into(), "b".into())]),
            }],
            annotations: BTreeMap::from([("k".into(), "v".into())]),
        };
        let json: serde_json::Value = serde_json::from_slice(&attachment.manifest_bytes()).unwrap();
        let want = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.example+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
            },
            "layers": [{
                "mediaType": "text/plain",
                "digest": Digest::of(b"hi"),
                "size": 2,
                "annotations": {"a": "b"},
                "data": "aGk=",
            }],
            "subject": {
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "digest": Digest::of(b"subject"),
                "size": 7,
            },
            "annotations": {"k": "v"},
        });
        assert_eq!(json, want);
        assert_eq!(attachment.digest(), Digest::of(&attachment.manifest_bytes()));
    }

    #[test]
    fn only_small_content_is_embedded() {
        let embeds = |sizes: &[usize]| {
            let layer = |&size: &usize| Layer {
                media_type: "text/plain".into(),
                bytes: vec![b'x'; size].into(),
                annotations: BTreeMap::new(),
            };
            let attachment = Attachment {
                subject: Descriptor::of(media_type::OCI_INDEX, b"subject"),
                artifact_type: "application/vnd.example+json".into(),
                layers: sizes.iter().map(layer).collect(),
                annotations: BTreeMap::new(),
            };
            let bytes = attachment.manifest_bytes();
            let Ok(Manifest::Image(manifest)) = Manifest::parse(&bytes, None) else {
                panic!("not a manifest")
            };
            manifest.layers.iter().all(|layer| layer.embedded().is_some())
        };
        assert!(embeds(&[EMBEDDED_LIMIT]));
        assert!(embeds(&[EMBEDDED_LIMIT - 1, 1]));
        assert!(!embeds(&[EMBEDDED_LIMIT + 1]));
        assert!(!embeds(&[EMBEDDED_LIMIT, 1]));
    }
}
