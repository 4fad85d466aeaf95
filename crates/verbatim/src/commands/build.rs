//! `verbatim build`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;
use verbatim_text::code;

use super::context::{self, registry};
use super::summary::paragraph;
use crate::project::{KeyArgs, ProjectArgs};
use crate::release::build;

const EXAMPLES: &str = "\
Examples:
  verbatim build                   the first stage of a pipeline
  verbatim build --format json     print the release as JSON

Later stages find the release in .verbatim/release.json, in the outputs of the
job (`release` on GitHub, the dotenv report .verbatim/release.env on GitLab), or
by the build record of this commit and CI run.";

/// Build the image, push it, and sign its origin
///
/// The Docker Engine builds the image from the working tree. verbatim pushes it under the tag of the configuration,
/// reads its digest back from the registry, and attaches a signed build record (SLSA provenance).
///
/// If the registry has an image of this commit with its build record, verbatim reuses it: a job that starts twice makes
/// one image. A build of uncommitted changes can enter only the first environment.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BuildArgs {
    /// Build even if the registry has an image of this commit, and move its tag
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: BuildArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let key = project.signer(&args.key, &[Role::BUILDER], console).await?;
    let outcome =
        build::build(&project, &registry(&project)?, &key, args.overwrite, console).await?;
    console.summarise(&paragraph(&code(&outcome.release), &format!("{outcome:#}")));
    console.result(&outcome)?;
    Ok(ExitStatus::Done)
}
