//! Under which digests an image may show up where it runs: nodes report the index, a platform's manifest, or its config,
//! depending on the container engine; and whether the registry has all of it. Reads manifests, and asks for blobs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use verbatim_argocd::WantedImage;
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::{Digest, ImageManifest, Manifest, Reference, Repository};
use verbatim_record::ReleaseImage;
use verbatim_registry::{Client, Error, FetchedManifest, ResolvedManifest};

use crate::project::failures;
use crate::release::Release;

const CONCURRENCY: usize = 4;

/// The largest configuration that is read, in bytes. They have a few kilobytes.
const MAX_CONFIG_SIZE: u64 = 4 * 1024 * 1024;

/// The most layers and configurations of an image that are looked for, each with a HEAD. An image for ten platforms has
/// about a hundred.
const MOST_BLOBS: usize = 256;

/// How many of them are looked for at the same time.
const BLOBS_AT_ONCE: usize = 8;

/// Why a release cannot be deployed as it is in the registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestsError {
    /// It cannot be read.
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(
        "{index} is an index within the index of {image}, which not every container engine can pull"
    )]
    NestedIndex { image: Repository, index: Digest },
    #[error("the registry has lost a part of {image}, which no node could pull: {}", list(.blobs))]
    LostBlobs { image: Repository, blobs: Vec<Digest> },
}

fn list(blobs: &[Digest]) -> String {
    blobs.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

impl From<DigestsError> for Failure {
    fn from(error: DigestsError) -> Self {
        match error {
            DigestsError::Registry(error) => failures::registry(error),
            DigestsError::NestedIndex { .. } => Self::new(ExitStatus::No, error)
                .hint("build the image so that its index names the manifest of each platform"),
            DigestsError::LostBlobs { .. } => Self::new(ExitStatus::Refused, error).hint(
                "push the image again from where it was built, or copy it: verbatim registry copy",
            ),
        }
    }
}

/// The images of a release, each with every digest that stands for it; if the registry has all of them, with their layers.
pub(crate) async fn wanted(
    client: &Client,
    release: &Release,
    resolved: &ResolvedManifest,
) -> Result<Vec<WantedImage>, DigestsError> {
    let mut all = Vec::new();
    for image in release.images().values() {
        let manifest = manifest_of(client, image, resolved).await?;
        all.push(identified(client, image, &manifest).await?);
    }
    Ok(all)
}

async fn identified(
    client: &Client,
    image: &ReleaseImage,
    manifest: &FetchedManifest,
) -> Result<WantedImage, DigestsError> {
    let repository = &image.repository;
    let mut wanted = WantedImage::new(Some(repository.clone()), image.digest);
    let platforms = match manifest.parse()? {
        Manifest::Image(image) => vec![image],
        Manifest::Index(index) => {
            let manifests: Vec<Digest> = index.images().map(|image| image.digest).collect();
            let read = stream::iter(manifests.clone())
                .map(|digest| platform(client, repository, digest))
                .buffered(CONCURRENCY);
            wanted.manifests.extend(manifests);
            read.try_collect::<Vec<_>>().await?.into_iter().flatten().collect()
        }
        // A kind of manifest that is not known yet: only the digest itself counts.
        _ => Vec::new(),
    };
    wanted.configs.extend(platforms.iter().map(|platform| platform.config.digest));
    let blobs = blobs(&platforms);
    let lost = stream::iter(blobs)
        .map(
            |blob| async move { Ok::<_, Error>((client.has_blob(repository, &blob).await?, blob)) },
        )
        .buffered(BLOBS_AT_ONCE)
        .try_filter_map(async |(is_there, blob)| Ok((!is_there).then_some(blob)));
    let blobs: Vec<Digest> = lost.try_collect().await?;
    match blobs.is_empty() {
        true => Ok(wanted),
        false => Err(DigestsError::LostBlobs { image: repository.clone(), blobs }),
    }
}

/// The configurations and layers that a node pulls, each once. Layers that a registry need not have are not among them.
fn blobs(platforms: &[ImageManifest]) -> BTreeSet<Digest> {
    let of = |platform: &ImageManifest| {
        let layers = platform.layers.iter().filter(|layer| {
            // <https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#non-distributable-layers>
            !["nondistributable", "foreign"].iter().any(|word| layer.media_type.contains(word))
        });
        let all = std::iter::once(&platform.config).chain(layers);
        all.filter(|blob| blob.embedded().is_none()).map(|blob| blob.digest).collect::<Vec<_>>()
    };
    platforms.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().take(MOST_BLOBS).collect()
}

/// The manifest of one platform; `None` if it is of a kind that is not known yet.
async fn platform(
    client: &Client,
    repository: &Repository,
    digest: Digest,
) -> Result<Option<ImageManifest>, DigestsError> {
    let reference = Reference::by_digest(repository.clone(), digest);
    match client.manifest(&reference).await?.parse()? {
        Manifest::Image(image) => Ok(Some(image)),
        Manifest::Index(_) => {
            Err(DigestsError::NestedIndex { image: repository.clone(), index: digest })
        }
        _ => Ok(None),
    }
}

/// The labels of each image of a release, by its name.
pub(crate) async fn labels(
    client: &Client,
    release: &Release,
    resolved: &ResolvedManifest,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let mut all = BTreeMap::new();
    for (name, image) in release.images() {
        let manifest = manifest_of(client, &image, resolved).await?;
        all.insert(name, labels_of(client, &image.repository, &manifest).await?);
    }
    Ok(all)
}

/// The manifest of an image, which may be the one that was read already.
async fn manifest_of(
    client: &Client,
    image: &ReleaseImage,
    resolved: &ResolvedManifest,
) -> Result<FetchedManifest, Error> {
    match image.digest == resolved.digest() {
        true => Ok(resolved.manifest.clone()),
        false => {
            client.manifest(&Reference::by_digest(image.repository.clone(), image.digest)).await
        }
    }
}

/// The labels of an image; of its first platform, if there are several.
async fn labels_of(
    client: &Client,
    repository: &Repository,
    manifest: &FetchedManifest,
) -> Result<BTreeMap<String, String>, Error> {
    let mut manifest = manifest.parse()?;
    let first = match &manifest {
        Manifest::Index(index) => index.images().next().map(|image| image.digest),
        _ => None,
    };
    if let Some(first) = first {
        let reference = Reference::by_digest(repository.clone(), first);
        manifest = client.manifest(&reference).await?.parse()?;
    }
    let Manifest::Image(image) = manifest else { return Ok(BTreeMap::new()) };
    let bytes = client.blob(repository, &image.config, MAX_CONFIG_SIZE).await?;
    // Another kind of artifact has another kind of configuration, and no labels.
    let config: Configuration = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(config.config.unwrap_or_default().labels.unwrap_or_default())
}

/// The part of an image's configuration that is looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    config: Option<Execution>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Execution {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}
