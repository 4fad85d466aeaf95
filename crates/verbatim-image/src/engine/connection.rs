//! A connection to a Docker Engine. bollard's types stay behind it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use verbatim_oci::{Digest, Reference};

use super::endpoint::{CertificateFiles, Endpoint, EngineAddress};
use super::query::{QueryClient, install_crypto_provider, readable, unreachable_kind};
use crate::error::{Cause, Error, ErrorKind};

/// The default for how long an engine may take to answer a query.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// bollard bounds the time until an answer begins; the deadlines of this crate are shorter than this. bollard is used
/// only for builds and pushes.
const UNBOUNDED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The builder of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// The classic builder, which runs each step in a container.
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

/// A connected Docker Engine.
#[derive(Clone)]
pub struct Engine {
    docker: bollard::Docker,
    queries: QueryClient,
    endpoint: Arc<Endpoint>,
    info: Arc<EngineInfo>,
}

/// The part of an image's description that is needed here.
#[derive(Deserialize)]
struct ImageInspection {
    #[serde(rename = "Id")]
    id: String,
}

/// The facts in an engine's answer to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EngineInfo {
    /// `Docker/28.2.2 (linux)`, for example.
    server: String,
    /// Its newest API version, for example `1.41`.
    api: String,
    preferred: Builder,
    os: String,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("endpoint", &self.endpoint)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects and pings the engine, with a few retries. Each query may take `request_timeout`.
    ///
    /// # Errors
    ///
    /// If it does not answer, denies access, or is not an engine.
    pub async fn connect(endpoint: &Endpoint, request_timeout: Duration) -> Result<Self, Error> {
        connect(endpoint, request_timeout)
            .await
            .map_err(|kind| Error::new("use the Docker Engine", kind))
    }

    /// Its address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its name and version, for example `Docker/28.2.2 (linux)`.
    pub fn version(&self) -> &str {
        &self.info.server
    }

    /// Its preferred builder.
    pub fn preferred_builder(&self) -> Builder {
        self.info.preferred
    }

    /// Whether it has BuildKit: since API 1.39.
    pub(crate) fn has_buildkit(&self) -> bool {
        let number = |text: &str| text.parse::<u32>().ok();
        let api = self.info.api.split_once('.');
        let api = api.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let is_docker = self.info.server.starts_with("Docker/");
        self.info.preferred == Builder::BuildKit
            || (is_docker && self.info.os == "linux" && api.is_some_and(|api| api >= (1, 39)))
    }

    /// Returns its id of an image.
    pub(crate) async fn image_id(&self, image: &Reference) -> Result<Digest, ErrorKind> {
        let reply = self.queries.get(&format!("/images/{image}/json")).await?;
        let status = reply.status.as_u16();
        if status == 404 && reply.refusal().is_some() {
            return Err(ErrorKind::NoImage(image.clone()));
        }
        if !reply.status.is_success() {
            let words = || format!("its answer to an image query has status {status}");
            return Err(reply.refusal().unwrap_or_else(|| self.queries.protocol(words())));
        }
        let ImageInspection { id } = reply.read().map_err(|error| self.queries.protocol(error))?;
        read_id(&id).ok_or(ErrorKind::Incomplete("id of the image"))
    }

    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.docker
    }

    /// The kind of an error of bollard, without knowledge of a build or a push.
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

async fn connect(endpoint: &Endpoint, request_timeout: Duration) -> Result<Engine, ErrorKind> {
    let endpoint = Arc::new(endpoint.clone());
    let queries = QueryClient::new(Arc::clone(&endpoint), request_timeout)?;
    let info = Arc::new(ping(&queries).await?);
    let docker = client(&endpoint.address)
        .map_err(|error| unreachable_kind(&endpoint, error))?
        .with_request_modifier(with_url_safe_credentials);
    Ok(Engine { docker, queries, endpoint, info })
}

fn client(address: &EngineAddress) -> Result<bollard::Docker, bollard::errors::Error> {
    // Requests go out without a version in their path; this one is only what bollard believes.
    let version = ClientVersion { major_version: 1, minor_version: 41 };
    let seconds = UNBOUNDED.as_secs();
    match address {
        EngineAddress::Unix(path) => {
            bollard::Docker::connect_with_unix(&path.to_string_lossy(), seconds, &version)
        }
        EngineAddress::Http(authority) => {
            bollard::Docker::connect_with_http(&format!("http://{authority}"), seconds, &version)
        }
        EngineAddress::Https(authority, CertificateFiles { ca, cert, key }) => {
            install_crypto_provider();
            let address = format!("https://{authority}");
            bollard::Docker::connect_with_ssl(&address, key, cert, ca, seconds, &version)
        }
    }
}

/// bollard encodes credentials with `+` and `/`, the engine decodes the alphabet with `-` and `_` and drops what it
/// cannot decode: some passwords would get lost.
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

/// Asks `/_ping`, whose headers name the preferred builder, which bollard does not expose.
async fn ping(queries: &QueryClient) -> Result<EngineInfo, ErrorKind> {
    let reply = queries.get("/_ping").await?;
    if !reply.status.is_success() {
        let words = || format!("its answer to /_ping has status {}", reply.status.as_u16());
        return Err(reply.refusal().unwrap_or_else(|| queries.protocol(words())));
    }
    read_info(&reply.headers)
        .ok_or_else(|| queries.protocol("its answer to /_ping names no API version"))
}

/// Docker writes `sha256:` in front of an image's id, Podman does not always.
pub(crate) fn read_id(text: &str) -> Option<Digest> {
    text.parse().or_else(|_| format!("sha256:{text}").parse()).ok()
}

fn read_info(headers: &HeaderMap) -> Option<EngineInfo> {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(EngineInfo {
        api: text("api-version")?,
        server: text("server").unwrap_or_else(|| "unknown".to_owned()),
        os: text("ostype").unwrap_or_else(|| "linux".to_owned()),
        preferred: match text("builder-version").as_deref() {
            Some("2") => Builder::BuildKit,
            _ => Builder::Classic,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_ping_is_read() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let current = read_info(&headers(&[
            ("Api-Version", "1.50"),
            ("Builder-Version", "2"),
            ("Server", "Docker/28.2.2 (linux)"),
            ("Ostype", "linux"),
        ]))
        .unwrap();
        assert_eq!((current.api.as_str(), current.preferred), ("1.50", Builder::BuildKit));
        // Debian's 20.10 sends no Builder-Version.
        let old =
            read_info(&headers(&[("Api-Version", "1.41"), ("Server", "Docker/20.10.24")])).unwrap();
        assert_eq!((old.preferred, old.os.as_str()), (Builder::Classic, "linux"));
        assert_eq!(read_info(&headers(&[("Server", "nginx")])), None);
    }
}
