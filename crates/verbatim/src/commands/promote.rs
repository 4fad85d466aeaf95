//! `verbatim promote`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, keep_plan, registry, told};
use crate::project::{KeyArgs, ProjectArgs};
use crate::promotion::{
    DeliveryArgs, FailureArgs, OverrideArgs, Promote, PromotionContext, WaitArgs, preview, promote,
};

const EXAMPLES: &str = "\
Examples:
  verbatim promote staging                   the release of an earlier stage
  verbatim promote staging --dry-run         show the plan and the gates

  A release that is named:
  verbatim promote production --release staging         what runs in staging
  verbatim promote production --release 42.3f0c9a       by its tag
  verbatim promote production --release 3f0c9a51d2e7    by its digest

  When the gates are open, in two hours at most:
  verbatim promote production --wait-for-gates 2h

  In an emergency:
  verbatim promote production --override-gate windows --reason 'shop is down'

Exit statuses:
  0  the release runs there, proven and recorded
  1  a gate refused, or something else runs
  4  not known yet: look, then run again
  5  somebody else changed the application
  6  a newer release runs there, or is on its way";

/// Move a release into an environment, and prove that it runs there
///
/// verbatim verifies the records and asks every gate. It checks all applications, writes the digest into each, and lets
/// Argo CD sync. Then it reads four things back: the values in the application, the values in the sync operation, the
/// rendered manifests, and the image digest of the running pods. Finally it signs the promotion and attaches the record
/// to the release and to the environment.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PromoteArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    pub(crate) environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Show the plan and the answers of the gates; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Like --dry-run, and save the plan to this file for `verbatim apply`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Promote even if a newer release runs there
    #[arg(long)]
    backwards: bool,
    /// Take over the claim of a run that is still within its deadline
    #[arg(long)]
    take_over: bool,
    /// Go on without this application of the last promotion; may be repeated
    ///
    /// An application that was part of the last promotion and is not part of the environment now is a reason to refuse:
    /// it may have lost its label, or the token may not see it. With this you say that it left the environment for good.
    #[arg(long, value_name = "APP")]
    without: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
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
pub(crate) async fn run(args: PromoteArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    let looks_only = args.dry_run || args.out.is_some();
    let key = match looks_only {
        true => None,
        false => Some(project.signer(&args.key, &[Role::PROMOTER], console).await?),
    };
    let overrides = args.overrides.overrides()?;
    if let Some(key) = &key {
        overrides.check(&project, key)?;
    }
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let context = PromotionContext::of(&project, &registry, environment, console)?
        .delivering(args.delivery)
        .waiting(args.wait)
        .on_failure(args.failure);
    let request = Promote {
        found: &found,
        backwards: args.backwards,
        again: true,
        take_over: args.take_over,
        overrides: &overrides,
        without: &args.without,
    };
    let Some(key) = key else {
        let mut promoted = preview(&context, &request).await?;
        keep_plan(&promoted, args.out.as_deref(), console)?;
        if promoted.status == ExitStatus::Done && !promoted.decision.allowed {
            promoted.status = ExitStatus::No;
        }
        return told(&promoted, console);
    };
    told(&promote(&context, &request, &key).await?, console)
}
