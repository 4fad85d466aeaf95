//! `verbatim policy push`: stores a policy in a registry, where it is named by its digest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::Environment;
use verbatim_oci::{Digest, Reference, Repository, Tag};
use verbatim_registry::cli::RegistryArgs;

use crate::config;
use crate::policy::fetch::artifact::{self, LAYER_TYPE};
use crate::project::{self, failures};

const EXAMPLES: &str = "\
Examples:
  verbatim policy push policy.yaml registry.example.com/policies/shop
  verbatim policy push policy.yaml registry.example.com/policies/shop --tag 2026-11

What it prints is what verbatim.yaml names:
  policy: { oci: registry.example.com/policies/shop@sha256:3f0c… }";

/// Store a policy in a registry, and print its digest
///
/// The file holds what `policy: { file: … }` would name: rules, keys and powers. Public keys that it names by their files
/// are written into what is stored, so that it needs nothing beside it. The same rules have the same digest, and what a digest
/// names cannot change: to change the rules, push them, and change the digest in verbatim.yaml.
///
/// Whether every environment that the rules speak of is there is seen where they are used, by `verbatim policy check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PushArgs {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to store it: `host[:port]/path`
    #[arg(value_name = "REPOSITORY")]
    repository: Repository,
    /// The tag that keeps registries from cleaning it up [default: `policy-` and the beginning of the digest]
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Serialize)]
struct Pushed {
    reference: String,
    digest: Option<Digest>,
    tag: Option<Tag>,
    media_type: &'static str,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference)
    }
}

/// Runs the command.
///
/// # Errors
/// The policy is wrong, or the registry does not take it.
pub(crate) async fn run(args: PushArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let PushArgs { file, repository, tag, registry } = args;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", file.display()))
    })?;
    let text = config::self_contained(&file, &text, &|path| std::fs::read_to_string(path))
        .map_err(Failure::usage)?;
    let client = registry.client(&Environment::from_map(&project::variables()))?;
    let Reference { repository, tag, digest } =
        artifact::push(&client, &repository, tag, text).await.map_err(failures::registry)?;
    // The tag may come to name something else; the digest cannot.
    let reference = Reference { repository, tag: None, digest }.to_string();
    console.status(format!("in verbatim.yaml: policy: {{ oci: {reference} }}"));
    console.result(&Pushed { reference, digest, tag, media_type: LAYER_TYPE })?;
    Ok(ExitStatus::Done)
}
