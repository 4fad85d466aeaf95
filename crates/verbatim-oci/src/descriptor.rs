//! Descriptors: how one document points to another.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::{Digest, Platform, lenient, media_type};

/// A [content descriptor][spec].
///
/// Own type and not the one of `oci-spec`: that one keeps digests as text of any algorithm.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content; empty if the writer left it out.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// For which platform the content is; in an index.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_platform"
    )]
    pub platform: Option<Platform>,
    /// The kind of artifact; in a list of referrers.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub artifact_type: Option<String>,
    /// Annotations of the content, by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, if the writer of the descriptor [embedded][spec] it. Only a claim, which
    /// [`Descriptor::embedded`] checks.
    ///
    /// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#embedded-content
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// The descriptor of `content`.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
            data: None,
        }
    }

    /// The descriptor of `content`, with the content in it.
    pub fn embedding(media_type: &str, content: &[u8]) -> Self {
        Self { data: Some(BASE64.encode(content)), ..Self::of(media_type, content) }
    }

    /// Whether the content is a blob and not a manifest: indexes may name blobs, too, as the cache images of builders do.
    /// An entry that does not say what it is counts as a manifest.
    pub fn is_blob(&self) -> bool {
        let text = self.media_type.as_str();
        !(text.is_empty()
            || media_type::is_index(text)
            || media_type::is_manifest(text)
            // Older and newer types of manifests, which are not read either way.
            || text.contains(".manifest.")
            || text.contains(".index."))
    }

    /// The content, if it is embedded and is what size and digest say. Content that is not is none: the digest names
    /// what is meant, and that can still be fetched.
    pub fn embedded(&self) -> Option<Vec<u8>> {
        let data = self.data.as_ref()?;
        // Not decoded to find out that it is too long.
        if (data.len() / 4) as u64 > self.size / 3 + 1 {
            return None;
        }
        let content = BASE64.decode(data).ok()?;
        let is_right = content.len() as u64 == self.size && Digest::of(&content) == self.digest;
        is_right.then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_blob_by_its_type() {
        let check = |media_type: &str, want: bool| {
            assert_eq!(Descriptor::of(media_type, b"x").is_blob(), want, "{media_type}");
        };
        for manifest in media_type::ALL_MANIFESTS {
            check(manifest, false);
        }
        check("", false);
        check("application/vnd.oci.artifact.manifest.v1+json", false);
        check("application/vnd.docker.distribution.manifest.v1+prettyjws", false);
        check(media_type::OCI_LAYER_GZIP, true);
        check("application/vnd.docker.image.rootfs.diff.tar.gzip", true);
        check("application/vnd.buildkit.cacheconfig.v0", true);
        check(media_type::OCI_CONFIG, true);
        check("application/octet-stream", true);
    }

    #[test]
    fn embedded_content_is_what_the_digest_says_or_nothing() {
        let embedding = |content: &[u8]| Descriptor::embedding("text/plain", content);
        let with = |data: Option<&str>| Descriptor {
            data: data.map(str::to_owned),
            ..Descriptor::of("text/plain", b"hello")
        };
        for content in [&b""[..], b"h", b"he", b"hel", b"hell"] {
            assert_eq!(embedding(content).embedded().as_deref(), Some(content));
        }
        let cases = [
            (with(Some("aGVsbG8=")), Some(&b"hello"[..])),
            (with(None), None),
            // Another content, of the same length and of others; no base64; another alphabet.
            (with(Some("aGVsbGE=")), None),
            (with(Some("aGVsbA==")), None),
            (with(Some("aGVsbG8gd29ybGQ=")), None),
            (with(Some("")), None),
            (with(Some("hello")), None),
            (with(Some("aGVsbG8")), None),
            (Descriptor { size: 4, ..with(Some("aGVsbG8=")) }, None),
            (Descriptor { digest: Digest::of(b"x"), ..with(Some("aGVsbG8=")) }, None),
        ];
        for (descriptor, want) in cases {
            assert_eq!(descriptor.embedded().as_deref(), want, "{descriptor:?}");
        }
        let text = serde_json::to_string(&embedding(b"hello")).unwrap();
        assert!(text.ends_with(r#""data":"aGVsbG8="}"#), "{text}");
        assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), embedding(b"hello"));
        assert!(!serde_json::to_string(&with(None)).unwrap().contains("data"));
    }
}
