//! Which server and which application: the options that all commands share, and what completes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use verbatim_console::{Console, Failure};
use verbatim_credentials::Environment;
use verbatim_credentials::argocd::{CliConfig, CliServer, ServerKey, find_token};

use super::failure::failure;
use crate::client::{Client, Config, is_loopback, server_url};
use crate::request::AppRef;

/// How the Argo CD server is reached
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Argo CD")]
pub struct ServerArgs {
    /// The server; else the current context of the argocd command line
    #[arg(long, value_name = "URL", env = "ARGOCD_SERVER")]
    pub server: Option<String>,

    /// The token; else ARGOCD_AUTH_TOKEN, the token of `login`, or that of the argocd command line
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    pub auth_token: Option<SecretString>,

    /// Trust the certificates in this PEM file beside those of the system
    #[arg(long, value_name = "FILE", visible_alias = "server-crt")]
    pub ca: Option<PathBuf>,

    /// A client certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "client_crt_key")]
    pub client_crt: Option<PathBuf>,

    /// The key of the client certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "client_crt")]
    pub client_crt_key: Option<PathBuf>,

    /// Do not check the server's certificate
    #[arg(long)]
    pub insecure: bool,

    /// Speak plain HTTP to a server on this machine; elsewhere write http:// into the server's address
    #[arg(long)]
    pub plaintext: bool,

    /// The path below which the server answers
    #[arg(long, value_name = "PATH", visible_alias = "grpc-web-root-path")]
    pub root_path: Option<String>,

    /// Send this header with every request, for a proxy before the server
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, SecretString)>,
}

/// Which application
#[derive(Clone, Debug, Args)]
pub struct AppArgs {
    /// The application, NAME or NAMESPACE/NAME
    #[arg(value_name = "APP")]
    pub app: AppRef,

    /// The application's namespace, if it is not Argo CD's own
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    pub app_namespace: Option<String>,

    /// The application's Argo CD project; named, a missing application can be told from a forbidden one
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
}

impl AppArgs {
    /// The application that is meant.
    ///
    /// # Errors
    ///
    /// If two namespaces are named.
    pub fn reference(&self) -> Result<AppRef, Failure> {
        let namespace = match (&self.app.namespace, &self.app_namespace) {
            (Some(a), Some(b)) if a != b => {
                return Err(Failure::usage(format!("two namespaces are named: {a} and {b}")));
            }
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        Ok(AppRef { name: self.app.name.clone(), namespace, project: self.project.clone() })
    }
}

fn secret(text: &str) -> Result<SecretString, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.into()) }
}

fn header(text: &str) -> Result<(String, SecretString), String> {
    let (name, value) = text.split_once(':').ok_or("want NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().into()))
}

/// The variables of the process.
pub(super) fn environment() -> Environment {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let variables: BTreeMap<_, _> =
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    Environment::from_map(&variables)
}

/// A server that is known how to reach, still without a token.
pub(super) struct Reach {
    pub(super) config: Config,
    pub(super) key: ServerKey,
    pub(super) environment: Environment,
}

impl ServerArgs {
    /// A client with the token that these options, the environment or a login lead to.
    ///
    /// # Errors
    ///
    /// If no server or no token is known, or a file cannot be read.
    pub fn client(&self, console: &Console) -> Result<Client, Failure> {
        let Reach { mut config, key, environment } = self.reach(console)?;
        config.token = match &self.auth_token {
            Some(token) => Some(token.clone()),
            None => {
                find_token(&environment, &key).map_err(Failure::usage)?.map(|found| found.token)
            }
        };
        if config.token.is_none() {
            return Err(Failure::new(
                verbatim_console::ExitStatus::Refused,
                format!("there is no token for {}", config.url),
            )
            .hint("set ARGOCD_AUTH_TOKEN, or run `verbatim argocd login`"));
        }
        Client::new(config).map_err(failure)
    }

    pub(super) fn reach(&self, console: &Console) -> Result<Reach, Failure> {
        let environment = environment();
        let cli = match CliConfig::path(&environment) {
            Some(path) => CliConfig::read(&path).map_err(Failure::usage)?,
            None => None,
        };
        let current = cli.as_ref().and_then(current_server);
        let named = self.server.clone().filter(|server| !server.is_empty());
        let from_cli = match &named {
            Some(server) => cli.as_ref().and_then(|cli| cli.server(&ServerKey::new(server))),
            None => current,
        };
        let Some(server) = named.clone().or_else(|| current.map(|server| server.server.clone()))
        else {
            return Err(Failure::usage("no Argo CD server is named")
                .hint("use --server, or set ARGOCD_SERVER"));
        };
        let plaintext = self.plaintext || from_cli.is_some_and(|server| server.plain_text);
        let root = self
            .root_path
            .clone()
            .or_else(|| from_cli.map(|server| server.grpc_web_root_path.clone()));
        let url = server_url(&server, plaintext, root.as_deref())
            .map_err(|kind| Failure::usage(kind.to_string()))?;
        if url.scheme() == "http" && !is_loopback(&url) {
            if self.plaintext && !server.starts_with("http://") {
                return Err(Failure::usage("--plaintext alone is for servers on this machine")
                    .hint(format!(
                        "if the token may travel unprotected: --server http://{server}"
                    )));
            }
            console.warn(format!(
                "{url} is spoken to in plain HTTP: everybody on the way can read the token"
            ));
        }
        let mut config = Config::new(url);
        config.insecure = self.insecure || from_cli.is_some_and(|server| server.insecure);
        if config.insecure && config.url.scheme() == "https" {
            console.warn(
                "the server's certificate is not checked: somebody else may pose as the server",
            );
        }
        config.ca = self.ca.as_deref().map(read).transpose()?;
        config.client_cert = match (&self.client_crt, &self.client_crt_key) {
            (Some(certificate), Some(key)) => Some(pem(read(certificate)?, read(key)?)?),
            _ => from_cli.map(client_certificate).transpose()?.flatten(),
        };
        config.headers.clone_from(&self.header);
        let key = ServerKey::new(config.url.as_str());
        Ok(Reach { config, key, environment })
    }
}

fn current_server(cli: &CliConfig) -> Option<&CliServer> {
    let context = cli.contexts.iter().find(|context| context.name == cli.current_context)?;
    cli.servers.iter().find(|server| server.server == context.server)
}

/// The client certificate that the argocd command line has for a server.
fn client_certificate(server: &CliServer) -> Result<Option<SecretString>, Failure> {
    if !server.client_certificate.is_empty() {
        let key = read(Path::new(&server.client_certificate_key))?;
        return pem(read(Path::new(&server.client_certificate))?, key).map(Some);
    }
    if server.client_certificate_data.is_empty() {
        return Ok(None);
    }
    let decode = |text: &str| {
        base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| {
            Failure::usage("the client certificate of the argocd command line is not base64")
        })
    };
    let key = decode(server.client_certificate_key_data.expose_secret())?;
    pem(decode(&server.client_certificate_data)?, key).map(Some)
}

fn pem(certificate: Vec<u8>, key: Vec<u8>) -> Result<SecretString, Failure> {
    let both = [certificate, b"\n".to_vec(), key].concat();
    let text = String::from_utf8(both)
        .map_err(|_| Failure::usage("the client certificate or its key is not PEM"))?;
    Ok(text.into())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(error).context(format!("cannot read {}", path.display())))
}
