//! `resolve`: turns tags into digests.

use std::fmt;

use clap::Args;
use futures_util::future::try_join_all;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Platform, Reference};

use super::{RegistryArgs, failure};

/// Turn tags into digests
///
/// Prints each reference with its digest, one per line, in the order given. The digest is computed from the manifest, not
/// taken from a response header. For a multi-platform image it is the digest of the index, which is what you deploy; use
/// `--platform` for the digest of one platform's image.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry resolve nginx:1.29
  verbatim-registry resolve --digest-only ghcr.io/example/app:v1
  docker run \"$(verbatim-registry resolve example/app:latest)\"")]
pub struct ResolveArgs {
    /// The image to resolve, `host[:port]/path[:tag][@digest]`
    #[arg(required = true, value_name = "REFERENCE")]
    pub references: Vec<Reference>,

    /// Resolve to the image for this platform instead of the index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Print only the digest
    #[arg(long)]
    pub digest_only: bool,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

#[derive(Serialize)]
struct ResolveResult {
    images: Vec<ImageRow>,
    #[serde(skip)]
    digest_only: bool,
}

#[derive(Serialize)]
struct ImageRow {
    reference: Reference,
    digest: Digest,
    media_type: String,
    size: usize,
}

impl fmt::Display for ResolveResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            match self.digest_only {
                true => writeln!(f, "{}", image.digest)?,
                false => writeln!(f, "{}", image.reference)?,
            }
        }
        Ok(())
    }
}

pub(super) async fn run(args: ResolveArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let resolve = async |reference: &Reference| {
        let resolved = match &args.platform {
            Some(platform) => client.resolve_for(reference, platform).await?,
            None => client.resolve(reference).await?,
        };
        Ok(ImageRow {
            digest: resolved.digest(),
            media_type: resolved.manifest.media_type,
            size: resolved.manifest.bytes.len(),
            reference: resolved.reference,
        })
    };
    // The client limits how many run at once.
    let images = try_join_all(args.references.iter().map(resolve)).await.map_err(failure)?;
    console.result(&ResolveResult { images, digest_only: args.digest_only })?;
    Ok(ExitStatus::Done)
}
