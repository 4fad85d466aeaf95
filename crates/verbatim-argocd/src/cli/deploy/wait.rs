//! `sync`, `wait`, `prove` and `terminate`: start operations, stop them, and wait.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::client::Client;
use crate::api::request::{AppRef, Refresh, RetryStrategy, Revisions, Strategy, SyncRequest};
use crate::cli::look::diff::Differences;
use crate::cli::look::manifests::RevisionArgs;
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::conclude_each;
use crate::cli::shared::server::ServerArgs;
use crate::cli::shared::show::listener;
use crate::cli::shared::values::{ImageArgs, duration, pair};
use crate::judge::condition::Conditions;
use crate::judge::outcome::DeployReport;
use crate::judge::pattern::{self, ResourcePattern};
use crate::run::operate::SyncUntil;
use crate::run::request::DeployOptions;
use crate::run::{deploy, operate};

/// Sync applications as they are, and wait until they are synced and healthy
///
/// A sync of some resources only, to another revision, or a dry run leaves the application out of sync; then only the end
/// of the operation is waited for. While another operation runs, its end is waited for first.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd sync shop
  verbatim-argocd sync shop --prune --timeout 5m
  verbatim-argocd sync shop --dry-run
  verbatim-argocd sync shop --resource apps:Deployment:web
  verbatim-argocd sync -l team=web --parallel 4

Beside what `argocd app sync` has: --sync-option adds to the options of the application, which Argo CD would leave out.
--preview-changes asks nothing, as a pipeline has nobody to ask: it prints the differences and stops.

Exit status: 0 synced and healthy; 1 failed, degraded, or a difference with --preview-changes; 4 not over at the deadline.")]
pub struct SyncArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    revisions: RevisionArgs,

    #[command(flatten)]
    how: HowArgs,

    #[command(flatten)]
    retry: RetryArgs,

    /// Print what would change, and stop
    #[arg(long)]
    preview_changes: bool,

    /// Do not wait: return when the sync is started
    #[arg(long = "async", conflicts_with_all = ["dry_run", "preview_changes"])]
    asynchronous: bool,

    /// Accept that resources that are no longer in the sources stay
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// How it is synced
#[derive(Clone, Debug, Args)]
struct HowArgs {
    /// Only these resources; may be repeated. `*` is any text, an empty part anything, `!` leaves out. No hook runs
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    resource: Vec<ResourcePattern>,

    /// Only resources whose manifests have this label; may be repeated, and one is enough. No hook runs
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// Apply nothing, and show what Argo CD would do
    #[arg(long)]
    dry_run: bool,

    /// Delete resources that are no longer in the sources
    #[arg(long)]
    prune: bool,

    /// How the manifests are applied
    #[arg(long, value_name = "STRATEGY", default_value = "hook")]
    strategy: StrategyArg,

    /// Delete and make again what cannot be changed in place
    #[arg(long)]
    force: bool,

    /// Replace objects in place of applying them
    #[arg(long)]
    replace: bool,

    /// Let the API server merge
    #[arg(long)]
    server_side: bool,

    /// Leave alone what is in sync
    #[arg(long)]
    apply_out_of_sync_only: bool,

    /// An option beside those of the application; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// A pair that is kept with the operation; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    info: Vec<(String, String)>,
}

/// How manifests are applied
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StrategyArg {
    /// With hooks
    Hook,
    /// Without hooks
    Apply,
}

/// What Argo CD does when an operation fails
#[derive(Clone, Debug, Args)]
struct RetryArgs {
    /// How often Argo CD tries again
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry_limit: i64,

    /// The pause before the first time, in Go's writing: 5s, 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s")]
    retry_backoff_duration: String,

    /// By how much each further pause is longer
    #[arg(long, value_name = "N", default_value_t = 2)]
    retry_backoff_factor: i64,

    /// The longest pause, in Go's writing
    #[arg(long, value_name = "TIME", default_value = "3m0s")]
    retry_backoff_max_duration: String,

    /// Resolve the revision again each time
    #[arg(long)]
    retry_refresh: bool,
}

impl RetryArgs {
    fn strategy(&self) -> Option<RetryStrategy> {
        (self.retry_limit != 0).then(|| RetryStrategy {
            limit: self.retry_limit,
            duration: self.retry_backoff_duration.clone(),
            factor: self.retry_backoff_factor,
            max_duration: self.retry_backoff_max_duration.clone(),
            refresh: self.retry_refresh,
        })
    }
}

impl SyncArgs {
    fn request(&self, revisions: &Revisions) -> Result<SyncRequest, Failure> {
        let how = &self.how;
        let switches = [
            (how.replace, "Replace=true"),
            (how.server_side, "ServerSideApply=true"),
            (how.apply_out_of_sync_only, "ApplyOutOfSyncOnly=true"),
        ];
        let switches = switches.into_iter().filter(|(on, _)| *on).map(|(_, text)| text.to_owned());
        Ok(SyncRequest {
            nonce: deploy::nonce().map_err(failure)?,
            infos: how.info.clone(),
            prune: how.prune,
            revisions: revisions.clone(),
            dry_run: how.dry_run,
            strategy: match how.strategy {
                StrategyArg::Hook => Strategy::Hook,
                StrategyArg::Apply => Strategy::Apply,
            },
            force: how.force,
            resources: Vec::new(),
            sync_options: switches.chain(how.sync_option.iter().cloned()).collect(),
            retry: self.retry.strategy(),
        })
    }

    async fn sync(
        &self,
        client: &Client,
        console: &Console,
        app: &AppRef,
        revisions: &Revisions,
    ) -> Result<DeployReport, Failure> {
        let mut request = self.request(revisions)?;
        let mut patterns = self.how.resource.clone();
        if !self.how.label.is_empty() {
            let manifests = client.manifests_at(app, revisions).await.map_err(failure)?.manifests;
            patterns.extend(pattern::labelled(&manifests, &self.how.label));
        }
        if !self.how.resource.is_empty() || !self.how.label.is_empty() {
            let mut state = client.get(app).await.map_err(failure)?;
            if !state.status.is_compared() {
                // It was just made: which resources it has, only a comparison finds out.
                state = client.refresh(app, Refresh::Normal).await.map_err(failure)?;
            }
            let chosen = match patterns.as_slice() {
                [] => Vec::new(),
                patterns => pattern::select(patterns, &state.status.resources),
            };
            if chosen.is_empty() {
                return Err(Failure::new(
                    ExitStatus::Refused,
                    format!("{app} has no such resource"),
                )
                .hint(format!("look with `verbatim argocd resources {app}`")));
            }
            request.resources = chosen.into_iter().map(pattern::reference).collect();
        }
        let options = DeployOptions {
            timeout: self.timeout,
            allow_unpruned: self.allow_unpruned,
            ..DeployOptions::default()
        };
        let name = app.to_string();
        let progress = console.progress(format!("syncing {name}"));
        let listener = listener(console, &progress, &name);
        let partial = request.dry_run
            || !request.resources.is_empty()
            || request.revisions != Revisions::default();
        let until = match (self.asynchronous, partial) {
            (true, _) => SyncUntil::Started,
            (false, true) => SyncUntil::Ended,
            (false, false) => SyncUntil::Healthy,
        };
        operate::sync(client, app, &request, until, &options, &listener).await.map_err(failure)
    }
}

/// Wait until applications are as wanted
///
/// Without a flag: synced, healthy, and no operation runs; a status that is older than the last operation is not believed.
/// With flags only what they say, all of it; of --health, --suspended and --degraded one is enough.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd wait shop --timeout 5m
  verbatim-argocd wait shop --health --suspended
  verbatim-argocd wait shop --resource apps:Deployment:web --health
  verbatim-argocd wait shop --delete --project default
  verbatim-argocd wait -l team=web --sync

Exit status: 0 as wanted; 1 it became degraded while its health was waited for; 4 not so at the deadline.")]
pub struct WaitArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Wait until it is synced
    #[arg(long)]
    sync: bool,

    /// Wait until it is healthy
    #[arg(long)]
    health: bool,

    /// Wait until it is suspended
    #[arg(long)]
    suspended: bool,

    /// Wait until it is degraded
    #[arg(long)]
    degraded: bool,

    /// Wait until no operation is queued or runs
    #[arg(long)]
    operation: bool,

    /// Wait until it is gone; name its project with --project
    #[arg(long)]
    delete: bool,

    /// Only these resources count for sync and health; may be repeated
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    resource: Vec<ResourcePattern>,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

impl WaitArgs {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions {
            sync: self.sync,
            health: self.health,
            suspended: self.suspended,
            degraded: self.degraded,
            operation: self.operation,
            delete: self.delete,
            resources: self.resource.clone(),
        };
        let only_resources = Conditions { resources: Vec::new(), ..conditions.clone() };
        if only_resources.is_empty() && !conditions.resources.is_empty() {
            conditions = Conditions { sync: true, health: true, operation: true, ..conditions };
        }
        conditions
    }
}

/// Prove which images applications run
///
/// Changes nothing. Waits until an application is synced and healthy, looks for the digest in the rendered manifests,
/// and asks for every pod which image its node reports.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd prove shop --image example/shop@sha256:…
  verbatim-argocd prove shop --image example/shop@sha256:… --accept sha256:… --timeout 1m
  verbatim-argocd prove -l team=web --image example/shop@sha256:…")]
pub struct ProveArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    images: ImageArgs,

    /// How long the proof must hold: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    settle: Duration,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60")]
    timeout: Duration,
}

pub(crate) async fn run_sync(args: SyncArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let revisions = args.revisions.revisions()?;
    let client = args.server.client(console)?;
    if args.preview_changes {
        return preview(&args, &revisions, &client, console).await;
    }
    let sync = |app: AppRef| {
        let (args, client, revisions) = (&args, &client, &revisions);
        async move { args.sync(client, console, &app, revisions).await }
    };
    conclude_each(&args.apps, &client, console, sync).await
}

/// What would change, and nothing more.
async fn preview(
    args: &SyncArgs,
    revisions: &Revisions,
    client: &Client,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let ended = |found: &Differences| match found.differences.is_empty() {
        true => ExitStatus::Done,
        false => ExitStatus::No,
    };
    let read = |app: AppRef| async move {
        client.refresh(&app, Refresh::Normal).await.map_err(failure)?;
        Differences::read(client, &app, revisions).await
    };
    args.apps.show(client, console, &Differences::COLUMNS, ended, read).await
}

pub(crate) async fn run_wait(args: WaitArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let options = DeployOptions { timeout: args.timeout, ..DeployOptions::default() };
    let conditions = args.conditions();
    let wait = |app: AppRef| {
        let (client, options, conditions) = (&client, &options, &conditions);
        async move {
            let name = app.to_string();
            let progress = console.progress(format!("waiting for {name}"));
            let listener = listener(console, &progress, &name);
            let report = if conditions.is_empty() {
                deploy::wait(client, &app, options, &listener).await
            } else {
                operate::wait_for(client, &app, conditions, options, &listener).await
            };
            report.map_err(failure)
        }
    };
    conclude_each(&args.apps, &client, console, wait).await
}

pub(crate) async fn run_prove(args: ProveArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let images = args.images.images(None)?;
    let client = args.server.client(console)?;
    let options =
        DeployOptions { timeout: args.timeout, settle: args.settle, ..DeployOptions::default() };
    let prove = |app: AppRef| {
        let (client, images, options) = (&client, &images, &options);
        async move {
            let name = app.to_string();
            let progress = console.progress(format!("proving {name}"));
            let listener = listener(console, &progress, &name);
            deploy::prove(client, &app, images, options, &listener).await.map_err(failure)
        }
    };
    conclude_each(&args.apps, &client, console, prove).await
}

/// Stop the operation that runs
///
/// Whosever it is: Argo CD cannot be told to stop a certain one. What it has applied stays.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd terminate shop

Exit status: 1 if no operation runs.")]
pub struct TerminateArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Terminated {
    app: AppRef,
}

impl std::fmt::Display for Terminated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} operation is being stopped", self.app)
    }
}

pub(crate) async fn run_terminate(
    args: TerminateArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let terminate = |app: AppRef| {
        let client = &client;
        async move {
            client.terminate(&app).await.map_err(failure)?;
            Ok(Terminated { app })
        }
    };
    let columns =
        Columns { headings: ["OPERATION"], rows: |_: &Terminated| vec![["being stopped".into()]] };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, terminate).await
}
