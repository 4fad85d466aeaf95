//! `manifests`, `resources` and `images`: what an application consists of.

use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::client::Client;
use crate::api::error::ErrorKind;
use crate::api::request::{AppRef, ObjectRef, Revisions};
use crate::cli::look::get::RefreshArgs;
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, conclude_documents, each};
use crate::cli::shared::document::yaml_text;
use crate::cli::shared::failure::failure;
use crate::cli::shared::show::resource_table;
use crate::inspect::live_state::{LiveSource, LiveState, ResourceState};
use crate::inspect::tree;
use crate::judge::reading::reference;
use crate::judge::rendered::{Workload, workload};
use crate::model::{HealthStatus, SyncCode, TreeNode};

/// Pods that are read at a time.
const PODS_AT_ONCE: usize = 8;

/// Print the manifests of applications as YAML
///
/// From git, prints the manifests of the last comparison, with the overrides of the application; --revision and --refresh
/// render them now. With --source live, prints the objects in the cluster. A comment names each of several applications.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd manifests shop > shop.yaml
  verbatim-argocd manifests shop --revision v1.4
  verbatim-argocd manifests shop --hard-refresh
  verbatim-argocd manifests shop --source live
  verbatim-argocd manifests -l team=web > web.yaml
  verbatim-argocd manifests shop --format json | jq '.manifests[].kind'")]
pub struct ManifestsArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Origin of the manifests
    #[arg(long, value_name = "WHERE", default_value = "git")]
    source: From,

    #[command(flatten)]
    refresh: RefreshArgs,

    #[command(flatten)]
    revisions: RevisionArgs,
}

/// Origin of manifests
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// Rendered from the sources
    Git,
    /// The objects in the cluster
    Live,
}

/// Revisions
#[derive(Clone, Debug, Default, Args)]
pub struct RevisionArgs {
    /// Revision to use instead of the application's
    #[arg(long, value_name = "REVISION", conflicts_with = "revisions")]
    pub revision: Option<String>,

    /// Revision of one of several sources; once per --source-positions
    #[arg(long, value_name = "REVISION", requires = "source_positions")]
    pub revisions: Vec<String>,

    /// Position of that source, counted from 1
    #[arg(long, value_name = "N", requires = "revisions", value_delimiter = ',')]
    pub source_positions: Vec<usize>,
}

impl RevisionArgs {
    /// The revisions that are meant.
    pub(crate) fn revisions(&self) -> Result<Revisions, Failure> {
        if self.revisions.len() != self.source_positions.len() {
            return Err(Failure::usage(format!(
                "{} revisions for {} positions",
                self.revisions.len(),
                self.source_positions.len()
            ))
            .hint("give one --revisions for each of --source-positions"));
        }
        if self.source_positions.contains(&0) {
            return Err(Failure::usage("positions are counted from 1"));
        }
        let by_position = self.source_positions.iter().copied().zip(self.revisions.iter().cloned());
        Ok(Revisions { single: self.revision.clone(), by_position: by_position.collect() })
    }
}

#[derive(Serialize)]
struct Printed {
    app: AppRef,
    manifests: Vec<Value>,
    #[serde(skip)]
    text: String,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) async fn run(args: ManifestsArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let revisions = args.revisions.revisions()?;
    if args.source == From::Live && revisions != Revisions::default() {
        return Err(Failure::usage("--source live cannot be combined with a revision"));
    }
    let client = args.apps.client(console)?;
    let read = |app: AppRef| {
        let (args, client, revisions) = (&args, &client, &revisions);
        async move { printed(args, client, app, revisions).await }
    };
    match args.apps.chosen(&client).await? {
        Chosen::One(app) => {
            console.result(&read(app).await?)?;
            Ok(ExitStatus::Done)
        }
        Chosen::Many(apps) => {
            conclude_documents(console, &each(apps, args.apps.parallel(), read).await)
        }
    }
}

async fn printed(
    args: &ManifestsArgs,
    client: &Client,
    app: AppRef,
    revisions: &Revisions,
) -> Result<Printed, Failure> {
    args.refresh.ensure(client, &app).await?;
    let texts: Vec<String> = if *revisions == Revisions::default() {
        // The namespaces are filled in there; in what the repository server renders they are not.
        let resources = client.managed_resources(&app).await.map_err(failure)?.items;
        let states = resources.into_iter().map(|resource| match args.source {
            From::Git => resource.target_state,
            From::Live => resource.live_state,
        });
        states.collect()
    } else {
        client.manifests_at(&app, revisions).await.map_err(failure)?.manifests
    };
    let mut manifests: Vec<Value> = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let manifest = serde_json::from_str(text).map_err(|_| {
            Failure::new(ExitStatus::Unreachable, "a manifest in the answer is not JSON")
        })?;
        manifests.push(manifest);
    }
    manifests.retain(|manifest| !manifest.is_null());
    let mut text = String::new();
    for manifest in &manifests {
        text.push_str("---\n");
        text.push_str(&yaml_text(manifest)?);
    }
    Ok(Printed { app, manifests, text })
}

/// List the resources of an application
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd resources shop
  verbatim-argocd resources shop --orphaned
  verbatim-argocd get shop -o tree           # all objects below them")]
pub struct ResourcesArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// Only unmanaged objects in the namespace, if the project monitors them
    #[arg(long)]
    orphaned: bool,
}

#[derive(Serialize)]
struct Resources {
    app: AppRef,
    resources: Vec<ResourceState>,
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&resource_table(&self.resources))
    }
}

pub(crate) async fn run_resources(
    args: ResourcesArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let read = |app: AppRef| {
        let (args, client) = (&args, &client);
        async move {
            let resources = if args.orphaned {
                let tree = client.tree(&app).await.map_err(failure)?;
                tree::orphaned(&tree).into_iter().map(orphan).collect()
            } else {
                let state = client.get(&app).await.map_err(failure)?;
                state.status.resources.iter().map(ResourceState::of).collect()
            };
            Ok(Resources { app, resources })
        }
    };
    let columns = Columns {
        headings: ["RESOURCES", "OUT OF SYNC", "NOT HEALTHY"],
        rows: |found: &Resources| {
            let count = |wanted: fn(&ResourceState) -> bool| {
                found.resources.iter().filter(|one| wanted(one)).count().to_string()
            };
            let is_sick = |one: &ResourceState| {
                one.health.as_ref().is_some_and(|health| health.status != HealthStatus::Healthy)
            };
            vec![[
                count(|_| true),
                count(|one| !one.hook && one.sync != SyncCode::Synced),
                count(is_sick),
            ]]
        },
    };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, read).await
}

fn orphan(node: &TreeNode) -> ResourceState {
    ResourceState {
        group: node.group.clone(),
        kind: node.kind.clone(),
        namespace: node.namespace.clone(),
        name: node.name.clone(),
        sync: SyncCode::Unknown,
        health: node.health.clone(),
        hook: false,
        requires_pruning: false,
    }
}

/// Show the images of an application: overridden, rendered, running
///
/// Shows three levels: the overrides in the sources, the images in the manifests rendered now, and the image that the
/// node reports for each running container. To compare them with a digest, use `prove`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd images shop
  verbatim-argocd images -l team=web
  verbatim-argocd images shop --format json | jq '.running[].image_id'")]
pub struct ImagesArgs {
    #[command(flatten)]
    apps: AppsArgs,
}

#[derive(Serialize)]
struct Images {
    app: AppRef,
    overrides: Vec<LiveSource>,
    rendered: Vec<RenderedContainer>,
    running: Vec<RunningContainer>,
}

#[derive(Serialize)]
struct RenderedContainer {
    object: String,
    container: String,
    image: String,
}

#[derive(Serialize)]
struct RunningContainer {
    pod: String,
    namespace: String,
    container: String,
    /// As the pod asks for it.
    image: String,
    /// As the node reports it; nothing while it does not.
    image_id: String,
    ready: bool,
}

pub(crate) async fn run_images(args: ImagesArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let read = |app: AppRef| {
        let client = &client;
        async move { images(client, app).await }
    };
    let columns = Columns {
        headings: ["RENDERED", "RUNNING"],
        rows: |found: &Images| {
            let distinct = |images: Vec<&str>| {
                let set: std::collections::BTreeSet<_> = images.into_iter().collect();
                set.into_iter().collect::<Vec<_>>().join(",")
            };
            vec![[
                distinct(found.rendered.iter().map(|one| one.image.as_str()).collect()),
                distinct(found.running.iter().map(|one| one.image_id.as_str()).collect()),
            ]]
        },
    };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, read).await
}

async fn images(client: &Client, app: AppRef) -> Result<Images, Failure> {
    let state = client.get(&app).await.map_err(failure)?;
    let manifests = client.manifests(&app).await.map_err(failure)?.manifests;
    let tree = client.tree(&app).await.map_err(failure)?;
    let read = |text: &String| workload(&serde_json::from_str(text).ok()?);
    let workloads: Vec<Workload> = manifests.iter().filter_map(read).collect();
    let rendered = workloads.iter().flat_map(|workload| {
        workload.containers.iter().map(|container| RenderedContainer {
            object: workload.object.to_string(),
            container: container.name.clone(),
            image: container.image.clone(),
        })
    });
    let pods: Vec<ObjectRef> = tree
        .nodes
        .iter()
        .filter(|node| node.group.is_empty() && node.kind == "Pod")
        .map(reference)
        .collect();
    let reading = pods.into_iter().map(|pod| {
        let app = &app;
        async move {
            match client.resource(app, &pod).await {
                Ok(live) => Ok(containers(&pod, &live)),
                // It ended between the tree and the look.
                Err(error) if matches!(error.kind, ErrorKind::NotFound(_)) => Ok(Vec::new()),
                Err(error) => Err(failure(error)),
            }
        }
    });
    let read: Vec<Result<Vec<RunningContainer>, Failure>> =
        stream::iter(reading).buffered(PODS_AT_ONCE).collect().await;
    let mut running = Vec::new();
    for containers in read {
        running.extend(containers?);
    }
    let rendered = rendered.collect();
    Ok(Images { overrides: LiveState::of(&state).sources, rendered, running, app })
}

fn containers(reference: &ObjectRef, pod: &Value) -> Vec<RunningContainer> {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let asked: BTreeMap<&str, &str> = ["/spec/initContainers", "/spec/containers"]
        .iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .filter_map(|container| Some((container["name"].as_str()?, container["image"].as_str()?)))
        .collect();
    let statuses = lists
        .iter()
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten();
    statuses
        .map(|status| {
            let text = |name: &str| status[name].as_str().unwrap_or_default();
            RunningContainer {
                pod: reference.name.clone(),
                namespace: reference.namespace.clone(),
                container: text("name").to_owned(),
                image: asked.get(text("name")).copied().unwrap_or(text("image")).to_owned(),
                image_id: text("imageID").to_owned(),
                ready: status["ready"] == json!(true),
            }
        })
        .collect()
}

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut overrides = Table::new(["OVERRIDE", "VALUE"]);
        for source in &self.overrides {
            for parameter in &source.parameters {
                overrides.row([parameter.name.clone(), parameter.value.clone()]);
            }
            for image in &source.images {
                overrides.row(["(kustomize image)".into(), image.clone()]);
            }
        }
        if !overrides.is_empty() {
            writeln!(f, "{overrides}")?;
        }
        let mut rendered = Table::new(["RENDERED", "CONTAINER", "IMAGE"]);
        for one in &self.rendered {
            rendered.row([one.object.clone(), one.container.clone(), one.image.clone()]);
        }
        writeln!(f, "{rendered}")?;
        let mut running = Table::new(["RUNNING", "CONTAINER", "READY", "IMAGE ID"]);
        for one in &self.running {
            let id = if one.image_id.is_empty() { "(not reported)" } else { &one.image_id };
            let ready = if one.ready { "yes" } else { "no" };
            running.row([one.pod.clone(), one.container.clone(), ready.into(), id.to_owned()]);
        }
        running.fmt(f)
    }
}
