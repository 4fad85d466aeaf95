//! `verbatim apply`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, registry, told};
use crate::project::{KeyArgs, ProjectArgs};
use crate::promotion::{
    Apply, DeliveryArgs, FailureArgs, OverrideArgs, Overrides, PromotionContext, SavedPlan, apply,
};
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim plan production --out plan.json    in one job: plan, review, approve
  verbatim apply plan.json                    in a later job: exactly that plan

Exit statuses are those of `verbatim promote`, and
  5  something changed since the plan was made; verbatim prints what";

/// Apply a saved plan, exactly as it is
///
/// verbatim asks the gates again: a plan is not a permission. Values, chart revisions, ledger and policy must be as
/// they were when the plan was made. Otherwise verbatim prints the differences and writes nothing.
///
/// Overrides the gates that the plan overrides, and those that you name here. Both need a key with the role
/// `break-glass`. Overrides that you add here do not change the hash of the plan, so its approvals still count.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ApplyArgs {
    /// The file that `verbatim plan --out` wrote
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Take over the claim of a run that is still within its deadline
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    failure: FailureArgs,
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: ApplyArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let saved = SavedPlan::read(&args.plan)?;
    let id = &saved.plan.environment;
    if id.project() != project.config.project {
        return Err(Failure::usage(format!(
            "the plan is for {id}, but this is the project {}",
            project.config.project
        )));
    }
    let environment = environment(&project, id.name())?;
    let key = project.signer(&args.key, &[Role::PROMOTER], console).await?;
    let overrides = Overrides::planned(&saved.plan.overrides).and(args.overrides.overrides()?);
    overrides.check(&project, &key)?;
    let registry = registry(&project)?;
    let release = ReleaseArgs { release: Some(Named::Digest(saved.plan.release.digest)) };
    let found = find(&project, &registry, &release, console).await?;
    let context = PromotionContext::of(&project, &registry, environment, console)?
        .delivering(args.delivery)
        .on_failure(args.failure);
    let take_over = args.take_over;
    let request = Apply { saved: &saved, found: &found, take_over, overrides: &overrides };
    told(&apply(&context, &request, &key).await?, console)
}
