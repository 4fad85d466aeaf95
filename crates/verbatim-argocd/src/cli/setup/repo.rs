//! `repo`: the repositories that Argo CD has credentials or settings for.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::request;
use crate::cli::setup::about::items;
use crate::cli::setup::login::line_of_stdin;
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::{ServerArgs, read};
use crate::model::{ConfiguredRepo, ConnectionState};

/// List, add and remove repositories
#[derive(Clone, Debug, Subcommand)]
pub enum RepoCommand {
    /// Add a repository: git over https or ssh, Helm, or OCI
    Add(Box<RepoAddArgs>),
    /// List repositories with credentials or settings
    List(RepoListArgs),
    /// Remove repositories; applications that use them stay
    #[command(visible_alias = "remove")]
    Rm(RepoRmArgs),
}

/// Add a repository: git over https or ssh, Helm, or OCI
///
/// Argo CD checks first that it can reach the repository. Public repositories need not be added.
///
/// Secrets come from files or standard input. There is no --password or --bearer-token, because other users of the
/// machine can see command lines.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  echo \"$PASSWORD\" | verbatim-argocd repo add \\
    https://git.example.com/shop.git --username ci --password-stdin
  verbatim-argocd repo add git@git.example.com:shop.git \\
    --ssh-private-key-path ~/.ssh/deploy
  verbatim-argocd repo add https://charts.example.com --type helm --name charts
  verbatim-argocd repo add registry.example.com/charts --type helm --name oci \\
    --enable-oci --username ci --password-file p")]
pub struct RepoAddArgs {
    /// URL of the repository
    #[arg(value_name = "URL")]
    url: String,

    #[command(flatten)]
    server: ServerArgs,

    /// Type of repository
    #[arg(long = "type", value_name = "TYPE", default_value = "git")]
    kind: RepoKind,

    /// Name; required for Helm
    #[arg(long, value_name = "NAME", required_if_eq("kind", "helm"))]
    name: Option<String>,

    /// Only project that may use the repository
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,

    /// User name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,

    /// File with the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// File with the bearer token, for Bitbucket Data Center
    #[arg(long, value_name = "FILE")]
    bearer_token_file: Option<PathBuf>,

    /// File with the ssh private key
    #[arg(long, value_name = "FILE")]
    ssh_private_key_path: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_client_cert_key_path")]
    tls_client_cert_path: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_client_cert_path")]
    tls_client_cert_key_path: Option<PathBuf>,

    /// ID of the GitHub App
    #[arg(long, value_name = "ID", requires = "github_app_private_key_path")]
    github_app_id: Option<i64>,

    /// ID of the GitHub App installation
    #[arg(long, value_name = "ID", requires = "github_app_id")]
    github_app_installation_id: Option<i64>,

    /// File with the private key of the GitHub App
    #[arg(long, value_name = "FILE", requires = "github_app_id")]
    github_app_private_key_path: Option<PathBuf>,

    /// URL of GitHub Enterprise
    #[arg(long, value_name = "URL", requires = "github_app_id")]
    github_app_enterprise_base_url: Option<String>,

    /// Skip verification of certificate or host key
    #[arg(long)]
    insecure_skip_server_verification: bool,

    /// The charts are in an OCI registry
    #[arg(long)]
    enable_oci: bool,

    /// Use plain HTTP for an OCI registry
    #[arg(long)]
    insecure_oci_force_http: bool,

    /// Enable Git LFS
    #[arg(long)]
    enable_lfs: bool,

    /// Send name and password with the first request
    #[arg(long)]
    force_http_basic_auth: bool,

    /// Proxy
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Hosts to reach without the proxy
    #[arg(long, value_name = "HOSTS")]
    no_proxy: Option<String>,

    /// Replace existing settings that differ
    #[arg(long)]
    upsert: bool,
}

/// Type of repository
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RepoKind {
    /// git
    Git,
    /// A Helm repository
    Helm,
    /// Manifests in an OCI registry
    Oci,
}

impl RepoAddArgs {
    fn document(&self) -> Result<Value, Failure> {
        let kind = match self.kind {
            RepoKind::Git => "git",
            RepoKind::Helm => "helm",
            RepoKind::Oci => "oci",
        };
        let mut document = json!({ "repo": self.url, "type": kind });
        let texts = [
            ("name", &self.name),
            ("project", &self.project),
            ("username", &self.username),
            ("githubAppEnterpriseBaseUrl", &self.github_app_enterprise_base_url),
            ("proxy", &self.proxy),
            ("noProxy", &self.no_proxy),
        ];
        for (field, value) in texts {
            if let Some(value) = value {
                document[field] = json!(value);
            }
        }
        let numbers = [
            ("githubAppID", self.github_app_id),
            ("githubAppInstallationID", self.github_app_installation_id),
        ];
        for (field, value) in numbers {
            if let Some(value) = value {
                document[field] = json!(value);
            }
        }
        let switches = [
            ("insecure", self.insecure_skip_server_verification),
            ("enableOCI", self.enable_oci),
            ("insecureOCIForceHttp", self.insecure_oci_force_http),
            ("enableLfs", self.enable_lfs),
            ("forceHttpBasicAuth", self.force_http_basic_auth),
        ];
        for (field, on) in switches {
            if on {
                document[field] = json!(true);
            }
        }
        // Keys keep their line ends; a password in a file has one that is not part of it.
        let files = [
            ("password", &self.password_file, true),
            ("bearerToken", &self.bearer_token_file, true),
            ("sshPrivateKey", &self.ssh_private_key_path, false),
            ("tlsClientCertData", &self.tls_client_cert_path, false),
            ("tlsClientCertKey", &self.tls_client_cert_key_path, false),
            ("githubAppPrivateKey", &self.github_app_private_key_path, false),
        ];
        for (field, path, is_line) in files {
            let Some(path) = path else { continue };
            let text = String::from_utf8(read(path)?)
                .map_err(|_| Failure::usage(format!("{} is not UTF-8", path.display())))?;
            let text = if is_line { text.trim_end_matches(['\n', '\r']) } else { text.as_str() };
            document[field] = json!(text);
        }
        if self.password_stdin {
            document["password"] = json!(line_of_stdin("the password")?.expose_secret());
        }
        Ok(document)
    }
}

#[derive(Serialize)]
struct Changed {
    repository: String,
    what: &'static str,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.repository, self.what)
    }
}

#[derive(Serialize)]
struct Removed {
    repositories: Vec<String>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repositories.iter().try_for_each(|url| writeln!(f, "{url} removed"))
    }
}

/// List repositories with credentials or settings
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd repo list
  verbatim-argocd repo list -o url")]
pub struct RepoListArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Output format
    #[arg(long, short = 'o', value_name = "OUTPUT")]
    output: Option<Output>,
}

/// Output format
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Table
    Wide,
    /// URLs only, one per line
    Url,
    /// JSON, as returned by Argo CD
    Json,
    /// YAML, as returned by Argo CD
    Yaml,
}

/// Remove repositories; applications that use them stay
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd repo rm https://git.example.com/shop.git")]
pub struct RepoRmArgs {
    /// URLs of the repositories
    #[arg(value_name = "URL", required = true)]
    url: Vec<String>,

    #[command(flatten)]
    server: ServerArgs,

    /// Project that the repository belongs to
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

#[derive(Serialize)]
struct Repositories {
    repositories: Vec<RepoRow>,
    #[serde(skip)]
    only_urls: bool,
}

#[derive(Serialize)]
struct RepoRow {
    url: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    project: String,
    username: String,
    insecure: bool,
    oci: bool,
    connection: ConnectionState,
}

impl RepoRow {
    fn of(repository: ConfiguredRepo) -> Self {
        Self {
            url: repository.repo,
            kind: repository.kind,
            name: repository.name,
            project: repository.project,
            username: repository.username,
            insecure: repository.insecure,
            oci: repository.enable_oci,
            connection: repository.connection_state,
        }
    }
}

pub(crate) async fn run(command: RepoCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        RepoCommand::Add(args) => {
            let document = args.document()?;
            let client = args.server.client(console)?;
            let kept = client.add_repository(document, args.upsert).await.map_err(failure)?;
            console.result(&Changed { repository: kept.repo, what: "is there" })?;
        }
        RepoCommand::Rm(args) => {
            let client = args.server.client(console)?;
            for url in &args.url {
                client.remove_repository(url, args.project.as_deref()).await.map_err(failure)?;
            }
            console.result(&Removed { repositories: args.url })?;
        }
        RepoCommand::List(args) => return list(&args, console).await,
    }
    Ok(ExitStatus::Done)
}

async fn list(args: &RepoListArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    match args.output {
        Some(Output::Json) => {
            document::json(console, &items(&client, request::repositories()).await?)?
        }
        Some(Output::Yaml) => {
            document::yaml(console, &items(&client, request::repositories()).await?)?
        }
        output => {
            let repositories = client.repositories().await.map_err(failure)?;
            console.result(&Repositories {
                repositories: repositories.into_iter().map(RepoRow::of).collect(),
                only_urls: output == Some(Output::Url),
            })?;
        }
    }
    Ok(ExitStatus::Done)
}

impl fmt::Display for Repositories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.only_urls {
            return self.repositories.iter().try_for_each(|one| writeln!(f, "{}", one.url));
        }
        let mut table = Table::new(["TYPE", "NAME", "URL", "PROJECT", "CONNECTION", "MESSAGE"]);
        for one in &self.repositories {
            table.row([
                one.kind.clone(),
                one.name.clone(),
                one.url.clone(),
                one.project.clone(),
                one.connection.status.clone(),
                one.connection.message.to_string(),
            ]);
        }
        table.fmt(f)
    }
}
