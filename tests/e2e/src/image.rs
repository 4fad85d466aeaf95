//! Images made without an engine, with their build records: what `verbatim build` leaves behind, for tests whose subject
//! is what comes after.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use verbatim_record::{Build, BuildSource, Bundle, CiRun, SigningKey, Statement, sign};
use verbatim_registry::{Attachment, Client, Config, Layer, ManifestName};

/// How an image came to be.
#[derive(Clone, Debug)]
pub struct Built {
    /// The commit.
    pub commit: String,
    /// Whether there were changes beside it.
    pub dirty: bool,
    /// The CI run: pipeline and number.
    pub run: Option<(String, u64)>,
}

/// A client for registries of tests, which ask for no login.
///
/// # Errors
/// None that are known.
pub fn client() -> Result<Client> {
    client_with(Keychain::anonymous())
}

/// A client for registries of tests that ask for a login.
///
/// # Errors
/// None that are known.
pub fn client_with(keychain: Keychain) -> Result<Client> {
    Client::new(Config::new("verbatim-tests"), keychain).context("cannot make a client")
}

/// Pushes an image whose content is its commit, under the tag of `image`, and attaches its build record.
///
/// # Errors
/// The registry refuses.
pub async fn push(image: &Reference, built: &Built, key: &SigningKey) -> Result<Digest> {
    push_with(&client()?, image, built, key).await
}

/// As [`push`], through a client that may have a login.
///
/// # Errors
/// The registry refuses.
pub async fn push_with(
    client: &Client,
    image: &Reference,
    built: &Built,
    key: &SigningKey,
) -> Result<Digest> {
    let descriptor = push_image(client, image, built).await?;
    let record = record(image, &descriptor, built, key)?;
    attach_as_others(client, image, descriptor.clone(), &record).await?;
    Ok(descriptor.digest)
}

/// Pushes an image whose content is its commit, under the tag of `image`, as a builder does that signs nothing.
///
/// # Errors
/// The registry refuses.
pub async fn push_unrecorded(image: &Reference, built: &Built) -> Result<Descriptor> {
    push_image(&client()?, image, built).await
}

async fn push_image(client: &Client, image: &Reference, built: &Built) -> Result<Descriptor> {
    let repository = &image.repository;
    let repository_name = image.repository.name();
    let layer = Bytes::from(format!("{repository_name} {} {}", built.commit, built.dirty));
    let config = Bytes::from(serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Labels": { "org.opencontainers.image.revision": built.commit } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
    }))?);
    let manifest = Bytes::from(serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &config),
        "layers": [Descriptor::of("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?);
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    for blob in [layer, config] {
        client.push_blob(repository, blob).await.context("cannot push a blob")?;
    }
    let tag = image.tag.clone().context("the image has no tag")?;
    client
        .put_manifest(repository, &ManifestName::Tag(tag), media_type::OCI_MANIFEST, manifest)
        .await
        .context("cannot push the image")?;
    Ok(descriptor)
}

/// Makes an index of images that were pushed to the repository of `image`, and of indexes, under its tag; with the build
/// record of a commit.
///
/// # Errors
/// The registry refuses.
pub async fn push_index(
    image: &Reference,
    entries: &[Descriptor],
    built: &Built,
    key: &SigningKey,
) -> Result<Descriptor> {
    let client = client()?;
    let platforms = ["amd64", "arm64", "riscv64"];
    let entries = entries.iter().zip(platforms).map(|(entry, architecture)| {
        let mut entry = json!(entry);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    });
    let index = Bytes::from(serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries.collect::<Vec<_>>(),
    }))?);
    let descriptor = Descriptor::of(media_type::OCI_INDEX, &index);
    let tag = image.tag.clone().context("the image has no tag")?;
    client
        .put_manifest(&image.repository, &ManifestName::Tag(tag), media_type::OCI_INDEX, index)
        .await
        .context("cannot push the index")?;
    let record = record(image, &descriptor, built, key)?;
    attach_as_others(&client, image, descriptor.clone(), &record).await?;
    Ok(descriptor)
}

/// Attaches a record to a manifest, as anybody may who may push.
///
/// # Errors
/// The registry refuses.
pub async fn attach(image: &Reference, subject: Descriptor, record: &Bundle) -> Result<()> {
    let attachment = attachment(subject, record);
    client()?.attach(&image.repository, &attachment).await.context("cannot attach the record")?;
    Ok(())
}

/// Attaches a record as other clients do, cosign among them: its content lies in a blob alone.
async fn attach_as_others(
    client: &Client,
    image: &Reference,
    subject: Descriptor,
    record: &Bundle,
) -> Result<()> {
    let repository = &image.repository;
    let attachment = attachment(subject, record);
    let Manifest::Image(mut manifest) = Manifest::parse(&attachment.manifest_bytes(), None)? else {
        bail!("a record is no index");
    };
    manifest.layers.iter_mut().for_each(|layer| layer.data = None);
    for layer in [Bytes::from_static(b"{}"), attachment.layers[0].bytes.clone()] {
        client.push_blob(repository, layer).await.context("cannot push a blob")?;
    }
    let bytes = Bytes::from(serde_json::to_vec(&manifest)?);
    let put = client
        .put_manifest(repository, &ManifestName::Digest, media_type::OCI_MANIFEST, bytes)
        .await
        .context("cannot attach the record")?;
    client.relist(repository, &put.digest).await.context("the record is not listed")?;
    Ok(())
}

fn attachment(subject: Descriptor, record: &Bundle) -> Attachment {
    let stored = record.attachment();
    Attachment {
        subject,
        artifact_type: stored.artifact_type.to_owned(),
        layers: vec![Layer {
            media_type: stored.layer_media_type.to_owned(),
            bytes: stored.layer.into(),
            annotations: BTreeMap::new(),
        }],
        annotations: stored.annotations,
    }
}

fn record(
    image: &Reference,
    descriptor: &Descriptor,
    built: &Built,
    key: &SigningKey,
) -> Result<Bundle> {
    let now = Timestamp::now();
    let (pipeline, number) = built.run.clone().unzip();
    let build = Build {
        source: BuildSource {
            commit: Some(built.commit.clone()),
            branch: Some("main".to_owned()),
            dirty: built.dirty,
            ..BuildSource::default()
        },
        image: image.to_string(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        build_args: Vec::new(),
        ignored_inputs: BTreeMap::new(),
        builder: "none".to_owned(),
        builder_id: Build::builder_id("tests"),
        versions: BTreeMap::new(),
        run: CiRun { pipeline, number, ..CiRun::default() },
        started_at: now,
        finished_at: now,
    };
    let statement =
        Statement::build(&image.repository.to_string(), &descriptor.digest, build.provenance());
    sign(&statement, key).context("cannot sign the build record")
}
