//! `verbatim restore`.

use clap::Args;
use jiff::Timestamp;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Role;

use super::context::{self, ReleaseArgs, environment, find, registry, told};
use crate::environment::applications::Servers;
use crate::environment::ledger;
use crate::project::{KeyArgs, ProjectArgs};
use crate::promotion::restore;
use crate::promotion::{GateArgs, Restore, Site};
use crate::records::running;
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim status --check || verbatim restore production
  verbatim restore production --dry-run          what would be written";

/// Put back what the ledger says was promoted last, and prove it
///
/// For an override that was deleted or changed by hand, reverted by a parent, or lost with an application that was made
/// again. If nothing differs, nothing is written; it is proven all the same. What was changed is recorded as a restore.
///
/// If a promotion was proven and its record could not be attached, what runs is right and the ledger is behind: then nothing
/// is written, and it is told how to attach the record. --discard-unrecorded puts back what the ledger has all the same.
///
/// Only the image goes back. The chart stays at the revision that the application is at now; if that is another one than
/// the ledger has, both are told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The environment, by its name in the configuration
    #[arg(value_name = "ENV")]
    environment: String,
    /// Why; part of the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show what would be written; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Put it back although another release was proven since and only its record is missing
    #[arg(long)]
    discard_unrecorded: bool,
    /// Take over from a run that has claimed the applications and is still within its time
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// Nothing was ever promoted there, the ledger cannot be relied on, or what stops a promotion.
pub(crate) async fn run(args: RestoreArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let environment = environment(&project, &args.environment)?;
    let key = match args.dry_run {
        true => None,
        false => Some(project.signer(&args.key, &[Role::PROMOTER], console).await?),
    };
    let overrides = args.gates.for_reason(args.reason.as_deref())?;
    if let Some(key) = &key {
        overrides.check(&project, key)?;
    }
    let registry = registry(&project)?;
    let servers = Servers::of(&project, [environment])?;
    let site = Site::of(&project, &registry, environment, console)?;
    let (seen, ledger) = ledger::ledger_with_anchors(
        &project,
        &registry.store,
        &servers,
        environment,
        Timestamp::now(),
    )
    .await?;
    if let Some(fault) = ledger.faults().first() {
        let id = &environment.id;
        let why = format!("the ledger of {id} cannot be relied on: {fault}");
        return Err(Failure::new(ExitStatus::No, why));
    }
    let Some(release) = running(&ledger) else {
        site.refuse_unrecorded(&seen, None, &ledger)?;
        let why = format!("nothing was promoted to {} yet", environment.id);
        return Err(Failure::new(ExitStatus::No, why)
            .hint(format!("promote first: verbatim promote {}", environment.name())));
    };
    let named = ReleaseArgs { release: Some(Named::Digest(release.digest)) };
    let mut found = find(&project, &registry, &named, console).await?;
    // The tag that it was promoted under is part of the values that are put back.
    let tag = release.tag.as_ref().and_then(|tag| tag.parse().ok());
    found.release.tag = tag.or(found.release.tag);
    let RestoreArgs { reason, take_over, discard_unrecorded, .. } = args;
    let request =
        Restore { release, found: &found, reason, discard_unrecorded, take_over, overrides };
    told(&restore(&site, &request, key.as_ref()).await?, console)
}
