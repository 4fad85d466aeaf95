//! `set`, `patch` and `confirm-deletion`: changes of an application beside the values of its sources.

use std::fmt;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure, style};

use crate::api::client::Client;
use crate::api::request::{AppPatch, AppRef};
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, each};
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::ServerArgs;
use crate::overrides::kept::missing;
use crate::overrides::patch::go_json;
use crate::overrides::spec::{SpecChange, SpecFieldChange, SyncRetry};
use crate::run::annotation::annotate;

/// Change what applications are beside their values: project, destination, sync policy, history
///
/// In one patch that is refused if somebody else has changed the same meanwhile; the answer is looked at whether it holds
/// what was written. What stood there before is printed. Values of the sources are written with `override`, which keeps
/// what stood there; repository and chart with `create --file --upsert`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd set shop --sync-policy automated --auto-prune --self-heal
  verbatim-argocd set shop --sync-policy none
  verbatim-argocd set shop --sync-option CreateNamespace=true --sync-option '!Validate=false'
  verbatim-argocd set -l team=web --revision-history-limit 3

As `argocd app set`, but for three things: --dest-server takes the cluster's name away and --dest-name its address, where
argocd leaves both, which no server accepts; an option of a sync takes the place of another value of the same option; and
a patch is always validated.

Exit status: 1 if an answer does not hold what was written; 5 if somebody else changed it.")]
pub struct SetArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    spec: SpecArgs,

    #[command(flatten)]
    retry: RetryArgs,

    /// Show what would change, and stop
    #[arg(long)]
    dry_run: bool,
}

/// What an application becomes
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct SpecArgs {
    /// Its new Argo CD project; `--project` says which applications are meant
    #[arg(long, value_name = "PROJECT")]
    to_project: Option<String>,

    /// The address of its cluster
    #[arg(long, value_name = "URL", conflicts_with = "dest_name")]
    dest_server: Option<String>,

    /// Or the name of its cluster
    #[arg(long, value_name = "NAME")]
    dest_name: Option<String>,

    /// The namespace of its objects
    #[arg(long, value_name = "NAMESPACE")]
    dest_namespace: Option<String>,

    /// Whether it syncs by itself. What it does then is set anew
    #[arg(long, value_name = "POLICY")]
    sync_policy: Option<SyncPolicy>,

    /// When it syncs by itself: delete what is not in the sources any more
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    auto_prune: Option<bool>,

    /// When it syncs by itself: take back changes of live objects
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    self_heal: Option<bool>,

    /// When it syncs by itself: even if nothing is left
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    allow_empty: Option<bool>,

    /// An option of its syncs; with `!` before it, it goes. May be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// How many deployments its history keeps
    #[arg(long, value_name = "N")]
    revision_history_limit: Option<i64>,
}

/// Whether an application syncs by itself
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncPolicy {
    /// It does not
    #[value(alias = "none")]
    Manual,
    /// It does
    #[value(alias = "auto", alias = "automatic")]
    Automated,
}

/// What an application does when a sync of its own fails
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct RetryArgs {
    /// How often its syncs are tried again; 0 is never
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    sync_retry_limit: Option<i64>,

    /// The pause before the first time, in Go's writing: 5s, 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "sync_retry_limit")]
    sync_retry_backoff_duration: String,

    /// By how much each further pause is longer
    #[arg(long, value_name = "N", default_value_t = 2, requires = "sync_retry_limit")]
    sync_retry_backoff_factor: i64,

    /// The longest pause, in Go's writing
    #[arg(long, value_name = "TIME", default_value = "3m0s", requires = "sync_retry_limit")]
    sync_retry_backoff_max_duration: String,

    /// Resolve the revision again each time
    #[arg(long, requires = "sync_retry_limit")]
    sync_retry_refresh: bool,
}

impl SetArgs {
    fn change(&self) -> Result<SpecChange, Failure> {
        let (spec, retry) = (&self.spec, &self.retry);
        let change = SpecChange {
            project: spec.to_project.clone(),
            server: spec.dest_server.clone(),
            cluster: spec.dest_name.clone(),
            namespace: spec.dest_namespace.clone(),
            automated: spec.sync_policy.map(|policy| policy == SyncPolicy::Automated),
            prune: spec.auto_prune,
            self_heal: spec.self_heal,
            allow_empty: spec.allow_empty,
            sync_options: spec.sync_option.clone(),
            retry: retry.sync_retry_limit.map(|limit| SyncRetry {
                limit,
                duration: retry.sync_retry_backoff_duration.clone(),
                factor: retry.sync_retry_backoff_factor,
                max_duration: retry.sync_retry_backoff_max_duration.clone(),
                refresh: retry.sync_retry_refresh,
            }),
            history_limit: spec.revision_history_limit,
        };
        if change == SpecChange::default() {
            return Err(Failure::usage("nothing is named that shall change")
                .hint("use --sync-policy, --sync-option, --dest-namespace, …; for values verbatim argocd override"));
        }
        Ok(change)
    }
}

/// What became of an application.
#[derive(Serialize)]
struct Changed {
    app: AppRef,
    /// Field by field, where that is known.
    changes: Vec<SpecFieldChange>,
    /// What was written and is not there.
    missing: Vec<String>,
    written: bool,
    /// As Argo CD has it.
    #[serde(skip)]
    object: Value,
}

impl Changed {
    const COLUMNS: Columns<Self, 2> = Columns {
        headings: ["OUTCOME", "WHAT"],
        rows: |changed| {
            let lines = changed.changes.iter().map(line).chain(changed.missing.iter().map(lost));
            vec![[changed.word(), lines.collect::<Vec<_>>().join("; ")]]
        },
    };

    fn word(&self) -> String {
        match (self.missing.is_empty(), self.written) {
            (false, _) => style::bad("not as written"),
            (true, true) => style::good("changed"),
            (true, false) => "not written".to_owned(),
        }
    }

    /// Not all that was written is there: that is a no, whoever is the cause.
    fn status(&self) -> ExitStatus {
        if self.missing.is_empty() { ExitStatus::Done } else { ExitStatus::No }
    }
}

fn line(one: &SpecFieldChange) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".into());
    format!("{} {} → {}", one.field, text(&one.old), text(&one.new))
}

fn lost(place: &String) -> String {
    format!("{place} is not what was written: Argo CD does not know it, or somebody else wrote")
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", style::strong(&self.app), self.word())?;
        self.changes
            .iter()
            .map(line)
            .chain(self.missing.iter().map(lost))
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

pub(crate) async fn run(args: SetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let change = args.change()?;
    let client = args.server.client(console)?;
    let set = |app: AppRef| {
        let (client, change, dry_run) = (&client, &change, args.dry_run);
        async move { set(client, app, change, dry_run).await }
    };
    args.apps.show(&client, console, &Changed::COLUMNS, Changed::status, set).await
}

async fn set(
    client: &Client,
    app: AppRef,
    change: &SpecChange,
    dry_run: bool,
) -> Result<Changed, Failure> {
    let object = client.object(&app).await.map_err(failure)?;
    let operations = Value::Array(change.operations(&object["spec"]));
    let changes = change.changes(&object["spec"]);
    if dry_run || operations == Value::Array(Vec::new()) {
        return Ok(Changed { app, changes, missing: Vec::new(), written: false, object });
    }
    let text = go_json(&operations);
    let object = client.patch_as(&app, AppPatch::Json, text).await.map_err(failure)?;
    let missing = missing(&object, AppPatch::Json, &operations);
    Ok(Changed { app, changes, missing, written: true, object })
}

/// Change applications by a patch
///
/// For what no other command writes. Values are better written with `override`, which is guarded, keeps what stood there and
/// can be undone; this is as careful as the patch: `test` operations of a JSON patch refuse it where something else stands.
/// The answer is looked at whether it holds what was written.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd patch shop --patch '[{\"op\": \"replace\", \"path\": \"/spec/source/path\", \"value\": \"chart\"}]'
  verbatim-argocd patch shop --type merge --patch '{\"spec\": {\"source\": {\"targetRevision\": \"v1.4\"}}}'

Exit status: 1 if an answer does not hold what was written; 5 if a `test` operation failed.")]
pub struct PatchArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// The patch
    #[arg(long, value_name = "PATCH")]
    patch: String,

    /// How it is meant
    #[arg(long = "type", value_name = "TYPE", default_value = "json")]
    kind: PatchType,

    /// Print the application as Argo CD has it then
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// How a patch is meant
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PatchType {
    /// RFC 6902: operations
    Json,
    /// RFC 7386: a part of the application
    Merge,
}

/// What is printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// As JSON
    Json,
    /// As YAML
    Yaml,
}

pub(crate) async fn run_patch(args: PatchArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let patch: Value = serde_json::from_str(&args.patch)
        .map_err(|error| Failure::usage(error).context("the patch is not JSON"))?;
    let how = match args.kind {
        PatchType::Json => AppPatch::Json,
        PatchType::Merge => AppPatch::Merge,
    };
    let client = args.server.client(console)?;
    let write = |app: AppRef| {
        let (client, patch) = (&client, &patch);
        async move {
            let text = go_json(patch);
            let object = client.patch_as(&app, how, text).await.map_err(failure)?;
            let missing = missing(&object, how, patch);
            Ok(Changed { app, changes: Vec::new(), missing, written: true, object })
        }
    };
    let Some(output) = args.output else {
        return args.apps.show(&client, console, &Changed::COLUMNS, Changed::status, write).await;
    };
    let results = match args.apps.chosen(&client).await? {
        Chosen::One(app) => vec![(app.clone(), Ok(write(app).await?))],
        Chosen::Many(apps) => each(apps, args.apps.parallel(), write).await,
    };
    let mut statuses = Vec::new();
    for (app, result) in &results {
        match result {
            Ok(changed) => {
                changed
                    .missing
                    .iter()
                    .for_each(|place| console.warn(format!("{app}: {}", lost(place))));
                statuses.push(changed.status());
                match output {
                    Output::Json => document::json(console, &changed.object)?,
                    Output::Yaml => document::yaml(console, &changed.object)?,
                }
            }
            Err(failed) => {
                console.warn(format!("{app}: {}", failed.whole()));
                statuses.push(failed.status);
            }
        }
    }
    Ok(ExitStatus::of_all(statuses))
}

/// `AnnotationDeletionApproved` in `common/common.go`.
const DELETION_APPROVED: &str = "argocd.argoproj.io/deletion-approved";

/// Let applications delete and prune what waits for a confirmation
///
/// Objects with `Prune=confirm` or `Delete=confirm` in their sync options.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd confirm-deletion shop")]
pub struct ConfirmDeletionArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Confirmed {
    app: AppRef,
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} deletion is confirmed", self.app)
    }
}

pub(crate) async fn run_confirm_deletion(
    args: ConfirmDeletionArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    // As argocd writes it: what was wanted after this moment is not confirmed by it.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let confirm = |app: AppRef| {
        let (client, now) = (&client, &now);
        async move {
            annotate(client, &app, DELETION_APPROVED, Some(now)).await.map_err(failure)?;
            Ok(Confirmed { app })
        }
    };
    let columns =
        Columns { headings: ["DELETION"], rows: |_: &Confirmed| vec![["confirmed".into()]] };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, confirm).await
}
