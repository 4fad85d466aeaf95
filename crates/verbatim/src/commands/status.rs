//! `verbatim status`.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_oci::short_digests;
use verbatim_record::RejectedRecord;

use super::context::{self, registry};
use crate::environment::applications::Servers;
use crate::environment::status::{Row, row};
use crate::project::ProjectArgs;

const EXAMPLES: &str = "\
Examples:
  verbatim status            all environments
  verbatim status --check    end with 1 if an environment needs attention";

/// Show which release runs where, and what differs from the ledger
///
/// Needs no key. Shows the last promotion of each environment and compares it with Argo CD. Reports overrides that are
/// missing or changed, applications that were re-created without theirs, and images that no promotion deployed.
/// `verbatim restore` puts the recorded release back.
///
/// Reports unfinished promotions: who started each, when, and its deadline. Also reports promotions that were proven
/// but not recorded; `verbatim record attach` adds them to the ledger.
///
/// Shows locks, and vetoes against the running release. With --check, a veto counts as a problem: the running release
/// is vetoed for this environment, and `verbatim rollback` replaces it. A lock does not count, because it only keeps
/// releases out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// End with 1 if an environment differs from its ledger or runs a vetoed release
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

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["ENVIRONMENT", "TAG", "DIGEST", "COMMIT", "SINCE", "STATE"]);
        for row in &self.environments {
            let release = row.release.as_ref();
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let commit = release.and_then(|release| release.commit.as_ref());
            table.row([
                row.environment.name().to_owned(),
                or_dash(release.and_then(|release| release.tag.clone())),
                or_dash(release.map(|release| release.digest.short())),
                or_dash(commit.map(|commit| commit.chars().take(12).collect())),
                or_dash(row.since.map(|since| format!("{since:.0}"))),
                match f.alternate() {
                    true => row.told(),
                    false => short_digests(&row.told()),
                },
            ]);
        }
        table.fmt(f)
    }
}

pub(crate) async fn run(args: StatusArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let registry = registry(&project)?;
    let environments = &project.config.environments;
    let servers = Servers::usable(&project, environments);
    let progress = console.progress("reading the environments");
    let now = Timestamp::now();
    let rows = environments.iter().map(|it| row(&project, &registry, &servers, it, now));
    let environments = join_all(rows).await;
    drop(progress);
    let wrong = args.check && environments.iter().any(Row::is_wrong);
    let status = ExitStatus::of_all(
        environments.iter().map(|row| row.status).chain(wrong.then_some(ExitStatus::No)),
    );
    let status_of_all = Status { project: project.config.project.clone(), environments };
    console.result(&status_of_all)?;
    let environments = &status_of_all.environments;
    for (reasons, hints) in troubles(environments) {
        console.warn(reasons);
        hints.iter().for_each(|hint| console.status(format!("hint: {hint}")));
    }
    for row in environments {
        for RejectedRecord { record, rejection, .. } in &row.rejected {
            let name = row.environment.name();
            console.warn(format!("{name}: promotion record {record} does not count: {rejection}"));
        }
    }
    let hints = environments.iter().flat_map(Row::hints);
    hints.for_each(|hint| console.status(format!("hint: {hint}")));
    Ok(status)
}

/// What kept something from being found out, with what to do about it: told once, however many environments it concerns.
fn troubles(environments: &[Row]) -> Vec<(String, &[String])> {
    let mut troubles: BTreeMap<(String, &[String]), Vec<&str>> = BTreeMap::new();
    for row in environments {
        let Some(error) = &row.error else { continue };
        let why = match error.causes.as_slice() {
            [] => error.message.clone(),
            causes => causes.join(": "),
        };
        troubles.entry((why, &error.hints)).or_default().push(row.environment.name());
    }
    troubles
        .into_iter()
        .map(|((why, hints), names)| (format!("{}: {why}", names.join(", ")), hints))
        .collect()
}
