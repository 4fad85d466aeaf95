//! `history`: the deployments of an application.

use std::fmt;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::request::AppRef;
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::model::HistoryEntry;

/// Show the past deployments of an application
///
/// Oldest first. Argo CD keeps the last ten successful ones, unless the application says otherwise; failed, partial and
/// dry runs are not recorded.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd history shop
  verbatim-argocd history shop -o id
  verbatim-argocd rollback shop 3")]
pub struct HistoryArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Output format
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// Output format
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// With the overrides
    Wide,
    /// Numbers only, one per line
    Id,
}

#[derive(Serialize)]
struct Deployments {
    app: AppRef,
    history: Vec<Deployment>,
    #[serde(skip)]
    output: Option<Output>,
}

#[derive(Serialize)]
struct Deployment {
    id: i64,
    started_at: Option<Timestamp>,
    deployed_at: Option<Timestamp>,
    revisions: Vec<String>,
    initiated_by: String,
    sources: Vec<String>,
    overrides: Vec<String>,
}

impl Deployment {
    fn of(entry: &HistoryEntry) -> Self {
        let by = &entry.initiated_by;
        let values = |list: &[serde_json::Value]| -> Vec<String> {
            list.iter()
                .map(|element| {
                    let shown = crate::overrides::values::shown(Some(element));
                    match element.get("name").and_then(|name| name.as_str()) {
                        Some(name) => format!("{name}={shown}"),
                        None => shown,
                    }
                })
                .collect()
        };
        Self {
            id: entry.id,
            started_at: entry.deploy_started_at,
            deployed_at: entry.deployed_at,
            revisions: entry.revisions(),
            initiated_by: if by.automated { "Argo CD itself".into() } else { by.username.clone() },
            sources: entry.sources().iter().map(|(_, source)| source.describe()).collect(),
            overrides: entry
                .sources()
                .iter()
                .flat_map(|(_, source)| {
                    [values(source.helm_parameters()), values(source.kustomize_images())].concat()
                })
                .collect(),
        }
    }
}

pub(crate) async fn run(args: HistoryArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let read = |app: AppRef| {
        let (client, output) = (&client, args.output);
        async move {
            let state = client.get(&app).await.map_err(failure)?;
            let history = state.status.history.iter().map(Deployment::of).collect();
            Ok(Deployments { app, history, output })
        }
    };
    let columns = Columns {
        headings: ["DEPLOYMENTS", "LAST", "AT", "REVISION"],
        rows: |found: &Deployments| {
            let last = found.history.last();
            vec![[
                found.history.len().to_string(),
                last.map(|last| last.id.to_string()).unwrap_or_default(),
                time(last.and_then(|last| last.deployed_at)),
                last.map(|last| last.revisions.join(",")).unwrap_or_default(),
            ]]
        },
    };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, read).await
}

pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

impl fmt::Display for Deployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.output == Some(Output::Id) {
            return self.history.iter().try_for_each(|one| writeln!(f, "{}", one.id));
        }
        let wide = self.output == Some(Output::Wide);
        let headings = ["ID", "DEPLOYED", "REVISION", "BY"];
        let more = ["SOURCE", "OVERRIDES"].into_iter().filter(|_| wide);
        let mut table = Table::wide(headings.into_iter().chain(more));
        for one in &self.history {
            let cells = [
                one.id.to_string(),
                time(one.deployed_at),
                one.revisions.join(","),
                one.initiated_by.clone(),
            ];
            let more = [one.sources.join(", "), one.overrides.join(", ")];
            table.wide_row(cells.into_iter().chain(more.into_iter().filter(|_| wide)));
        }
        table.fmt(f)
    }
}
