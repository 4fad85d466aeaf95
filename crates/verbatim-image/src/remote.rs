//! The image under a tag in a registry, as needed for builds and pushes.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::time::timeout;
use verbatim_oci::{
    Descriptor, Digest, ImageManifest, Manifest, Platform, Reference, Repository, Tag,
};
use verbatim_registry::{Client, FetchedManifest};

use crate::error::{Cause, Error, ErrorKind, TagState};
use crate::labels;

/// The largest image configuration, in bytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;
/// How long the last read of a tag may take, after the time is up.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushedImage {
    /// The repository.
    pub repository: Repository,
    /// The tag that names the image, for people.
    pub tag: Tag,
    /// The hash of the top-level manifest's bytes, read from the registry.
    pub digest: Digest,
    /// Tag and digest in one: what is deployed.
    pub reference: Reference,
    /// The type of the top-level manifest.
    pub media_type: String,
    /// The platforms of the image.
    #[serde(serialize_with = "as_texts")]
    pub platforms: Vec<Platform>,
    /// The size of the top-level manifest, in bytes.
    pub size: u64,
    /// How it came into the registry.
    pub how: PushOutcome,
}

/// How an image came into the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushOutcome {
    /// It was pushed.
    Pushed,
    /// The tag already named it: there was nothing to push.
    AlreadyThere,
    /// There was an image of the same revision: there was nothing to build.
    Reused,
}

fn as_texts<S: serde::Serializer>(
    platforms: &[Platform],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(platforms.iter().map(ToString::to_string))
}

impl fmt::Display for PushedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

/// Reads the state of a tag after an unfinished push. Takes at most ten seconds and never fails.
pub async fn tag_state(registry: &Client, image: &Reference) -> TagState {
    match timeout(LAST_LOOK, registry.find_manifest(&by_tag(image))).await {
        Ok(Ok(Some(manifest))) => TagState::Names(manifest.digest),
        Ok(Ok(None)) => TagState::Absent,
        Ok(Err(_)) | Err(_) => TagState::Unknown,
    }
}

/// The image that already has the tag of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one value for each build")]
pub enum ExistingImage {
    /// Nothing.
    Nothing,
    /// An image of the same revision, for all its platforms.
    SameRevision(PushedImage),
    /// An image of another revision, or of none.
    Other {
        /// Its digest.
        digest: Digest,
        /// Its revision.
        revision: Option<String>,
    },
}

/// Looks for an image under `image`'s tag that was built from `revision`, by the label
/// [`labels::REVISION`] in the configuration of every platform.
///
/// # Errors
///
/// If the registry cannot be reached, or the tag does not name an image.
pub async fn existing(
    registry: &Client,
    image: &Reference,
    revision: &str,
) -> Result<ExistingImage, Error> {
    look(registry, image, revision)
        .await
        .map_err(|kind| Error::new(format!("look for {}", by_tag(image)), kind))
}

async fn look(
    registry: &Client,
    image: &Reference,
    revision: &str,
) -> Result<ExistingImage, ErrorKind> {
    let found = registry.find_manifest(&by_tag(image)).await?;
    let Some(found) = found else { return Ok(ExistingImage::Nothing) };
    let images = images(registry, &image.repository, &found).await?;
    let mut first = None;
    for image_manifest in &images {
        let config = config(registry, &image.repository, image_manifest).await?;
        let label = config.config.labels.unwrap_or_default().remove(labels::REVISION);
        if label.as_deref() != Some(revision) {
            return Ok(ExistingImage::Other { digest: found.digest, revision: label });
        }
        first.get_or_insert(config.platform);
    }
    match first {
        Some(platform) => {
            let pushed = describe(image, &found, Some(platform), PushOutcome::Reused)?;
            Ok(ExistingImage::SameRevision(pushed))
        }
        None => Ok(ExistingImage::Other { digest: found.digest, revision: None }),
    }
}

/// The image manifests of `found`: itself, or those in its index.
async fn images(
    registry: &Client,
    repository: &Repository,
    found: &FetchedManifest,
) -> Result<Vec<ImageManifest>, ErrorKind> {
    let index = match found.parse()? {
        Manifest::Image(image) => return Ok(vec![image]),
        Manifest::Index(index) => index,
        _ => return Ok(Vec::new()),
    };
    let mut images = Vec::new();
    for descriptor in index.images() {
        let reference = Reference::by_digest(repository.clone(), descriptor.digest);
        let manifest = registry.manifest(&reference).await?;
        if let Manifest::Image(image) = manifest.parse()? {
            images.push(image);
        }
    }
    Ok(images)
}

/// The parts of an [image configuration][spec] that are needed here.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
#[derive(Debug)]
struct ImageConfig {
    platform: Platform,
    config: ContainerConfig,
}

#[derive(Debug, Deserialize)]
struct ImageConfigDocument {
    #[serde(default)]
    config: Option<ContainerConfig>,
}

#[derive(Debug, Default, Deserialize)]
struct ContainerConfig {
    #[serde(default, rename = "Labels")]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

async fn config(
    registry: &Client,
    repository: &Repository,
    image: &ImageManifest,
) -> Result<ImageConfig, ErrorKind> {
    let bytes = registry.blob(repository, &image.config, CONFIG_LIMIT).await?;
    read_config(&bytes).map_err(|error| ErrorKind::ImageConfig(Cause::new(error)))
}

fn read_config(bytes: &[u8]) -> Result<ImageConfig, serde_json::Error> {
    let platform = serde_json::from_slice(bytes)?;
    let document: ImageConfigDocument = serde_json::from_slice(bytes)?;
    Ok(ImageConfig { platform, config: document.config.unwrap_or_default() })
}

/// Describes an image in the registry.
pub(crate) async fn pushed(
    registry: &Client,
    image: &Reference,
    found: &FetchedManifest,
    how: PushOutcome,
) -> Result<PushedImage, ErrorKind> {
    let platform = match found.parse()? {
        Manifest::Image(manifest) => {
            Some(config(registry, &image.repository, &manifest).await?.platform)
        }
        _ => None,
    };
    describe(image, found, platform, how)
}

fn describe(
    image: &Reference,
    found: &FetchedManifest,
    platform: Option<Platform>,
    how: PushOutcome,
) -> Result<PushedImage, ErrorKind> {
    let Descriptor { media_type, digest, size, .. } = found.descriptor()?;
    let platforms = match found.parse()? {
        Manifest::Index(index) => {
            index.images().filter_map(|entry| entry.platform.clone()).collect()
        }
        _ => platform.into_iter().collect(),
    };
    let tagged = by_tag(image);
    let tag = match tagged.tag.clone() {
        Some(tag) => tag,
        None => return Err(ErrorKind::Incomplete("tag")),
    };
    Ok(PushedImage {
        repository: image.repository.clone(),
        tag,
        digest,
        reference: tagged.pinned(digest),
        media_type,
        platforms,
        size,
        how,
    })
}

/// Whether a manifest in the registry is the image with this id in the engine. The id is the digest of the
/// configuration or, in an engine with containerd's store, that of the manifest or the index.
pub(crate) fn is_image(found: &FetchedManifest, id: Digest) -> Result<bool, ErrorKind> {
    if found.digest == id {
        return Ok(true);
    }
    Ok(match found.parse()? {
        Manifest::Image(image) => image.config.digest == id,
        _ => false,
    })
}

/// The reference by its tag, `latest` if it has none, and without a digest.
pub(crate) fn by_tag(image: &Reference) -> Reference {
    let tag = image.tag_or_latest().parse().ok();
    Reference { repository: image.repository.clone(), tag, digest: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_tolerantly() {
        let cases = [
            (r#"{"os":"linux","architecture":"amd64"}"#, "linux/amd64", None),
            (
                r#"{"os":"linux","architecture":"arm64","variant":"v8","config":null,"rootfs":{}}"#,
                "linux/arm64/v8",
                None,
            ),
            (
                r#"{"os":"linux","architecture":"amd64","config":{"Labels":null,"Env":[]}}"#,
                "linux/amd64",
                None,
            ),
            (
                r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"org.opencontainers.image.revision":"abc"}}}"#,
                "linux/amd64",
                Some("abc"),
            ),
        ];
        for (json, platform, revision) in cases {
            let config = read_config(json.as_bytes()).unwrap();
            assert_eq!(config.platform.to_string(), platform);
            let labels = config.config.labels.unwrap_or_default();
            assert_eq!(labels.get(labels::REVISION).map(String::as_str), revision, "{json}");
        }
        read_config(b"<html>").unwrap_err();
    }
}
