//! `list`: the applications that the token may see.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table, style};

use crate::api::request;
use crate::cli::shared::apps::FilterArgs;
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::ServerArgs;
use crate::inspect::live_state::LiveState;
use crate::model::{Application, Destination, HealthStatus, SyncCode};

/// List applications
///
/// One request, answered from the server's cache. Names are printed with their namespace, as `argocd app list` does; the
/// other commands take them like that. Applications that the token may not see are missing without a word.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd list
  verbatim-argocd list -l 'team=web,env!=dev' --project shop
  verbatim-argocd list --repo https://git.example.com/shop.git -o name
  verbatim-argocd list --format json")]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Only applications with a source in this repository
    #[arg(long, short = 'r', value_name = "URL")]
    repo: Option<String>,

    /// Only applications with a source in this folder
    #[arg(long, short = 'P', value_name = "PATH")]
    path: Option<String>,

    /// Only applications that go to this cluster, by its name or address
    #[arg(long, short = 'c', value_name = "CLUSTER")]
    cluster: Option<String>,

    /// What is printed: more columns; only names; the applications as Argo CD has them
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// What is printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// More columns
    Wide,
    /// Only names, one a line
    Name,
    /// The applications as Argo CD has them, as JSON
    Json,
    /// The applications as Argo CD has them, as YAML
    Yaml,
}

#[derive(Serialize)]
struct AppList {
    applications: Vec<AppRow>,
    #[serde(skip)]
    output: Option<Output>,
}

#[derive(Serialize)]
struct AppRow {
    #[serde(flatten)]
    state: LiveState,
    destination: Destination,
    conditions: Vec<String>,
}

pub(crate) async fn run(args: ListArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let filter = &args.filter;
    let request =
        request::list(&filter.project, filter.selector.as_deref(), filter.app_namespace.as_deref());
    let list = client.raw(request.clone()).await.map_err(failure)?;
    let mut chosen: Vec<(Value, Application)> = Vec::new();
    for item in list.get("items").and_then(Value::as_array).into_iter().flatten() {
        let app: Application = serde_json::from_value(item.clone()).map_err(|_| {
            Failure::new(ExitStatus::Unreachable, "an application of the list is not as expected")
        })?;
        if args.wants(&app) {
            chosen.push((item.clone(), app));
        }
    }
    let documents = || json!(chosen.iter().map(|(item, _)| item).collect::<Vec<_>>());
    match args.output {
        Some(Output::Json) => document::json(console, &documents())?,
        Some(Output::Yaml) => document::yaml(console, &documents())?,
        output => {
            let mut applications: Vec<AppRow> =
                chosen.iter().map(|(_, app)| AppRow::of(app)).collect();
            applications.sort_by(|a, b| a.state.app.cmp(&b.state.app));
            console.result(&AppList { applications, output })?;
        }
    }
    Ok(ExitStatus::Done)
}

impl ListArgs {
    /// The server compares a repository with the first source only, and knows no folder and no cluster.
    fn wants(&self, app: &Application) -> bool {
        let any_source = |wanted: &Option<String>, of: fn(&crate::model::AppSource) -> &str| {
            wanted.as_ref().is_none_or(|wanted| {
                app.spec.sources().iter().any(|(_, source)| of(source) == wanted)
            })
        };
        let destination = &app.spec.destination;
        any_source(&self.repo, |source| source.repo_url())
            && any_source(&self.path, |source| source.path())
            && self.cluster.as_ref().is_none_or(|cluster| {
                *cluster == destination.name || *cluster == destination.server
            })
    }
}

impl AppRow {
    fn of(app: &Application) -> Self {
        let conditions = app.status.conditions.iter();
        Self {
            state: LiveState::of(app),
            destination: app.spec.destination.clone(),
            conditions: conditions.map(|condition| condition.kind.clone()).collect(),
        }
    }
}

impl fmt::Display for AppList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.output == Some(Output::Name) {
            return self.applications.iter().try_for_each(|row| writeln!(f, "{}", row.state.app));
        }
        let wide = self.output == Some(Output::Wide);
        let more = ["CLUSTER", "NAMESPACE", "REPOSITORY", "REVISION"];
        let headings = ["NAME", "PROJECT", "SYNC", "HEALTH", "POLICY", "CONDITIONS"];
        let mut table = Table::wide(headings.into_iter().chain(more.into_iter().filter(|_| wide)));
        for row in &self.applications {
            let state = &row.state;
            let cells = [
                state.app.to_string(),
                state.app.project.clone().unwrap_or_default(),
                match state.sync {
                    SyncCode::Synced => style::good("Synced"),
                    other => style::attention(format!("{other:?}")),
                },
                match state.health.status {
                    HealthStatus::Healthy => style::good("Healthy"),
                    HealthStatus::Degraded => style::bad("Degraded"),
                    other => style::attention(format!("{other:?}")),
                },
                if state.automated { "automatic" } else { "manual" }.to_owned(),
                row.conditions.join(","),
            ];
            let join = |of: fn(&crate::inspect::live_state::LiveSource) -> String| {
                state.sources.iter().map(of).collect::<Vec<_>>().join(",")
            };
            let more = [
                match row.destination.name.as_str() {
                    "" => row.destination.server.clone(),
                    name => name.to_owned(),
                },
                row.destination.namespace.clone(),
                join(|source| source.name.clone()),
                join(|source| source.target_revision.clone()),
            ];
            table.wide_row(cells.into_iter().chain(more.into_iter().filter(|_| wide)));
        }
        table.fmt(f)
    }
}
