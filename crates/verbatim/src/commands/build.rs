//! `verbatim build`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, registry};
use crate::project::{KeyArgs, ProjectArgs};
use crate::release::build;

const EXAMPLES: &str = "\
Examples:
  verbatim build                     as the first stage of a pipeline
  verbatim build --format json       the release as a document on stdout

The next stage finds the release in .verbatim/release.json, in the outputs of the job (on GitHub
`release`, on GitLab the dotenv report .verbatim/release.env), or by the build record of this
commit and CI run.";

/// Build the image, push it, and sign how it was made
///
/// The image is built from the working tree by the Docker Engine, with the tag of the configuration, and pushed. Its
/// digest is read back from the registry. A record of how it was made (SLSA provenance) is signed and attached to it.
///
/// An image of this commit that is there already, with its record, is not built again: a job that is started twice makes
/// no second image. A build of uncommitted changes can be promoted to the first environment only.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BuildArgs {
    /// Build even if the image of this commit is there, and move its tag
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
