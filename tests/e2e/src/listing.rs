//! The tag that lists what is attached to a manifest, on a registry without the referrers API: whoever may push may
//! overwrite it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::Value;
use verbatim_oci::{Digest, Reference};
use verbatim_record::{EnvironmentArtifact, EnvironmentId};
use verbatim_registry::ManifestName;

use crate::World;
use crate::image::client;

/// Such a tag, as it was when it was read.
#[derive(Debug, Clone)]
pub struct Listing {
    tag: Reference,
    kind: String,
    /// What it held.
    pub bytes: Bytes,
}

impl Listing {
    /// That of a manifest in the repository of the project.
    ///
    /// # Errors
    /// The registry does not have it.
    pub async fn of(world: &World, subject: &Digest) -> Result<Self> {
        let tag = Reference {
            repository: format!("{}/shop/app", world.registry.host()).parse()?,
            tag: Some(format!("sha256-{}", subject.hex()).parse()?),
            digest: None,
        };
        let list = client()?.manifest(&tag).await?;
        Ok(Self { tag, kind: list.media_type, bytes: list.bytes })
    }

    /// That of an environment.
    ///
    /// # Errors
    /// As [`Listing::of`].
    pub async fn of_environment(world: &World, name: &str) -> Result<Self> {
        let id: EnvironmentId = format!("shop/{name}").parse()?;
        Self::of(world, EnvironmentArtifact::of(&id).digest()).await
    }

    /// The digests of what it listed.
    ///
    /// # Errors
    /// It is no list.
    pub fn entries(&self) -> Result<BTreeSet<String>> {
        let document: Value = serde_json::from_slice(&self.bytes)?;
        let entries = document["manifests"].as_array().context("no list")?;
        let digest = |entry: &Value| entry["digest"].as_str().map(str::to_owned);
        entries.iter().map(|entry| digest(entry).context("no digest")).collect()
    }

    /// Has the tag name this instead.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn put(&self, kind: &str, bytes: Bytes) -> Result<()> {
        let name = ManifestName::Tag(self.tag.tag.clone().context("a tag")?);
        client()?.put_manifest(&self.tag.repository, &name, kind, bytes).await?;
        Ok(())
    }

    /// Has it list what `change` makes of its entries. Tells how many there were.
    ///
    /// # Errors
    /// It is no list, or the registry refuses.
    pub async fn rewrite(&self, change: impl FnOnce(&mut Vec<Value>)) -> Result<usize> {
        let mut document: Value = serde_json::from_slice(&self.bytes)?;
        let entries = document["manifests"].as_array_mut().context("no list")?;
        let had = entries.len();
        change(entries);
        self.put(&self.kind, document.to_string().into()).await?;
        Ok(had)
    }

    /// Has it list what it listed.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn put_back(&self) -> Result<()> {
        self.put(&self.kind, self.bytes.clone()).await
    }
}
