//! `deploy` and `override`: write values; and prove what became of them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::request::AppRef;
use crate::cli::deploy::settings::{NameArgs, SettingArgs};
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::{conclude, conclude_each};
use crate::cli::shared::server::{AppArgs, ServerArgs};
use crate::cli::shared::show::{listener, steps};
use crate::cli::shared::values::{ImageArgs, SourceArgs, ValueArgs, duration};
use crate::judge::outcome::{OnPause, UndoResult};
use crate::overrides::values::OverrideValues;
use crate::run::deploy;
use crate::run::event::DeployStep;
use crate::run::request::{DeployOptions, DeployRequest};

/// Write a digest, sync, wait, and prove that it runs
///
/// Writes the values and a claim in one guarded patch, checks that the rendered manifests show the digest, syncs (or
/// lets an automatic sync do it), waits for operation, comparison and health, and then asks the nodes, through Argo CD,
/// which image every pod really runs. It ends with status 0 only if every container of the image's repository runs the
/// digest.
///
/// Where it cannot work, it says so before it writes: an owner that would revert the values, a sync window, missing
/// rights, a parameter that the chart does not have. If it fails before the sync, the previous values are put back.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd deploy shop --helm-set image.tag=1.4@sha256:… --image example/shop@sha256:…
  verbatim-argocd deploy shop --kustomize-image example/shop:1.4@sha256:… --settle 30s
  verbatim-argocd deploy shop --helm-set image.digest=sha256:… --dry-run

Exit status: 0 proven; 1 refused, degraded or another image; 4 not over at the deadline; 5 somebody else wrote;
7 the server refuses the token or the right.")]
pub struct DeployArgs {
    #[command(flatten)]
    app: AppArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    values: ValueArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    how: HowArgs,

    /// How long the proof must hold: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    settle: Duration,

    /// Give up when a pod with the image has been failing to start for so long
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    stuck_after: Duration,

    /// What a rollout that is paused means, a canary between its steps for example
    ///
    /// `wait` waits until it goes on, and ends with status 4 if it does not in time. `accept` is content when every pod of
    /// the new version runs the digest, and ends with 0. `fail` ends with 1.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    on_pause: PauseArg,

    /// Delete resources that are no longer in the sources
    #[arg(long)]
    prune: bool,

    /// Accept that resources that are no longer in the sources stay
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,
}

/// What a paused rollout means
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PauseArg {
    /// Wait until it goes on
    #[default]
    Wait,
    /// Be content with the pods of the new version
    Accept,
    /// Give up
    Fail,
}

impl From<PauseArg> for OnPause {
    fn from(pause: PauseArg) -> Self {
        match pause {
            PauseArg::Wait => Self::Wait,
            PauseArg::Accept => Self::Accept,
            PauseArg::Fail => Self::Fail,
        }
    }
}

/// How it is written
#[derive(Clone, Debug, Args)]
struct HowArgs {
    /// The name of the release, kept with the values
    #[arg(long, value_name = "NAME", default_value = "unnamed")]
    release: String,

    /// Who deploys: the address of the CI run, for example
    #[arg(long, value_name = "URL")]
    run_url: Option<String>,

    /// The most that all of it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,

    /// Show what would be written, and every reason against it, and stop
    #[arg(long)]
    dry_run: bool,

    /// Continue over the claim of another run that is dead
    #[arg(long)]
    take_over: bool,

    /// Write although an owner of the application may revert it
    #[arg(long)]
    trust_owner: bool,

    /// Write parameters that the chart does not list
    #[arg(long)]
    allow_unknown_parameters: bool,
}

impl HowArgs {
    fn options(&self) -> DeployOptions {
        DeployOptions {
            timeout: self.timeout,
            dry_run: self.dry_run,
            take_over: self.take_over,
            trust_owner: self.trust_owner,
            allow_unknown_parameters: self.allow_unknown_parameters,
            ..DeployOptions::default()
        }
    }
}

/// Write values into applications, without a sync
///
/// What stood there before is kept in an annotation, and --undo puts it back. An application with automatic sync deploys
/// the values at once. Values may be anything here; only `deploy` insists on a digest.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd override shop --helm-set image.tag=1.4@sha256:…
  verbatim-argocd override shop --values-literal-file values-staging.yaml --revision v1.4
  verbatim-argocd override shop --kustomize-replica web=3 --nameprefix blue-
  verbatim-argocd override -l team=web --helm-set featureFlag=on
  verbatim-argocd override shop --undo

As `argocd app set`, but for two things: --helm-set stores a text always (there --helm-set-string does), and
--values-literal-file stores the text as it is (there it becomes an object, and `1.10` becomes 1.1).")]
pub struct OverrideArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    values: ValueArgs,

    #[command(flatten)]
    settings: SettingArgs,

    #[command(flatten)]
    how: HowArgs,

    /// Put back what stood there before the last write
    #[arg(long, conflicts_with_all = ["helm_set", "kustomize_image", "dry_run"])]
    undo: bool,
}

/// Take values away from applications, without a sync
///
/// Guarded, claimed and undone as a write is: `override --undo` puts the values back.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd unset shop --parameter image.tag
  verbatim-argocd unset shop --kustomize-image example/shop --nameprefix
  verbatim-argocd unset shop --values-literal

As `argocd app unset`, but for --all-values: there --values takes single files away.")]
pub struct UnsetArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    names: NameArgs,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    how: HowArgs,
}

pub(crate) async fn run(args: DeployArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let app = args.app.reference()?;
    let values = args.values.values()?;
    let images = args.images.images(Some(&values))?;
    let client = args.server.client(console)?;
    let request = DeployRequest {
        app: app.clone(),
        values,
        images,
        release: args.how.release.clone(),
        by: args.how.run_url.clone(),
        nonce: deploy::nonce().map_err(failure)?,
        options: DeployOptions {
            settle: args.settle,
            stuck_after: args.stuck_after,
            prune: args.prune,
            allow_unpruned: args.allow_unpruned,
            on_pause: args.on_pause.into(),
            ..args.how.options()
        },
        expected: None,
    };
    let name = app.to_string();
    if !request.options.dry_run {
        steps(console, &DeployStep::DEPLOY, &name);
    }
    let progress = console.progress(format!("deploying to {name}"));
    let report = deploy::deploy(&client, &request, &listener(console, &progress, &name))
        .await
        .map_err(failure)?;
    drop(progress);
    conclude(console, &report)
}

pub(crate) async fn run_override(
    args: OverrideArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    if args.undo {
        return run_undo(&args, console).await;
    }
    let mut values = args.values.some_values()?;
    args.settings.add_to(&mut values)?;
    if values.is_empty() {
        return Err(Failure::usage("there is nothing to write")
            .hint("use --helm-set, --kustomize-image, --values-literal-file, …"));
    }
    write_each(&args.apps, &args.server, &values, &args.how, console).await
}

pub(crate) async fn run_unset(args: UnsetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let values = args.names.some(args.source.choice())?;
    write_each(&args.apps, &args.server, &values, &args.how, console).await
}

/// Writes the same values into each application.
async fn write_each(
    apps: &AppsArgs,
    server: &ServerArgs,
    values: &OverrideValues,
    how: &HowArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = server.client(console)?;
    let write = |app: AppRef| {
        let client = &client;
        async move {
            let name = app.to_string();
            let request = DeployRequest {
                app,
                values: values.clone(),
                images: Vec::new(),
                release: how.release.clone(),
                by: how.run_url.clone(),
                nonce: deploy::nonce().map_err(failure)?,
                options: how.options(),
                expected: None,
            };
            let progress = console.progress(format!("writing to {name}"));
            let listener = listener(console, &progress, &name);
            deploy::write(client, &request, &listener).await.map_err(failure)
        }
    };
    conclude_each(apps, &client, console, write).await
}

async fn run_undo(args: &OverrideArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let undo = |app: AppRef| {
        let client = &client;
        async move {
            let (undo, claim) = deploy::undo_last(client, &app).await.map_err(failure)?;
            match undo {
                UndoResult::Done => {
                    console.status(format!("{app}: the previous values are back"));
                    let release = claim.map(|claim| claim.release);
                    Ok(Undone { app: app.to_string(), release })
                }
                UndoResult::NotNeeded => {
                    Err(Failure::new(ExitStatus::No, format!("{app} has no write to undo")))
                }
                UndoResult::Failed { why } => Err(Failure::new(ExitStatus::Conflict, why)
                    .context(format!("cannot put back the values of {app}"))),
            }
        }
    };
    let columns = Columns {
        headings: ["RELEASE", "OUTCOME"],
        rows: |undone: &Undone| vec![[undone.release.clone().unwrap_or_default(), "undone".into()]],
    };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, undo).await
}

#[derive(serde::Serialize)]
struct Undone {
    app: String,
    release: Option<String>,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} undone", self.app)?;
        self.release.as_ref().map_or(Ok(()), |release| write!(f, " (release {release})"))
    }
}
