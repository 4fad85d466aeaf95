//! Ends a command that reports what became of applications: prints, says what to do next, and gives the exit status.

use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, conclude_many, each};
use crate::cli::shared::failure::status;
use crate::cli::shared::show::{hints, outcome_cells};
use crate::judge::outcome::DeployReport;
use crate::judge::refusal::Remedy;

/// How reports on several applications are shown.
const COLUMNS: Columns<DeployReport, 2> =
    Columns { headings: ["OUTCOME", "WHY"], rows: |report| vec![outcome_cells(report)] };

/// Prints a report and gives the exit status that it leads to. `remedies`: the options that the command has.
pub(crate) fn conclude(
    console: &Console,
    report: &DeployReport,
    remedies: &[Remedy],
) -> Result<ExitStatus, Failure> {
    console.result(report)?;
    let flag = |remedy: Remedy| match remedy {
        Remedy::PutBack => Some(format!("{} {}", remedy.flag(), report.app)),
        _ => remedies.contains(&remedy).then(|| remedy.flag().to_owned()),
    };
    for hint in hints(report, &flag) {
        console.status(format!("hint: {hint}"));
    }
    Ok(status(report))
}

/// Does something to each application that is meant, and reports it.
pub(crate) async fn conclude_each<F>(
    apps: &AppsArgs,
    client: &Client,
    console: &Console,
    remedies: &[Remedy],
    work: impl Fn(AppRef) -> F,
) -> Result<ExitStatus, Failure>
where
    F: Future<Output = Result<DeployReport, Failure>>,
{
    match apps.chosen(client).await? {
        Chosen::One(app) => conclude(console, &work(app).await?, remedies),
        Chosen::Many(chosen) => {
            let results = each(chosen, apps.parallel(), work).await;
            conclude_many(console, &results, &COLUMNS, status)
        }
    }
}
