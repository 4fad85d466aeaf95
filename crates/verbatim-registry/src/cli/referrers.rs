//! `referrers`: lists, reads and attaches referrers of an image.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_oci::{Descriptor, Digest, Manifest, Reference};

use super::{RegistryArgs, failure};
use crate::{Attachment, Client, Layer, ReferrersSource};

/// In bytes. Records and signatures are small.
const LAYER_LIMIT: u64 = 256 * 1024 * 1024;

/// Work with what refers to an image: signatures, records, attestations
#[derive(Clone, Debug, Subcommand)]
pub enum ReferrersCommand {
    /// List what refers to an image
    List(ReferrersListArgs),
    /// Print the content of a referrer
    Get(ReferrersGetArgs),
    /// Attach files to an image
    Attach(ReferrersAttachArgs),
    /// Put a referrer back into the list of its subject
    Relist(ReferrersRelistArgs),
}

/// List what refers to an image
///
/// Asks the registry's referrers API, or reads the tag `sha256-…` if the registry has no such API. An empty list means
/// that nothing refers to the image; a list that cannot be read is an error.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry referrers list example/app:v1
  verbatim-registry referrers list --type application/spdx+json example/app:v1")]
pub struct ReferrersListArgs {
    /// The image, `host[:port]/path[:tag][@digest]`
    #[arg(value_name = "REFERENCE")]
    pub reference: Reference,

    /// List only referrers with this artifact type
    #[arg(long = "type", value_name = "TYPE")]
    pub artifact_type: Option<String>,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Print the content of a referrer
///
/// Prints one layer, after checking its digest.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry referrers get example/app@sha256:… | jq .
  verbatim-registry referrers get --layer 1 -o sbom.json example/app@sha256:…")]
pub struct ReferrersGetArgs {
    /// The referrer, `host[:port]/path@digest`; `referrers list` shows the digests
    #[arg(value_name = "REFERENCE")]
    pub reference: Reference,

    /// The layer to print, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub layer: usize,

    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Attach files to an image
///
/// Stores the files as an artifact that refers to the image, waits until the registry lists it, and prints its reference.
/// If the registry has no referrers API, the artifact is added to the tag `sha256-…`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry referrers attach --type application/spdx+json \\
    example/app:v1 sbom.json
  verbatim-registry referrers attach --type application/vnd.example \\
    --media-type text/plain example/app:v1 notes.txt")]
pub struct ReferrersAttachArgs {
    /// The image, `host[:port]/path[:tag][@digest]`
    #[arg(value_name = "REFERENCE")]
    pub reference: Reference,

    /// The files to attach, each as one layer
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The artifact type, for example application/spdx+json
    #[arg(long = "type", value_name = "TYPE")]
    pub artifact_type: String,

    /// The media type of the files [default: the artifact type]
    #[arg(long, value_name = "TYPE")]
    pub media_type: Option<String>,

    /// Add an annotation; it is shown in listings, too
    #[arg(long = "annotation", short, value_name = "KEY=VALUE", value_parser = annotation)]
    pub annotations: Vec<(String, String)>,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Put a referrer back into the list of its subject
///
/// If a registry has no referrers API, clients keep the list in a tag, and two clients that write it at the same time can
/// overwrite each other. The referrer itself is still stored under its digest; this adds it to the list again.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:
  verbatim-registry referrers relist example/app@sha256:…")]
pub struct ReferrersRelistArgs {
    /// The referrer, `host[:port]/path@digest`
    #[arg(value_name = "REFERENCE")]
    pub reference: Reference,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

fn annotation(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("want KEY=VALUE"),
    }
}

pub(super) async fn run(
    command: ReferrersCommand,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    match command {
        ReferrersCommand::List(args) => list(args, console).await,
        ReferrersCommand::Get(args) => get(args, console).await,
        ReferrersCommand::Attach(args) => attach(args, console).await,
        ReferrersCommand::Relist(args) => relist(args, console).await,
    }
}

#[derive(Serialize)]
struct ReferrerList {
    subject: Reference,
    source: &'static str,
    referrers: Vec<Descriptor>,
}

impl fmt::Display for ReferrerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.referrers.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["DIGEST", "TYPE", "CREATED"]);
        for referrer in &self.referrers {
            let created = referrer.annotations.get("org.opencontainers.image.created");
            table.row([
                referrer.digest.to_string(),
                referrer.artifact_type.clone().unwrap_or_default(),
                created.cloned().unwrap_or_default(),
            ]);
        }
        table.fmt(f)
    }
}

async fn list(args: ReferrersListArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let digest = match args.reference.digest {
        Some(digest) => digest,
        None => client.resolve(&args.reference).await.map_err(failure)?.digest(),
    };
    let repository = &args.reference.repository;
    let listed = client.referrers(repository, &digest, args.artifact_type.as_deref()).await;
    let listed = listed.map_err(failure)?;
    if listed.descriptors.is_empty() {
        console.status("no referrers");
    }
    console.result(&ReferrerList {
        subject: args.reference.pinned(digest),
        source: source_name(listed.source),
        referrers: listed.descriptors.into_iter().map(without_content).collect(),
    })?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct SavedLayer {
    reference: Reference,
    artifact_type: Option<String>,
    layer: Descriptor,
    output: PathBuf,
}

impl fmt::Display for SavedLayer {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

async fn get(args: ReferrersGetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let resolved = client.resolve(&args.reference).await.map_err(failure)?;
    let Manifest::Image(image) = resolved.manifest.parse().map_err(failure)? else {
        let message = format!("{} is an index, which has no content of its own", args.reference);
        return Err(Failure::new(ExitStatus::Refused, message));
    };
    let Some(layer) = image.layers.get(args.layer) else {
        let message = format!(
            "{} has no layer {}: it has {}, counted from 0",
            args.reference,
            args.layer,
            image.layers.len()
        );
        return Err(Failure::usage(message));
    };
    let content = client.blob(&args.reference.repository, layer, LAYER_LIMIT).await;
    let content = content.map_err(failure)?;
    let Some(output) = args.output else {
        console.bytes(&content)?;
        return Ok(ExitStatus::Done);
    };
    std::fs::write(&output, &content).map_err(|error| {
        Failure::usage(error).context(format!("cannot write {}", output.display()))
    })?;
    console.result(&SavedLayer {
        reference: resolved.reference,
        artifact_type: image.artifact_type,
        layer: without_content(layer.clone()),
        output,
    })?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct AttachResult {
    reference: Reference,
    digest: Digest,
    source: &'static str,
}

impl fmt::Display for AttachResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reference)
    }
}

async fn attach(args: ReferrersAttachArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let media_type = args.media_type.as_ref().unwrap_or(&args.artifact_type);
    let mut layers = Vec::new();
    for path in &args.files {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::usage(error).context(format!("cannot read {}", path.display()))
        })?;
        let title = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let annotations = title.map(|title| ("org.opencontainers.image.title".to_owned(), title));
        layers.push(Layer {
            media_type: media_type.clone(),
            bytes: bytes.into(),
            annotations: annotations.into_iter().collect(),
        });
    }
    let subject = client.resolve(&args.reference).await.map_err(failure)?;
    let attachment = Attachment {
        subject: subject.manifest.descriptor().map_err(failure)?,
        artifact_type: args.artifact_type,
        layers,
        annotations: BTreeMap::from_iter(args.annotations),
    };
    let repository = args.reference.repository;
    let attached = client.attach(&repository, &attachment).await.map_err(failure)?;
    console.result(&AttachResult {
        reference: Reference::by_digest(repository, attached.descriptor.digest),
        digest: attached.descriptor.digest,
        source: source_name(attached.source),
    })?;
    Ok(ExitStatus::Done)
}

async fn relist(args: ReferrersRelistArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client: Client = args.registry.client_here()?;
    let Some(digest) = args.reference.digest else {
        return Err(Failure::usage(format!("{} has no digest", args.reference)));
    };
    let repository = args.reference.repository;
    let listed = client.relist(&repository, &digest).await.map_err(failure)?;
    console.result(&AttachResult {
        reference: Reference::by_digest(repository, digest),
        digest,
        source: source_name(listed.source),
    })?;
    Ok(ExitStatus::Done)
}

/// A descriptor for people, without embedded content.
fn without_content(descriptor: Descriptor) -> Descriptor {
    Descriptor { data: None, ..descriptor }
}

fn source_name(source: ReferrersSource) -> &'static str {
    match source {
        ReferrersSource::Api => "api",
        ReferrersSource::FallbackTag => "fallback-tag",
    }
}
