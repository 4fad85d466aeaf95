//! Whoever may push to the registry and has no key: a leaked login, a job of another team. What they attach may be rejected; it
//! may neither count nor stand in the way.

use anyhow::Result;
use bytes::Bytes;
use e2e::World;
use serde_json::{Value, json};
use verbatim_oci::{Descriptor, Digest, Reference, Repository, media_type};
use verbatim_record::{BUNDLE_MEDIA_TYPE, EnvironmentArtifact, EnvironmentId};
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
