//! A connection to a Docker Engine. bollard's types stay behind it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::time::timeout;

use crate::endpoint::{Address, CertificateFiles, Endpoint};
use crate::error::{Cause, Error, ErrorKind};

/// How long the engine may take to say that it is there.
const GREETING_TIME: Duration = Duration::from_secs(20);
/// bollard bounds the time until an answer begins; the deadlines of this crate are shorter than this.
const UNBOUNDED: Duration = Duration::from_secs(7 * 24 * 3600);

/// What builds images in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// The builder of old, step by step in containers.
    Classic,
    /// BuildKit.
    BuildKit,
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Classic => "the classic builder",
            Self::BuildKit => "BuildKit",
        })
    }
}

/// A Docker Engine that has answered.
#[derive(Clone)]
pub struct Engine {
    docker: bollard::Docker,
    endpoint: Arc<Endpoint>,
    greeting: Arc<Greeting>,
}

/// What an engine says of itself when it is asked whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Greeting {
    /// `Docker/28.2.2 (linux)`, for example.
    server: String,
    /// The newest API it speaks, `1.41` for example.
    api: String,
    /// The builder it prefers.
    preferred: Builder,
    os: String,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("endpoint", &self.endpoint)
            .field("greeting", &self.greeting)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects, and asks the engine whether it is there.
    ///
    /// # Errors
    ///
    /// If it does not answer within 20 s, may not be used, or is no engine.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        connect(endpoint).await.map_err(|kind| Error::new("use the Docker Engine", kind))
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it calls itself, `Docker/28.2.2 (linux)` for example.
    pub fn version(&self) -> &str {
        &self.greeting.server
    }

    /// The builder that it prefers.
    pub fn preferred_builder(&self) -> Builder {
        self.greeting.preferred
    }

    /// Whether it has BuildKit at all: since API 1.39.
    pub(crate) fn has_buildkit(&self) -> bool {
        let number = |text: &str| text.parse::<u32>().ok();
        let api = self.greeting.api.split_once('.');
        let api = api.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let is_docker = self.greeting.server.starts_with("Docker/");
        self.greeting.preferred == Builder::BuildKit
            || (is_docker && self.greeting.os == "linux" && api.is_some_and(|api| api >= (1, 39)))
    }

    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.docker
    }

    /// What an error of bollard means, when it is not about a build or a push in particular.
    pub(crate) fn error_kind(&self, error: bollard::errors::Error) -> ErrorKind {
        use bollard::errors::Error as E;
        match error {
            E::DockerResponseServerError { status_code, message } => {
                ErrorKind::Engine { status: status_code, message: readable(&message) }
            }
            E::DockerStreamError { error } => ErrorKind::Failed { message: error },
            E::JsonDataError { .. } | E::JsonSerdeError { .. } => ErrorKind::Protocol {
                endpoint: self.endpoint.to_string(),
                source: Cause::new(error),
            },
            other => unreachable_kind(&self.endpoint, other),
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Engine, ErrorKind> {
    let greeting = timeout(GREETING_TIME, greet(endpoint)).await.unwrap_or_else(|_| {
        Err(ErrorKind::Unreachable {
            endpoint: endpoint.to_string(),
            source: Cause::new(format!("no answer within {} s", GREETING_TIME.as_secs())),
        })
    })?;
    let docker = client(&endpoint.address)
        .map_err(|error| unreachable_kind(endpoint, error))?
        .with_request_modifier(with_url_safe_credentials);
    Ok(Engine { docker, endpoint: Arc::new(endpoint.clone()), greeting: Arc::new(greeting) })
}

fn client(address: &Address) -> Result<bollard::Docker, bollard::errors::Error> {
    // Requests go out without a version in their path; this one is only what bollard believes.
    let version = ClientVersion { major_version: 1, minor_version: 41 };
    let seconds = UNBOUNDED.as_secs();
    match address {
        Address::Unix(path) => {
            bollard::Docker::connect_with_unix(&path.to_string_lossy(), seconds, &version)
        }
        Address::Http(authority) => {
            bollard::Docker::connect_with_http(&format!("http://{authority}"), seconds, &version)
        }
        Address::Https(authority, CertificateFiles { ca, cert, key }) => {
            install_crypto_provider();
            let address = format!("https://{authority}");
            bollard::Docker::connect_with_ssl(&address, key, cert, ca, seconds, &version)
        }
    }
}

/// bollard encodes credentials with `+` and `/`, the engine decodes the alphabet with `-` and `_` and drops what it
/// cannot decode: a login with some passwords would be taken for none.
fn with_url_safe_credentials(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers_mut().get_mut(name)
            && let Ok(text) = value.to_str()
            && let Ok(mut safe) = HeaderValue::from_str(&text.replace('+', "-").replace('/', "_"))
        {
            safe.set_sensitive(true);
            *value = safe;
        }
    }
    request
}

/// The body of an engine's answer that is no success.
#[derive(serde::Deserialize)]
struct EngineError {
    message: String,
}

/// The words of a refusal. Something between us and the engine may have refused with a page for browsers.
fn readable(message: &str) -> String {
    let message = message.trim();
    if message.starts_with('<') {
        return "no words but an HTML page, which no engine sends".to_owned();
    }
    match message.char_indices().nth(2000) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// Asks `/_ping`, whose headers say what bollard does not hand out: the builder that the engine prefers.
async fn greet(endpoint: &Endpoint) -> Result<Greeting, ErrorKind> {
    let (client, base) = greeting_client(endpoint)?;
    let response = client
        .get(format!("{base}/_ping"))
        .send()
        .await
        .map_err(|error| unreachable_kind(endpoint, error.without_url()))?;
    let status = response.status();
    let headers = response.headers().clone();
    if !status.is_success() {
        let body = response.text().await.unwrap_or_default();
        return Err(match serde_json::from_str::<EngineError>(&body) {
            Ok(error) => ErrorKind::Engine { status: status.as_u16(), message: error.message },
            Err(_) => ErrorKind::Protocol {
                endpoint: endpoint.to_string(),
                source: Cause::new(format!("it answers /_ping with status {}", status.as_u16())),
            },
        });
    }
    read_greeting(&headers).ok_or_else(|| ErrorKind::Protocol {
        endpoint: endpoint.to_string(),
        source: Cause::new("its answer to /_ping names no API version"),
    })
}

fn read_greeting(headers: &HeaderMap) -> Option<Greeting> {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(Greeting {
        api: text("api-version")?,
        server: text("server").unwrap_or_else(|| "unknown".to_owned()),
        os: text("ostype").unwrap_or_else(|| "linux".to_owned()),
        preferred: match text("builder-version").as_deref() {
            Some("2") => Builder::BuildKit,
            _ => Builder::Classic,
        },
    })
}

fn greeting_client(endpoint: &Endpoint) -> Result<(reqwest::Client, String), ErrorKind> {
    install_crypto_provider();
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let (builder, base) = match &endpoint.address {
        Address::Unix(path) => (builder.unix_socket(path.as_path()), "http://docker".to_owned()),
        Address::Http(authority) => (builder, format!("http://{authority}")),
        Address::Https(authority, files) => {
            let read = |path: &std::path::Path| {
                std::fs::read(path)
                    .map_err(|source| ErrorKind::Read { path: path.to_owned(), source })
            };
            let mut identity = read(&files.cert)?;
            identity.push(b'\n');
            identity.extend(read(&files.key)?);
            let malformed = |error: reqwest::Error| {
                ErrorKind::Endpoint(format!(
                    "the certificates beside `{}` cannot be used: {error}",
                    files.key.display()
                ))
            };
            let identity = reqwest::Identity::from_pem(&identity).map_err(malformed)?;
            let roots =
                reqwest::Certificate::from_pem_bundle(&read(&files.ca)?).map_err(malformed)?;
            let builder = builder.identity(identity).tls_certs_merge(roots);
            (builder, format!("https://{authority}"))
        }
    };
    let client = builder.build().map_err(|error| unreachable_kind(endpoint, error))?;
    Ok((client, base))
}

/// The one provider of this workspace. Somebody else in the process may have been first; that is as good.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn unreachable_kind(
    endpoint: &Endpoint,
    error: impl StdError + Send + Sync + 'static,
) -> ErrorKind {
    match io_kind(&error) {
        Some(io::ErrorKind::PermissionDenied) => {
            ErrorKind::Permission { endpoint: endpoint.to_string() }
        }
        _ => ErrorKind::Unreachable {
            endpoint: endpoint.to_string(),
            source: Cause::new(innermost(&error)),
        },
    }
}

/// What the operating system said, somewhere below `error`.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        current = error.source();
    }
    None
}

/// The words of the cause of causes: the layers of an HTTP client above it say nothing more.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let current = read_greeting(&headers(&[
            ("Api-Version", "1.50"),
            ("Builder-Version", "2"),
            ("Server", "Docker/28.2.2 (linux)"),
            ("Ostype", "linux"),
        ]))
        .unwrap();
        assert_eq!((current.api.as_str(), current.preferred), ("1.50", Builder::BuildKit));
        // Debian's 20.10 sends no Builder-Version.
        let old =
            read_greeting(&headers(&[("Api-Version", "1.41"), ("Server", "Docker/20.10.24")]))
                .unwrap();
        assert_eq!((old.preferred, old.os.as_str()), (Builder::Classic, "linux"));
        assert_eq!(read_greeting(&headers(&[("Server", "nginx")])), None);
    }
}
