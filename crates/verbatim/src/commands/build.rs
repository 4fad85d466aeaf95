//! `verbatim build`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, registry};
use crate::project::{KeyArgs, ProjectArgs};
use crate::release::build;

const EXAMPLES: &str = "\
Examples:
  verbatim build                     the first stage of a pipeline
  verbatim build --format json       the release as a document on stdout

The next stage finds the release in .verbatim/release.json, in the outputs of
the job (`release` on GitHub, the dotenv report .verbatim/release.env on
GitLab), or by the build record of this commit and CI run.";

/// Build the image, push it, and sign how it was built
///
/// Builds the image from the working tree with the Docker Engine, under the tag of the configuration, and pushes it.
/// Reads its digest back from the registry. Signs a record of the build (SLSA provenance) and attaches it.
///
/// If this commit already has an image with its record, it is not built again: a job that is started twice makes no
/// second image. A build of uncommitted changes can enter the first environment only.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BuildArgs {
    /// Build even if this commit already has an image, and move its tag
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// What git, the engine or the registry did not do.
pub(crate) async fn run(args: BuildArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let key = project.signer(&args.key, &[Role::BUILDER], console).await?;
    let outcome =
        build::build(&project, &registry(&project)?, &key, args.overwrite, console).await?;
    console.result(&outcome)?;
    Ok(ExitStatus::Done)
}
