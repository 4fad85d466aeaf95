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
use crate::promotion::{DeliveryArgs, GateArgs, PromotionContext, Restore};
use crate::records::running;
use crate::records::store::Ledger;
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim status --check || verbatim restore production
  verbatim restore production --dry-run";

/// Put back the last promoted release, and prove it
///
/// For overrides that somebody deleted or changed, that a parent application reverted, or that were lost when an
/// application was re-created. If nothing differs, verbatim writes nothing and proves it all the same. It records
/// changes as a restore.
///
/// If a promotion was proven but its record could not be attached, the right release runs and the ledger is behind.
/// verbatim then writes nothing and prints how to attach the record. Use --discard-unrecorded to put back what the
/// ledger says.
///
/// Restores only the image. The chart stays at its current revision; if the ledger has another one, verbatim reports
/// both.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    pub(crate) environment: String,
    /// The reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show the plan; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Restore even if a later promotion was proven and only its record is missing
    #[arg(long)]
    discard_unrecorded: bool,
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
    delivery: DeliveryArgs,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub(crate) async fn run(args: RestoreArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
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
    let context =
        PromotionContext::of(&project, &registry, environment, console)?.delivering(args.delivery);
    let (seen, Ledger { chain: ledger, .. }) =
        ledger::ledger_with(&project, &registry.store, &servers, environment, Timestamp::now())
            .await?;
    if let Some(fault) = ledger.faults().first() {
        let id = &environment.id;
        let why = format!("the ledger of {id} is broken: {fault}");
        return Err(Failure::new(ExitStatus::No, why));
    }
    let Some(release) = running(&ledger) else {
        context.refuse_unrecorded(&seen, None, &ledger)?;
        let why = format!("nothing was promoted to {} yet", environment.id);
        return Err(Failure::new(ExitStatus::No, why)
            .hint(format!("promote first: verbatim promote {}", environment.name())));
    };
    let named = ReleaseArgs { release: Some(Named::Digest(release.digest)) };
    let mut found = find(&project, &registry, &named, console).await?;
    // The tag that it was promoted under is part of the values that are put back.
    let tag = release.tag.as_ref().and_then(|tag| tag.parse().ok());
    found.release.tag = tag.or(found.release.tag);
    let RestoreArgs { reason, take_over, discard_unrecorded, without, .. } = args;
    let request = Restore {
        release,
        found: &found,
        reason,
        discard_unrecorded,
        take_over,
        overrides,
        without,
    };
    told(&restore(&context, &request, key.as_ref()).await?, console)
}
