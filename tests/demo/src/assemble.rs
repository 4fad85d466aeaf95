//! An image made without an engine: one layer, a configuration, a manifest, pushed straight to the registry.
//!
//! For machines where no Docker Engine can be had. It is signed as what it is, an image that this program put together,
//! and `verbatim build` then finds the image of this commit and need not build it. Nothing here reads a Dockerfile.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Reference, media_type};
use verbatim_record::{Build, BuildSource, Bundle, CiRun, SigningKey, Statement};
use verbatim_registry::{Attachment, Client, Config, Layer, ManifestName};

/// Where the program lies in the image.
pub(super) const PROGRAM: &str = "demo";

/// The media type of a layer that is not compressed (OCI image specification, media-types.md).
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A client for the registry of this demo, which asks for no login.
pub(super) fn client() -> Result<Client> {
    Client::new(Config::new("verbatim-demo"), Keychain::anonymous())
        .context("failed to make a registry client")
}

/// Puts `program` into an image with these variables, pushes it under the tag of `image`, and attaches a build record
/// that is signed with the key.
pub(super) async fn push(
    client: &Client,
    program: &Path,
    image: &Reference,
    commit: &str,
    variables: &[(&str, &str)],
    key: &SigningKey,
) -> Result<()> {
    let started_at = Timestamp::now();
    let layer = layer(program)?;
    let config = config(&layer, commit, variables)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &config),
        "layers": [Descriptor::of(LAYER, &layer)],
    });
    let manifest = Bytes::from(serde_json::to_vec(&manifest)?);
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    for blob in [layer, config] {
        client
            .push_blob(&image.repository, blob)
            .await
            .context("failed to push a part of the image")?;
    }
    let tag = image.tag.clone().context("the image has no tag")?;
    client
        .put_manifest(
            &image.repository,
            &ManifestName::Tag(tag),
            media_type::OCI_MANIFEST,
            manifest,
        )
        .await
        .context("failed to push the image")?;
    let record = record(image, &descriptor, commit, variables, started_at, key)?.attachment();
    let attachment = Attachment {
        subject: descriptor,
        artifact_type: record.artifact_type.to_owned(),
        layers: vec![Layer {
            media_type: record.layer_media_type.to_owned(),
            bytes: record.layer.into(),
            annotations: BTreeMap::new(),
        }],
        annotations: record.annotations,
    };
    client
        .attach(&image.repository, &attachment)
        .await
        .context("failed to attach the build record")?;
    Ok(())
}

/// Who made the image, from what.
fn record(
    image: &Reference,
    descriptor: &Descriptor,
    commit: &str,
    variables: &[(&str, &str)],
    started_at: Timestamp,
    key: &SigningKey,
) -> Result<Bundle> {
    let build = Build {
        source: BuildSource {
            commit: Some(commit.to_owned()),
            branch: Some("main".to_owned()),
            ..BuildSource::default()
        },
        image: image.to_string(),
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        build_args: variables.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ignored_inputs: BTreeMap::new(),
        builder: "none".to_owned(),
        builder_id: Build::builder_id("xtask"),
        versions: BTreeMap::from([("engine".to_owned(), "none".to_owned())]),
        run: CiRun::default(),
        started_at,
        finished_at: Timestamp::now(),
    };
    let statement =
        Statement::build(&image.repository.to_string(), &descriptor.digest, build.provenance());
    verbatim_record::sign(&statement, key).context("failed to sign the build record")
}

/// An archive of the one file, the same bytes each time.
fn layer(program: &Path) -> Result<Bytes> {
    let content =
        std::fs::read(program).with_context(|| format!("failed to read {}", program.display()))?;
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, PROGRAM, content.as_slice())
        .context("failed to write the layer")?;
    Ok(archive.into_inner().context("failed to write the layer")?.into())
}

/// The configuration of the image (OCI image specification, config.md).
fn config(layer: &Bytes, commit: &str, variables: &[(&str, &str)]) -> Result<Bytes> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Env": variables,
            "Entrypoint": [format!("/{PROGRAM}")],
            "Labels": { "org.opencontainers.image.revision": commit },
        },
        // The layer is not compressed, so the hash of its content is its digest.
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(layer)))] },
        "history": [{ "created_by": "cargo xtask pipeline", "comment": "assembled without an engine" }],
    });
    Ok(serde_json::to_vec(&config)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_holds_the_program_and_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("x");
        std::fs::write(&program, "binary").unwrap();
        let made = layer(&program).unwrap();
        assert_eq!(made, layer(&program).unwrap());
        let mut archive = tar::Archive::new(made.as_ref());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(names, [Path::new(PROGRAM)]);
        let config: serde_json::Value =
            serde_json::from_slice(&config(&made, "c0ffee", &[("A", "b")]).unwrap()).unwrap();
        assert_eq!(config["config"]["Env"], json!(["A=b"]));
    }
}
