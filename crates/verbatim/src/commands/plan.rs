//! `verbatim plan`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context::{self, ReleaseArgs, environment, find, keep_plan, registry, told};
use crate::project::ProjectArgs;
use crate::promotion::{Comment, OverrideArgs, Promote, PromotionContext, preview};

const EXAMPLES: &str = "\
Examples:
  verbatim plan production                      the release of this pipeline
  verbatim plan production --out plan.json      for `verbatim apply plan.json`
  verbatim plan production --format markdown    for a pull request comment";

/// Show what a promotion would write, and save it as a plan
///
/// Needs no key and writes nothing. Shows the old and new values of each application, the manifests they lead to, the
/// answers of the gates, and the requests that would change something. The manifests are a prediction, because Argo CD
/// renders only stored values: the old values are replaced in what Argo CD renders now.
///
/// Ends with 0 if a plan was made, even if a gate refuses: the gate may open before the plan is applied. An approval
/// can name the hash of the plan. Overrides given here become part of the plan; applying it then needs a key with the
/// role `break-glass`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// The environment, by its name in the configuration
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Save the plan to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Plan even if a newer release runs there
    #[arg(long)]
    backwards: bool,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// What kept the plan from being made.
pub(crate) async fn run(args: PlanArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let environment = environment(&project, &args.environment)?;
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let context = PromotionContext::of(&project, &registry, environment, console)?;
    let overrides = args.overrides.overrides()?;
    let request = Promote {
        found: &found,
        backwards: args.backwards,
        again: true,
        take_over: false,
        overrides: &overrides,
    };
    let promoted = preview(&context, &request).await?;
    keep_plan(&promoted, args.out.as_deref(), console)?;
    match console.is_markdown() {
        true => console.data(Comment(&promoted)).map(|()| promoted.status),
        false => told(&promoted, console),
    }
}
