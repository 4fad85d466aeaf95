//! `copy`: an image to another repository, with what refers to it.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Reference};

use super::{RegistryArgs, failure};
use crate::CopyOptions;

/// Copy an image to another repository, with its signatures and records
///
/// Copies the manifest byte for byte, so the digest stays the same; of a multi-platform image all platforms. Also
/// copies what refers to the image: signatures, records, attestations, even if only one of the two registries has the
/// referrers API. Within a registry, blobs are mounted and not uploaded. An interrupted copy is completed by the next
/// one.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry copy registry.example.com/shop:42.3f0c9a eu.example.com/shop
  verbatim-registry copy --overwrite example/app@sha256:… \\
    mirror.example.com/app:stable")]
pub struct CopyArgs {
    /// The image: `host[:port]/path[:tag][@digest]`
    #[arg(value_name = "SOURCE")]
    pub source: Reference,

    /// The target: `host[:port]/path[:tag]` [default tag: that of the image]
    #[arg(value_name = "TARGET")]
    pub target: Reference,

    /// Copy only the image
    #[arg(long)]
    pub no_referrers: bool,

    /// Move the tag even if it names another image
    #[arg(long)]
    pub overwrite: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of options, documented where it is declared")]
    pub registry: RegistryArgs,
}

#[derive(Serialize)]
struct Outcome {
    reference: Reference,
    digest: Digest,
    manifests: u64,
    referrers: u64,
    sent: u64,
    sent_bytes: u64,
    mounted: u64,
    existed: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reference)?;
        writeln!(f, "  {} manifests, {} of them referrers", self.manifests, self.referrers)?;
        write!(
            f,
            "  blobs: {} sent ({} bytes), {} taken over, {} were there",
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
            "{} names another digest than the source, which is {digest}",
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
    console.result(&Outcome {
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
