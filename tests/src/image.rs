//! Images made without an engine, with their build records: what `verbatim build` leaves behind, for tests whose subject
//! is what comes after.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Digest, Reference, media_type};
use verbatim_record::{Build, Bundle, Run, SigningKey, Source, Statement, sign};
use verbatim_registry::{Attachment, Client, Config, Layer, PutAs};

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
    Client::new(Config::new("verbatim-tests"), Keychain::anonymous())
        .context("cannot make a client")
}

/// Pushes an image whose content is its commit, under the tag of `image`, and attaches its build record.
///
/// # Errors
/// The registry refuses.
pub async fn push(image: &Reference, built: &Built, key: &SigningKey) -> Result<Digest> {
    let client = client()?;
    let repository = &image.repository;
    let layer = Bytes::from(format!("{} {}", built.commit, built.dirty));
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
        .put_manifest(repository, &PutAs::Tag(tag), media_type::OCI_MANIFEST, manifest)
        .await
        .context("cannot push the image")?;
    let record = record(image, &descriptor, built, key)?;
    attach(image, descriptor.clone(), &record).await?;
    Ok(descriptor.digest)
}

/// Attaches a record to a manifest, as anybody may who may push.
///
/// # Errors
/// The registry refuses.
pub async fn attach(image: &Reference, subject: Descriptor, record: &Bundle) -> Result<()> {
    let stored = record.attachment();
    let attachment = Attachment {
        subject,
        artifact_type: stored.artifact_type.to_owned(),
        layers: vec![Layer {
            media_type: stored.layer_media_type.to_owned(),
            bytes: stored.layer.into(),
            annotations: BTreeMap::new(),
        }],
        annotations: stored.annotations,
    };
    client()?.attach(&image.repository, &attachment).await.context("cannot attach the record")?;
    Ok(())
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
        source: Source {
            commit: Some(built.commit.clone()),
            branch: Some("main".to_owned()),
            dirty: built.dirty,
            ..Source::default()
        },
        image: image.to_string(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        build_args: Vec::new(),
        builder: "none".to_owned(),
        builder_id: Build::builder_id("tests"),
        versions: BTreeMap::new(),
        run: Run { pipeline, number, ..Run::default() },
        started_at: now,
        finished_at: now,
    };
    let statement =
        Statement::build(&image.repository.to_string(), &descriptor.digest, build.provenance());
    sign(&statement, key).context("cannot sign the build record")
}
