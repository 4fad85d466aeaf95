//! `tags`: lists the tags of a repository.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Repository, Tag};

use super::{RegistryArgs, failure};
use crate::DerivedTags;

/// List the tags of a repository
///
/// Prints one tag per line, in the registry's order. Tags derived from a digest (`sha256-…`, `sha256-….sig`) hold
/// signatures and records, not images; they are listed only with `--all`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-registry tags ghcr.io/example/app
  verbatim-registry tags --format json localhost:5000/app")]
pub struct TagsArgs {
    /// The repository, `host[:port]/path`
    #[arg(value_name = "REPOSITORY")]
    pub repository: Repository,

    /// Also list tags derived from digests
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

#[derive(Serialize)]
struct TagList {
    repository: Repository,
    tags: Vec<Tag>,
}

impl fmt::Display for TagList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tags.iter().try_for_each(|tag| writeln!(f, "{tag}"))
    }
}

pub(super) async fn run(args: TagsArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.registry.client_here()?;
    let derived = if args.all { DerivedTags::Show } else { DerivedTags::Hide };
    let tags = client.tags(&args.repository, derived).await.map_err(failure)?;
    console.result(&TagList { repository: args.repository, tags })?;
    Ok(ExitStatus::Done)
}
