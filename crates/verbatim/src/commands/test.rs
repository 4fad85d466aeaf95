//! `verbatim test`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;
use verbatim_text::code;

use super::context::{self, ReleaseArgs, environment, find, registry};
use super::summary::paragraph;
use crate::project::{KeyArgs, ProjectArgs};
use crate::testing::{self, TestReport};

const EXAMPLES: &str = "\
Examples:
  verbatim test staging                  all suites of staging
  verbatim test staging --suite smoke    one of them

The commands run in the folder of verbatim.yaml, and their output goes to
stderr. They get these variables:
  VERBATIM_RELEASE, VERBATIM_REPOSITORY, VERBATIM_TAG, VERBATIM_DIGEST,
  VERBATIM_COMMIT, VERBATIM_PROJECT, VERBATIM_ENVIRONMENT, VERBATIM_URL,
  VERBATIM_URLS     the URLs of the applications, as a JSON object
  VERBATIM_IMAGES   the images by name, as a JSON object";

/// Run the tests of an environment, and sign the result
///
/// Tests only the release that was promoted there last, and only while the applications run it: verbatim looks before and
/// after the suites, and ends with 5 and without a record if anything changed meanwhile. Otherwise verbatim signs the result, passed or failed, and attaches it to
/// the release; the gate `tested` of a later environment reads the latest result. Ends with 1 if a suite failed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TestArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    pub(crate) environment: String,
    /// Run only this suite; may be repeated
    #[arg(long, value_name = "NAME")]
    suite: Vec<String>,
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: TestArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    testing::choose(environment, &args.suite)?;
    let key = project.signer(&args.key, &[Role::TESTER], console).await?;
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let tested =
        testing::test(&project, &registry, environment, &found, &args.suite, &key, console).await?;
    console.summarise(&summary(&tested));
    console.result(&tested)?;
    Ok(if tested.passed { ExitStatus::Done } else { ExitStatus::No })
}

/// The tests in the summary of the CI job.
pub(super) fn summary(tested: &TestReport) -> String {
    let end = if tested.passed { "tested" } else { "failed" };
    let heading = format!("{} in {}: {end}", code(&tested.release), tested.environment);
    paragraph(&heading, &format!("{tested:#}"))
}
