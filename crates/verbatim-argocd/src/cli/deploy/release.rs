//! `deploy` and `override`: write values; and prove what became of them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::kubernetes::KubernetesAccess;
use crate::api::request::AppRef;
use crate::cli::deploy::settings::{NameArgs, SettingArgs};
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::{conclude, conclude_each};
use crate::cli::shared::server::{AppArgs, ServerArgs, variable};
use crate::cli::shared::show::{listener, steps};
use crate::cli::shared::values::{ImageArgs, SourceArgs, ValueArgs, duration};
use crate::judge::outcome::{OnPause, UndoResult};
use crate::judge::refusal::Remedy;
use crate::overrides::values::OverrideValues;
use crate::run::deploy::{self, UndoneWrite};
use crate::run::event::DeployStep;
use crate::run::request::{DeployOptions, DeployRequest};
use crate::run::window::wait_for_window;

/// Deploy a digest and prove that it runs
///
/// Writes the values and a claim in one guarded patch, checks that the rendered manifests contain the digest, syncs (or
/// lets automatic sync do it), and waits for operation, comparison and health. Then it reads, through Argo CD, which
/// image the nodes report for every pod. Succeeds only if every container of the image's repository runs the digest.
///
/// Refuses before it writes anything if an owner would revert the values, a sync window is closed, rights are missing,
/// or the chart has no such parameter. If it fails before the sync, it restores the previous values.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd deploy shop --helm-set image.tag=1.4@sha256:… \\
    --image example/shop@sha256:…
  verbatim-argocd deploy shop --settle 30s \\
    --kustomize-image example/shop:1.4@sha256:…
  verbatim-argocd deploy shop --helm-set image.digest=sha256:… --dry-run

Exit status:
  0  proven
  1  refused, degraded, or another image runs
  4  unfinished at the deadline
  5  another writer changed the application
  7  token or rights are not sufficient")]
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

    /// Time the proof must hold: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    settle: Duration,

    /// Give up after so long of a pod that does not start, or of Degraded
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    stuck_after: Duration,

    /// What to do when a rollout is paused, for example between canary steps
    ///
    /// `wait` waits until it continues, and exits with 4 at the deadline. `accept` succeeds once every pod of the new
    /// version runs the digest. `fail` exits with 1.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    on_pause: PauseArg,

    /// End an operation of somebody else that holds the application
    ///
    /// What that operation has applied stays applied. The result says whose it was.
    #[arg(long)]
    terminate_foreign: bool,

    /// If a sync window is closed, wait so long for it to open: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    wait_for_window: Duration,

    /// Delete resources that are no longer in the sources
    #[arg(long)]
    prune: bool,

    /// Accept leftover resources that are no longer in the sources
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,
}

/// What to do when a rollout is paused
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PauseArg {
    /// Wait until it continues
    #[default]
    Wait,
    /// Succeed with the pods of the new version
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

/// Write options
#[derive(Clone, Debug, Args)]
struct HowArgs {
    /// Name of the release, stored with the values
    #[arg(long, value_name = "NAME", default_value = "unnamed")]
    release: String,

    /// Who deploys, for example the URL of the CI run
    #[arg(long, value_name = "URL")]
    run_url: Option<String>,

    /// Time limit for everything: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,

    /// Show the plan and every reason to refuse it, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Take over the claim of another run that died
    #[arg(long)]
    take_over: bool,

    /// Write even if an owner of the application may revert it
    #[arg(long)]
    trust_owner: bool,

    /// Write parameters that the chart does not list
    #[arg(long)]
    allow_unknown_parameters: bool,

    #[command(flatten)]
    via: ViaArgs,
}

/// How applications are changed
#[derive(Clone, Debug, Default, Args)]
struct ViaArgs {
    /// Change applications through this API
    ///
    /// Argo CD's own API has no locks: of two writers at the same time, one is lost, and that is told. The Kubernetes API
    /// refuses a change of a version that is not the newest. It needs a kubeconfig (KUBECONFIG, or ~/.kube/config) with `get`
    /// and `patch` on applications.argoproj.io; the token then needs no `update`.
    #[arg(long, value_name = "API", value_enum, default_value = "argocd")]
    via: ViaArg,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    kube_context: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ViaArg {
    #[default]
    Argocd,
    Kubernetes,
}

impl ViaArgs {
    fn kubernetes(&self) -> Result<Option<KubernetesAccess>, Failure> {
        let context = self.kube_context.clone();
        match self.via {
            ViaArg::Argocd if context.is_some() => {
                Err(Failure::usage("--kube-context needs --via kubernetes"))
            }
            ViaArg::Argocd => Ok(None),
            ViaArg::Kubernetes => {
                let (files, home) = (variable("KUBECONFIG"), variable("HOME"));
                Ok(Some(KubernetesAccess::find(files.as_deref(), home.as_deref(), context)))
            }
        }
    }
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

/// Write overrides without syncing
///
/// The previous values are stored in an annotation; --undo restores them. An application with automatic sync deploys the
/// new values at once. Any value is accepted; only `deploy` requires a digest.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd override shop --helm-set image.tag=1.4@sha256:…
  verbatim-argocd override shop --revision v1.4 \\
    --values-literal-file values-staging.yaml
  verbatim-argocd override shop --kustomize-replica web=3 --nameprefix blue-
  verbatim-argocd override -l team=web --helm-set featureFlag=on
  verbatim-argocd override shop --undo

Differences from `argocd app set`: --helm-set stores tags, digests and other
parts of images as text, as --helm-set-string does; --values-literal-file stores
the text unchanged (argocd converts it to an object, and `1.10` becomes 1.1).")]
pub struct OverrideArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    values: ValueArgs,

    #[command(flatten)]
    settings: SettingArgs,

    #[command(flatten)]
    how: HowArgs,

    /// Restore the values from before the last write
    #[arg(long, conflicts_with_all = ["helm_set", "helm_set_string", "kustomize_image", "dry_run"])]
    undo: bool,
}

/// Remove overrides without syncing
///
/// Guarded like a write; `override --undo` restores the values.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd unset shop --parameter image.tag
  verbatim-argocd unset shop --kustomize-image example/shop --nameprefix
  verbatim-argocd unset shop --values-literal

Difference from `argocd app unset`: --all-values removes all value files;
--values removes single ones, as there.")]
pub struct UnsetArgs {
    #[command(flatten)]
    apps: AppsArgs,

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
    let client = args.server.client_writing(args.how.via.kubernetes()?, console)?;
    let request = DeployRequest {
        app: app.clone(),
        values,
        images,
        environment: None,
        release: args.how.release.clone(),
        by: args.how.run_url.clone(),
        revisions: Vec::new(),
        nonce: deploy::nonce().map_err(failure)?,
        options: DeployOptions {
            settle: args.settle,
            stuck_after: args.stuck_after,
            terminate_foreign: args.terminate_foreign,
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
    if !args.wait_for_window.is_zero() && !request.options.dry_run {
        wait_for_window(&client, &app, args.wait_for_window, &|wait| {
            progress.line(wait.to_string())
        })
        .await;
    }
    let report = deploy::deploy(&client, &request, &listener(console, &progress, &name))
        .await
        .map_err(failure)?;
    drop(progress);
    conclude(console, &report, &Remedy::ALL)
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
        return Err(Failure::usage("nothing to write")
            .hint("use --helm-set, --kustomize-image, --values-literal-file, …"));
    }
    write_each(&args.apps, &values, &args.how, console).await
}

pub(crate) async fn run_unset(args: UnsetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let values = args.names.some(args.source.choice())?;
    write_each(&args.apps, &values, &args.how, console).await
}

/// The options of commands that write and do not sync.
const WRITE_REMEDIES: [Remedy; 4] =
    [Remedy::Source, Remedy::AllowUnknownParameters, Remedy::TrustOwner, Remedy::TakeOver];

/// Writes the same values into each application.
async fn write_each(
    apps: &AppsArgs,
    values: &OverrideValues,
    how: &HowArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = apps.client_writing(how.via.kubernetes()?, console)?;
    let write = |app: AppRef| {
        let client = &client;
        async move {
            let name = app.to_string();
            let request = DeployRequest {
                app,
                values: values.clone(),
                images: Vec::new(),
                release: how.release.clone(),
                environment: None,
                by: how.run_url.clone(),
                revisions: Vec::new(),
                nonce: deploy::nonce().map_err(failure)?,
                options: how.options(),
                expected: None,
            };
            let progress = console.progress(format!("writing to {name}"));
            let listener = listener(console, &progress, &name);
            deploy::write(client, &request, &listener).await.map_err(failure)
        }
    };
    conclude_each(apps, &client, console, &WRITE_REMEDIES, write).await
}

async fn run_undo(args: &OverrideArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client_writing(args.how.via.kubernetes()?, console)?;
    let undo = |app: AppRef| {
        let client = &client;
        async move {
            let UndoneWrite { undo, claim, warnings } =
                deploy::undo_last(client, &app).await.map_err(failure)?;
            warnings.iter().for_each(|warning| console.warn(format!("{app}: {warning}")));
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
