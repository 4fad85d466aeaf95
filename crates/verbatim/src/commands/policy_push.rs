//! `verbatim policy push`: stores a policy in a registry, where it is named by its digest.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::CredentialEnvironment;
use verbatim_oci::{Digest, Reference, Repository, Tag};
use verbatim_registry::cli::RegistryArgs;

use crate::config;
use crate::policy::fetch::artifact::{self, LAYER_TYPE};
use crate::project::{self, failures};

const EXAMPLES: &str = "\
Examples:
  verbatim policy push policy.yaml registry.example.com/policies/shop
  verbatim policy push policy.yaml registry.example.com/policies/shop \\
    --tag 2026-11

Put the printed reference into verbatim.yaml:
  policy: { oci: registry.example.com/policies/shop@sha256:3f0c… }";

/// Push a policy to a registry, and print its digest
///
/// The file holds what `policy: { file: … }` would name: rules, keys and powers. verbatim inlines the public keys that
/// it names by file, so the pushed policy needs nothing else. The same rules have the same digest. To change the rules,
/// push them again and change the digest in verbatim.yaml.
///
/// verbatim does not check here whether the environments that the rules name exist; `verbatim policy check` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PushArgs {
    /// The policy file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The target: `host[:port]/path`
    #[arg(value_name = "REPOSITORY")]
    repository: Repository,
    /// A tag, so that the registry does not clean it up [default: `policy-` and the start of the digest]
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

pub(crate) async fn run(args: PushArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let PushArgs { file, repository, tag, registry } = args;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(error).context(format!("cannot read {}", file.display()))
    })?;
    let text = config::self_contained(&file, &text, &|path| std::fs::read_to_string(path))
        .map_err(Failure::usage)?;
    let client = registry.client(&CredentialEnvironment::from_map(&project::variables()))?;
    let Reference { repository, tag, digest } =
        artifact::push(&client, &repository, tag, text).await.map_err(failures::registry)?;
    // The tag may come to name something else; the digest cannot.
    let reference = Reference { repository, tag: None, digest }.to_string();
    console.status(format!("in verbatim.yaml: policy: {{ oci: {reference} }}"));
    console.result(&Pushed { reference, digest, tag, media_type: LAYER_TYPE })?;
    Ok(ExitStatus::Done)
}
