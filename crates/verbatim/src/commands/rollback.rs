//! `verbatim rollback`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Power, Role};

use super::context::{self, environment, registry, told};
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs};
use crate::promotion::{GateArgs, Goal, Rollback, Site, VetoScope};
use crate::promotion::{break_glass, rollback};

const EXAMPLES: &str = "\
Examples:
  verbatim rollback production                          to the last good release, by the ledger
  verbatim rollback production --steps 2                to the one before that
  verbatim rollback production --to sha256:3f0c…        to this one
  verbatim rollback production --from-argocd-history --reason 'registry is down'

Ends as `verbatim promote` does.";

/// Put the last good release back, and keep the bad one out
///
/// The last good release is the last one that was proven there, differs from what stands there now, and has no veto. It is
/// looked up in the registry first, then takes the same way as every promotion, with the same proof, and works with
/// automatic sync. Gates that look at the past of a release let it pass: it has been there. The release that it replaces
/// gets a veto for this environment, so that no pipeline promotes it there again; `verbatim unveto` lifts that.
///
/// With --from-argocd-history neither registry, records nor gates are asked: the values come from what Argo CD deployed
/// before. The record is kept in a file, signed if there is a key, and `verbatim record attach` adds it later. Of several
/// images it is signed then, when the ledger can tell which release they are. If each application carries only some of
/// them, Argo CD does not tell which of their earlier deployments belong together: then --steps 1 undoes the last promotion, and
/// --to finds the parts of the release of that digest, but --steps 2 is not possible.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RollbackArgs {
    /// The environment, by its name in the configuration
    #[arg(value_name = "ENV")]
    environment: String,
    /// Go back to this release; it was there before
    #[arg(long, value_name = "DIGEST", conflicts_with = "steps")]
    to: Option<Digest>,
    /// Go back so many good releases
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Where a veto keeps the release out that is replaced
    #[arg(long, value_enum, value_name = "WHERE", default_value_t)]
    veto: VetoScope,
    /// Why; part of the records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Break the glass: ask nobody but Argo CD
    #[arg(long, requires = "reason", conflicts_with = "override_gate")]
    from_argocd_history: bool,
    /// Show what would be written; write nothing
    #[arg(long)]
    dry_run: bool,
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
/// What stopped it before anything was written, or kept its record from being attached.
pub(crate) async fn run(args: RollbackArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = match args.from_argocd_history {
        true => context::project_without_rules_if_need_be(&args.project, console).await?,
        false => context::project(&args.project).await?,
    };
    let environment = environment(&project, &args.environment)?;
    let registry = registry(&project)?;
    let request = Rollback {
        goal: args.to.map_or(Goal::Steps(args.steps.into()), Goal::Release),
        veto: args.veto,
        overrides: args.gates.for_reason(args.reason.as_deref())?,
        reason: args.reason,
        take_over: args.take_over,
    };
    let site = Site::of(&project, &registry, environment, console)?;
    let key = match args.dry_run {
        true => Ok(None),
        false => project.signer(&args.key, &[Role::PROMOTER], console).await.map(Some),
    };
    if args.from_argocd_history {
        // A key that is lost with everything else must not stop this.
        let key = key.unwrap_or_else(|failure| {
            console.warn(format!("the record will not be signed: {failure}"));
            None
        });
        let promoted = break_glass(&site, &request, key.as_ref(), args.dry_run).await?;
        return told(&promoted, console);
    }
    let key = key?;
    if let Some(key) = &key {
        request.overrides.check(&project, key)?;
    }
    if let Some(key) = key.as_ref().filter(|_| request.veto != VetoScope::None) {
        may_veto(&project, key)?;
    }
    told(&rollback(&site, &request, key.as_ref()).await?, console)
}

/// A veto that does not count would let the bad release in again.
fn may_veto(project: &Project, key: &RecordSigner) -> Result<(), Failure> {
    let ring = &project.config.policy.ring;
    let trusted = ring.find(&key.verifying_key().id());
    match trusted.is_none_or(|trusted| ring.has_power(&trusted.roles, Power::Veto)) {
        true => Ok(()),
        false => Err(Failure::usage("the vetoes of the signing key would not count")
            .hint("roll back without one: --veto none")
            .hint("or use a key with a role that may veto")),
    }
}
