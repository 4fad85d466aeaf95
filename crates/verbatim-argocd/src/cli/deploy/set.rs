//! `set`, `patch` and `confirm-deletion`: changes of an application beside the values of its sources.

use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure, style};

use crate::api::client::Client;
use crate::api::request::{AppPatch, AppRef, go_json};
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, each};
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::overrides::kept::missing;
use crate::overrides::spec::{SpecChange, SpecFieldChange, SyncRetry};
use crate::run::annotation::annotate;

/// Change project, destination, sync policy or history limit of applications
///
/// Sends one patch, which fails if someone else changed the same fields meanwhile, and checks that the answer contains
/// what was written. Prints the previous values. For values of the sources use `override`, which stores the previous
/// ones; for repository and chart use `create --file --upsert`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd set shop --sync-policy automated --auto-prune --self-heal
  verbatim-argocd set shop --sync-policy none
  verbatim-argocd set shop --sync-option CreateNamespace=true \\
    --sync-option '!Validate=false'
  verbatim-argocd set -l team=web --revision-history-limit 3

Differences from `argocd app set`: --dest-server removes the cluster's name and
--dest-name its address (argocd keeps both, which no server accepts); a sync
option replaces another value of the same option; patches are always validated.

Exit status:
  1  the answer does not contain what was written
  5  someone else changed the same fields")]
pub struct SetArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    spec: SpecArgs,

    #[command(flatten)]
    retry: RetryArgs,

    /// Show what would change, and exit
    #[arg(long)]
    dry_run: bool,
}

/// Application
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct SpecArgs {
    /// New Argo CD project; `--project` selects applications
    #[arg(long, value_name = "PROJECT")]
    to_project: Option<String>,

    /// Address of the target cluster
    #[arg(long, value_name = "URL", conflicts_with = "dest_name")]
    dest_server: Option<String>,

    /// Name of the target cluster
    #[arg(long, value_name = "NAME")]
    dest_name: Option<String>,

    /// Target namespace
    #[arg(long, value_name = "NAMESPACE")]
    dest_namespace: Option<String>,

    /// Automatic or manual sync; resets the options of automatic sync
    #[arg(long, value_name = "POLICY")]
    sync_policy: Option<SyncPolicy>,

    /// Automatic sync: delete resources that are no longer in the sources
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    auto_prune: Option<bool>,

    /// Automatic sync: revert changes of live objects
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    self_heal: Option<bool>,

    /// Automatic sync: even if no resource is left
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    allow_empty: Option<bool>,

    /// Sync option; a leading `!` removes it (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// Number of deployments to keep in the history
    #[arg(long, value_name = "N")]
    revision_history_limit: Option<i64>,
}

/// Sync policy
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncPolicy {
    /// Sync on request
    #[value(alias = "none")]
    Manual,
    /// Sync on every change
    #[value(alias = "auto", alias = "automatic")]
    Automated,
}

/// Retries of automatic syncs
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct RetryArgs {
    /// Number of retries of a sync; 0 for none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    sync_retry_limit: Option<i64>,

    /// Pause before the first retry: 5s, 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "sync_retry_limit")]
    sync_retry_backoff_duration: String,

    /// Factor by which each further pause grows
    #[arg(long, value_name = "N", default_value_t = 2, requires = "sync_retry_limit")]
    sync_retry_backoff_factor: i64,

    /// Longest pause between retries
    #[arg(long, value_name = "TIME", default_value = "3m0s", requires = "sync_retry_limit")]
    sync_retry_backoff_max_duration: String,

    /// Resolve the revision again for each retry
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
            return Err(Failure::usage("nothing to change")
                .hint("use --sync-policy, --sync-option, --dest-namespace, …; for values use `verbatim argocd override`"));
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
    format!(
        "{place} is not what was written: Argo CD does not know the field, or another writer changed it"
    )
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
    let client = args.apps.client(console)?;
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

/// Patch applications
///
/// For everything that no other command writes. Prefer `override` for values: it is guarded and can be undone. A patch is
/// guarded only by its own `test` operations. Checks that the answer contains what was written.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd patch shop --patch \\
    '[{\"op\":\"replace\",\"path\":\"/spec/source/path\",\"value\":\"chart\"}]'
  verbatim-argocd patch shop --type merge --patch \\
    '{\"spec\":{\"source\":{\"targetRevision\":\"v1.4\"}}}'

Exit status:
  1  the answer does not contain what was written
  5  a `test` operation failed")]
pub struct PatchArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Patch, as JSON
    #[arg(long, value_name = "PATCH")]
    patch: String,

    /// Type of patch
    #[arg(long = "type", value_name = "TYPE", default_value = "json")]
    kind: PatchType,

    /// Print the resulting application
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// Type of patch
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PatchType {
    /// RFC 6902: operations
    Json,
    /// RFC 7386: a part of the application
    Merge,
}

/// Output format
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
    let client = args.apps.client(console)?;
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

/// Confirm deletions and prunings that wait for it
///
/// Concerns objects with the sync option `Prune=confirm` or `Delete=confirm`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd confirm-deletion shop")]
pub struct ConfirmDeletionArgs {
    #[command(flatten)]
    apps: AppsArgs,
}

#[derive(Serialize)]
struct Confirmed {
    app: AppRef,
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: deletion confirmed", self.app)
    }
}

pub(crate) async fn run_confirm_deletion(
    args: ConfirmDeletionArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    // As argocd writes it: what was wanted after this moment is not confirmed by it.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let confirm = |app: AppRef| {
        let (client, now) = (&client, &now);
        async move {
            let approved =
                |_: &_| BTreeMap::from([(DELETION_APPROVED.to_owned(), Some(now.clone()))]);
            let warnings = annotate(client, &app, approved).await.map_err(failure)?;
            warnings.iter().for_each(|warning| console.warn(format!("{app}: {warning}")));
            Ok(Confirmed { app })
        }
    };
    let columns =
        Columns { headings: ["DELETION"], rows: |_: &Confirmed| vec![["confirmed".into()]] };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, confirm).await
}
