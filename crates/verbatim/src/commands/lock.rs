//! `verbatim lock` and `verbatim unlock`.

use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_argocd::annotate;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Lock, Power, Statement};

use super::context::{self, environment, registry};
use crate::config::Environment;
use crate::environment::applications::{self, Servers};
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::records::Registry;
use crate::records::statements::{self, UntilArgs};

/// The annotation that shows a lock on the applications, for people who look there. Nothing is decided by it.
const LOCK_ANNOTATION: &str = "verbatim.dev/lock";

const LOCK_EXAMPLES: &str = "\
Examples:
  verbatim lock production --reason 'audit' --for 2h
  verbatim lock production --reason 'holidays' --until 2027-01-07T06:00:00Z";

const UNLOCK_EXAMPLES: &str = "\
Examples:
  verbatim unlock production --reason 'the audit is over'";

/// Which environment.
#[derive(Debug, Args)]
struct WhichArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    environment: String,
    /// The reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not show the lock on the applications
    #[arg(long)]
    no_annotation: bool,
}

/// Keep every release out of an environment
///
/// Signs a lock and attaches it to the environment. Every promotion and rollback checks for locks; no gate needs to be
/// configured. verbatim also shows the lock on the applications, in the annotation verbatim.dev/lock, for people only.
#[derive(Debug, Args)]
#[command(after_help = LOCK_EXAMPLES)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Lift the locks of an environment
///
/// Lifts all locks in force. You can lift your own locks; lifting those of others needs a role with the power to lift.
#[derive(Debug, Args)]
#[command(after_help = UNLOCK_EXAMPLES)]
pub(crate) struct UnlockArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Serialize)]
struct Locked {
    environment: String,
    locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifted: Vec<Digest>,
    record: Digest,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.locked { "locked" } else { "unlocked" };
        write!(f, "{} is {verb}", self.environment)?;
        if let Some(until) = self.until {
            write!(f, " until {until:.0}")?;
        }
        match f.alternate() {
            true => write!(f, "\n  record {}", self.record),
            false => Ok(()),
        }
    }
}

/// Runs `verbatim lock`.
pub(crate) async fn lock(args: LockArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let until = args.until.end(Timestamp::now())?;
    let (project, key) = prepare(&args.project, &args.key, console).await?;
    let environment = environment(&project, &args.which.environment)?;
    let registry = registry(&project)?;
    let said = Said { environment, reason: &args.which.reason, lifts: Vec::new(), until };
    let record = said.say(&project, &registry, &key, console).await?;
    if !args.which.no_annotation {
        let mut text = args.which.reason.clone();
        if let Some(until) = until {
            text.push_str(&format!(" (until {until:.0})"));
        }
        show_lock(&project, environment, Some(&text), console).await;
    }
    let environment = environment.id.to_string();
    console.result(&Locked { environment, locked: true, until, lifted: Vec::new(), record })?;
    Ok(ExitStatus::Done)
}

/// Runs `verbatim unlock`.
pub(crate) async fn unlock(args: UnlockArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let (project, key) = prepare(&args.project, &args.key, console).await?;
    let environment = environment(&project, &args.which.environment)?;
    let registry = registry(&project)?;
    let now = Timestamp::now();
    let locks = statements::locks(&project, &registry, environment, now).await?;
    let what = format!("lock of {}", environment.id);
    let lifts: Vec<Digest> = statements::to_lift(&project, &locks, &key, &what, now)?
        .iter()
        .map(|lock| lock.record())
        .collect();
    let reason = &args.which.reason;
    let said = Said { environment, reason, lifts: lifts.clone(), until: None };
    let record = said.say(&project, &registry, &key, console).await?;
    if !args.which.no_annotation {
        show_lock(&project, environment, None, console).await;
    }
    let environment = environment.id.to_string();
    console.result(&Locked { environment, locked: false, until: None, lifted: lifts, record })?;
    Ok(ExitStatus::Done)
}

async fn prepare(
    project: &ProjectArgs,
    key: &KeyArgs,
    console: &Console,
) -> Result<(Project, RecordSigner), Failure> {
    let project = context::project(project, console).await?;
    let key = project.signer(key, &[], console).await?;
    project.may(&key, Power::Lock, "locks")?;
    Ok((project, key))
}

struct Said<'a> {
    environment: &'a Environment,
    reason: &'a str,
    lifts: Vec<Digest>,
    until: Option<Timestamp>,
}

impl Said<'_> {
    async fn say(
        self,
        project: &Project,
        registry: &Registry,
        key: &RecordSigner,
        console: &Console,
    ) -> Result<Digest, Failure> {
        let id = &self.environment.id;
        let what = match self.lifts.is_empty() {
            true => format!("the lock of {id}"),
            false => format!("the end of the lock of {id}"),
        };
        let lock = Lock {
            environment: id.clone(),
            lifts: self.lifts,
            reason: self.reason.to_owned(),
            at: Timestamp::now(),
            until: self.until,
            run: project.run(),
        };
        let statement = Statement::lock(lock);
        statements::say(project, registry, &statement, key, (None, Some(id)), &what, console).await
    }
}

/// Shows a lock on the applications of an environment, or that there is none. The lock itself is the record, so what does
/// not work here is only a warning.
async fn show_lock(
    project: &Project,
    environment: &Environment,
    text: Option<&str>,
    console: &Console,
) {
    let shown = async {
        let servers = Servers::of(project, [environment])?;
        for seen in applications::at(environment, &servers).await? {
            let client = servers.get(&seen.app.server)?;
            let app = applications::reference(&seen.app);
            let warnings = annotate(client, &app, LOCK_ANNOTATION, text).await;
            for warning in warnings.map_err(failures::argocd)? {
                console.warn(format!("{app}: {warning}"));
            }
        }
        Ok::<(), Failure>(())
    };
    if let Err(failure) = shown.await {
        console.warn(format!("cannot show the lock on the applications: {failure}"));
    }
}
