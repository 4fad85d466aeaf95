//! Releases of which the registry has lost a part, or that no engine can pull: refused before anything is written.

use anyhow::Result;
use e2e::{Built, World};
use fault_proxy::{Fault, Rule};
use verbatim_oci::{Descriptor, Digest, Reference};

/// An image for two platforms: its reference by digest, and the manifests of the platforms.
async fn two_platforms(world: &World) -> Result<(String, Vec<Descriptor>)> {
    let address = world.registry_proxy.address();
    let commit = world.project.commit("For two platforms").await?;
    let mut platforms = Vec::new();
    for dirty in [false, true] {
        let tag: Reference = format!("{address}/shop/app:platform-{dirty}").parse()?;
        let built = Built { commit: commit.clone(), dirty, run: None };
        platforms.push(e2e::push_unrecorded(&tag, &built).await?);
    }
    let image: Reference = format!("{address}/shop/app:local.{}", &commit[..12]).parse()?;
    let built = Built { commit, dirty: false, run: None };
    let index = e2e::push_index(&image, &platforms, &built, &world.key).await?;
    Ok((image.pinned(index.digest).to_string(), platforms))
}

/// The layer of an image of these tests.
fn layer(release: &str, commit: &str) -> Result<Digest> {
    let name: Reference = release.parse()?;
    Ok(Digest::of(format!("{} {commit} false", name.repository.name()).as_bytes()))
}

async fn refused(world: &World, release: &str, code: i32, told: &str) -> Result<()> {
    world.argocd.forget_seen();
    let run = world.verbatim(&["promote", "dev", "--release", release]).await?.ends(code);
    assert!(run.stderr.contains(told), "{told}: {run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_one_platform_is_missed_before_the_write() -> Result<()> {
    let world = World::start().await?;
    let (release, platforms) = two_platforms(&world).await?;
    let lost = platforms[1].digest.to_string();
    world.registry_proxy.inject(Rule::new(Fault::Status(404)).path(&lost).always());
    refused(&world, &release, 7, &lost).await?;
    world.registry_proxy.heal();
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_missed_before_the_write() -> Result<()> {
    let world = World::start().await?;
    let (release, _) = two_platforms(&world).await?;
    let commit = world.project.git(&["rev-parse", "HEAD"]).await?;
    let lost = layer(&release, commit.trim())?.to_string();
    let rule = Rule::new(Fault::Status(404)).method(&http::Method::HEAD).path(&lost);
    world.registry_proxy.inject(rule.always());
    let told = format!("which no node could pull: {lost}");
    refused(&world, &release, 7, &told).await?;
    world.registry_proxy.heal();
    let before = world.registry_proxy.requests();
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let seen = world.registry_proxy.seen().split_off(before);
    let asked = seen
        .iter()
        .filter(|one| one.method == http::Method::HEAD && one.target.contains("/blobs/"));
    let mut asked: Vec<&str> = asked.map(|one| one.target.as_str()).collect();
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.iter().any(|target| target.ends_with(&lost)), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_within_an_index_is_refused() -> Result<()> {
    let world = World::start().await?;
    let (release, _) = two_platforms(&world).await?;
    let inner: Reference = release.parse()?;
    let inner = e2e::client()?.manifest(&inner).await?.descriptor()?;
    let commit = world.project.commit("An index of an index").await?;
    let address = world.registry_proxy.address();
    let image: Reference = format!("{address}/shop/app:local.{}", &commit[..12]).parse()?;
    let built = Built { commit, dirty: false, run: None };
    let outer = e2e::push_index(&image, std::slice::from_ref(&inner), &built, &world.key).await?;
    let release = image.pinned(outer.digest).to_string();
    refused(&world, &release, 1, &format!("{} is an index within the index of", inner.digest)).await
}
