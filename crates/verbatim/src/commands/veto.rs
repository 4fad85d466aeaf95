//! `verbatim veto` and `verbatim unveto`.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{EnvironmentId, Power, Statement, Veto};

use super::context::{self, ReleaseArgs, environment, find, registry};
use super::noted;
use crate::config::Environment;
use crate::project::signer::RecordSigner;
use crate::project::{KeyArgs, Project, ProjectArgs, failures};
use crate::records::Registry;
use crate::records::statements::{self, UntilArgs};
use crate::records::store::Ledger;
use crate::release::find::ResolvedRelease;
use crate::release::{Named, Release};

const VETO_EXAMPLES: &str = "\
Examples:
  verbatim veto --release sha256:3f0c… --reason 'leaks memory'

  In one environment, for three days:
  verbatim veto --release production --environment production --for 3d \\
    --reason 'wait for legal'";

const UNVETO_EXAMPLES: &str = "\
Examples:
  verbatim unveto --release sha256:3f0c… --reason 'it was the database'

  In one environment:
  verbatim unveto --release sha256:3f0c… --environment production \\
    --reason 'legal agreed'";

/// Which release, and where.
#[derive(Debug, Args)]
#[command(mut_arg("release", |release| release.help(
    "The release: a tag, a digest or its first 12 digits, `repository:tag@sha256:…`, or an environment for what runs there"
)))]
struct WhereArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The release, as `--release` takes it
    #[arg(value_name = "REF", hide = true)]
    reference: Option<Named>,
    /// The environment, by its name in verbatim.yaml [default: all environments]
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// The reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Note nothing on the applications
    #[arg(long)]
    no_annotation: bool,
}

impl WhereArgs {
    fn named(&self, project: &Project) -> Result<ReleaseArgs, Failure> {
        self.release.clone().or(self.reference.clone(), project)?.named()
    }
}

/// Keep a release out of one environment, or of all
///
/// Does not touch what runs: use `verbatim rollback`, which replaces the release and vetoes it. Every promotion and
/// rollback checks for vetoes; no gate needs to be configured. verbatim also notes the record on the applications, so that
/// nobody who may only push to the registry can hide it.
#[derive(Debug, Args)]
#[command(after_help = VETO_EXAMPLES)]
pub(crate) struct VetoArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Lift the vetoes against a release
///
/// Lifts the vetoes for the named environment, or those for all environments if you name none. You can lift your own
/// vetoes; lifting those of others needs a role with the power to lift.
#[derive(Debug, Args)]
#[command(after_help = UNVETO_EXAMPLES)]
pub(crate) struct UnvetoArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Serialize)]
struct Vetoed {
    #[serde(serialize_with = "crate::release::result::release")]
    release: Release,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<EnvironmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifted: Vec<Digest>,
    record: Digest,
}

impl fmt::Display for Vetoed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self
            .environment
            .as_ref()
            .map_or_else(|| "every environment".to_owned(), ToString::to_string);
        match self.lifted.len() {
            0 => write!(f, "{} is vetoed for {place}", self.release)?,
            1 => write!(f, "{}: lifted 1 veto for {place}", self.release)?,
            count => write!(f, "{}: lifted {count} vetoes for {place}", self.release)?,
        }
        if let Some(until) = self.until {
            write!(f, " until {until:.0}")?;
        }
        match f.alternate() {
            true => write!(f, "\n  record {}", self.record),
            false => Ok(()),
        }
    }
}

/// Runs `verbatim veto`.
pub(crate) async fn veto(args: VetoArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let until = args.until.end(Timestamp::now())?;
    let (project, key, environment) =
        prepare(&args.place, &args.key, &args.project, console).await?;
    let release = args.place.named(&project)?;
    let registry = registry(&project)?;
    let found = find(&project, &registry, &release, console).await?;
    let ledger = ledger(&project, &registry, environment.as_ref(), Timestamp::now()).await?;
    let seen = seen(ledger.as_ref());
    let said = Said {
        lifts: Vec::new(),
        reason: args.place.reason.clone(),
        until,
        seen,
        is_noted: !args.place.no_annotation,
    };
    said.say(&project, &registry, &found, environment, &key, console).await
}

/// The ledger of the environment that is meant, if it is one.
async fn ledger(
    project: &Project,
    registry: &Registry,
    environment: Option<&EnvironmentId>,
    now: Timestamp,
) -> Result<Option<Ledger>, Failure> {
    match environment {
        Some(id) => statements::ledger(project, registry, id, now).await.map(Some),
        None => Ok(None),
    }
}

fn seen(ledger: Option<&Ledger>) -> Vec<Digest> {
    ledger.map(|ledger| ledger.chain.seen().to_vec()).unwrap_or_default()
}

/// Runs `verbatim unveto`.
pub(crate) async fn unveto(args: UnvetoArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let (project, key, environment) =
        prepare(&args.place, &args.key, &args.project, console).await?;
    let release = args.place.named(&project)?;
    let registry = registry(&project)?;
    let found = find(&project, &registry, &release, console).await?;
    let now = Timestamp::now();
    let digest = found.release.digest;
    let ledger = ledger(&project, &registry, environment.as_ref(), now).await?;
    let place = (environment.as_ref(), ledger.as_ref());
    let vetoes = statements::vetoes(&project, &registry, digest, place, now).await?;
    let what = format!("veto against {}", found.release);
    let lifted = statements::to_lift(&project, &vetoes, &key, &what, now)?;
    let lifts = lifted.iter().map(|veto| veto.record()).collect();
    let seen = seen(ledger.as_ref());
    let said = Said {
        lifts,
        reason: args.place.reason.clone(),
        until: None,
        seen,
        is_noted: !args.place.no_annotation,
    };
    said.say(&project, &registry, &found, environment, &key, console).await
}

async fn prepare(
    place: &WhereArgs,
    key: &KeyArgs,
    project: &ProjectArgs,
    console: &Console,
) -> Result<(Project, RecordSigner, Option<EnvironmentId>), Failure> {
    let project = context::project(project, console).await?;
    let environment = match &place.environment {
        Some(name) => Some(environment(&project, name)?.id.clone()),
        None => None,
    };
    let key = project.signer(key, &[], console).await?;
    project.may(&key, Power::Veto, "vetoes")?;
    Ok((project, key, environment))
}

struct Said {
    lifts: Vec<Digest>,
    reason: String,
    until: Option<Timestamp>,
    seen: Vec<Digest>,
    /// Whether the applications are to name it.
    is_noted: bool,
}

impl Said {
    async fn say(
        self,
        project: &Project,
        registry: &Registry,
        found: &ResolvedRelease,
        environment: Option<EnvironmentId>,
        key: &RecordSigner,
        console: &Console,
    ) -> Result<ExitStatus, Failure> {
        let release = &found.release;
        let veto = Veto {
            seen: self.seen.clone(),
            environment: environment.clone(),
            lifts: self.lifts.clone(),
            reason: self.reason,
            at: Timestamp::now(),
            until: self.until,
            run: project.run(),
        };
        let is_meant = |it: &&Environment| environment.as_ref().is_none_or(|id| *id == it.id);
        let places: Vec<&Environment> =
            project.config.environments.iter().filter(is_meant).collect();
        let ids: Vec<EnvironmentId> = places.iter().map(|it| it.id.clone()).collect();
        let statement = Statement::veto(&release.repository.to_string(), &release.digest, veto)
            .in_ledgers(&ids);
        let descriptor = found.resolved.manifest.descriptor().map_err(failures::registry)?;
        let subjects = (Some(&descriptor), &ids[..]);
        let what = match self.lifts.is_empty() {
            true => format!("the veto against {}", release.digest),
            false => format!("the end of the veto against {}", release.digest),
        };
        let record =
            statements::say(project, registry, &statement, key, subjects, &what, console).await?;
        let last = (record, &self.seen[..]);
        if self.is_noted {
            noted::note_record(project, &places, last, &BTreeMap::new(), console).await;
        }
        console.result(&Vetoed {
            release: release.clone(),
            environment,
            until: self.until,
            lifted: self.lifts,
            record,
        })?;
        Ok(ExitStatus::Done)
    }
}
