//! `get`: show an application, its overrides, its resources and its last operation.

use std::fmt;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table, style};
use verbatim_text::Words;

use crate::api::client::Client;
use crate::api::request::{self, AppRef, Refresh};
use crate::cli::shared::apps::{
    AppsArgs, Chosen, Columns, conclude_documents, conclude_many, each,
};
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::cli::shared::show::{line, resource_table};
use crate::inspect::live_state::{LiveState, ResourceState};
use crate::inspect::tree;
use crate::model::{Application, OperationState, Phase};
use crate::overrides::claim::ClaimState;

/// Show an application and its overrides
///
/// Shows several applications as a table; `list` is cheaper for the server.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd get shop
  verbatim-argocd get shop --show-params --show-operation
  verbatim-argocd get shop -o tree
  verbatim-argocd get shop --refresh -o json | jq .status.sync
  verbatim-argocd get shop --format json

-o json and -o yaml print the application as returned by Argo CD, as
`argocd app get` does; --format json prints verbatim's own versioned format.")]
pub struct GetArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    refresh: RefreshArgs,

    /// Print Helm parameters and Kustomize images too
    #[arg(long)]
    show_params: bool,

    /// Print the running or last operation too
    #[arg(long)]
    show_operation: bool,

    /// Output format
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// Output format
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Details and resources
    Wide,
    /// Tree of all objects
    Tree,
    /// JSON, as returned by Argo CD
    Json,
    /// YAML, as returned by Argo CD
    Yaml,
}

/// Freshness
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct RefreshArgs {
    /// Let Argo CD compare first
    #[arg(long)]
    pub refresh: bool,

    /// Let Argo CD render without its cache and compare first
    #[arg(long)]
    pub hard_refresh: bool,
}

impl RefreshArgs {
    /// Reads an application, after a comparison if that is asked for.
    pub(crate) async fn read(&self, client: &Client, app: &AppRef) -> Result<Application, Failure> {
        match self.how() {
            None => client.get(app).await,
            Some(how) => client.refresh(app, how).await,
        }
        .map_err(failure)
    }

    /// Makes Argo CD compare, if that is asked for.
    pub(crate) async fn ensure(&self, client: &Client, app: &AppRef) -> Result<(), Failure> {
        match self.how() {
            None => Ok(()),
            Some(how) => client.refresh(app, how).await.map(drop).map_err(failure),
        }
    }

    fn how(&self) -> Option<Refresh> {
        match (self.hard_refresh, self.refresh) {
            (true, _) => Some(Refresh::Hard),
            (_, true) => Some(Refresh::Normal),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    state: LiveState,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Vec<ResourceState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_operation: Option<LastOperation>,
    #[serde(skip)]
    with_parameters: bool,
}

/// The operation that runs or ran last.
#[derive(Serialize)]
struct LastOperation {
    phase: Phase,
    message: Words,
    initiated_by: String,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    retries: i64,
    revisions: Vec<String>,
    infos: Vec<String>,
}

impl LastOperation {
    fn of(state: &OperationState) -> Self {
        let by = &state.operation.initiated_by;
        Self {
            phase: state.phase,
            message: state.message.clone(),
            initiated_by: if by.automated { "Argo CD itself".into() } else { by.username.clone() },
            started_at: state.started_at,
            finished_at: state.finished_at,
            retries: state.retry_count,
            revisions: state.sync_result.as_ref().map(|r| r.revisions()).unwrap_or_default(),
            infos: state
                .operation
                .info
                .iter()
                .map(|info| format!("{}={}", info.name, info.value))
                .collect(),
        }
    }
}

pub(crate) async fn run(args: GetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let chosen = args.apps.chosen(&client).await?;
    match (&args.output, chosen) {
        (Some(Output::Json), chosen) => {
            document::json(console, &raw(&args, &client, chosen).await?)?;
            Ok(ExitStatus::Done)
        }
        (Some(Output::Yaml), chosen) => {
            document::yaml(console, &raw(&args, &client, chosen).await?)?;
            Ok(ExitStatus::Done)
        }
        (Some(Output::Tree), Chosen::One(app)) => {
            console.result(&objects(&args, &client, &app).await?)?;
            Ok(ExitStatus::Done)
        }
        (Some(Output::Tree), Chosen::Many(apps)) => {
            let results = each(apps, args.apps.parallel(), |app| {
                let (args, client) = (&args, &client);
                async move { objects(args, client, &app).await }
            });
            conclude_documents(console, &results.await)
        }
        (_, Chosen::One(app)) => {
            console.result(&look(&args, &client, &app).await?)?;
            Ok(ExitStatus::Done)
        }
        (_, Chosen::Many(apps)) => {
            let results = each(apps, args.apps.parallel(), |app| {
                let (args, client) = (&args, &client);
                async move { look(args, client, &app).await }
            })
            .await;
            let columns = Columns {
                headings: ["PROJECT", "SYNC", "HEALTH", "REVISION"],
                rows: |shown: &Shown| {
                    let state = &shown.state;
                    vec![[
                        state.app.project.clone().unwrap_or_default(),
                        format!("{:?}", state.sync),
                        format!("{:?}", state.health.status),
                        state.revisions.join(","),
                    ]]
                },
            };
            conclude_many(console, &results, &columns, |_| ExitStatus::Done)
        }
    }
}

async fn objects(args: &GetArgs, client: &Client, app: &AppRef) -> Result<Objects, Failure> {
    let state = args.refresh.read(client, app).await?;
    let tree = client.tree(app).await.map_err(failure)?;
    Ok(Objects::of(&state, &tree))
}

async fn look(args: &GetArgs, client: &Client, app: &AppRef) -> Result<Shown, Failure> {
    let state = args.refresh.read(client, app).await?;
    let live = LiveState::of(&state);
    let wide = args.output == Some(Output::Wide);
    Ok(Shown {
        state: LiveState { app: AppRef { namespace: app.namespace.clone(), ..live.app }, ..live },
        resources: wide.then(|| state.status.resources.iter().map(ResourceState::of).collect()),
        last_operation: state
            .status
            .operation_state
            .as_ref()
            .filter(|_| args.show_operation)
            .map(LastOperation::of),
        with_parameters: args.show_params,
    })
}

/// The applications as the server has them: the document itself of one, a list of several.
async fn raw(args: &GetArgs, client: &Client, chosen: Chosen) -> Result<Value, Failure> {
    let one = |app: AppRef| async move {
        args.refresh.ensure(client, &app).await?;
        client.raw(request::get(&app)).await.map_err(failure)
    };
    match chosen {
        Chosen::One(app) => one(app).await,
        Chosen::Many(apps) => {
            let mut items = Vec::new();
            for (_, result) in each(apps, args.apps.parallel(), one).await {
                items.push(result?);
            }
            Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
        }
    }
}

/// The objects of an application as a tree.
#[derive(Serialize)]
struct Objects {
    app: AppRef,
    objects: Vec<ObjectLine>,
}

#[derive(Serialize)]
struct ObjectLine {
    #[serde(skip)]
    branch: String,
    group: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    made_by: Vec<String>,
    sync: Option<crate::model::SyncCode>,
    health: Option<crate::model::Health>,
}

impl Objects {
    fn of(app: &Application, tree: &crate::model::ResourceTree) -> Self {
        let lines = tree::lines(&tree.nodes, &app.status.resources);
        let objects = lines.into_iter().map(|line| ObjectLine {
            branch: line.branch,
            group: line.node.group.clone(),
            kind: line.node.kind.clone(),
            namespace: line.node.namespace.clone(),
            name: line.node.name.clone(),
            uid: line.node.uid.clone(),
            made_by: line.node.parent_refs.iter().map(|parent| parent.uid.clone()).collect(),
            sync: line.sync,
            health: line.node.health.clone(),
        });
        Self { app: LiveState::of(app).app, objects: objects.collect() }
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["OBJECT", "SYNC", "HEALTH", "MESSAGE"]);
        for object in &self.objects {
            let health = object.health.as_ref();
            table.row([
                format!("{}{}/{}", object.branch, object.kind, object.name),
                object.sync.map(|sync| format!("{sync:?}")).unwrap_or_default(),
                health.map(|health| format!("{:?}", health.status)).unwrap_or_default(),
                health.map(|health| health.message.to_string()).unwrap_or_default(),
            ]);
        }
        table.fmt(f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.state;
        writeln!(f, "{}", style::strong(&state.app))?;
        writeln!(f, "  project   {}", state.app.project.as_deref().unwrap_or("(none)"))?;
        for source in &state.sources {
            writeln!(f, "  source    {} {} {}", source.name, source.target_revision, source.kind)?;
        }
        state.revisions.iter().try_for_each(|revision| writeln!(f, "  revision  {revision}"))?;
        writeln!(
            f,
            "  sync      {:?}{}",
            state.sync,
            if state.automated { " (automatic)" } else { "" }
        )?;
        writeln!(f, "  health    {:?} {}", state.health.status, state.health.message)?;
        if let Some(operation) = state.operation {
            writeln!(f, "  operation {operation:?}")?;
        }
        for image in &state.images {
            writeln!(f, "  image     {image}")?;
        }
        if let Some(claim) = &state.claim {
            let by = claim.by.iter().map(|by| format!(" by {by}")).collect::<String>();
            let state = match claim.state {
                ClaimState::Open => format!("open until {}", claim.deadline),
                state => format!("{state:?}"),
            };
            writeln!(f, "  claim     release {}{by}, {state}", claim.release)?;
        }
        if let Some(operation) = &self.last_operation {
            operation.fmt(f)?;
        }
        if let Some(resources) = &self.resources {
            write!(f, "\n{}", resource_table(resources))?;
        }
        if !self.with_parameters {
            return Ok(());
        }
        let mut table = Table::new(["NAME", "VALUE"]);
        for source in &state.sources {
            for parameter in &source.parameters {
                table.row([parameter.name.clone(), parameter.value.clone()]);
            }
            for image in &source.images {
                table.row(["(kustomize image)".into(), image.clone()]);
            }
            for setting in &source.settings {
                table.row([setting.name.clone(), line(setting.value.clone())]);
            }
        }
        if table.is_empty() { writeln!(f, "\nno overrides") } else { write!(f, "\n{table}") }
    }
}

impl fmt::Display for LastOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        writeln!(f, "\nlast operation")?;
        writeln!(f, "  phase     {:?}", self.phase)?;
        writeln!(f, "  message   {}", self.message)?;
        writeln!(f, "  by        {}", self.initiated_by)?;
        writeln!(f, "  started   {}", time(self.started_at))?;
        writeln!(f, "  finished  {}", time(self.finished_at))?;
        if self.retries > 0 {
            writeln!(f, "  retries   {}", self.retries)?;
        }
        self.revisions.iter().try_for_each(|revision| writeln!(f, "  revision  {revision}"))?;
        self.infos.iter().try_for_each(|info| writeln!(f, "  info      {info}"))
    }
}
