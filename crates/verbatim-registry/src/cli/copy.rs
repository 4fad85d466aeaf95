//! `copy`: copies an image to another repository, with its referrers.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};

use super::{RegistryArgs, failure};
use crate::CopyOptions;

/// Copy an image to another repository, with its signatures and records
///
/// Copies the manifest byte for byte, so the digest stays the same, and all platforms of a multi-platform image.
/// Signatures, records and attestations that refer to the image are copied, too, even if only one of the two registries
/// has the referrers API. Within one registry, blobs are mounted instead of sent. To finish an interrupted copy, run it
/// again.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry copy registry.example.com/shop:42 eu.example.com/shop
  verbatim-registry copy --overwrite example/app:v1 mirror.example.com/app")]
pub struct CopyArgs {
    /// The image to copy, `host[:port]/path[:tag][@digest]`
    #[arg(value_name = "SOURCE")]
    pub source: Reference,

    /// Where to copy it, `host[:port]/path[:tag]` [default tag: the tag of the source]
    #[arg(value_name = "TARGET")]
    pub target: Reference,

    /// Copy the image without its signatures and records
    #[arg(long)]
    pub no_referrers: bool,

    /// Move the tag if it points to another image
    #[arg(long)]
    pub overwrite: bool,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

#[derive(Serialize)]
struct CopyResult {
    reference: Reference,
    digest: Digest,
    manifests: u64,
    referrers: u64,
    sent: u64,
    sent_bytes: u64,
    mounted: u64,
    existed: u64,
}

impl fmt::Display for CopyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reference)?;
        writeln!(f, "  {} manifests, {} of them referrers", self.manifests, self.referrers)?;
        write!(
            f,
            "  {} blobs sent ({} bytes), {} mounted, {} already there",
            self.sent, self.sent_bytes, self.mounted, self.existed
        )
    }
}

pub(super) async fn run(args: CopyArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let image = client.resolve(&args.source).await.map_err(failure)?;
    let digest = image.digest();
    if args.target.digest.is_some_and(|wanted| wanted != digest) {
        return Err(Failure::usage(format!(
            "the digest of {} is not the digest of the source, {digest}",
            args.target
        )));
    }
    let tag = args.target.tag.clone().or(args.source.tag);
    let options = CopyOptions { referrers: !args.no_referrers, overwrite: args.overwrite };
    let target = args.target.repository;
    let progress = console.progress(format!("copying {} to {target}", image.reference));
    let copied = client
        .copy(&args.source.repository, &image.manifest, &target, tag.as_ref(), options)
        .await
        .map_err(failure)?;
    drop(progress);
    console.result(&CopyResult {
        reference: Reference { repository: target, tag, digest: Some(digest) },
        digest,
        manifests: copied.manifests,
        referrers: copied.referrers,
        sent: copied.sent,
        sent_bytes: copied.sent_bytes,
        mounted: copied.mounted,
        existed: copied.existed,
    })?;
    Ok(ExitStatus::Done)
}
