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
use crate::cli::shared::show::listener;
use crate::cli::shared::values::{ImageArgs, duration, pair};
use crate::judge::condition::Conditions;
use crate::judge::outcome::{DeployReport, OnPause};
use crate::judge::pattern::{self, ResourcePattern};
use crate::judge::refusal::Remedy;
use crate::run::operate::SyncUntil;
use crate::run::request::DeployOptions;
use crate::run::{deploy, operate};

/// Sync applications and wait until they are healthy
///
/// A dry run, a sync of selected resources, or one to another revision leaves the application out of sync; then this
/// waits only for the end of the operation. If another operation is running, this waits for it first.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd sync shop
  verbatim-argocd sync shop --prune --timeout 5m
  verbatim-argocd sync shop --dry-run
  verbatim-argocd sync shop --suspended
  verbatim-argocd sync shop --resource apps:Deployment:web
  verbatim-argocd sync -l team=web --parallel 4

Differences from `argocd app sync`: --sync-option adds to the application's own
options instead of replacing them; --preview-changes prints the differences and
exits without asking.

Exit status:
  0  synced and healthy
  1  failed or degraded; with --preview-changes: there are differences
  4  unfinished at the deadline, or suspended")]
pub struct SyncArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    revisions: RevisionArgs,

    #[command(flatten)]
    how: HowArgs,

    #[command(flatten)]
    retry: RetryArgs,

    /// Print what would change, and exit
    #[arg(long)]
    preview_changes: bool,

    /// Exit once the sync has started
    #[arg(long = "async", conflicts_with_all = ["dry_run", "preview_changes"])]
    asynchronous: bool,

    /// Accept leftover resources that are no longer in the sources
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,

    /// Accept an application that is suspended, such as a paused rollout
    #[arg(long)]
    suspended: bool,

    /// Time limit: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// Sync options
#[derive(Clone, Debug, Args)]
struct HowArgs {
    /// Sync only these resources, without hooks (repeatable)
    ///
    /// `*` matches any text, an empty part anything; a leading `!` excludes.
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    resource: Vec<ResourcePattern>,

    /// Sync only resources with one of these labels, without hooks (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// Apply nothing; show what Argo CD would do
    #[arg(long)]
    dry_run: bool,

    /// Delete resources that are no longer in the sources
    #[arg(long)]
    prune: bool,

    /// How to apply manifests
    #[arg(long, value_name = "STRATEGY", default_value = "hook")]
    strategy: StrategyArg,

    /// Delete and re-create what cannot be changed in place
    #[arg(long)]
    force: bool,

    /// Replace objects instead of applying them
    #[arg(long)]
    replace: bool,

    /// Use server-side apply
    #[arg(long)]
    server_side: bool,

    /// Skip resources that are in sync
    #[arg(long)]
    apply_out_of_sync_only: bool,

    /// Sync option in addition to the application's own (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// Info to store with the operation (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    info: Vec<(String, String)>,
}

/// How to apply manifests
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StrategyArg {
    /// With hooks
    Hook,
    /// Without hooks
    Apply,
}

/// Retries by Argo CD
#[derive(Clone, Debug, Args)]
struct RetryArgs {
    /// Number of retries by Argo CD
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry_limit: i64,

    /// Pause before the first retry: 5s, 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s")]
    retry_backoff_duration: String,

    /// Factor by which each further pause grows
    #[arg(long, value_name = "N", default_value_t = 2)]
    retry_backoff_factor: i64,

    /// Longest pause between retries
    #[arg(long, value_name = "TIME", default_value = "3m0s")]
    retry_backoff_max_duration: String,

    /// Resolve the revision again for each retry
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
                .hint(format!("`verbatim argocd resources {app}` lists them")));
            }
            request.resources = chosen.into_iter().map(pattern::reference).collect();
        }
        let options = DeployOptions {
            timeout: self.timeout,
            allow_unpruned: self.allow_unpruned,
            on_pause: if self.suspended { OnPause::Accept } else { OnPause::Wait },
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

/// Wait until applications are synced and healthy
///
/// Without flags, this waits until the application is synced and healthy and no operation runs, and ignores a status
/// that is older than the last operation. With flags, it waits for exactly these conditions; of --health, --suspended
/// and --degraded, one is enough.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd wait shop --timeout 5m
  verbatim-argocd wait shop --health --suspended
  verbatim-argocd wait shop --resource apps:Deployment:web --health
  verbatim-argocd wait shop --delete --project default
  verbatim-argocd wait -l team=web --sync

Exit status:
  0  all conditions hold
  1  degraded while waiting for health
  4  unfinished at the deadline")]
pub struct WaitArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Wait until synced
    #[arg(long)]
    sync: bool,

    /// Wait until healthy
    #[arg(long)]
    health: bool,

    /// Wait until suspended
    #[arg(long)]
    suspended: bool,

    /// Wait until degraded
    #[arg(long)]
    degraded: bool,

    /// Wait until no operation is queued or running
    #[arg(long)]
    operation: bool,

    /// Wait until deleted; needs --project
    #[arg(long)]
    delete: bool,

    /// Consider only these resources for sync and health (repeatable)
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    resource: Vec<ResourcePattern>,

    /// Time limit: seconds, or 90s, 10m
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

/// Prove which images run
///
/// Changes nothing. Waits until the application is synced and healthy, looks for the digest in the rendered manifests,
/// and reads for every pod which image its node reports.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd prove shop --image example/shop@sha256:…
  verbatim-argocd prove shop --image example/shop@sha256:… \\
    --accept sha256:… --timeout 1m
  verbatim-argocd prove -l team=web --image example/shop@sha256:…")]
pub struct ProveArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    images: ImageArgs,

    /// Time the proof must hold: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    settle: Duration,

    /// Time limit: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60")]
    timeout: Duration,
}

pub(crate) async fn run_sync(args: SyncArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let revisions = args.revisions.revisions()?;
    let client = args.apps.client(console)?;
    if args.preview_changes {
        return preview(&args, &revisions, &client, console).await;
    }
    let sync = |app: AppRef| {
        let (args, client, revisions) = (&args, &client, &revisions);
        async move { args.sync(client, console, &app, revisions).await }
    };
    conclude_each(&args.apps, &client, console, &[Remedy::Prune, Remedy::AllowUnpruned], sync).await
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
    let client = args.apps.client(console)?;
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
    conclude_each(&args.apps, &client, console, &[], wait).await
}

pub(crate) async fn run_prove(args: ProveArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let images = args.images.images(None)?;
    let client = args.apps.client(console)?;
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
    conclude_each(&args.apps, &client, console, &[], prove).await
}

/// Stop the running operation
///
/// Argo CD stops whichever operation is running. What it has applied stays applied.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd terminate shop

Exit status: 1 if no operation runs.")]
pub struct TerminateArgs {
    #[command(flatten)]
    apps: AppsArgs,
}

#[derive(Serialize)]
struct Terminated {
    app: AppRef,
}

impl std::fmt::Display for Terminated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: stopping the operation", self.app)
    }
}

pub(crate) async fn run_terminate(
    args: TerminateArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
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
