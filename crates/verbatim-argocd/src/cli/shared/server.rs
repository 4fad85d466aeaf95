//! Which server and which application: the options that all commands share, and what completes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use clap::{Args, Parser};
use secrecy::{ExposeSecret, SecretString};
use verbatim_console::{Console, Failure};
use verbatim_credentials::CredentialEnvironment;
use verbatim_credentials::argocd::{
    CliConfig, CliServer, ServerKey, find_token, is_token_for_another,
};
use verbatim_http::is_loopback;

use crate::api::client::{Client, Config, server_url};
use crate::api::kubernetes::KubernetesAccess;
use crate::api::request::AppRef;
use crate::cli::shared::apps::named;
use crate::cli::shared::failure::failure;
use crate::cli::shared::foreign::ForeignArgs;
use crate::cli::shared::job::job_identity;

/// Argo CD server
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Argo CD")]
pub struct ServerArgs {
    /// Argo CD server [default: the current context of the argocd CLI]
    #[arg(long, value_name = "URL", env = "ARGOCD_SERVER")]
    pub server: Option<String>,

    /// Token [default: that of `login`, or of the argocd CLI]
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    pub auth_token: Option<SecretString>,

    /// PEM file with certificates to trust in addition to the system's
    #[arg(long, value_name = "FILE", visible_alias = "server-crt")]
    pub ca: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_crt_key")]
    pub client_crt: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_crt")]
    pub client_crt_key: Option<PathBuf>,

    /// Skip verification of the server's certificate
    #[arg(long)]
    pub insecure: bool,

    /// Use plain HTTP, for a server on this machine; elsewhere write --server http://…
    #[arg(long)]
    pub plaintext: bool,

    /// Path under which the server answers
    #[arg(long, value_name = "PATH", visible_alias = "grpc-web-root-path")]
    pub root_path: Option<String>,

    /// Extra header for every request, for example for a proxy; several are separated by commas
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = headers)]
    pub header: Vec<Headers>,

    /// Options for every command, as in the argocd CLI
    #[arg(
        long,
        value_name = "OPTIONS",
        env = "ARGOCD_OPTS",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    argocd_opts: Option<String>,

    #[command(flatten)]
    foreign: ForeignArgs,
}

/// What `ARGOCD_OPTS` may hold.
#[derive(Debug, Parser)]
#[command(name = "ARGOCD_OPTS", disable_help_flag = true, disable_version_flag = true)]
struct Opts {
    #[command(flatten)]
    server: ServerArgs,
}

/// Application
#[derive(Clone, Debug, Args)]
pub struct AppArgs {
    /// Application: NAME or NAMESPACE/NAME
    #[arg(value_name = "APP")]
    pub app: AppRef,

    /// Namespace of the application, if it is not Argo CD's own
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    pub app_namespace: Option<String>,

    /// Argo CD project of the application; lets Argo CD say "not found" instead of "denied"
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
        named(&self.app, self.app_namespace.as_deref(), self.project.clone())
    }
}

fn secret(text: &str) -> Result<SecretString, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.into()) }
}

/// What one `--header` holds.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(String, SecretString)>);

/// Headers, as argocd takes them: `A: a,B: b` are two. A comma that no name follows is a part of a value.
fn headers(text: &str) -> Result<Headers, String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        match (
            part.split_once(':').filter(|(name, _)| is_header_name(name.trim())),
            parts.last_mut(),
        ) {
            (Some((name, value)), _) => parts.push((name.trim().to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None) => return Err("want NAME: VALUE".into()),
        }
    }
    let secret = |(name, value): (String, String)| (name, value.trim().into());
    Ok(Headers(parts.into_iter().map(secret).collect()))
}

/// RFC 9110, 5.6.2. The scheme of an address is none: `https://…`, after a comma in a value, is not followed by a space, but
/// neither need a value be, so the schemes are named.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && !["http", "https", "ws", "wss"].contains(&name)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The variables of the process.
pub(crate) fn environment() -> CredentialEnvironment {
    CredentialEnvironment::from_map(&variables())
}

/// One of them; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    variables().remove(name).filter(|value| !value.is_empty())
}

fn variables() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// A server that is known how to reach, still without a token.
pub(crate) struct Reach {
    pub(crate) config: Config,
    pub(crate) key: ServerKey,
    pub(crate) environment: CredentialEnvironment,
}

impl ServerArgs {
    /// A client with the token that these options, the environment or a login lead to.
    ///
    /// # Errors
    ///
    /// If no server or no token is known, or a file cannot be read.
    pub fn client(&self, console: &Console) -> Result<Client, Failure> {
        self.client_writing(None, console)
    }

    /// The same, with the way that changes of applications take.
    pub(crate) fn client_writing(
        &self,
        kubernetes: Option<KubernetesAccess>,
        console: &Console,
    ) -> Result<Client, Failure> {
        let client = self.client_of(kubernetes, console)?;
        if !client.has_token() {
            let key = ServerKey::new(client.server().as_str());
            let hint = if is_token_for_another(&environment(), &key) {
                "the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, which is another one: name this one there, use --auth-token, or run `verbatim argocd login`"
            } else {
                "set ARGOCD_AUTH_TOKEN, or run `verbatim argocd login`"
            };
            return Err(Failure::new(
                verbatim_console::ExitStatus::Refused,
                format!("no token for {}", client.server()),
            )
            .hint(hint));
        }
        Ok(client)
    }

    /// A client with a token if one can be found.
    ///
    /// # Errors
    ///
    /// If no server is known, or a file cannot be read.
    pub fn client_without_token(&self, console: &Console) -> Result<Client, Failure> {
        self.client_of(None, console)
    }

    fn client_of(
        &self,
        kubernetes: Option<KubernetesAccess>,
        console: &Console,
    ) -> Result<Client, Failure> {
        let options = self.with_opts()?;
        let Reach { mut config, key, environment } = options.reach_without_opts(console)?;
        config.token = match options.auth_token {
            Some(token) => Some(token),
            None => match find_token(&environment, &key).map_err(Failure::usage)? {
                Some(found) => {
                    let login = found.job.as_ref();
                    config.job =
                        login.map(|job| job_identity(job, &variable)).transpose()?.flatten();
                    Some(found.token)
                }
                None => None,
            },
        };
        config.kubernetes = kubernetes;
        Client::new(config).map_err(failure)
    }

    /// These options, and where they say nothing, those of `ARGOCD_OPTS`.
    fn with_opts(&self) -> Result<Self, Failure> {
        if let Some(refused) = self.foreign.refused() {
            return Err(refused);
        }
        let Some(text) = self.argocd_opts.as_deref().filter(|text| !text.trim().is_empty()) else {
            return Ok(self.clone());
        };
        let words = words(text).map_err(Failure::usage)?;
        let opts = Opts::try_parse_from(std::iter::once("ARGOCD_OPTS".to_owned()).chain(words))
            // Its own text quotes the options, and a token may be among them.
            .map_err(|error| {
                Failure::usage(format!("cannot use ARGOCD_OPTS: {}", error.kind()))
                    .hint("ARGOCD_OPTS takes the options under `Argo CD` in --help")
            })?
            .server;
        if let Some(refused) = opts.foreign.refused() {
            return Err(refused);
        }
        let own = self.clone();
        Ok(Self {
            server: own.server.or(opts.server),
            auth_token: own.auth_token.or(opts.auth_token),
            ca: own.ca.or(opts.ca),
            client_crt: own.client_crt.or(opts.client_crt),
            client_crt_key: own.client_crt_key.or(opts.client_crt_key),
            insecure: own.insecure || opts.insecure,
            plaintext: own.plaintext || opts.plaintext,
            root_path: own.root_path.or(opts.root_path),
            header: if own.header.is_empty() { opts.header } else { own.header },
            argocd_opts: None,
            foreign: own.foreign,
        })
    }

    pub(crate) fn reach(&self, console: &Console) -> Result<Reach, Failure> {
        self.with_opts()?.reach_without_opts(console)
    }

    fn reach_without_opts(&self, console: &Console) -> Result<Reach, Failure> {
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
            return Err(Failure::usage("no Argo CD server given")
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
                return Err(Failure::usage("--plaintext works only for servers on this machine")
                    .hint(format!(
                        "to send the token unencrypted anyway: --server http://{server}"
                    )));
            }
            console.warn(format!(
                "{url} uses plain HTTP: anyone on the network path can read the token"
            ));
        }
        let mut config = Config::new(url);
        config.insecure = self.insecure || from_cli.is_some_and(|server| server.insecure);
        if config.insecure && config.url.scheme() == "https" {
            console.warn(
                "the server's certificate is not verified: another host may impersonate the server",
            );
        }
        config.ca = self.ca.as_deref().map(read).transpose()?;
        config.client_cert = match (&self.client_crt, &self.client_crt_key) {
            (Some(certificate), Some(key)) => Some(pem(read(certificate)?, read(key)?)?),
            _ => from_cli.map(client_certificate).transpose()?.flatten(),
        };
        config.headers = self.header.iter().flat_map(|Headers(all)| all.clone()).collect();
        let key = ServerKey::new(config.url.as_str());
        Ok(Reach { config, key, environment })
    }
}

/// Splits a text into words as a shell does, with single and double quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("ARGOCD_OPTS has a quote that does not end".into());
    }
    words.extend(word);
    Ok(words)
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
            Failure::usage(
                "the client certificate in the configuration of the argocd CLI is not base64",
            )
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

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(error).context(format!("cannot read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_separated_by_commas() {
        type Case = (&'static str, Option<&'static [(&'static str, &'static str)]>);
        let cases: [Case; 7] = [
            ("A: a", Some(&[("A", "a")])),
            (
                "CF-Access-Client-Id: a,CF-Access-Client-Secret: b=",
                Some(&[("CF-Access-Client-Id", "a"), ("CF-Access-Client-Secret", "b=")]),
            ),
            ("Accept: text/html, text/plain", Some(&[("Accept", "text/html, text/plain")])),
            ("A: https://a,https://b", Some(&[("A", "https://a,https://b")])),
            ("A: a, not a name: b", Some(&[("A", "a, not a name: b")])),
            ("A", None),
            (": a", None),
        ];
        for (text, want) in cases {
            let got = headers(text).ok().map(|Headers(all)| {
                all.into_iter()
                    .map(|(name, value)| (name, value.expose_secret().to_owned()))
                    .collect::<Vec<_>>()
            });
            let want = want
                .map(|all| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn options_of_the_argocd_command_line_are_taken() {
        let with = |own: ServerArgs, opts: &str| {
            ServerArgs { argocd_opts: Some(opts.to_owned()), ..own }.with_opts()
        };
        let none = ServerArgs::default;
        let taken = with(
            none(),
            "--plaintext --grpc-web --server argocd.example.com --header 'X-Proxy: a b' --grpc-web-root-path \"/argo\"",
        )
        .unwrap();
        assert!(taken.plaintext && !taken.insecure);
        assert_eq!(taken.server.as_deref(), Some("argocd.example.com"));
        assert_eq!(taken.root_path.as_deref(), Some("/argo"));
        assert_eq!(taken.header[0].0[0].1.expose_secret(), "a b");
        let own = ServerArgs { server: Some("other.example.com".into()), ..none() };
        let taken = with(own, "--server argocd.example.com --insecure").unwrap();
        assert_eq!(taken.server.as_deref(), Some("other.example.com"));
        assert!(taken.insecure);
        for bad in ["--no-such-option", "--server 'a"] {
            assert!(with(none(), bad).is_err(), "{bad}");
        }
        let secret = with(none(), "--auth-token s3cr3t --no-such-option s3cr3t").unwrap_err();
        assert!(!secret.to_string().contains("s3cr3t"), "{secret}");
    }
}
