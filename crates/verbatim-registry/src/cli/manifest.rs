//! `manifest`: prints the manifest of a reference.

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Platform, Reference};

use super::{RegistryArgs, failure};

/// Print a manifest
///
/// Prints the bytes as they are stored: their SHA-256 is the digest. With `--format json`, the manifest is one field of
/// the result, and its formatting is lost.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry manifest nginx:1.29 | jq .
  verbatim-registry manifest --platform linux/arm64 nginx:1.29
  verbatim-registry manifest example/app@sha256:… | sha256sum")]
pub struct ManifestArgs {
    /// The manifest to print, `host[:port]/path[:tag][@digest]`
    #[arg(value_name = "REFERENCE")]
    pub reference: Reference,

    /// Print the manifest for this platform instead of the index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

#[derive(Serialize)]
struct ManifestResult {
    reference: Reference,
    digest: Digest,
    media_type: String,
    size: usize,
    manifest: serde_json::Value,
}

pub(super) async fn run(args: ManifestArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let resolved = match &args.platform {
        Some(platform) => client.resolve_for(&args.reference, platform).await,
        None => client.resolve(&args.reference).await,
    };
    let resolved = resolved.map_err(failure)?;
    if !console.is_json() {
        console.bytes(&resolved.manifest.bytes)?;
        return Ok(ExitStatus::Done);
    }
    let manifest = serde_json::from_slice(&resolved.manifest.bytes)
        .map_err(|error| Failure::new(ExitStatus::Defect, error))?;
    console.json(&ManifestResult {
        digest: resolved.digest(),
        media_type: resolved.manifest.media_type,
        size: resolved.manifest.bytes.len(),
        reference: resolved.reference,
        manifest,
    })?;
    Ok(ExitStatus::Done)
}
