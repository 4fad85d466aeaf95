//! Records against whoever may write to the registry but does not have the key: what was changed, copied, hidden or forged
//! never counts. The real cosign accepts every record that does.

use anyhow::{Context as _, Result};
use e2e::World;
use test_servers::registry::{self, Registry};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference};
use verbatim_record::{BUNDLE_MEDIA_TYPE, Bundle, Promotion, Statement, sign};

fn digest(release: &str) -> Result<Digest> {
    Ok(release.split_once('@').context("no digest")?.1.parse()?)
}

/// The bundles that are attached to a release.
async fn bundles(release: &str) -> Result<(Reference, Descriptor, Vec<Bundle>)> {
    let client = e2e::client()?;
    let image: Reference = release.parse()?;
    let subject = client.manifest(&image).await?.descriptor()?;
    let listed =
        client.referrers(&image.repository, &subject.digest, Some(BUNDLE_MEDIA_TYPE)).await?;
    let mut found = Vec::new();
    for entry in listed.descriptors {
        let manifest =
            client.manifest(&Reference::by_digest(image.repository.clone(), entry.digest)).await?;
        let Manifest::Image(manifest) = manifest.parse()? else { continue };
        let bytes = client.blob(&image.repository, &manifest.layers[0], 1 << 20).await?;
        found.push(Bundle::read(bytes.to_vec())?);
    }
    Ok((image, subject, found))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev"]).await?;
    let (image, subject, found) = bundles(&release).await?;
    let test = found
        .iter()
        .find(|bundle| bundle.predicate_type().contains("test-result"))
        .context("no test")?;
    // One character of the signature.
    let text = String::from_utf8(test.bytes().to_vec())?;
    let at = text.find("\"sig\":\"").context("no signature")? + "\"sig\":\"".len() + 20;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let changed = Bundle::read(format!("{}{other}{}", &text[..at], &text[at + 1..]).into_bytes())?;
    e2e::attach(&image, subject, &changed).await?;
    let run = world.verbatim(&["verify", &release]).await?.ends(1);
    assert!(run.stdout.contains("the signature does not fit"), "{run}");
    assert!(run.stdout.trim_end().ends_with("NOT verified"), "{run}");
    // The untouched one beside it still counts.
    let _ = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(0);
    Ok(())
}

/// The promotion of one release, attached to another: signed by the right key, and about something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_record_does_not_count() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    world.carry(&first, &["dev"]).await?;
    let (_, _, found) = bundles(&first).await?;
    let second = world.release("Second").await?;
    let (image, subject, _) = bundles(&second).await?;
    for record in &found {
        e2e::attach(&image, subject.clone(), record).await?;
    }
    let refused = world.verbatim(&["promote", "staging", "--release", &second]).await?.ends(1);
    assert!(refused.stdout.contains("it was never promoted to shop/dev"), "{refused}");
    let verify = world.verbatim(&["verify", &second]).await?.ends(1);
    assert!(verify.stdout.contains(&format!("it is not about {}", digest(&second)?)), "{verify}");
    Ok(())
}

/// Whoever may push signs a promotion with a key of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_counts_for_nothing_and_is_shown() -> Result<()> {
    let world = World::start().await?;
    let first = world.release("First").await?;
    world.carry(&first, &["dev"]).await?;
    let (image, subject, found) = bundles(&first).await?;
    let promotion =
        found.iter().find(|bundle| bundle.predicate_type() == "urn:verbatim:promotion:v1");
    let statement = statement(promotion.context("no promotion")?)?;
    let forged = sign(&statement, &e2e::key(9)?)?;
    e2e::attach(&image, subject, &forged).await?;
    let run = world.verbatim(&["verify", &first]).await?.ends(0);
    assert!(run.stdout.contains("it is signed by a key that is not configured"), "{run}");
    Ok(())
}

fn statement(bundle: &Bundle) -> Result<Statement<Promotion>> {
    let outer: serde_json::Value = serde_json::from_slice(bundle.bytes())?;
    let payload = outer["dsseEnvelope"]["payload"].as_str().context("no payload")?;
    Ok(serde_json::from_slice(&e2e::base64(payload)?)?)
}

/// A registry that lost the records (or hides them) is told by what stands on the applications.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_cut_is_noticed() -> Result<()> {
    let mut world = World::start().await?;
    let release = world.release("First").await?;
    world.carry(&release, &["dev"]).await?;
    // Another registry, with the same image and build record, and nothing else.
    world.registry = Registry::start(registry::Config::default()).await?;
    world.registry_proxy = test_servers::fault_proxy::FaultProxy::start(
        test_servers::fault_proxy::Upstream::Tcp(world.registry.host()),
    )
    .await?;
    world.project.write("verbatim.yaml", &world.configuration())?;
    let release = world.release("Second").await?;
    let refused = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("is known elsewhere and missing here"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_believed_only_from_configured_keys() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("First").await?;
    world.carry(&release, &["dev"]).await?;
    // The team replaces its key; the old one is not trusted any more.
    world.project.write("ci.pub", &e2e::key(8)?.verifying_key().to_pem()?)?;
    let run = world.verbatim(&["verify", &release]).await?.ends(1);
    assert!(run.stdout.contains("no record counts"), "{run}");
    let refused =
        world.verbatim(&["promote", "staging", "--dry-run", "--release", &release]).await?.ends(1);
    assert!(refused.stdout.contains("refused  after"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_accepts_every_record() -> Result<()> {
    let Some(cosign) = e2e::cosign() else { return Ok(()) };
    let world = World::start().await?;
    let release = world.release("Something new").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    let types = [
        "https://slsa.dev/provenance/v1",
        "https://in-toto.io/attestation/test-result/v0.1",
        "urn:verbatim:promotion:v1",
    ];
    let image: Reference = release.parse()?;
    let by_digest = format!("{}@{}", image.repository, digest(&release)?);
    for predicate in types {
        let arguments = [
            "verify-attestation",
            "--key",
            "ci.pub",
            "--insecure-ignore-tlog=true",
            "--allow-http-registry",
            "--type",
            predicate,
            &by_digest,
        ];
        let run = world.tool.other(&cosign, &arguments).await?.ends(0);
        assert!(run.stdout.contains("payload"), "{run}");
    }
    // And it refuses what another key is said to have signed.
    world.project.write("other.pub", &e2e::key(8)?.verifying_key().to_pem()?)?;
    let arguments = [
        "verify-attestation",
        "--key",
        "other.pub",
        "--insecure-ignore-tlog=true",
        "--allow-http-registry",
        "--type",
        types[2],
        &by_digest,
    ];
    let run = world.tool.other(&cosign, &arguments).await?;
    assert_ne!(run.code, 0, "{run}");
    Ok(())
}
