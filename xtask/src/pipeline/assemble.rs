//! An image made without an engine: one layer, a configuration, a manifest, pushed straight to the registry.
//!
//! For machines where no Docker Engine can be had. What `docker build` would make of the same Dockerfile has the same
//! content and another digest; nothing here reads a Dockerfile.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use verbatim_credentials::Keychain;
use verbatim_oci::{Descriptor, Reference, media_type};
use verbatim_registry::{Client, Config, PutAs};

/// Where the program lies in the image.
pub(super) const PROGRAM: &str = "demo";

/// The media type of a layer that is not compressed (OCI image specification, media-types.md).
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A client for the registry of this demo, which asks for no login.
pub(super) fn client() -> Result<Client> {
    Client::new(Config::new("verbatim-demo"), Keychain::anonymous())
        .context("failed to make a registry client")
}

/// Puts `program` into an image with these variables and pushes it under the tag of `image`. Returns the reference
/// with its digest.
pub(super) async fn push(
    client: &Client,
    program: &Path,
    image: &Reference,
    commit: &str,
    variables: &[(&str, &str)],
) -> Result<Reference> {
    let layer = layer(program)?;
    let config = config(&layer, commit, variables)?;
    let descriptor = |kind: &str, content: &Bytes| Descriptor::of(kind, content);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG, &config),
        "layers": [descriptor(LAYER, &layer)],
    });
    let manifest = Bytes::from(serde_json::to_vec(&manifest)?);
    for blob in [layer, config] {
        client
            .push_blob(&image.repository, blob)
            .await
            .context("failed to push a part of the image")?;
    }
    let tag = image.tag.clone().context("the image has no tag")?;
    let put = client
        .put_manifest(&image.repository, &PutAs::Tag(tag), media_type::OCI_MANIFEST, manifest)
        .await
        .context("failed to push the image")?;
    Ok(image.pinned(put.digest))
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
