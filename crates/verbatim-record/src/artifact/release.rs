//! A release of several images: a small OCI artifact that names them, whose digest is promoted in place of theirs.
//!
//! Its bytes are made from the images alone, so that the same images make the same release, everywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verbatim_oci::{Descriptor, Digest, Reference, Repository, Tag};

use super::environment::{EMPTY_BLOB, EMPTY_BLOB_MEDIA_TYPE};

/// One image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseImage {
    /// The repository, with its registry.
    pub repository: Repository,
    /// The tag that people know; never used to find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The hash of its top-level manifest.
    pub digest: Digest,
}

impl ReleaseImage {
    /// `repository[:tag]@digest`.
    pub fn reference(&self) -> Reference {
        Reference {
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: Some(self.digest),
        }
    }
}

/// The content of the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDocument {
    /// The name of the project.
    pub project: String,
    /// The images, by their names in the configuration.
    pub images: BTreeMap<String, ReleaseImage>,
}

/// The artifact: push [`EMPTY_BLOB`] and [`Self::document`], then [`Self::manifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseArtifact {
    document: Vec<u8>,
    manifest: Vec<u8>,
    digest: Digest,
}

impl ReleaseArtifact {
    /// Media type to push the manifest with.
    pub const MEDIA_TYPE: &'static str = "application/vnd.oci.image.manifest.v1+json";

    /// The `artifactType` inside the manifest.
    pub const ARTIFACT_TYPE: &'static str = "application/vnd.verbatim.release.v1";

    /// Media type of its only layer.
    pub const DOCUMENT_TYPE: &'static str = "application/vnd.verbatim.release.v1+json";

    /// Largest document that is read, in bytes.
    pub const MAX_DOCUMENT_SIZE: u64 = 1024 * 1024;

    /// The artifact of these images. The same images give the same bytes, always.
    pub fn of(document: &ReleaseDocument) -> Self {
        // Names, references and digests: nothing that JSON cannot hold.
        let document = serde_json::to_vec(document).unwrap_or_default();
        let blob = |media_type: &str, bytes: &[u8]| {
            let (digest, size) = (Digest::of(bytes), bytes.len());
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
        };
        // Written out, not serialised: the order of fields must survive every change of the types around it.
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{}","config":{},"layers":[{}]}}"#,
            Self::MEDIA_TYPE,
            Self::ARTIFACT_TYPE,
            blob(EMPTY_BLOB_MEDIA_TYPE, EMPTY_BLOB),
            blob(Self::DOCUMENT_TYPE, &document),
        )
        .into_bytes();
        let digest = Digest::of(&manifest);
        Self { document, manifest, digest }
    }

    /// The document, byte for byte.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The manifest, byte for byte.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The digest of the manifest: that of the release.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What points to the manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(Self::MEDIA_TYPE, &self.manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These bytes are what records of releases are about. If this test fails, those records are lost: the code is wrong,
    /// not the test.
    #[test]
    fn the_same_images_make_the_same_release() {
        let image = |name: &str, tag: Option<&str>| ReleaseImage {
            repository: format!("registry.example/shop/{name}").parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: Digest::of(name.as_bytes()),
        };
        let document = ReleaseDocument {
            project: "shop".to_owned(),
            images: BTreeMap::from([
                ("web".to_owned(), image("web", None)),
                ("app".to_owned(), image("app", Some("7.abc"))),
            ]),
        };
        let artifact = ReleaseArtifact::of(&document);
        let (app, web) = (Digest::of(b"app"), Digest::of(b"web"));
        let text = format!(
            r#"{{"project":"shop","images":{{"app":{{"repository":"registry.example/shop/app","tag":"7.abc","digest":"{app}"}},"web":{{"repository":"registry.example/shop/web","digest":"{web}"}}}}}}"#
        );
        assert_eq!(std::str::from_utf8(artifact.document()).unwrap(), text);
        assert_eq!(
            artifact.digest().to_string(),
            "sha256:62bf884a81648bd09e7b627028b7d2e5e02b636404d0e0085c9351765edc2b49"
        );
        assert_eq!(
            serde_json::from_slice::<ReleaseDocument>(artifact.document()).unwrap(),
            document
        );
    }
}
