//! `verbatim status`.

use std::fmt;

use clap::Args;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_oci::Reference;
use verbatim_policy::Live;
use verbatim_record::{Anchor, PromotedRelease};

use super::registry;
use crate::config::Environment;
use crate::discover::only_image;
use crate::look::{self, Servers};
use crate::promotion::Registry;
use crate::release::Release;
use crate::settings::{Project, ProjectArgs};
use crate::{execute, gather};

const EXAMPLES: &str = "\
Examples:
  verbatim status              all environments
  verbatim status --check      ends with 1 if any of them differs from its ledger";

/// Show which release runs where, by the ledger and by what Argo CD says
///
/// Needs no key. For each environment: the last promotion of its ledger, and whether the applications still hold it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// End with 1 if an environment differs from its ledger
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct Status {
    project: String,
    environments: Vec<Row>,
}

/// One environment.
#[derive(Debug, Serialize)]
struct Row {
    environment: String,
    /// The release as one reference, as `--release` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promotion: Option<Anchor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(flatten)]
    state: State,
    #[serde(skip)]
    status: ExitStatus,
}

/// How live state stands to the ledger.
#[derive(Debug, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "kebab-case")]
enum State {
    /// As the ledger says.
    Running,
    /// Nothing was ever promoted there.
    Empty,
    /// Otherwise than the ledger says.
    Drift(String),
    /// The ledger is not a chain that can be relied on.
    LedgerBroken(String),
    /// It could not be found out.
    Unknown(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Empty => f.write_str("nothing promoted yet"),
            Self::Drift(what) => write!(f, "drift: {what}"),
            Self::LedgerBroken(what) => write!(f, "ledger broken: {what}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["ENVIRONMENT", "TAG", "DIGEST", "COMMIT", "SINCE", "STATE"]);
        for row in &self.environments {
            let release = row.release.as_ref();
            let tag = release.and_then(|release| release.tag.as_ref());
            let digest = release.and_then(|release| release.digest);
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.row([
                row.environment.clone(),
                or_dash(tag.map(ToString::to_string)),
                or_dash(digest.map(|digest| digest.short())),
                or_dash(row.commit.as_ref().map(|commit| commit.chars().take(12).collect())),
                or_dash(row.since.map(|since| format!("{since:.0}"))),
                row.state.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

/// Runs the command.
///
/// # Errors
/// No usable configuration. What could not be found out about an environment is part of the answer.
pub(crate) async fn run(args: StatusArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = Project::load(&args.project)?;
    let registry = registry(&project)?;
    let servers = Servers::of(&project, &project.config.environments)?;
    let progress = console.progress("looking at the environments");
    let rows = project
        .config
        .environments
        .iter()
        .map(|environment| row(&project, &registry, &servers, environment));
    let environments = join_all(rows).await;
    drop(progress);
    let differs = |row: &Row| matches!(row.state, State::Drift(_) | State::LedgerBroken(_));
    let drift = args.check && environments.iter().any(differs);
    let status = execute::status(
        environments.iter().map(|row| row.status).chain(drift.then_some(ExitStatus::No)),
    );
    console.result(&Status { project: project.config.project.clone(), environments })?;
    Ok(status)
}

async fn row(
    project: &Project,
    registry: &Registry,
    servers: &Servers,
    environment: &Environment,
) -> Row {
    let empty = Row {
        environment: environment.name().to_owned(),
        release: None,
        commit: None,
        promotion: None,
        since: None,
        state: State::Empty,
        status: ExitStatus::Done,
    };
    let now = Timestamp::now();
    let (seen, ledger) = match gather::ledger_with_anchors(
        project,
        &registry.store,
        servers,
        environment,
        now,
    )
    .await
    {
        Ok(known) => known,
        Err(failure) => {
            let causes = failure.causes();
            let why =
                std::iter::once(failure.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            return Row { state: State::Unknown(why), status: failure.status, ..empty };
        }
    };
    if let Some(fault) = ledger.faults().first() {
        return Row { state: State::LedgerBroken(fault.to_string()), ..empty };
    }
    let Some(head) = ledger.head() else { return empty };
    let promoted = &head.predicate().release;
    let release = release(project, promoted);
    let state = match &release {
        None => State::Unknown("the promoted release is not of this configuration".to_owned()),
        Some(release) => match look::live(&seen, release) {
            Live::Running(_) => State::Running,
            Live::Differs(what) => State::Drift(what),
            Live::Unknown(why) => State::Unknown(why),
        },
    };
    Row {
        release: release.map(|release| release.reference()),
        commit: promoted.commit.clone(),
        promotion: ledger.anchor(),
        since: head.recorded_at(),
        status: if matches!(state, State::Unknown(_)) {
            ExitStatus::Unknown
        } else {
            ExitStatus::Done
        },
        state,
        ..empty
    }
}

/// The promoted release as one of this configuration.
fn release(project: &Project, promoted: &PromotedRelease) -> Option<Release> {
    let image = only_image(project).ok()?;
    let repository = promoted.repository.parse().ok()?;
    let tag = promoted.tag.as_deref().and_then(|tag| tag.parse().ok());
    Some(Release { image: image.name.clone(), repository, tag, digest: promoted.digest })
}
