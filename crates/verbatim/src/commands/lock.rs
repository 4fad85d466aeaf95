//! `verbatim lock` and `verbatim unlock`.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Lock, Power, Statement};

use super::context::{self, environment, registry};
use super::noted;
use crate::config::Environment;
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs};
use crate::records::Registry;
use crate::records::statements::{self, UntilArgs};
use crate::records::store::Ledger;

/// The annotation that shows a lock on the applications, for people who look there. Nothing is decided by it: that the
/// lock must be found, another one says.
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
    /// Note nothing on the applications
    #[arg(long)]
    no_annotation: bool,
}

/// Keep every release out of an environment
///
/// Signs a lock and attaches it to the environment. Every promotion and rollback checks for locks; no gate needs to be
/// configured. verbatim also notes the lock on the applications: in words in the annotation verbatim.dev/lock, and by its
/// record in verbatim.dev/records, so that nobody who may only push to the registry can hide it.
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
    let ledger = statements::ledger(&project, &registry, &environment.id, Timestamp::now()).await?;
    let seen = ledger.chain.seen().to_vec();
    let said = Said { environment, reason: &args.which.reason, lifts: Vec::new(), until, seen };
    let mut text = args.which.reason.clone();
    if let Some(until) = until {
        text.push_str(&format!(" (until {until:.0})"));
    }
    let shown = (!args.which.no_annotation).then_some(Some(text));
    let record = said.say(&project, &registry, &key, shown, console).await?;
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
    let Ledger { chain, records, .. } =
        statements::ledger(&project, &registry, &environment.id, now).await?;
    let locks = records.locks;
    let what = format!("lock of {}", environment.id);
    let lifts: Vec<Digest> = statements::to_lift(&project, &locks, &key, &what, now)?
        .iter()
        .map(|lock| lock.record())
        .collect();
    let reason = &args.which.reason;
    let seen = chain.seen().to_vec();
    let said = Said { environment, reason, lifts: lifts.clone(), until: None, seen };
    let shown = (!args.which.no_annotation).then_some(None);
    let record = said.say(&project, &registry, &key, shown, console).await?;
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
    seen: Vec<Digest>,
}

impl Said<'_> {
    /// Signs it, attaches it, and notes it on the applications with the text that they show, if they are to show something.
    async fn say(
        self,
        project: &Project,
        registry: &Registry,
        key: &RecordSigner,
        shown: Option<Option<String>>,
        console: &Console,
    ) -> Result<Digest, Failure> {
        let id = &self.environment.id;
        let what = match self.lifts.is_empty() {
            true => format!("the lock of {id}"),
            false => format!("the end of the lock of {id}"),
        };
        let lock = Lock {
            seen: self.seen.clone(),
            environment: id.clone(),
            lifts: self.lifts,
            reason: self.reason.to_owned(),
            at: Timestamp::now(),
            until: self.until,
            run: project.run(),
        };
        let statement = Statement::lock(lock);
        let subjects = (None, std::slice::from_ref(id));
        let record =
            statements::say(project, registry, &statement, key, subjects, &what, console).await?;
        if let Some(text) = shown {
            let others = BTreeMap::from([(LOCK_ANNOTATION.to_owned(), text)]);
            let last = (record, &self.seen[..]);
            noted::note_record(project, &[self.environment], last, &others, console).await;
        }
        Ok(record)
    }
}
