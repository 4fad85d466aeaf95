//! Manifests and indexes, read from the bytes that carry their digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Platform, media_type};

/// A manifest of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "few are held at a time, and each is read field by field"
)]
pub enum Manifest {
    /// One image, or one artifact.
    Image(ImageManifest),
    /// Several images, one per platform.
    Index(Index),
}

/// The [manifest][spec] of one image or artifact, OCI or Docker schema 2.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// The type of this document. OCI allows it to be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration of the image, or an empty blob.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What this document refers to, if it is a referrer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of this document, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An [image index][spec], or Docker's manifest list.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, one per platform, or the referrers. Never left out: a document without it is no index, and taking
    /// it for an empty one would turn "wrong document" into "nothing there".
    pub manifests: Vec<Descriptor>,
    /// What this document refers to, if it is a referrer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of this document, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are not the JSON of a manifest.
    #[error("not the JSON of a manifest")]
    Json(#[source] serde_json::Error),
    /// The old schema 1, whose digest cannot be checked by hashing, or something newer than this crate.
    #[error("schema version {0} is not supported, only 2 is")]
    SchemaVersion(u32),
    /// The type is none of those that are known.
    #[error("media type `{0}` is neither a manifest nor an index")]
    MediaType(String),
    /// The document has the fields of a manifest and those of an index: two readers would see two things (CVE-2021-41190).
    #[error("the document has the fields of a manifest and those of an index")]
    Ambiguous,
    /// The document names another type than the answer that carried it.
    #[error("the document says that it is `{document}`, the answer that it is `{answer}`")]
    Contradiction {
        /// What `mediaType` in the document says.
        document: String,
        /// What the `Content-Type` of the answer says.
        answer: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the answer that carried it says, if it says anything; a document that
    /// calls itself something else is refused, since the two would be deployed as different things
    /// (GHSA-77vh-xpmg-72qh).
    ///
    /// # Errors
    /// If the bytes are not a manifest or an index of schema 2, or contradict `content_type`.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let head: Head = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if head.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(head.schema_version));
        }
        if head.manifests.is_some() && (head.config.is_some() || head.layers.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        let answer = content_type
            .map(|text| text.split(';').next().unwrap_or_default().trim())
            .filter(|text| media_type::is_index(text) || media_type::is_manifest(text));
        let kind = match (head.media_type.as_deref(), answer) {
            (Some(document), Some(answer)) if document != answer => {
                return Err(ManifestError::Contradiction {
                    document: document.to_owned(),
                    answer: answer.to_owned(),
                });
            }
            (Some(document), _) => document,
            (None, Some(answer)) => answer,
            (None, None) if head.manifests.is_some() => media_type::OCI_INDEX,
            (None, None) => media_type::OCI_MANIFEST,
        };
        if media_type::is_index(kind) {
            serde_json::from_slice(bytes).map(Self::Index).map_err(ManifestError::Json)
        } else if media_type::is_manifest(kind) {
            serde_json::from_slice(bytes).map(Self::Image).map_err(ManifestError::Json)
        } else {
            Err(ManifestError::MediaType(kind.to_owned()))
        }
    }

    /// The type of the document, as it must be sent when the document is put.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Image(image) => image.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }
}

impl Index {
    /// The images of the index, without the attestations that builders put next to them under `unknown/unknown`.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests
            .iter()
            .filter(|entry| !entry.platform.as_ref().is_some_and(Platform::is_unknown))
    }

    /// The first image that serves `wanted`.
    pub fn image_for(&self, wanted: &Platform) -> Option<&Descriptor> {
        self.images().find(|entry| entry.platform.as_ref().is_some_and(|have| have.serves(wanted)))
    }

    /// Whether the index names `digest`.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.manifests.iter().any(|entry| entry.digest == *digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    #[test]
    fn the_kind_comes_from_document_answer_or_shape() {
        let image = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[]}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
        let docker = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}",{CONFIG}}}"#,
            media_type::DOCKER_MANIFEST
        );
        let cases = [
            (&image, None, media_type::OCI_MANIFEST),
            (&image, Some("application/octet-stream"), media_type::OCI_MANIFEST),
            (&index, None, media_type::OCI_INDEX),
            (
                &index,
                Some("application/vnd.oci.image.index.v1+json; charset=utf-8"),
                media_type::OCI_INDEX,
            ),
            (&docker, Some(media_type::DOCKER_MANIFEST), media_type::DOCKER_MANIFEST),
        ];
        for (bytes, content_type, want) in cases {
            let manifest = Manifest::parse(bytes.as_bytes(), content_type).unwrap();
            assert_eq!(manifest.media_type(), want, "{bytes} as {content_type:?}");
        }
    }

    #[test]
    fn contradictions_and_strangers_are_refused() {
        let oci =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}",{CONFIG}}}"#, media_type::OCI_MANIFEST);
        let cases = [
            (
                oci.as_str(),
                Some(media_type::OCI_INDEX),
                "the document says that it is `application/vnd.oci.image.manifest.v1+json`, the answer that it is `application/vnd.oci.image.index.v1+json`",
            ),
            (r#"{"schemaVersion":1}"#, None, "schema version 1 is not supported, only 2 is"),
            (
                r#"{"schemaVersion":2,"mediaType":"text/x"}"#,
                None,
                "media type `text/x` is neither a manifest nor an index",
            ),
            (
                r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
                None,
                "the document has the fields of a manifest and those of an index",
            ),
            (r#"{"schemaVersion":2}"#, Some(media_type::OCI_INDEX), "not the JSON of a manifest"),
            ("<html>", None, "not the JSON of a manifest"),
            ("{}", None, "not the JSON of a manifest"),
        ];
        for (bytes, content_type, want) in cases {
            assert_eq!(
                Manifest::parse(bytes.as_bytes(), content_type).unwrap_err().to_string(),
                want,
                "{bytes}"
            );
        }
    }

    #[test]
    fn attestations_of_an_index_are_no_images() {
        let entry = |os: &str, architecture: &str, content: &str| Descriptor {
            platform: format!("{os}/{architecture}").parse().ok(),
            ..Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes())
        };
        let index = Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: vec![
                entry("unknown", "unknown", "0"),
                entry("linux", "arm64", "1"),
                entry("linux", "amd64", "2"),
            ],
            subject: None,
            annotations: BTreeMap::new(),
        };
        assert_eq!(index.images().count(), 2);
        let amd64 = index.image_for(&"linux/amd64".parse().unwrap()).unwrap();
        assert_eq!(amd64.digest, Digest::of(b"2"));
        assert!(index.contains(&amd64.digest) && !index.contains(&Digest::of(b"3")));
        assert!(index.image_for(&"linux/s390x".parse().unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), content_type in proptest::option::of(".{0,30}")) {
            let _ = Manifest::parse(&bytes, content_type.as_deref());
        }
    }
}
