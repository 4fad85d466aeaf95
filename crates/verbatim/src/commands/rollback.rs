//! `verbatim rollback`.

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::{Power, Role};

use super::context::{self, ReleaseArgs, environment, find, registry, told};
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs};
use crate::promotion::{DeliveryArgs, GateArgs, Goal, PromotionContext, Rollback, VetoScope};
use crate::promotion::{break_glass, rollback};
use crate::records::Registry;
use crate::release::Named;

const EXAMPLES: &str = "\
Examples:
  verbatim rollback production                        to the last proven release
  verbatim rollback production --steps 2              to the one before that
  verbatim rollback production --release 42.3f0c9a    to this release

  Without registry and records:
  verbatim rollback production --from-argocd-history --reason 'registry is down'

Exit statuses are those of `verbatim promote`.";

/// Go back to the last proven release, and keep the bad one out
///
/// Goes back to the last release that was proven there, differs from the current one, and has no veto. A rollback takes
/// the same steps as a promotion, with the same proof, and works with automatic sync. Gates that ask about the past of
/// a release let it pass, because it has been there. The replaced release gets a veto for this environment, so that no
/// pipeline promotes it there again; `verbatim unveto` lifts the veto.
///
/// With --from-argocd-history, verbatim asks neither the registry nor the gates: it takes the values from Argo CD's
/// deployment history. It saves the record to a file, signed if there is a key; `verbatim record attach` adds it to the
/// ledger later. If each application runs only some images of the release, Argo CD cannot tell which earlier
/// deployments belong together: use --steps 1 or --release.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RollbackArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    pub(crate) environment: String,
    /// Go back to this release, which ran there before: a tag, a digest or its first 12 digits,
    /// `repository:tag@sha256:…`, or an environment for what runs there
    // Not from VERBATIM_RELEASE: in a pipeline that is the release that is to be replaced.
    #[arg(long, alias = "to", value_name = "REF", conflicts_with = "steps")]
    release: Option<Named>,
    /// Go back N proven releases
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Where to veto the replaced release
    #[arg(long, value_enum, value_name = "WHERE", default_value_t)]
    veto: VetoScope,
    /// The reason, for the records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Ask only Argo CD (break-glass)
    #[arg(long, requires = "reason", conflicts_with = "override_gate")]
    from_argocd_history: bool,
    /// Show the plan; write nothing
    #[arg(long)]
    dry_run: bool,
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
pub(crate) async fn run(args: RollbackArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = match args.from_argocd_history {
        true => context::project_without_rules_if_need_be(&args.project, console).await?,
        false => context::project(&args.project, console).await?,
    };
    let environment = environment(&project, &args.environment)?;
    let registry = registry(&project)?;
    let goal = goal(&project, &registry, &args, console).await?;
    let request = Rollback {
        goal,
        veto: args.veto,
        overrides: args.gates.for_reason(args.reason.as_deref())?,
        reason: args.reason,
        take_over: args.take_over,
        without: args.without,
    };
    let context =
        PromotionContext::of(&project, &registry, environment, console)?.delivering(args.delivery);
    let key = match args.dry_run {
        true => Ok(None),
        false => project.signer(&args.key, &[Role::PROMOTER], console).await.map(Some),
    };
    let key = key.and_then(|key: Option<RecordSigner>| {
        if let Some(key) = &key {
            project.speaks_for(&key.verifying_key().id(), Some(&environment.id))?;
        }
        Ok(key)
    });
    if args.from_argocd_history {
        // A key that is lost with everything else must not stop this.
        let key = key.unwrap_or_else(|failure| {
            console.warn(format!("the record will be unsigned: {failure}"));
            None
        });
        let promoted = break_glass(&context, &request, key.as_ref(), args.dry_run).await?;
        return told(&promoted, console);
    }
    let key = key?;
    if let Some(key) = &key {
        request.overrides.check(&project, key)?;
    }
    if let Some(key) = key.as_ref().filter(|_| request.veto != VetoScope::None) {
        may_veto(&project, key)?;
    }
    told(&rollback(&context, &request, key.as_ref()).await?, console)
}

/// Where to go back to. Without the registry only a whole digest says which release is meant.
async fn goal(
    project: &Project,
    registry: &Registry,
    args: &RollbackArgs,
    console: &Console,
) -> Result<Goal, Failure> {
    let Some(named) = &args.release else { return Ok(Goal::Steps(args.steps.into())) };
    match (named.digest(), args.from_argocd_history) {
        (Some(digest), true) => Ok(Goal::Release(digest)),
        (Some(digest), false) if *named == Named::Digest(digest) => Ok(Goal::Release(digest)),
        (None, true) => Err(Failure::usage(format!(
            "only the registry knows which release `{named}` is, and --from-argocd-history does not ask it"
        ))
        .hint("name it by its whole digest: --release sha256:…")),
        (_, false) => {
            let release = ReleaseArgs { release: Some(named.clone()) };
            let found = find(project, registry, &release, console).await;
            let found = found.map_err(|failure| failure.context(format!("cannot go back to {named}")))?;
            Ok(Goal::Release(found.release.digest))
        }
    }
}

/// A veto that does not count would let the bad release in again.
fn may_veto(project: &Project, key: &RecordSigner) -> Result<(), Failure> {
    let ring = &project.config.policy.ring;
    let trusted = ring.find(&key.verifying_key().id());
    match trusted.is_none_or(|trusted| ring.has_power(&trusted.roles, Power::Veto)) {
        true => Ok(()),
        false => Err(Failure::usage("vetoes by the signing key would not count")
            .hint("roll back without one: --veto none")
            .hint("or use a key with a role that may veto")),
    }
}
