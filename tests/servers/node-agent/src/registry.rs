//! Asks a registry which digests belong to an image: the manifest of a platform, and its configuration.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Entry>,
    config: Option<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// The digests of the platform's manifest and of its configuration, below the manifest or index `digest`.
///
/// Anonymous, and plain HTTP on loopback: the agent serves tests.
pub(crate) async fn below(
    http: &reqwest::Client,
    repository: &str,
    digest: &str,
    os: &str,
    architecture: &str,
) -> anyhow::Result<(String, String)> {
    let (registry, path) =
        repository.split_once('/').context("the repository names no registry")?;
    let loopback = registry.starts_with("127.")
        || registry.starts_with("localhost")
        || registry.starts_with("[::1]");
    let scheme = if loopback { "http" } else { "https" };
    let get = async |digest: &str| {
        let url = format!("{scheme}://{registry}/v2/{path}/manifests/{digest}");
        let answer =
            http.get(url).header("accept", ACCEPT).timeout(Duration::from_secs(10)).send().await?;
        ensure!(
            answer.status().is_success(),
            "{registry} answered {} for {digest}",
            answer.status()
        );
        anyhow::Ok(answer.json::<Manifest>().await?)
    };
    let mut manifest = get(digest).await?;
    let mut digest = digest.to_owned();
    if !manifest.manifests.is_empty() {
        let fits = |entry: &&Entry| {
            entry.platform.as_ref().is_some_and(|it| it.os == os && it.architecture == architecture)
        };
        let entry = manifest.manifests.iter().find(fits);
        digest = entry
            .with_context(|| format!("the index has no manifest for {os}/{architecture}"))?
            .digest
            .clone();
        manifest = get(&digest).await?;
    }
    let config = manifest.config.context("the manifest names no configuration")?.digest;
    Ok((digest, config))
}
