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

/// Make an application
///
/// From flags, or from a file as kubectl takes it. One that is there already and says the same is fine; one that says
/// something else is left alone, unless --upsert.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd create shop --repo https://git.example.com/shop.git --path chart --dest-namespace shop \\
    --dest-server https://kubernetes.default.svc --helm-set image.tag=1.4@sha256:… --sync-policy automated
  verbatim-argocd create shop --repo https://charts.example.com --helm-chart shop --revision 1.2.3 --dest-name in-cluster
  verbatim-argocd create --file application.yaml --upsert
  generate | verbatim-argocd create --file -

As in `argocd app create`, but for --helm-set, which stores a text always. An application of several sources is made from
a file.")]
pub struct CreateArgs {
    /// The application, NAME or NAMESPACE/NAME
    #[arg(value_name = "APP", required_unless_present = "file")]
    app: Option<AppRef>,

    #[command(flatten)]
    server: ServerArgs,

    /// The file with the application, or with several, as YAML or JSON; `-` is the standard input
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with_all = [
        "app", "repo", "path", "helm_chart", "release_name", "directory_recurse", "config_management_plugin", "dest_server", "dest_name",
        "dest_namespace", "sync_policy", "sync_option", "label", "annotations", "set_finalizer", "helm_set",
        "kustomize_image", "values", "values_literal_file", "revision", "app_namespace",
    ])]
    file: Option<PathBuf>,

    /// Replace an application that says something else
    #[arg(long)]
    upsert: bool,

    /// Whether Argo CD looks first if the repository answers and renders
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    validate: bool,

    /// The application's namespace, if it is not Argo CD's own
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    app_namespace: Option<String>,

    #[command(flatten)]
    spec: SpecArgs,

    #[command(flatten)]
    values: ValueArgs,

    #[command(flatten)]
    settings: SettingArgs,
}

/// What the application is
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Application")]
struct SpecArgs {
    /// Its repository
    #[arg(long, value_name = "URL", required_unless_present = "file")]
    repo: Option<String>,

    /// Its folder in the repository
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,

    /// Or its chart
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "path",
        visible_alias = "chart"
    )]
    helm_chart: String,

    /// Take folders below the folder, too, for plain manifests
    #[arg(long)]
    directory_recurse: bool,

    /// The plugin that renders it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    config_management_plugin: String,

    /// Its Argo CD project
    #[arg(long, value_name = "PROJECT", default_value = "default")]
    project: String,

    /// The address of its cluster
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    dest_server: String,

    /// Or the name of its cluster
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "dest_server"
    )]
    dest_name: String,

    /// The namespace of its objects
    #[arg(long, value_name = "NAMESPACE", default_value = "", hide_default_value = true)]
    dest_namespace: String,

    /// Whether it syncs by itself
    #[arg(long, value_name = "POLICY", default_value = "manual")]
    sync_policy: SyncPolicy,

    /// When it syncs by itself: delete what is not in the sources any more
    #[arg(long)]
    auto_prune: bool,

    /// When it syncs by itself: take back changes of live objects
    #[arg(long)]
    self_heal: bool,

    /// When it syncs by itself: even if nothing is left
    #[arg(long)]
    allow_empty: bool,

    /// An option of its syncs; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    sync_option: Vec<String>,

    /// A label; may be repeated
    #[arg(long, short = 'l', value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// An annotation; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,

    /// Let its deletion delete its objects, too, whoever deletes it
    #[arg(long)]
    set_finalizer: bool,

    /// How many deployments its history keeps
    #[arg(long, value_name = "N")]
    revision_history_limit: Option<i64>,
}

#[derive(Serialize)]
struct Created {
    applications: Vec<AppRef>,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.applications.iter().try_for_each(|app| writeln!(f, "{app} is there"))
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
        self.settings.add_to(&mut values)?;
        if let Some(file) = &self.file {
            if !values.is_empty() {
                return Err(Failure::usage(
                    "values are for an application that is made from flags",
                )
                .hint("write them into the file"));
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
                "document {} of {place} is no application with a name, but `{kind}`",
                index + 1
            )));
        }
    }
    if documents.is_empty() {
        return Err(Failure::usage(format!("{place} holds no application")));
    }
    Ok(documents)
}

/// Delete applications
///
/// With their objects in the cluster, unless --cascade=false. Several by --selector or --project only with --yes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd delete shop --wait
  verbatim-argocd delete shop --cascade=false       # its objects stay
  verbatim-argocd delete -l preview=true --yes

Nothing is asked: there is nobody to ask in a pipeline.")]
pub struct DeleteArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Whether its objects in the cluster are deleted, too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    cascade: bool,

    /// Whether the application waits for its objects to go
    #[arg(long, value_name = "POLICY", default_value = "foreground")]
    propagation_policy: Propagation,

    /// Wait until it is gone
    #[arg(long)]
    wait: bool,

    /// Delete all that --selector or --project find
    #[arg(long, short = 'y')]
    yes: bool,

    /// The most that waiting may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

/// Whether an application waits for its objects
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Propagation {
    /// It goes after its objects
    Foreground,
    /// It goes before its objects have gone
    Background,
}

pub(crate) async fn run_delete(args: DeleteArgs, console: &Console) -> Result<ExitStatus, Failure> {
    if args.apps.app.is_empty() && !args.yes {
        return Err(Failure::usage("no application is named, and --yes is not given").hint(
            "look with `verbatim argocd list` which ones they are, then delete them with --yes",
        ));
    }
    let client = args.server.client(console)?;
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
    conclude_each(&args.apps, &client, console, delete).await
}
