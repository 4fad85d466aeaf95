//! `verbatim apply`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, registry, told};
use crate::project::{KeyArgs, ProjectArgs};
use crate::promotion::{Apply, OverrideArgs, Overrides, SavedPlan, Site, apply};
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim plan production --out plan.json        in one job: made, shown, perhaps approved
  verbatim apply plan.json                        in a later one: exactly that

Ends as `verbatim promote` does, and with
  5  if the world has changed since the plan was made; how is printed";

/// Carry out a plan that was saved, exactly as it is
///
/// The gates are asked again: a plan is no permission. Values, chart revisions, ledger and policy must be as they were
/// when the plan was made; if not, nothing is written, and the differences are printed.
///
/// Gates that the plan overrides are overridden, and those that are named here, too. Either needs a key with the role
/// `break-glass`. What is named here does not change the plan: an approval of its hash still counts.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ApplyArgs {
    /// The file that `verbatim plan --out` wrote
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Take over from a run that has claimed the applications and is still within its time
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// What stopped it before anything was written, or kept its record from being attached.
pub(crate) async fn run(args: ApplyArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let saved = SavedPlan::read(&args.plan)?;
    let id = &saved.plan.environment;
    if id.project() != project.config.project {
        return Err(Failure::usage(format!(
            "the plan is for {id}, and this is the project {}",
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
    let site = Site::of(&project, &registry, environment, console)?;
    let take_over = args.take_over;
    let request = Apply { saved: &saved, found: &found, take_over, overrides: &overrides };
    told(&apply(&site, &request, &key).await?, console)
}
