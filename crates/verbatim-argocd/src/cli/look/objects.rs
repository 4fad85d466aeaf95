//! `get-resource`, `patch-resource` and `delete-resource`: single objects of applications, in their cluster.

use std::fmt;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppRef, ObjectDeletion, ObjectPatch, ObjectRef};
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, conclude_documents, each};
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::inspect::objects::{ObjectFilter, only, without_managed_fields};
use crate::overrides::rows::rows;

/// Objects that are read at a time.
pub(crate) const AT_ONCE: usize = 8;

/// How often the objects of an application are looked for while some of them go.
const MOST_LOOKS: u32 = 3;

/// Objects
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ObjectArgs {
    /// Only objects of this API group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Only objects of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// Only the object with this name
    #[arg(long, value_name = "NAME", visible_alias = "resource-name")]
    name: Option<String>,

    /// Only objects in this namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl ObjectArgs {
    pub(crate) fn filter(&self) -> ObjectFilter {
        ObjectFilter {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The same for what changes something: at least the kind must be named.
    pub(crate) fn filter_of_a_kind(&self) -> Result<ObjectFilter, Failure> {
        match self.kind {
            Some(_) => Ok(self.filter()),
            None => Err(Failure::usage("no kind given").hint("use --kind KIND")),
        }
    }
}

/// Objects to change
#[derive(Clone, Debug, Args)]
pub(crate) struct ChosenArgs {
    #[command(flatten)]
    object: ObjectArgs,

    /// All objects that match
    #[arg(long)]
    all: bool,
}

impl ChosenArgs {
    /// Looks, before anything is changed, that a kind is named.
    pub(crate) fn filter(&self) -> Result<ObjectFilter, Failure> {
        self.object.filter_of_a_kind()
    }

    /// The managed objects of an application that are meant, and the application itself where `with_application`.
    pub(crate) async fn find(
        &self,
        client: &Client,
        app: &AppRef,
        with_application: bool,
    ) -> Result<Vec<ObjectRef>, Failure> {
        let filter = self.filter()?;
        let resources = client.managed_resources(app).await.map_err(failure)?.items;
        let mut found = filter.live(&resources);
        if with_application {
            let namespace = app.namespace.as_deref().unwrap_or_default();
            found.extend(filter.application(&app.name, namespace));
        }
        match found.len() {
            0 => Err(Failure::new(ExitStatus::Refused, format!("{app} has no such object"))
                .hint(format!("`verbatim argocd resources {app}` lists them"))),
            1 => Ok(found),
            _ if self.all => Ok(found),
            several => Err(Failure::usage(format!("{several} objects of {app} match"))
                .hint("choose one with --name, or use --all")),
        }
    }
}

/// What was done to objects of an application.
#[derive(Serialize)]
pub(crate) struct Touched {
    pub(crate) app: AppRef,
    pub(crate) what: String,
    pub(crate) objects: Vec<ObjectRef>,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (app, what) = (&self.app, &self.what);
        self.objects
            .iter()
            .try_for_each(|one| writeln!(f, "{app} {} {} {what}", one.kind, one.name))
    }
}

impl Touched {
    /// How those of several applications are shown.
    pub(crate) const COLUMNS: Columns<Self, 3> = Columns {
        headings: ["KIND", "NAME", "OUTCOME"],
        rows: |touched| {
            let row = |one: &ObjectRef| [one.kind.clone(), one.name.clone(), touched.what.clone()];
            touched.objects.iter().map(row).collect()
        },
    };
}

/// Print live objects of applications
///
/// Includes objects that managed ones created, such as pods. Prints one field per line, as argocd does, unless -o says
/// otherwise. Argo CD masks the data of secrets.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd get-resource shop --kind Deployment -o yaml
  verbatim-argocd get-resource shop --kind Pod \\
    --filter-fields status.phase,status.podIP
  verbatim-argocd get-resource -l team=web --kind Ingress -o json | \\
    jq -r '.spec.rules[].host'")]
pub struct GetResourceArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    object: ObjectArgs,

    /// Only these fields
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    filter_fields: Vec<String>,

    /// Include managed fields
    #[arg(long)]
    show_managed_fields: bool,

    /// Output format
    #[arg(long, short = 'o', value_name = "OUTPUT", default_value = "wide")]
    output: Output,
}

/// Output format
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One field per line
    Wide,
    /// The objects as JSON
    Json,
    /// The objects as YAML
    Yaml,
}

#[derive(Serialize)]
struct Objects {
    app: AppRef,
    objects: Vec<Value>,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["NAME", "FIELD", "VALUE"]);
        for object in &self.objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            for [field, value] in rows(object) {
                table.row([name.to_owned(), field, value]);
            }
        }
        table.fmt(f)
    }
}

pub(crate) async fn run_get(
    args: GetResourceArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let filter = args.object.filter_of_a_kind()?;
    let client = args.apps.client(console)?;
    let read = |app: AppRef| {
        let (args, client, filter) = (&args, &client, &filter);
        async move { args.read(client, app, filter).await }
    };
    let results = match args.apps.chosen(&client).await? {
        Chosen::One(app) => {
            let found = read(app).await?;
            args.print(&found, console)?;
            return Ok(ExitStatus::Done);
        }
        Chosen::Many(apps) => each(apps, args.apps.parallel(), read).await,
    };
    if args.output == Output::Wide {
        return conclude_documents(console, &results);
    }
    let mut statuses = Vec::new();
    for (app, result) in &results {
        match result {
            Ok(found) => args.print(found, console)?,
            Err(failed) => {
                console.warn(format!("{app}: {}", failed.whole()));
                statuses.push(failed.status);
            }
        }
    }
    Ok(ExitStatus::of_all(statuses))
}

impl GetResourceArgs {
    async fn read(
        &self,
        client: &Client,
        app: AppRef,
        filter: &ObjectFilter,
    ) -> Result<Objects, Failure> {
        let mut looks = 1;
        let objects = loop {
            match live_objects(client, &app, filter).await {
                Ok(objects) => break objects,
                // A pod may go between the two reads: then it is in the next tree no more.
                Err(Error { kind: ErrorKind::Refused(_) | ErrorKind::NotFound(_), .. })
                    if looks < MOST_LOOKS =>
                {
                    looks += 1;
                }
                Err(error) => return Err(failure(error)),
            }
        };
        if objects.is_empty() {
            return Err(Failure::new(ExitStatus::Refused, format!("{app} has no such object"))
                .hint(format!("`verbatim argocd get {app} -o tree` lists them")));
        }
        let objects = objects.into_iter().map(|object| match self.show_managed_fields {
            true => object,
            false => without_managed_fields(object),
        });
        let objects = objects.map(|object| match self.filter_fields.as_slice() {
            [] => object,
            fields => only(&object, fields),
        });
        Ok(Objects { objects: objects.collect(), app })
    }

    fn print(&self, found: &Objects, console: &Console) -> Result<(), Failure> {
        for object in &found.objects {
            match self.output {
                Output::Wide => return console.result(found),
                Output::Json => document::json(console, object)?,
                Output::Yaml => {
                    console.bytes(b"---\n")?;
                    document::yaml(console, object)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the objects of an application's tree that are wanted.
async fn live_objects(
    client: &Client,
    app: &AppRef,
    filter: &ObjectFilter,
) -> Result<Vec<Value>, Error> {
    let tree = client.tree(app).await?;
    let wanted: Vec<ObjectRef> = tree
        .nodes
        .iter()
        .filter(|node| filter.wants(node))
        .map(crate::judge::reading::reference)
        .collect();
    stream::iter(wanted)
        .map(|object| async move { client.resource(app, &object).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Patch live objects of applications
///
/// Bypasses the sources: the application may be out of sync afterwards, and self-heal reverts the change.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd patch-resource shop --kind Deployment --name web \\
    --patch '{\"spec\":{\"paused\":true}}'
  verbatim-argocd patch-resource shop --kind ConfigMap --all \\
    --patch-type application/json-patch+json \\
    --patch '[{\"op\":\"remove\",\"path\":\"/data/flag\"}]'")]
pub struct PatchResourceArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    chosen: ChosenArgs,

    /// Patch, as JSON
    #[arg(long, value_name = "PATCH")]
    patch: String,

    /// Type of patch
    #[arg(long, value_name = "TYPE", default_value = "application/merge-patch+json")]
    patch_type: PatchType,
}

/// Type of patch
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PatchType {
    /// RFC 6902
    #[value(name = "application/json-patch+json", alias = "json")]
    Json,
    /// RFC 7386
    #[value(name = "application/merge-patch+json", alias = "merge")]
    Merge,
    /// Kubernetes' own
    #[value(name = "application/strategic-merge-patch+json", alias = "strategic")]
    Strategic,
}

impl From<PatchType> for ObjectPatch {
    fn from(kind: PatchType) -> Self {
        match kind {
            PatchType::Json => Self::Json,
            PatchType::Merge => Self::Merge,
            PatchType::Strategic => Self::Strategic,
        }
    }
}

pub(crate) async fn run_patch(
    args: PatchResourceArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    args.chosen.filter()?;
    let client = args.apps.client(console)?;
    let patch = |app: AppRef| {
        let (args, client) = (&args, &client);
        async move {
            let objects = args.chosen.find(client, &app, false).await?;
            for object in &objects {
                let how = args.patch_type.into();
                client.patch_resource(&app, object, how, &args.patch).await.map_err(failure)?;
            }
            Ok(Touched { app, what: "is patched".into(), objects })
        }
    };
    args.apps.show(&client, console, &Touched::COLUMNS, |_| ExitStatus::Done, patch).await
}

/// Delete live objects of applications
///
/// For example to run a job again: the next sync re-creates it. Does not ask for confirmation.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd delete-resource shop --kind Job --name migrate
  verbatim-argocd delete-resource shop --kind Job --all --force")]
pub struct DeleteResourceArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    chosen: ChosenArgs,

    /// Delete at once, without a grace period
    #[arg(long, conflicts_with = "orphan")]
    force: bool,

    /// Keep the objects that it created
    #[arg(long)]
    orphan: bool,
}

pub(crate) async fn run_delete(
    args: DeleteResourceArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    args.chosen.filter()?;
    let client = args.apps.client(console)?;
    let how = match (args.force, args.orphan) {
        (true, _) => ObjectDeletion::Force,
        (_, true) => ObjectDeletion::Orphan,
        _ => ObjectDeletion::Foreground,
    };
    let delete = |app: AppRef| {
        let (args, client) = (&args, &client);
        async move {
            let objects = args.chosen.find(client, &app, false).await?;
            for object in &objects {
                client.delete_resource(&app, object, how).await.map_err(failure)?;
            }
            Ok(Touched { app, what: "is being deleted".into(), objects })
        }
    };
    args.apps.show(&client, console, &Touched::COLUMNS, |_| ExitStatus::Done, delete).await
}
