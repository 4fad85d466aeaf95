//! Manifests and indexes, read from the bytes that carry their digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Platform, lenient, media_type};

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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub media_type: Option<String>,
    /// The kind of artifact.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub artifact_type: Option<String>,
    /// The configuration of the image, or an empty blob.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub layers: Vec<Descriptor>,
    /// What this document refers to, if it is a referrer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_descriptor"
    )]
    pub subject: Option<Descriptor>,
    /// Annotations of this document, by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub media_type: Option<String>,
    /// The kind of artifact.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub artifact_type: Option<String>,
    /// The manifests, one per platform, or the referrers. Never left out: a document without it is no index, and taking
    /// it for an empty one would turn "wrong document" into "nothing there". (Go writes an empty list as `null`.)
    #[serde(deserialize_with = "lenient::or_default")]
    pub manifests: Vec<Descriptor>,
    /// What this document refers to, if it is a referrer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_descriptor"
    )]
    pub subject: Option<Descriptor>,
    /// Annotations of this document, by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
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
    #[serde(default, deserialize_with = "lenient::filled_text")]
    media_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::written")]
    manifests: Option<Option<serde::de::IgnoredAny>>,
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
        let is_image = head.config.is_some() || head.layers.is_some();
        if matches!(head.manifests, Some(Some(_))) && is_image {
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
            (None, None) if head.manifests.is_some() && !is_image => media_type::OCI_INDEX,
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
    /// The images of the index, without the attestations that builders put next to them under `unknown/unknown`, and without
    /// blobs.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| {
            !entry.is_blob() && !entry.platform.as_ref().is_some_and(Platform::is_unknown)
        })
    }

    /// The image that serves `wanted` best; of several, the first.
    pub fn image_for(&self, wanted: &Platform) -> Option<&Descriptor> {
        let serving = self.images().filter_map(|entry| {
            let have = entry.platform.as_ref().filter(|have| have.serves(wanted))?;
            Some((have.distance(wanted), entry))
        });
        serving.min_by_key(|(distance, _)| *distance).map(|(_, entry)| entry)
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
    fn what_is_null_or_empty_is_absent() {
        let digest = Digest::of(b"");
        let layer = format!(
            r#"{{"mediaType":null,"digest":"{digest}","size":1,"annotations":{{"a":null,"b":"c"}},"platform":{{}},"urls":null,"artifactType":""}}"#
        );
        let image = |members: &str| {
            let text = format!(r#"{{"schemaVersion":2,{CONFIG},{members}}}"#);
            match Manifest::parse(text.as_bytes(), Some(media_type::OCI_MANIFEST)) {
                Ok(Manifest::Image(image)) => image,
                other => panic!("{members}: {other:?}"),
            }
        };
        let plain = image(r#""x":1"#);
        for members in [
            r#""layers":null"#,
            r#""layers":[]"#,
            r#""annotations":null"#,
            r#""annotations":{}"#,
            r#""annotations":{"a":null}"#,
            r#""mediaType":"""#,
            r#""mediaType":null,"artifactType":"","subject":null"#,
            r#""manifests":null"#,
            r#""subject":{}"#,
        ] {
            assert_eq!(image(members), plain, "{members}");
        }
        let layer = &image(&format!(r#""layers":[{layer}]"#)).layers[0];
        assert_eq!(layer.annotations, BTreeMap::from([("b".to_owned(), "c".to_owned())]));
        assert_eq!((&layer.platform, &layer.artifact_type), (&None, &None));
        assert_eq!(layer.media_type, "");
        for (text, content_type) in [
            (r#"{"schemaVersion":2,"manifests":null}"#, None),
            (r#"{"schemaVersion":2,"manifests":null,"layers":null}"#, None),
            (r#"{"schemaVersion":2,"manifests":null,"mediaType":""}"#, Some(media_type::OCI_INDEX)),
        ] {
            match Manifest::parse(text.as_bytes(), content_type) {
                Ok(Manifest::Index(index)) => assert!(index.manifests.is_empty(), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
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

    #[test]
    fn the_image_that_fits_best_is_taken() {
        let entry = |platform: &str| Descriptor {
            platform: platform.parse().ok(),
            ..Descriptor::of(media_type::OCI_MANIFEST, platform.as_bytes())
        };
        let all = [
            "linux/arm/v5",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/amd64/v3",
            "linux/amd64",
            "linux/arm64/v8",
        ];
        let index = Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: all.map(entry).into(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        for (wanted, want) in [
            ("linux/arm", Some("linux/arm/v7")),
            ("linux/armhf", Some("linux/arm/v7")),
            ("linux/arm/v6", Some("linux/arm/v6")),
            ("linux/arm/v8", None),
            ("linux/x86_64", Some("linux/amd64")),
            ("linux/amd64/v3", Some("linux/amd64/v3")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/aarch64", Some("linux/arm64/v8")),
        ] {
            let found = index.image_for(&wanted.parse().unwrap()).map(|image| image.digest);
            assert_eq!(found, want.map(|text| Digest::of(text.as_bytes())), "{wanted}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), content_type in proptest::option::of(".{0,30}")) {
            let _ = Manifest::parse(&bytes, content_type.as_deref());
        }
    }
}
