//! Rules in a registry: an artifact with one layer, which is the YAML document. Its digest names it, so nobody can change
//! what it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;
use verbatim_oci::{
    Descriptor, Digest, ImageManifest, Manifest, Reference, Repository, Tag, media_type,
};
use verbatim_record::PolicyOrigin;
use verbatim_registry::{Client, Error, ManifestName};

use super::LARGEST;
use crate::config::{FoundPolicy, OciSource};

/// What kind of artifact it is.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.verbatim.policy.v1";

pub(crate) const LAYER_TYPE: &str = "application/vnd.verbatim.policy.v1+yaml";

/// The name under which other tools write the layer into a folder.
const FILE_NAME: &str = "policy.yaml";
const TITLE: &str = "org.opencontainers.image.title";

/// The configuration of an artifact that has none.
const EMPTY: &[u8] = b"{}";

/// Why there is no policy from a registry.
#[derive(Debug, Error)]
pub(crate) enum ArtifactError {
    /// The registry has none, or does not answer.
    #[error(transparent)]
    Registry(#[from] Error),
    #[error("it is {0}, and no artifact with one layer of the type `{LAYER_TYPE}`")]
    Other(String),
    /// It cannot be a policy.
    #[error("it has {0} bytes, which is too many for a policy")]
    TooLarge(u64),
    /// It cannot be a policy.
    #[error("it is not UTF-8")]
    NotText,
}

pub(super) async fn find(
    client: &Client,
    source: &OciSource,
) -> Result<FoundPolicy, ArtifactError> {
    let reference = Reference::by_digest(source.repository.clone(), source.digest);
    let layer = layer(client.manifest(&reference).await?.parse()?)?;
    if layer.size > LARGEST {
        return Err(ArtifactError::TooLarge(layer.size));
    }
    let bytes = client.blob(&source.repository, &layer, LARGEST).await?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| ArtifactError::NotText)?;
    let origin = PolicyOrigin {
        uri: format!("oci://{}", source.repository),
        digest: BTreeMap::from([("sha256".to_owned(), source.digest.hex())]),
    };
    Ok(FoundPolicy {
        place: source.to_string().into(),
        origin: Some(origin),
        root: Default::default(),
        text,
    })
}

/// The one layer, if it is of the right type.
fn layer(manifest: Manifest) -> Result<Descriptor, ArtifactError> {
    let media_type = manifest.media_type().to_owned();
    let Manifest::Image(image) = manifest else {
        return Err(ArtifactError::Other(format!("an index (`{media_type}`)")));
    };
    match <[Descriptor; 1]>::try_from(image.layers) {
        Ok([layer]) if layer.media_type == LAYER_TYPE => Ok(layer),
        Ok([layer]) => {
            Err(ArtifactError::Other(format!("a manifest with a layer `{}`", layer.media_type)))
        }
        Err(layers) => {
            Err(ArtifactError::Other(format!("a manifest with {} layers", layers.len())))
        }
    }
}

/// The manifest of rules. The same text always has the same bytes, and so the same digest.
fn manifest(text: &Bytes) -> Bytes {
    let layer = Descriptor {
        annotations: BTreeMap::from([(TITLE.to_owned(), FILE_NAME.to_owned())]),
        ..Descriptor::of(LAYER_TYPE, text)
    };
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        config: Descriptor::of(media_type::OCI_EMPTY, EMPTY),
        layers: vec![layer],
        subject: None,
        annotations: BTreeMap::new(),
    };
    // Maps with text as keys, numbers and texts: nothing that JSON cannot hold.
    serde_json::to_vec(&manifest).unwrap_or_default().into()
}

/// Stores rules under a tag: registries that clean up remove what has none. Without one the tag is made from the digest.
pub(crate) async fn push(
    client: &Client,
    repository: &Repository,
    tag: Option<Tag>,
    text: String,
) -> Result<Reference, Error> {
    let text = Bytes::from(text);
    let bytes = manifest(&text);
    let digest = Digest::of(&bytes);
    let tag = tag.or_else(|| format!("policy-{}", &digest.hex()[..12]).parse().ok());
    for blob in [Bytes::from_static(EMPTY), text] {
        client.push_blob(repository, blob).await?;
    }
    let name = tag.clone().map_or(ManifestName::Digest, ManifestName::Tag);
    client.put_manifest(repository, &name, media_type::OCI_MANIFEST, bytes).await?;
    Ok(Reference { repository: repository.clone(), tag, digest: Some(digest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Manifest {
        Manifest::parse(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn what_is_pushed_is_what_is_read() {
        let text = Bytes::from_static(b"version: 1\n");
        let bytes = manifest(&text);
        assert_eq!(bytes, manifest(&text));
        let layer = layer(Manifest::parse(&bytes, None).unwrap()).unwrap();
        assert_eq!((layer.digest, layer.size), (Digest::of(&text), 11));
    }

    #[test]
    fn anything_else_is_told() {
        let layer = |media_type: &str| {
            let descriptor = Descriptor::of(media_type, b"x");
            serde_json::to_string(&descriptor).unwrap()
        };
        let image = |layers: &str| {
            let config = layer(media_type::OCI_EMPTY);
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{layers}]}}"#,
                media_type::OCI_MANIFEST
            )
        };
        let two = format!("{0},{0}", layer(LAYER_TYPE));
        for (text, want) in [
            (
                image(&layer(media_type::OCI_LAYER_GZIP)),
                "a manifest with a layer `application/vnd.oci.image.layer.v1.tar+gzip`",
            ),
            (image(&two), "a manifest with 2 layers"),
            (image(""), "a manifest with 0 layers"),
            (
                format!(
                    r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
                    media_type::OCI_INDEX
                ),
                "an index (`application/vnd.oci.image.index.v1+json`)",
            ),
        ] {
            let error = super::layer(parsed(&text)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
