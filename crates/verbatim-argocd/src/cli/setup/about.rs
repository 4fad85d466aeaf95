//! `version`, `whoami`, `can-i`, `cluster`, `project`: what the server is and what it lets us do.

use std::fmt;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::client::Client;
use crate::api::request;
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::ServerArgs;
use crate::model::{AppProject, Cluster, ConnectionState, Destination};

/// Show the versions of Argo CD and of its rendering tools
///
/// Without a token, Argo CD returns only its own version.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd version --server argocd.example.com")]
pub struct VersionArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Versions {
    server: String,
    argocd: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    helm: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kustomize: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    jsonnet: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs Argo CD {}", self.server, self.argocd)?;
        for (name, version) in
            [("helm", &self.helm), ("kustomize", &self.kustomize), ("jsonnet", &self.jsonnet)]
        {
            if !version.is_empty() {
                writeln!(f, "  {name} {version}")?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn run_version(
    args: VersionArgs,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let client = args.server.client_without_token(console)?;
    let version = client.version().await.map_err(failure)?;
    console.result(&Versions {
        server: client.server().to_string(),
        argocd: version.version,
        helm: version.helm_version,
        kustomize: version.kustomize_version,
        jsonnet: version.jsonnet_version,
    })?;
    Ok(ExitStatus::Done)
}

/// Show who the token belongs to
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd whoami

Exit status:
  7  the server rejects the token")]
pub struct WhoamiArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Who {
    server: String,
    username: String,
    issuer: String,
    groups: Vec<String>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.username, self.server)?;
        writeln!(f, "  issuer {}", self.issuer)?;
        self.groups.iter().try_for_each(|group| writeln!(f, "  group  {group}"))
    }
}

pub(crate) async fn run_whoami(args: WhoamiArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let user = client.who_am_i().await.map_err(failure)?;
    console.result(&Who {
        server: client.server().to_string(),
        username: user.username,
        issuer: user.iss,
        groups: user.groups,
    })?;
    Ok(ExitStatus::Done)
}

/// Check whether the token may do something
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd can-i sync applications shop/web
  verbatim-argocd can-i get projects shop
  verbatim-argocd can-i create repositories '*'

Exit status:
  0  yes
  1  no")]
pub struct CanIArgs {
    /// Action: get, create, update, delete, sync, override, action, invoke, rollback
    #[arg(value_name = "ACTION")]
    action: String,

    /// Resource type: applications, applicationsets, projects, repositories, clusters, accounts, logs, exec
    #[arg(value_name = "RESOURCE")]
    resource: String,

    /// Object: PROJECT/NAME or PROJECT/NAMESPACE/NAME of an application, a project, a URL
    #[arg(value_name = "OBJECT")]
    object: String,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Right {
    action: String,
    resource: String,
    object: String,
    allowed: bool,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed { "yes" } else { "no" })
    }
}

pub(crate) async fn run_can_i(args: CanIArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let allowed = client.may(&args.resource, &args.action, &args.object).await.map_err(failure)?;
    let CanIArgs { action, resource, object, .. } = args;
    console.result(&Right { action, resource, object, allowed })?;
    Ok(if allowed { ExitStatus::Done } else { ExitStatus::No })
}

/// List clusters
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the target clusters
    #[command(after_help = "Examples:
  verbatim-argocd cluster list
  verbatim-argocd cluster list -o server")]
    List(CatalogArgs<ClusterOutput>),
}

/// List projects
#[derive(Clone, Debug, Subcommand)]
pub enum ProjectCommand {
    /// List projects
    #[command(after_help = "Examples:
  verbatim-argocd project list
  verbatim-argocd project list -o name")]
    List(CatalogArgs<ProjectOutput>),
}

/// Listing
#[derive(Clone, Debug, Args)]
pub struct CatalogArgs<O: ValueEnum + Clone + Send + Sync + 'static> {
    #[command(flatten)]
    server: ServerArgs,

    /// Output format
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<O>,
}

/// Output format for clusters
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClusterOutput {
    /// Table
    Wide,
    /// Addresses only, one per line
    Server,
    /// JSON, as returned by Argo CD
    Json,
    /// YAML, as returned by Argo CD
    Yaml,
}

/// Output format for projects
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProjectOutput {
    /// Table
    Wide,
    /// Names only, one per line
    Name,
    /// JSON, as returned by Argo CD
    Json,
    /// YAML, as returned by Argo CD
    Yaml,
}

/// The items of a list as the server has them.
pub(crate) async fn items(
    client: &Client,
    request: request::ApiRequest,
) -> Result<serde_json::Value, Failure> {
    let mut list = client.raw(request).await.map_err(failure)?;
    Ok(list.get_mut("items").map(serde_json::Value::take).unwrap_or_default())
}

#[derive(Serialize)]
struct Clusters {
    clusters: Vec<ClusterRow>,
    #[serde(skip)]
    only_servers: bool,
}

#[derive(Serialize)]
struct ClusterRow {
    name: String,
    server: String,
    project: String,
    version: String,
    applications: i64,
    connection: ConnectionState,
}

impl ClusterRow {
    fn of(cluster: Cluster) -> Self {
        Self {
            name: cluster.name,
            server: cluster.server,
            project: cluster.project,
            version: cluster.info.server_version,
            applications: cluster.info.applications_count,
            connection: cluster.info.connection_state,
        }
    }
}

pub(crate) async fn run_cluster(
    command: ClusterCommand,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let ClusterCommand::List(args) = command;
    let client = args.server.client(console)?;
    match args.output {
        Some(ClusterOutput::Json) => {
            document::json(console, &items(&client, request::clusters()).await?)?
        }
        Some(ClusterOutput::Yaml) => {
            document::yaml(console, &items(&client, request::clusters()).await?)?
        }
        output => {
            let clusters = client.clusters().await.map_err(failure)?;
            console.result(&Clusters {
                clusters: clusters.into_iter().map(ClusterRow::of).collect(),
                only_servers: output == Some(ClusterOutput::Server),
            })?;
        }
    }
    Ok(ExitStatus::Done)
}

impl fmt::Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.only_servers {
            return self.clusters.iter().try_for_each(|one| writeln!(f, "{}", one.server));
        }
        let mut table =
            Table::new(["NAME", "SERVER", "VERSION", "APPLICATIONS", "CONNECTION", "MESSAGE"]);
        for one in &self.clusters {
            table.row([
                one.name.clone(),
                one.server.clone(),
                one.version.clone(),
                one.applications.to_string(),
                one.connection.status.clone(),
                one.connection.message.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Projects {
    projects: Vec<ProjectRow>,
    #[serde(skip)]
    only_names: bool,
}

#[derive(Serialize)]
struct ProjectRow {
    name: String,
    description: String,
    repositories: Vec<String>,
    destinations: Vec<Destination>,
}

impl ProjectRow {
    fn of(project: AppProject) -> Self {
        Self {
            name: project.metadata.name,
            description: project.spec.description,
            repositories: project.spec.source_repos,
            destinations: project.spec.destinations,
        }
    }
}

pub(crate) async fn run_project(
    command: ProjectCommand,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let ProjectCommand::List(args) = command;
    let client = args.server.client(console)?;
    match args.output {
        Some(ProjectOutput::Json) => {
            document::json(console, &items(&client, request::projects()).await?)?
        }
        Some(ProjectOutput::Yaml) => {
            document::yaml(console, &items(&client, request::projects()).await?)?
        }
        output => {
            let projects = client.projects().await.map_err(failure)?;
            console.result(&Projects {
                projects: projects.into_iter().map(ProjectRow::of).collect(),
                only_names: output == Some(ProjectOutput::Name),
            })?;
        }
    }
    Ok(ExitStatus::Done)
}

impl fmt::Display for Projects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.only_names {
            return self.projects.iter().try_for_each(|one| writeln!(f, "{}", one.name));
        }
        let mut table = Table::new(["NAME", "DESCRIPTION", "REPOSITORIES", "DESTINATIONS"]);
        for one in &self.projects {
            let destinations = one.destinations.iter().map(|destination| {
                let cluster = match destination.name.as_str() {
                    "" => &destination.server,
                    name => name,
                };
                format!("{cluster}/{}", destination.namespace)
            });
            table.row([
                one.name.clone(),
                one.description.clone(),
                one.repositories.join(","),
                destinations.collect::<Vec<_>>().join(","),
            ]);
        }
        table.fmt(f)
    }
}
