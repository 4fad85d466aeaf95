//! `verbatim plan`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use super::context::{self, ReleaseArgs, environment, find, keep_plan, registry, told};
use crate::project::ProjectArgs;
use crate::promotion::{Comment, DeliveryArgs, OverrideArgs, Promote, PromotionContext, preview};

const EXAMPLES: &str = "\
Examples:
  verbatim plan production                    the release of an earlier stage
  verbatim plan production --out plan.json    for `verbatim apply plan.json`

  A comment for a pull request:
  verbatim plan production --format markdown > comment.md";

/// Show what a promotion would write, and save it as a plan
///
/// Needs no key and writes nothing. Shows each application's old and new values, the predicted change of its manifests,
/// the answer of every gate, and the requests that would change something. Argo CD renders only stored values, so
/// verbatim predicts the manifests by replacing the old values in the current ones.
///
/// Ends with 0 if the plan could be made, even if a gate refuses: it may open before you apply the plan. An approval
/// can name the hash of the plan, and then counts for this plan only. The plan records the gates that you override and
/// the applications that you leave out here; `verbatim apply` wants you to repeat them, or wants an approval of the plan
/// by a key with the role `break-glass`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// The environment, by its name in verbatim.yaml
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
    /// Go on without this application of the last promotion; may be repeated
    ///
    /// An application that was part of the last promotion and is not part of the environment now is a reason to refuse:
    /// it may have lost its label, or the token may not see it. With this you say that it left the environment for good.
    #[arg(long, value_name = "APP")]
    without: Vec<String>,
    /// Plan to take over the claim of a run that is still within its deadline
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: PlanArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let context =
        PromotionContext::of(&project, &registry, environment, console)?.delivering(args.delivery);
    let overrides = args.overrides.overrides()?;
    let request = Promote {
        found: &found,
        backwards: args.backwards,
        again: true,
        take_over: args.take_over,
        overrides: &overrides,
        without: &args.without,
    };
    let promoted = preview(&context, &request).await?;
    keep_plan(&promoted, args.out.as_deref(), console)?;
    match console.is_markdown() {
        true => console.data(Comment(&promoted)).map(|()| promoted.status),
        false => told(&promoted, console),
    }
}
