//! `verbatim plan`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context::{self, ReleaseArgs, environment, find, keep_plan, registry, told};
use crate::project::ProjectArgs;
use crate::promotion::{Comment, OverrideArgs, Request, Site, preview};

const EXAMPLES: &str = "\
Examples:
  verbatim plan production                                 the release that an earlier stage left
  verbatim plan production --out plan.json                 for `verbatim apply plan.json`
  verbatim plan production --format markdown > comment.md  for a pull request";

/// Show what a promotion would write, and save it as a plan
///
/// Needs no key and writes nothing. Shows for each application the values, old and new, what they make of the manifests
/// as far as that can be predicted, what every gate says, and which requests would change something. Argo CD renders
/// only values that are stored, so the manifests are a prediction: the old values replaced in what is rendered now.
///
/// Ends with 0 if a plan was made, also if a gate refuses: it may open before the plan is applied. Its hash is what an
/// approval of exactly this plan names. A gate that is overridden here is so in the plan; whoever applies it needs a key
/// with the role `break-glass`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// The environment, by its name in the configuration
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Save the plan in this file
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
    let site = Site::of(&project, &registry, environment, console)?;
    let overrides = args.overrides.overrides()?;
    let request = Request {
        found: &found,
        backwards: args.backwards,
        again: true,
        take_over: false,
        overrides: &overrides,
    };
    let promoted = preview(&site, &request).await?;
    keep_plan(&promoted, args.out.as_deref(), console)?;
    match console.is_markdown() {
        true => console.data(Comment(&promoted)).map(|()| promoted.status),
        false => told(&promoted, console),
    }
}
