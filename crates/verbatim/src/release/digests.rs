//! Under which digests an image may show up where it runs: nodes report the index, a platform's manifest, or its config,
//! depending on the container engine. Reads manifests only.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use verbatim_argocd::WantedImage;
use verbatim_oci::{Digest, Manifest, Reference, Repository};
use verbatim_record::ReleaseImage;
use verbatim_registry::{Client, Error, FetchedManifest, ResolvedManifest};

use crate::release::Release;

const CONCURRENCY: usize = 4;

/// The largest configuration that is read, in bytes. They have a few kilobytes.
const MAX_CONFIG_SIZE: u64 = 4 * 1024 * 1024;

/// The images of a release, each with every digest that stands for it.
pub(crate) async fn wanted(
    client: &Client,
    release: &Release,
    resolved: &ResolvedManifest,
) -> Result<Vec<WantedImage>, Error> {
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
) -> Result<WantedImage, Error> {
    let repository = &image.repository;
    let mut wanted = WantedImage::new(Some(repository.clone()), image.digest);
    match manifest.parse()? {
        Manifest::Image(image) => {
            wanted.configs.insert(image.config.digest);
        }
        Manifest::Index(index) => {
            let manifests: Vec<Digest> = index.images().map(|image| image.digest).collect();
            let configs: Vec<Option<Digest>> = stream::iter(manifests.clone())
                .map(|digest| config(client, repository, digest))
                .buffered(CONCURRENCY)
                .try_collect()
                .await?;
            wanted.manifests.extend(manifests);
            wanted.configs.extend(configs.into_iter().flatten());
        }
        // A kind of manifest that is not known yet: only the digest itself counts.
        _ => {}
    }
    Ok(wanted)
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

async fn config(
    client: &Client,
    repository: &Repository,
    digest: Digest,
) -> Result<Option<Digest>, Error> {
    let reference = Reference::by_digest(repository.clone(), digest);
    Ok(match client.manifest(&reference).await?.parse()? {
        Manifest::Image(image) => Some(image.config.digest),
        _ => None,
    })
}
