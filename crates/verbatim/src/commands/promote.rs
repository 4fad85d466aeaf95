//! `verbatim promote`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::{ReleaseArgs, environment, find, registry};
use crate::promotion::{Request, promote};
use crate::settings::{KeyArgs, Project, ProjectArgs};

const EXAMPLES: &str = "\
Examples:
  verbatim promote staging                   the release that an earlier stage left
  verbatim promote staging --dry-run         what would be written, what the gates say
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
    /// Promote even if a newer release runs there
    #[arg(long)]
    backwards: bool,
    /// Take over from a run that has claimed the applications and is still within its time
    #[arg(long)]
    take_over: bool,
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
    let project = Project::load(&args.project)?;
    let environment = environment(&project, &args.environment)?;
    let key = match args.dry_run {
        true => None,
        false => Some(project.signing_key(&args.key, &[Role::PROMOTER], console)?),
    };
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let request = Request {
        environment,
        found: &found,
        key: key.as_ref(),
        backwards: args.backwards,
        take_over: args.take_over,
    };
    let promoted = promote(&project, &registry, &request, console).await?;
    console.result(&promoted)?;
    for hint in promoted.hints() {
        console.status(format!("hint: {hint}"));
    }
    Ok(promoted.status)
}
