//! Under which digests an image may show up where it runs: nodes report the index, a platform's manifest, or its config,
//! depending on the container engine. Reads manifests only.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use verbatim_argocd::outcome::WantedImage;
use verbatim_oci::{Digest, Manifest, Reference};
use verbatim_registry::{Client, Error, Resolved};

use crate::release::Release;

const CONCURRENCY: usize = 4;

/// The image of a release, with every digest that stands for it.
///
/// # Errors
/// A manifest of the index cannot be read.
pub(crate) async fn wanted(
    client: &Client,
    release: &Release,
    resolved: &Resolved,
) -> Result<WantedImage, Error> {
    let mut wanted = WantedImage::new(Some(release.repository.clone()), release.digest);
    match resolved.manifest.parse()? {
        Manifest::Image(image) => {
            wanted.configs.insert(image.config.digest);
        }
        Manifest::Index(index) => {
            let manifests: Vec<Digest> = index.images().map(|image| image.digest).collect();
            let configs: Vec<Option<Digest>> = stream::iter(manifests.clone())
                .map(|digest| config(client, release, digest))
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

async fn config(
    client: &Client,
    release: &Release,
    digest: Digest,
) -> Result<Option<Digest>, Error> {
    let reference = Reference::by_digest(release.repository.clone(), digest);
    Ok(match client.manifest(&reference).await?.parse()? {
        Manifest::Image(image) => Some(image.config.digest),
        _ => None,
    })
}
