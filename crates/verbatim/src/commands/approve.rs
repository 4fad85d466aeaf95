//! `verbatim approve`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_policy::Gate;
use verbatim_record::{Approval, EnvironmentId, Power, Role, Statement};
use verbatim_text::one_line;

use super::context::{self, ReleaseArgs, environment, find, registry};
use crate::config::Environment;
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::promotion::SavedPlan;
use crate::records::statements::{self, UntilArgs};
use crate::release::Release;

const EXAMPLES: &str = "\
Examples:
  verbatim approve production --release staging    what runs in staging
  verbatim approve production --release sha256:3f0c… --reason 'demo' --for 24h
  verbatim approve production --release sha256:3f0c… --plan plan.json";

/// Approve a release for an environment
///
/// Signs an approval and attaches it to the release and to the environment. It counts for this release and this
/// environment only, if the key has the role that the gate `approvals` asks for. A key counts once, however often it
/// signs. An approval of a plan counts only when exactly that plan is applied; verbatim shows the plan and asks before
/// it signs. By a key with the role `break-glass` it also lets the plan override its gates. verbatim refuses to sign an
/// approval that no gate asks for.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ApproveArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    /// The reason, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Approve only this saved plan: its file or its hash
    #[arg(long, value_name = "FILE|HASH")]
    plan: Option<String>,
    /// Approve the plan without being asked
    #[arg(long, requires = "plan")]
    yes: bool,
    #[command(flatten)]
    until: UntilArgs,
    /// Sign it even if no gate asks for it
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Serialize)]
struct Approved {
    environment: String,
    #[serde(serialize_with = "crate::release::result::release")]
    release: Release,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Digest>,
    record: Digest,
}

impl fmt::Display for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} approved for {}", self.release, self.environment)?;
        if let Some(until) = self.until {
            write!(f, " until {until:.0}")?;
        }
        if let Some(plan) = self.plan {
            write!(f, ", plan {plan}")?;
        }
        match f.alternate() {
            true => write!(f, "\n  record {}", self.record),
            false => Ok(()),
        }
    }
}

pub(crate) async fn run(args: ApproveArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    let now = Timestamp::now();
    let until = args.until.end(now)?;
    let key = project.signer(&args.key, &[], console).await?;
    let plan = args.plan.as_deref().map(Planned::parse).transpose()?;
    let asks_more = plan.as_ref().is_some_and(Planned::asks_beyond_its_release);
    let grants_it = asks_more && project.has_power(&key, Power::OverrideGate);
    if !args.anyway && !grants_it {
        is_asked(&project, environment, &key)?;
    }
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let release = &found.release;
    let plan = match plan {
        None => None,
        Some(Planned::Hash(hash)) => Some(hash),
        Some(Planned::File { file, saved }) => {
            is_of(&saved, &file, &environment.id, release, now)?;
            console.status(saved.plan.to_string().trim_end());
            agree(args.yes, console).await?;
            Some(saved.hash)
        }
    };
    let ledger = statements::ledger(&project, &registry, &environment.id, now).await?;
    let approval = Approval {
        seen: ledger.chain.seen().to_vec(),
        environment: environment.id.clone(),
        reason: args.reason,
        at: now,
        until,
        plan,
        run: project.run(),
    };
    let statement = Statement::approval(&release.repository.to_string(), &release.digest, approval);
    let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
    let subjects = (Some(&descriptor), std::slice::from_ref(&environment.id));
    let what = format!("the approval for {}", environment.id);
    let record =
        statements::say(&project, &registry, &statement, &key, subjects, &what, console).await?;
    console.result(&Approved {
        environment: environment.id.to_string(),
        release: release.clone(),
        until,
        plan,
        record,
    })?;
    Ok(ExitStatus::Done)
}

/// Checks that some gate asks for an approval by this key. Whether it does is not known without a policy or keys, and
/// `signer` has told that.
fn is_asked(
    project: &Project,
    environment: &Environment,
    key: &RecordSigner,
) -> Result<(), Failure> {
    let policy = &project.config.policy;
    let rules = project.config.rules(environment.name());
    let asked: Vec<&Role> = rules
        .gates
        .iter()
        .filter_map(|gate| match gate {
            Gate::Approvals(wanted) => Some(&wanted.role),
            _ => None,
        })
        .collect();
    let is_moot = !policy.is_known() || policy.ring.is_empty();
    if is_moot || asked.iter().any(|role| project.has_role(key, role)) {
        return Ok(());
    }
    let failure = Failure::usage(format!(
        "no gate before {} asks for an approval by the signing key, so it would not count",
        environment.id
    ));
    let roles: Vec<String> = asked.iter().map(|role| format!("`{role}`")).collect();
    let failure = match roles.is_empty() {
        true => failure.hint("add the gate `approvals` to `gates` of the environment"),
        false => failure.hint(format!("its gates ask for the role {}", roles.join(", "))),
    };
    Err(failure.hint("to sign it anyway: --anyway"))
}

/// The plan that is approved.
enum Planned {
    /// By its hash; nothing else is known of it.
    Hash(Digest),
    File {
        file: PathBuf,
        saved: Box<SavedPlan>,
    },
}

impl Planned {
    fn parse(plan: &str) -> Result<Self, Failure> {
        match plan.parse() {
            Ok(hash) => Ok(Self::Hash(hash)),
            Err(_) => {
                let file = PathBuf::from(plan);
                Ok(Self::File { saved: Box::new(SavedPlan::read(&file)?), file })
            }
        }
    }

    /// Whether it asks for what only somebody who may override gates can grant. Of a hash nothing is known.
    fn asks_beyond_its_release(&self) -> bool {
        match self {
            Self::Hash(_) => false,
            Self::File { saved, .. } => {
                !saved.plan.overrides.is_empty() || !saved.plan.without.is_empty()
            }
        }
    }
}

/// Checks that a plan is of this release, as the registry has it, and environment, and of some use: an approval of any other
/// would never count, and who signs it would have looked at something else.
fn is_of(
    saved: &SavedPlan,
    file: &Path,
    environment: &EnvironmentId,
    release: &Release,
    now: Timestamp,
) -> Result<(), Failure> {
    let (plan, file) = (&saved.plan, file.display());
    if plan.environment != *environment || plan.release.digest != release.digest {
        return Err(Failure::usage(format!(
            "{file} is a plan of {} to {}, not of {} to {environment}",
            plan.release.digest, plan.environment, release.digest
        )));
    }
    // Which tags are its own is looked up when it is applied.
    let in_registry = Release { tag: plan.release.tag.clone(), ..release.clone() };
    let differences = in_registry.differences(&plan.release);
    if !differences.is_empty() {
        let differences: Vec<String> = differences.iter().map(|it| one_line(it)).collect();
        return Err(Failure::usage(format!(
            "{file} does not plan this release: {}",
            differences.join("; ")
        )));
    }
    saved.check_age(now)
}

/// Has the person who is about to sign say that this is what is meant.
async fn agree(is_agreed: bool, console: &Console) -> Result<(), Failure> {
    if is_agreed {
        return Ok(());
    }
    match console.confirm("approve this plan?").await {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(ExitStatus::No, "the plan was not approved")),
        None => Err(Failure::usage("nobody can be asked whether to approve this plan")
            .hint("look at it, then add --yes")),
    }
}
