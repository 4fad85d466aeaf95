//! `verbatim promote`.

use std::path::PathBuf;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, keep_plan, registry, told};
use crate::project::{KeyArgs, ProjectArgs};
use crate::promotion::{OverrideArgs, Request, Site, preview, promote};

const EXAMPLES: &str = "\
Examples:
  verbatim promote staging                   the release that an earlier stage left
  verbatim promote staging --dry-run         what would be written, what the gates say
  verbatim promote production --override-gate windows --reason 'the shop is down'
  verbatim promote production --release registry.example.com/shop@sha256:3f0c…

Ends with 0 only if the release runs there, proven and recorded.
  1  a gate refused, or what runs is not what was to run
  4  not known yet: look, then run again
  5  somebody else changed the application
  6  a newer release runs there";

/// Move a release into an environment, and prove that it runs there
///
/// The gates are asked first, over verified records only; all of them answer. Then all applications are checked, the
/// digest is written into each, Argo CD syncs, and four things are read back: the values in the application, in the
/// operation that ran, in the rendered manifests, and the digest that the nodes report for the running pods. At last
/// the promotion is signed and attached to the release and to the environment.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PromoteArgs {
    /// The environment, by its name in the configuration
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    /// Show what would be written and what the gates say; write nothing
    #[arg(long)]
    dry_run: bool,
    /// As --dry-run, and save the plan in this file, for `verbatim apply`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Promote even if a newer release runs there
    #[arg(long)]
    backwards: bool,
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
pub(crate) async fn run(args: PromoteArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
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
    let site = Site::of(&project, &registry, environment, console)?;
    let request = Request {
        found: &found,
        backwards: args.backwards,
        again: true,
        take_over: args.take_over,
        overrides: &overrides,
    };
    let Some(key) = key else {
        let mut promoted = preview(&site, &request).await?;
        keep_plan(&promoted, args.out.as_deref(), console)?;
        if promoted.status == ExitStatus::Done && !promoted.decision.allowed {
            promoted.status = ExitStatus::No;
        }
        return told(&promoted, console);
    };
    told(&promote(&site, &request, &key).await?, console)
}
