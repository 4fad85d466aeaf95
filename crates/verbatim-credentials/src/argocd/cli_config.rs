//! The file in which the `argocd` command line keeps its servers, users and contexts. Never written here.
//!
//! Its fields: `util/localconfig/localconfig.go` of Argo CD 3.6.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::ServerKey;
use crate::error::Position;
use crate::permissions::check_private;
use crate::{CredentialEnvironment, Error, ErrorKind};

/// The file of the `argocd` command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CliConfig {
    /// The default context.
    pub current_context: String,
    /// The contexts: a server and a user each.
    pub contexts: Vec<CliContext>,
    /// The servers, and how to reach them.
    pub servers: Vec<CliServer>,
    users: Vec<CliUser>,
}

/// A context: a server and a user, by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CliContext {
    /// The name of the context.
    pub name: String,
    /// The server, as `servers` names it.
    pub server: String,
    /// The user, as `users` names it.
    pub user: String,
}

/// A server, and how to reach it. Paths and base64 data are unchanged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CliServer {
    /// `host[:port]`.
    pub server: String,
    /// Whether to skip the check of the certificate.
    pub insecure: bool,
    /// Whether to use plain HTTP.
    pub plain_text: bool,
    /// Whether to use HTTP/1.
    pub grpc_web: bool,
    /// The path below which the server answers.
    pub grpc_web_root_path: String,
    /// The file of a client certificate, as PEM.
    pub client_certificate: String,
    /// The file of its key, as PEM.
    pub client_certificate_key: String,
    /// A client certificate, as base64 of PEM.
    pub client_certificate_data: String,
    /// Its key, as base64 of PEM.
    pub client_certificate_key_data: SecretString,
    /// Whether the command line bypasses the server and talks to Kubernetes.
    pub core: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct CliUser {
    name: String,
    auth_token: Option<SecretString>,
}

impl CliConfig {
    /// Where the file is, whether it exists or not: in `ARGOCD_CONFIG_DIR`, in `~/.argocd` if that folder exists, else
    /// in `argocd` below the folder of configurations.
    pub fn path(environment: &CredentialEnvironment) -> Option<PathBuf> {
        let legacy = environment.home.as_ref().map(|home| home.join(".argocd"));
        let folder = environment
            .argocd_config_dir
            .clone()
            .or_else(|| legacy.filter(|folder| folder.is_dir()))
            .or_else(|| Some(environment.config_home()?.join("argocd")))?;
        Some(folder.join("config"))
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is malformed, or can be read by other users: the `argocd` command line refuses that,
    /// too.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let fail = |kind| Error::new(path.display(), kind);
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(ErrorKind::Io(error))),
        };
        let metadata = fs::metadata(path).map_err(|error| fail(ErrorKind::Io(error)))?;
        check_private(&metadata).map_err(fail)?;
        Self::parse(&text).map(Some).map_err(fail)
    }

    fn parse(text: &[u8]) -> Result<Self, ErrorKind> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_slice(text).map_err(|error| {
            let position = error.location().map_or(Position { line: 0, column: 0 }, |location| {
                Position { line: location.line(), column: location.column() }
            });
            ErrorKind::Syntax { format: "the YAML of the argocd command line", position }
        })
    }

    /// The server with this key: one whose root path matches, too, else one on the same host.
    pub fn server(&self, key: &ServerKey) -> Option<&CliServer> {
        let exact = self.servers.iter().find(|server| server.key() == *key);
        exact.or_else(|| self.servers.iter().find(|server| server.key().is_same_host(key)))
    }

    /// The token for `key`, from the current context if it is for this server, else from the first context that is.
    pub fn token_for(&self, key: &ServerKey) -> Option<&SecretString> {
        let server = &self.server(key)?.server;
        let mut contexts: Vec<_> =
            self.contexts.iter().filter(|context| context.server == *server).collect();
        // Stable: the current one first, the others in their order.
        contexts.sort_by_key(|context| context.name != self.current_context);
        contexts.into_iter().find_map(|context| {
            let user = self.users.iter().find(|user| user.name == context.user)?;
            user.auth_token.as_ref().filter(|token| !token.expose_secret().is_empty())
        })
    }
}

impl CliServer {
    /// The key of this server, with its root path.
    pub fn key(&self) -> ServerKey {
        let scheme = if self.plain_text { "http" } else { "https" };
        let root = self.grpc_web_root_path.trim_matches('/');
        ServerKey::new(&format!("{scheme}://{}/{root}", self.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The layout that `argocd login` 3.6 writes.
    const CONFIG: &str = r"
contexts:
- {name: localhost:8080, server: localhost:8080, user: localhost:8080}
- {name: prod, server: argocd.example.com, user: prod-reader}
- {name: prod-admin, server: argocd.example.com, user: prod-admin}
- {name: h/argo-cd, server: h, user: h/argo-cd}
- {name: gone, server: gone, user: nobody}
current-context: prod-admin
prompts-enabled: false
servers:
- {server: localhost:8080, plain-text: true, grpc-web: true, grpc-web-root-path: ''}
- {server: argocd.example.com, grpc-web-root-path: ''}
- {server: h, grpc-web-root-path: argo-cd, insecure: true}
- {server: gone, grpc-web-root-path: ''}
users:
- {name: localhost:8080, auth-token: s3cr3t-local, refresh-token: r}
- {name: prod-reader, auth-token: s3cr3t-reader}
- {name: prod-admin, auth-token: s3cr3t-admin}
- {name: h/argo-cd, auth-token: s3cr3t-rooted}
";

    #[test]
    fn the_token_of_a_server_is_found() {
        let config = CliConfig::parse(CONFIG.as_bytes()).unwrap();
        let check = |server: &str, want: Option<&str>| {
            let token = config.token_for(&ServerKey::new(server));
            assert_eq!(token.map(|token| token.expose_secret()), want, "{server}");
        };
        check("http://localhost:8080", Some("s3cr3t-local"));
        check("https://argocd.example.com", Some("s3cr3t-admin"));
        check("https://argocd.example.com:443/", Some("s3cr3t-admin"));
        check("https://h/argo-cd", Some("s3cr3t-rooted"));
        check("https://h", Some("s3cr3t-rooted"));
        check("https://gone", None);
        check("https://other", None);
    }

    #[test]
    fn a_syntax_error_has_a_position_and_no_secret() {
        let error = CliConfig::parse(b"users:\n- {name: x, auth-token: [s3cr3t]}\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(!format!("{error:?}{error}").contains("s3cr3t"));
        assert!(CliConfig::parse(b"").unwrap().servers.is_empty());
    }

    #[test]
    fn no_secret_is_printed() {
        let config = CliConfig::parse(CONFIG.as_bytes()).unwrap();
        assert!(!format!("{config:?}").contains("s3cr3t"));
    }

    #[test]
    fn the_file_is_where_the_command_line_looks() {
        let home = tempfile::tempdir().unwrap();
        let mut environment = CredentialEnvironment {
            home: Some(home.path().to_owned()),
            ..CredentialEnvironment::default()
        };
        let check = |environment: &CredentialEnvironment, want: PathBuf| {
            assert_eq!(CliConfig::path(environment), Some(want));
        };
        check(&environment, home.path().join(".config/argocd/config"));
        environment.xdg_config_home = Some("/x".into());
        check(&environment, "/x/argocd/config".into());
        fs::create_dir(home.path().join(".argocd")).unwrap();
        check(&environment, home.path().join(".argocd/config"));
        environment.argocd_config_dir = Some("/d".into());
        check(&environment, "/d/config".into());
    }
}
