//! Whoever may push to the registry and has no key: a leaked login, a job of another team. What they attach may be rejected; it
//! may neither count nor stand in the way.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use e2e::{Listing, World};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};
use verbatim_oci::{Descriptor, Digest, Reference, Repository, media_type};
use verbatim_record::{
    BUNDLE_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId, PREDICATE_TYPE_ANNOTATION,
};
use verbatim_registry::ManifestName;

/// Pushes a referrer of something with these layers, and has it listed.
async fn attach(repository: &Repository, subject: &Descriptor, layers: Value) -> Result<()> {
    let client = e2e::client()?;
    client.push_blob(repository, Bytes::from_static(b"{}")).await?;
    let is_readable = layers.is_array();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": BUNDLE_MEDIA_TYPE,
        "config": Descriptor::of(media_type::OCI_EMPTY, b"{}"),
        "layers": layers,
        "subject": subject,
    });
    let bytes = Bytes::from(manifest.to_string());
    let digest = Digest::of(&bytes);
    client.put_manifest(repository, &ManifestName::Digest, media_type::OCI_MANIFEST, bytes).await?;
    if is_readable {
        client.relist(repository, &digest).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_attaches_stops_nothing() -> Result<()> {
    for referrers_api in [true, false] {
        let config = test_registry::Config { referrers_api, ..test_registry::Config::default() };
        let world = World::start_with(config).await?;
        let release = world.release("One").await?;
        world.carry(&release, &["dev"]).await?;
        let image: Reference = release.parse()?;
        let repository = image.repository.clone();
        let dev: EnvironmentId = "shop/dev".parse()?;
        let artifact = EnvironmentArtifact::of(&dev);
        let subjects = [
            e2e::client()?.manifest(&image).await?.descriptor()?,
            Descriptor::of(EnvironmentArtifact::MEDIA_TYPE, artifact.bytes()),
        ];
        let (small, large) = (vec![b'x'; 1000], vec![b'x'; 5 << 20]);
        for content in [&small, &large] {
            e2e::client()?.push_blob(&repository, Bytes::from(content.clone())).await?;
        }
        let sized = |content: &[u8], size: u64| Descriptor {
            size,
            ..Descriptor::of(BUNDLE_MEDIA_TYPE, content)
        };
        for subject in &subjects {
            attach(&repository, subject, json!([sized(&small, 10)])).await?;
            attach(&repository, subject, json!([sized(&large, 10)])).await?;
            attach(&repository, subject, json!([sized(&large, 5 << 20)])).await?;
            attach(&repository, subject, json!([])).await?;
            if referrers_api {
                attach(&repository, subject, json!("many")).await?;
            }
        }
        let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
        let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
        let _ = world.verbatim(&["restore", "dev"]).await?.ends(0);
        let second = world.release("Two").await?;
        let _ = world.verbatim(&["promote", "dev", "--release", &second]).await?.ends(0);
        let _ = world.verbatim(&["rollback", "dev", "--reason", "slow"]).await?.ends(0);
        let verified = world.verbatim(&["verify", &release]).await?.ends(0);
        for told in ["its content has 1000 bytes, its manifest says 10", "it has no content"] {
            assert!(verified.stdout.contains(told), "`{told}` is not in {verified}");
        }
        let malformed = verified.stdout.contains("its manifest is malformed");
        assert_eq!(malformed, referrers_api, "{verified}");
    }
    Ok(())
}

/// On a registry without the referrers API whoever may push may overwrite the tags that list the records. What came later
/// names what was there, and the applications name the last ban, so nothing is hidden by that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_out_of_a_listing_is_found() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    let release = world.release("One").await?;
    let digest = release.parse::<Reference>()?.digest.context("no digest")?;
    let promote = ["promote", "dev", "--release", &release];
    let without = |kind: &'static str| {
        move |entries: &mut Vec<Value>| {
            let had = entries.len();
            entries.retain(|entry| !entry.to_string().contains(kind));
            assert!(entries.len() < had, "no {kind}");
        }
    };

    // A lock, before anything was promoted: nothing came after it.
    let locked = world.verbatim(&["lock", "dev", "--reason", "audit", "-v"]).await?.ends(0);
    let lock = locked.stdout.split("record ").nth(1).context("no record")?.trim().to_owned();
    let listing = Listing::of_environment(&world, "dev").await?;
    let called_otherwise = |entries: &mut Vec<Value>| {
        for entry in entries {
            entry["annotations"] = json!({ PREDICATE_TYPE_ANNOTATION: "urn:example:other" });
        }
    };
    listing.rewrite(without("urn:verbatim:lock")).await?;
    let refused = world.verbatim(&promote).await?.ends(1);
    assert!(refused.stdout.contains("locked: audit"), "{refused}");
    listing.rewrite(called_otherwise).await?;
    let refused = world.verbatim(&promote).await?.ends(1);
    assert!(refused.stdout.contains("locked: audit"), "{refused}");
    // Nor if its content is gone, too: then nobody knows what it said, and nothing is let in.
    listing.rewrite(Vec::clear).await?;
    world.registry_proxy.inject(Rule::new(Fault::Status(404)).path(&lock).always());
    let missing = format!("record {lock}, which the annotation on shop-dev names, is missing");
    let history = world.verbatim(&["history", "dev"]).await?.ends(1);
    assert!(history.stdout.contains(&missing), "{history}");
    for line in [&promote[..], &["status", "--check"]] {
        let run = world.verbatim(line).await?.ends(1);
        assert!(run.stdout.contains("which an application names, is missing"), "{run}");
    }
    assert_eq!(world.parameters("shop-dev").await?, []);
    world.registry_proxy.heal();
    listing.put_back().await?;
    let _ = world.verbatim(&["unlock", "dev", "--reason", "over"]).await?.ends(0);
    world.carry(&release, &["dev"]).await?;

    // A failed test: the release has passed one before, and that would count again.
    let listings = async || -> Result<[Listing; 2]> {
        Ok([Listing::of(&world, &digest).await?, Listing::of_environment(&world, "dev").await?])
    };
    let before = listings().await?;
    std::fs::write(world.beside("fail"), "")?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(1);
    let to_staging = ["promote", "staging", "--release", &release];
    // In each listing another manifest refers to its record.
    let mut failed = BTreeSet::new();
    let after = listings().await?;
    for (before, after) in before.iter().zip(&after) {
        failed.extend(after.entries()?.difference(&before.entries()?).cloned());
    }
    assert_eq!(failed.len(), 2);
    let without_it = |entries: &mut Vec<Value>| {
        let had = entries.len();
        entries.retain(|it| it["digest"].as_str().is_none_or(|digest| !failed.contains(digest)));
        assert_eq!(entries.len() + 1, had);
    };
    let [of_release, _] = after;
    of_release.rewrite(without_it).await?;
    let refused = world.verbatim(&to_staging).await?.ends(1);
    assert!(refused.stdout.contains("smoke failed"), "{refused}");
    // Out of both, once another record of that environment has seen it.
    of_release.put_back().await?;
    let _ = world.verbatim(&["approve", "dev", "--release", &release, "--anyway"]).await?.ends(0);
    for listing in listings().await? {
        listing.rewrite(without_it).await?;
    }
    let refused = world.verbatim(&to_staging).await?.ends(1);
    assert!(refused.stdout.contains("smoke failed"), "{refused}");
    std::fs::remove_file(world.beside("fail"))?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(0);
    let _ = world.verbatim(&to_staging).await?.ends(0);

    // A veto everywhere: it is a part of every ledger, and noted on the applications of each.
    let to_production = ["promote", "production", "--release", &release];
    let _ = world.verbatim(&["veto", &release, "--reason", "it leaks"]).await?.ends(0);
    Listing::of(&world, &digest).await?.rewrite(without("urn:verbatim:veto")).await?;
    let production = Listing::of_environment(&world, "production").await?;
    production.rewrite(without("urn:verbatim:veto")).await?;
    let refused = world.verbatim(&to_production).await?.ends(1);
    assert!(refused.stdout.contains("vetoed: it leaks"), "{refused}");
    Ok(())
}
