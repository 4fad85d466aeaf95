//! A ledger against a registry that hides or changes what it holds, and against rules that let nobody in. Beside each, the
//! same without the fault.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use e2e::World;
use fault_proxy::{Fault, Rule};
use serde_json::Value;
use verbatim_oci::{Digest, Manifest, Reference};
use verbatim_record::{
    BUNDLE_MEDIA_TYPE, Bundle, EnvironmentArtifact, EnvironmentId, Predicate as _, Promotion,
    Statement, Veto,
};
use verbatim_registry::ManifestName;

fn digest(release: &str) -> Result<Digest> {
    Ok(release.split_once('@').context("no digest")?.1.parse()?)
}

/// What `verbatim history` tells of dev, newest first.
async fn history(world: &World) -> Result<Vec<Value>> {
    let run = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    Ok(run.json()?["promotions"].as_array().cloned().unwrap_or_default())
}

/// Takes a record out of the listing of the environment, as who owns the registry can. Tells whether it was there.
async fn unlist(world: &World, record: &str) -> Result<bool> {
    let client = e2e::client()?;
    let id: EnvironmentId = "shop/dev".parse()?;
    let subject = *EnvironmentArtifact::of(&id).digest();
    let repository: verbatim_oci::Repository =
        format!("{}/shop/app", world.registry.host()).parse()?;
    let tag: verbatim_oci::Tag = format!("sha256-{}", subject.hex()).parse()?;
    let index = client.manifest(&Reference::by_tag(repository.clone(), tag.clone())).await?;
    let mut document: Value = serde_json::from_slice(&index.bytes)?;
    let entries = document["manifests"].as_array_mut().context("no list")?;
    let mut found = None;
    for (place, entry) in entries.iter().enumerate() {
        let manifest: Digest = entry["digest"].as_str().context("no digest")?.parse()?;
        let manifest = client.manifest(&Reference::by_digest(repository.clone(), manifest)).await?;
        let Manifest::Image(manifest) = manifest.parse()? else { continue };
        if manifest.layers.iter().any(|layer| layer.digest.to_string() == record) {
            found = Some(place);
        }
    }
    found.map(|place| entries.remove(place));
    let bytes = document.to_string().into();
    client.put_manifest(&repository, &ManifestName::Tag(tag), &index.media_type, bytes).await?;
    Ok(found.is_some())
}

/// A promotion in the middle is named by the next one, and the last one by the applications.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_hidden_is_missed() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    for message in ["First", "Second"] {
        let release = world.release(message).await?;
        let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    }
    let records = history(&world).await?;
    let third = world.release("Third").await?;
    for (place, want) in [(1, "promotion 2 follows record"), (0, "promotion 2 (record sha256:")] {
        let record = records[place]["record"].as_str().context("no record")?;
        assert!(unlist(&world, record).await?);
        world.registry_proxy.inject(Rule::new(Fault::Status(404)).path(record).always());
        for line in [
            &["promote", "dev", "--release", &third][..],
            &["rollback", "dev", "--steps", "1"],
            &["restore", "dev"],
            &["history", "dev"],
        ] {
            let run = world.verbatim(line).await?;
            let told = format!("{}{}", run.stdout, run.stderr);
            assert!(run.code == 1, "{line:?} {run}");
            assert!(told.contains(want) || told.contains("nothing to roll"), "{line:?} {run}");
        }
        world.registry_proxy.heal();
    }
    let _ = world.verbatim(&["promote", "dev", "--release", &third]).await?.ends(0);
    assert_eq!(history(&world).await?.len(), 3);
    Ok(())
}

/// A promotion to dev, rewritten as one to staging: the bytes are not those that were signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_payload_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    world.carry(&release, &["dev"]).await?;
    let client = e2e::client()?;
    let image: Reference = release.parse()?;
    let subject = client.manifest(&image).await?.descriptor()?;
    let listed =
        client.referrers(&image.repository, &subject.digest, Some(BUNDLE_MEDIA_TYPE)).await?;
    let mut changed = None;
    for entry in listed.descriptors {
        let manifest =
            client.manifest(&Reference::by_digest(image.repository.clone(), entry.digest)).await?;
        let Manifest::Image(manifest) = manifest.parse()? else { continue };
        let bytes = client.blob(&image.repository, &manifest.layers[0], 1 << 20).await?;
        let mut bundle: Value = serde_json::from_slice(&bytes)?;
        let payload = bundle["dsseEnvelope"]["payload"].as_str().context("no payload")?;
        let payload = String::from_utf8(e2e::base64(payload)?)?;
        if serde_json::from_str::<Statement<Promotion>>(&payload).is_ok() {
            let id = |name: &str| -> Result<Digest> {
                Ok(*EnvironmentArtifact::of(&format!("shop/{name}").parse()?).digest())
            };
            let (dev, staging) = (id("dev")?.hex(), id("staging")?.hex());
            let payload = payload.replace("shop/dev", "shop/staging").replace(&dev, &staging);
            bundle["dsseEnvelope"]["payload"] = BASE64.encode(payload).into();
            changed = Some(Bundle::read(bundle.to_string().into_bytes())?);
        }
    }
    e2e::attach(&image, subject, &changed.context("no promotion")?).await?;
    // Anybody may attach that, so it is told and decides nothing.
    let verify = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(verify.stdout.contains("the signature does not match"), "{verify}");
    let refused = world.verbatim(&["promote", "production", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("never promoted to shop/staging"), "{refused}");
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    let _ = world.verbatim(&["promote", "production", "--release", &release]).await?.ends(0);
    assert_eq!(digest(&release)?, image.digest.context("no digest")?);
    Ok(())
}

/// A veto lies with the release and with the environment: one listing that loses it is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_veto_that_a_listing_lost_still_counts() -> Result<()> {
    let config = test_registry::Config { referrers_api: false, ..test_registry::Config::default() };
    let world = World::start_with(config).await?;
    let (good, bad) = (world.release("Good").await?, world.release("Bad").await?);
    world.carry(&good, &["dev"]).await?;
    world.carry(&bad, &["dev"]).await?;
    let _ = world.verbatim(&["rollback", "dev"]).await?.ends(0);
    let veto = vetoes(&bad).await?.pop().context("no veto")?;
    assert!(unlist(&world, &veto).await?);
    let refused = world.verbatim(&["promote", "dev", "--release", &bad]).await?.ends(1);
    assert!(refused.stdout.contains("refused  vetoed"), "{refused}");
    Ok(())
}

/// The records of vetoes that are listed beside a release.
async fn vetoes(release: &str) -> Result<Vec<String>> {
    let client = e2e::client()?;
    let image: Reference = release.parse()?;
    let listed =
        client.referrers(&image.repository, &digest(release)?, Some(BUNDLE_MEDIA_TYPE)).await?;
    let mut found = Vec::new();
    for entry in listed.descriptors {
        let manifest =
            client.manifest(&Reference::by_digest(image.repository.clone(), entry.digest)).await?;
        let Manifest::Image(manifest) = manifest.parse()? else { continue };
        let bytes = client.blob(&image.repository, &manifest.layers[0], 1 << 20).await?;
        let bundle = Bundle::read(bytes.to_vec())?;
        if bundle.predicate_type() == Veto::TYPE {
            found.push(bundle.digest().to_string());
        }
    }
    Ok(found)
}

/// Rules under which nobody may promote any more: no key has the role, or a condition that nothing meets. The glass can be
/// broken, and what was done is recorded when the rules are better.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_lock_everybody_out_can_be_overcome() -> Result<()> {
    let no_role = ("[builder, tester, promoter]", "[builder, tester]", 2);
    let never =
        ("apps: [shop-dev]", "apps: [shop-dev]\n    gates: { when: { never: 'false' } }", 1);
    for (from, to, status) in [no_role, never] {
        let world = World::start().await?;
        let (good, bad) = (world.release("Good").await?, world.release("Bad").await?);
        world.carry(&good, &["dev"]).await?;
        world.carry(&bad, &["dev"]).await?;
        let rules = world.configuration();
        assert!(rules.contains(from));
        world.project.write("verbatim.yaml", &rules.replace(from, to))?;
        let better = world.release("Better").await?;
        let _ = world.verbatim(&["promote", "dev", "--release", &better]).await?.ends(status);
        let _ = world.verbatim(&["rollback", "dev"]).await?.ends(status);
        let line = ["rollback", "dev", "--from-argocd-history", "--reason", "nobody may"];
        let run = world.verbatim(&[&line[..], &["--format", "json"]].concat()).await?.ends(0);
        let run = run.json()?;
        assert_eq!(run["release"]["digest"], digest(&good)?.to_string());
        assert_eq!(run["proven"], true);
        world.project.write("verbatim.yaml", &rules)?;
        for command in e2e::noted_commands(&run) {
            let _ = world.verbatim(&command).await?.ends(0);
        }
        let newest = history(&world).await?.into_iter().next().context("no history")?;
        assert_eq!(newest["kind"], "break-glass");
        assert_eq!(newest["reason"], "nobody may");
        let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    }
    Ok(())
}
