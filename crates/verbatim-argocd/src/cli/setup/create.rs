//! `create` and `delete`: applications come and go.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::request::{AppDeletion, AppRef};
use crate::cli::deploy::set::SyncPolicy;
use crate::cli::deploy::settings::SettingArgs;
use crate::cli::shared::apps::{AppsArgs, named};
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::conclude_each;
use crate::cli::shared::server::{ServerArgs, read};
use crate::cli::shared::show::listener;
use crate::cli::shared::values::{ValueArgs, duration, pair};
use crate::overrides::create::{Automation, NewApplication};
use crate::run::operate;
use crate::run::request::DeployOptions;

/// Create applications
///
/// From flags, or from a file as for kubectl. An existing application that is the same is fine; one that differs is an
/// error, unless --upsert is given.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd create shop --repo https://git.example.com/shop.git \\
    --path chart --dest-server https://kubernetes.default.svc \\
    --dest-namespace shop --sync-policy automated \\
    --helm-set image.tag=1.4@sha256:…
  verbatim-argocd create shop --repo https://charts.example.com \\
    --helm-chart shop --revision 1.2.3 --dest-name in-cluster
  verbatim-argocd create --file application.yaml --upsert
  generate | verbatim-argocd create --file -

As `argocd app create`, except that --helm-set stores tags and digests as text.
To create an application with several sources, use --file.")]
pub struct CreateArgs {
    /// Application: NAME or NAMESPACE/NAME
    #[arg(value_name = "APP", required_unless_present = "file")]
    app: Option<AppRef>,

    #[command(flatten)]
    server: ServerArgs,

    /// YAML or JSON file with applications; `-` for standard input
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with_all = [
        "app", "repo", "path", "helm_chart", "release_name", "directory_recurse", "config_management_plugin", "dest_server", "dest_name",
        "dest_namespace", "sync_policy", "sync_option", "label", "annotations", "set_finalizer", "helm_set", "helm_set_string",
        "kustomize_image", "values", "values_literal_file", "revision", "app_namespace",
    ])]
    file: Option<PathBuf>,

    /// Replace an existing application that differs
    #[arg(long)]
    upsert: bool,

    /// Let Argo CD check first that the repository is reachable and renders
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    validate: bool,

    /// Namespace of the application, if it is not Argo CD's own
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    app_namespace: Option<String>,

    #[command(flatten)]
    spec: SpecArgs,

    #[command(flatten)]
    values: ValueArgs,

    #[command(flatten)]
    settings: SettingArgs,
}

/// Application
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct SpecArgs {
    /// URL of the repository
    #[arg(long, value_name = "URL", required_unless_present = "file")]
    repo: Option<String>,

    /// Folder in the repository
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,

    /// Helm chart in the repository
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "path",
        visible_alias = "chart"
    )]
    helm_chart: String,

    /// Include subfolders, for plain manifests
    #[arg(long)]
    directory_recurse: bool,

    /// Plugin that renders the manifests
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    config_management_plugin: String,

    /// Argo CD project
    #[arg(long, value_name = "PROJECT", default_value = "default")]
    project: String,

    /// Address of the target cluster
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    dest_server: String,

    /// Name of the target cluster
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "dest_server"
    )]
    dest_name: String,

    /// Target namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "", hide_default_value = true)]
    dest_namespace: String,

    /// Automatic or manual sync
    #[arg(long, value_name = "POLICY", default_value = "manual")]
    sync_policy: SyncPolicy,

    /// Automatic sync: delete resources that are no longer in the sources
    #[arg(long)]
    auto_prune: bool,

    /// Automatic sync: revert changes of live objects
    #[arg(long)]
    self_heal: bool,

    /// Automatic sync: even if no resource is left
    #[arg(long)]
    allow_empty: bool,

    /// Sync option (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// Label (repeatable)
    #[arg(long, short = 'l', value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// Annotation (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,

    /// Delete the objects with the application, whoever deletes it
    #[arg(long)]
    set_finalizer: bool,

    /// Number of deployments to keep in the history
    #[arg(long, value_name = "N")]
    revision_history_limit: Option<i64>,
}

#[derive(Serialize)]
struct Created {
    applications: Vec<AppRef>,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.applications.iter().try_for_each(|app| writeln!(f, "{app} created or unchanged"))
    }
}

pub(crate) async fn run(args: CreateArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let documents = args.documents()?;
    let client = args.server.client(console)?;
    let mut applications = Vec::new();
    for document in documents {
        let namespace = document["metadata"]["namespace"].as_str().map(str::to_owned);
        let app = client.create(document, args.upsert, args.validate).await.map_err(failure)?;
        applications.push(AppRef {
            name: app.metadata.name,
            namespace,
            project: Some(app.spec.project),
        });
    }
    console.result(&Created { applications })?;
    Ok(ExitStatus::Done)
}

impl CreateArgs {
    fn documents(&self) -> Result<Vec<Value>, Failure> {
        let mut values = self.values.some_values()?;
        if !values.elsewhere.is_empty() {
            return Err(Failure::usage("the new application has one source")
                .hint("use --helm-set and --kustomize-image; for several sources, --file"));
        }
        self.settings.add_to(&mut values)?;
        if let Some(file) = &self.file {
            if !values.is_empty() {
                return Err(Failure::usage("values cannot be combined with --file")
                    .hint("put them into the file"));
            }
            return documents(file);
        }
        let Some(app) = &self.app else { return Ok(Vec::new()) };
        let app = named(app, self.app_namespace.as_deref(), None)?;
        let spec = &self.spec;
        let automated = spec.sync_policy == SyncPolicy::Automated;
        if !automated && (spec.auto_prune || spec.self_heal || spec.allow_empty) {
            return Err(Failure::usage(
                "--auto-prune, --self-heal and --allow-empty need --sync-policy automated",
            ));
        }
        let pairs =
            |list: &[(String, String)]| -> BTreeMap<_, _> { list.iter().cloned().collect() };
        let new = NewApplication {
            name: app.name,
            namespace: app.namespace,
            project: spec.project.clone(),
            labels: pairs(&spec.label),
            annotations: pairs(&spec.annotations),
            with_finalizer: spec.set_finalizer,
            repository: spec.repo.clone().unwrap_or_default(),
            path: spec.path.clone(),
            chart: spec.helm_chart.clone(),
            // `--revision` is one of the values that can be overridden.
            revision: String::new(),
            recurse: spec.directory_recurse,
            plugin: spec.config_management_plugin.clone(),
            values,
            server: spec.dest_server.clone(),
            cluster: spec.dest_name.clone(),
            target_namespace: spec.dest_namespace.clone(),
            automated: automated.then_some(Automation {
                prune: spec.auto_prune,
                self_heal: spec.self_heal,
                allow_empty: spec.allow_empty,
            }),
            sync_options: spec.sync_option.clone(),
            history_limit: spec.revision_history_limit,
        };
        Ok(vec![new.document()])
    }
}

/// The applications of a file.
fn documents(file: &Path) -> Result<Vec<Value>, Failure> {
    let place = file.display().to_string();
    let bytes = if place == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(error).context("cannot read the standard input"))?;
        bytes
    } else {
        read(file)?
    };
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{place} is not UTF-8")))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| {
        Failure::usage(error.to_string()).context(format!("cannot read {place}"))
    })?;
    let documents: Vec<Value> =
        documents.into_iter().filter(|document| !document.is_null()).collect();
    for (index, document) in documents.iter().enumerate() {
        let kind = document["kind"].as_str().unwrap_or_default();
        let has_name = document["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
        if kind != "Application" || !has_name {
            return Err(Failure::usage(format!(
                "document {} of {place} is not an application with a name, but `{kind}`",
                index + 1
            )));
        }
    }
    if documents.is_empty() {
        return Err(Failure::usage(format!("{place} contains no application")));
    }
    Ok(documents)
}

/// Delete applications
///
/// Deletes their objects in the cluster too, unless --cascade=false. --selector and --project need --yes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd delete shop --wait
  verbatim-argocd delete shop --cascade=false       # its objects stay
  verbatim-argocd delete -l preview=true --yes

Nothing is asked: there is nobody to ask in a pipeline.")]
pub struct DeleteArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Delete the objects in the cluster too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    cascade: bool,

    /// Whether the application outlives its objects
    #[arg(long, value_name = "POLICY", default_value = "foreground")]
    propagation_policy: Propagation,

    /// Wait until the application is gone
    #[arg(long)]
    wait: bool,

    /// Delete everything that --selector or --project match
    #[arg(long, short = 'y')]
    yes: bool,

    /// Time limit for waiting: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// Order of deletion
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Propagation {
    /// Objects first, then the application
    Foreground,
    /// The application first
    Background,
}

pub(crate) async fn run_delete(args: DeleteArgs, console: &Console) -> Result<ExitStatus, Failure> {
    if args.apps.app.is_empty() && !args.yes {
        return Err(Failure::usage("no application given, and no --yes")
            .hint("check with `verbatim argocd list` which applications match, then add --yes"));
    }
    let client = args.apps.client(console)?;
    let how = AppDeletion {
        cascade: args.cascade,
        background: args.propagation_policy == Propagation::Background,
    };
    let options = DeployOptions { timeout: args.timeout, ..DeployOptions::default() };
    let delete = |app: AppRef| {
        let (client, options) = (&client, &options);
        async move {
            let name = app.to_string();
            let progress = console.progress(format!("deleting {name}"));
            let listener = listener(console, &progress, &name);
            operate::delete(client, &app, how, args.wait, options, &listener).await.map_err(failure)
        }
    };
    conclude_each(&args.apps, &client, console, &[], delete).await
}
