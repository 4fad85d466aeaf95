//! `verbatim apply`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, registry, told};
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::promotion::{
    Apply, DeliveryArgs, FailureArgs, OverrideArgs, Overrides, PromotionContext, SavedPlan, Unsaid,
    apply, is_approved,
};
use crate::records::Registry;
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim plan production --out plan.json    in one job: plan, review, approve
  verbatim apply plan.json                    in a later job: exactly that plan

Exit statuses are those of `verbatim promote`, and
  5  something changed since the plan was made; verbatim prints what";

/// Apply a saved plan, exactly as it is
///
/// A plan is not a permission. verbatim reads the release from the registry, asks the gates again, and makes the plan
/// anew: values, chart revisions, ledger and policy must be as they were. Otherwise verbatim prints the differences and
/// writes nothing. A plan counts for 7 days.
///
/// Gates that the plan overrides, and applications that it leaves out, count only if you repeat them here, or if
/// somebody with the role `break-glass` approved exactly this plan. Overrides need a key with that role in any case.
/// Those that you add here do not change the hash of the plan, so its approvals still count.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ApplyArgs {
    /// The file that `verbatim plan --out` wrote
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Take over the claim of a run that is still within its deadline
    #[arg(long)]
    take_over: bool,
    /// Go on without this application of the last promotion; may be repeated
    #[arg(long, value_name = "APP")]
    without: Vec<String>,
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
    let project = context::project(&args.project, console).await?;
    let saved = SavedPlan::read(&args.plan)?;
    saved.check_age(Timestamp::now())?;
    let id = &saved.plan.environment;
    if id.project() != project.config.project {
        return Err(Failure::usage(format!(
            "the plan is for {id}, but this is the project {}",
            project.config.project
        )));
    }
    let environment = environment(&project, id.name())?;
    let key = project.signer(&args.key, &[Role::PROMOTER], console).await?;
    let registry = registry(&project)?;
    let (overrides, without) = granted(&project, &registry, &saved, &args).await?;
    overrides.check(&project, &key)?;
    let release = ReleaseArgs { release: Some(Named::Digest(saved.plan.release.digest)) };
    let found = find(&project, &registry, &release, console).await?;
    let context = PromotionContext::of(&project, &registry, environment, console)?
        .delivering(args.delivery)
        .on_failure(args.failure);
    let take_over = args.take_over;
    let request =
        Apply { saved: &saved, found: &found, take_over, overrides: &overrides, without: &without };
    told(&apply(&context, &request, &key).await?, console)
}

/// The overrides, and the applications that are left out, that somebody who may stands for: here, or with an approval of the
/// plan.
async fn granted(
    project: &Project,
    registry: &Registry,
    saved: &SavedPlan,
    args: &ApplyArgs,
) -> Result<(Overrides, Vec<String>), Failure> {
    let overrides = args.overrides.overrides()?;
    let unsaid = Unsaid::of(saved, &overrides, &args.without);
    if unsaid.is_empty() {
        return Ok((overrides, args.without.clone()));
    }
    let (ring, now) = (&project.config.policy.ring, Timestamp::now());
    let digest = saved.plan.release.digest;
    let records = registry.store.of_release(ring, digest, now).await;
    let approvals = records.map_err(failures::registry)?.approvals;
    if !is_approved(saved, &approvals, ring, now) {
        return Err(unsaid.refusal(saved));
    }
    let without = args.without.iter().chain(&saved.plan.without).cloned().collect();
    Ok((overrides.and(unsaid.overrides()), without))
}
