//! `sync`, `wait` and `prove`.

use std::time::Duration;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use super::deploy::conclude;
use super::failure::failure;
use super::server::{AppArgs, ServerArgs};
use super::show::listener;
use super::values::{ImageArgs, duration};
use crate::deploy;
use crate::outcome::Options;
use crate::request::Sync;

/// Sync an application as it is, and wait until it is synced and healthy
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd sync shop
  verbatim-argocd sync shop --prune --timeout 5m")]
pub struct SyncArgs {
    #[command(flatten)]
    app: AppArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Sync to this revision in place of the application's
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Delete resources that are no longer in the sources
    #[arg(long)]
    prune: bool,

    /// Accept that resources that are no longer in the sources stay
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// Wait until an application is synced and healthy, and no operation runs
///
/// Does not believe a status that is older than the last operation: it asks Argo CD to compare again.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd wait shop --timeout 5m")]
pub struct WaitArgs {
    #[command(flatten)]
    app: AppArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// Prove which images an application runs
///
/// Changes nothing. Waits until the application is synced and healthy, looks for the digest in the rendered manifests,
/// and asks for every pod which image its node reports.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd prove shop --image example/shop@sha256:…
  verbatim-argocd prove shop --image example/shop@sha256:… --accept sha256:… --timeout 1m")]
pub struct ProveArgs {
    #[command(flatten)]
    app: AppArgs,

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

pub(super) async fn run_sync(args: SyncArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let app = args.app.reference()?;
    let client = args.server.client(console)?;
    let request = Sync {
        nonce: deploy::nonce().map_err(failure)?,
        infos: Vec::new(),
        prune: args.prune,
        revision: args.revision,
    };
    let options = Options {
        timeout: args.timeout,
        allow_unpruned: args.allow_unpruned,
        ..Options::default()
    };
    let name = app.to_string();
    let progress = console.progress(format!("syncing {name}"));
    let report =
        deploy::sync(&client, &app, &request, &options, &listener(console, &progress, &name))
            .await
            .map_err(failure)?;
    drop(progress);
    conclude(console, &report)
}

pub(super) async fn run_wait(args: WaitArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let app = args.app.reference()?;
    let client = args.server.client(console)?;
    let options = Options { timeout: args.timeout, ..Options::default() };
    let name = app.to_string();
    let progress = console.progress(format!("waiting for {name}"));
    let report = deploy::wait(&client, &app, &options, &listener(console, &progress, &name))
        .await
        .map_err(failure)?;
    drop(progress);
    conclude(console, &report)
}

pub(super) async fn run_prove(args: ProveArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let app = args.app.reference()?;
    let images = args.images.images(None)?;
    let client = args.server.client(console)?;
    let options = Options { timeout: args.timeout, settle: args.settle, ..Options::default() };
    let name = app.to_string();
    let progress = console.progress(format!("proving {name}"));
    let report =
        deploy::prove(&client, &app, &images, &options, &listener(console, &progress, &name))
            .await
            .map_err(failure)?;
    drop(progress);
    conclude(console, &report)
}
