//! Short queries to an engine, each with a deadline, and with retries within a budget. Builds and pushes, whose answers
//! are streams of any length, do not belong here.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use verbatim_http::{RetryPolicy, chance, retry_after};

use super::endpoint::{Endpoint, EngineAddress};
use crate::error::{Cause, ErrorKind, duration_words};

/// An engine is on this machine or near, so it has a retry policy of its own.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 4,
    first_wait: Duration::from_millis(200),
    longest_wait: Duration::from_secs(20),
    budget: Duration::from_secs(45),
};
/// The largest answer to a query, in bytes.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct QueryClient {
    client: reqwest::Client,
    base: String,
    endpoint: Arc<Endpoint>,
    limit: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct EngineResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

/// The body of an error response.
#[derive(Deserialize)]
struct EngineRefusal {
    message: String,
}

impl EngineResponse {
    /// The error of a refusal, if the body is an engine's.
    pub(crate) fn refusal(&self) -> Option<ErrorKind> {
        let EngineRefusal { message } = serde_json::from_slice(&self.body).ok()?;
        Some(ErrorKind::Engine { status: self.status.as_u16(), message: readable(&message) })
    }

    /// The content of a successful answer.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// A failed attempt, and whether a retry may help.
struct FailedAttempt {
    kind: ErrorKind,
    may_pass: bool,
}

impl QueryClient {
    /// A client for the engine at `endpoint`, which may take `limit` for each answer.
    pub(crate) fn new(endpoint: Arc<Endpoint>, limit: Duration) -> Result<Self, ErrorKind> {
        let (client, base) = client(&endpoint)?;
        Ok(Self { client, base, endpoint, limit })
    }

    /// Gets `path`. Any status is an answer; transient ones are retried first, after `Retry-After`, within [`RETRY`].
    pub(crate) async fn get(&self, path: &str) -> Result<EngineResponse, ErrorKind> {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let answer = self.once(path).await;
            let asked = match &answer {
                Ok(reply) if passes(reply.status) => retry_after(&reply.headers),
                Err(FailedAttempt { may_pass: true, .. }) => None,
                _ => return answer.map_err(|failed| failed.kind),
            };
            match RETRY.wait_before_next(attempts, began.elapsed(), asked, chance()) {
                Some(wait) => sleep(wait).await,
                None => return answer.map_err(|failed| failed.kind),
            }
        }
    }

    async fn once(&self, path: &str) -> Result<EngineResponse, FailedAttempt> {
        timeout(self.limit, self.exchange(path)).await.unwrap_or_else(|_| {
            let source = Cause::new(format!("no answer within {}", duration_words(self.limit)));
            let kind = ErrorKind::Unreachable { endpoint: self.endpoint.to_string(), source };
            Err(FailedAttempt { kind, may_pass: true })
        })
    }

    async fn exchange(&self, path: &str) -> Result<EngineResponse, FailedAttempt> {
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            // A retry does not help if the socket is absent, or its permissions are wrong.
            let may_pass = !matches!(
                io_kind(&error),
                Some(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            );
            FailedAttempt { kind: unreachable_kind(&self.endpoint, error), may_pass }
        };
        let request = self.client.get(format!("{}{path}", self.base));
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                let kind = self.protocol(format!("its answer to {path} does not end"));
                return Err(FailedAttempt { kind, may_pass: false });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(EngineResponse { status, headers, body })
    }

    /// The error of a server that is not an engine, or that breaks its API.
    pub(crate) fn protocol(&self, why: impl Into<Box<dyn StdError + Send + Sync>>) -> ErrorKind {
        ErrorKind::Protocol { endpoint: self.endpoint.to_string(), source: Cause::new(why) }
    }
}

/// Whether a retry may succeed.
fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn client(endpoint: &Endpoint) -> Result<(reqwest::Client, String), ErrorKind> {
    install_crypto_provider();
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let (builder, base) = match &endpoint.address {
        EngineAddress::Unix(path) => {
            (builder.unix_socket(path.as_path()), "http://docker".to_owned())
        }
        EngineAddress::Http(authority) => (builder, format!("http://{authority}")),
        EngineAddress::Https(authority, files) => {
            let read = |path: &std::path::Path| {
                std::fs::read(path)
                    .map_err(|source| ErrorKind::Read { path: path.to_owned(), source })
            };
            let mut identity = read(&files.cert)?;
            identity.push(b'\n');
            identity.extend(read(&files.key)?);
            let malformed = |error: reqwest::Error| {
                ErrorKind::Endpoint(format!(
                    "the certificates next to `{}` cannot be used: {error}",
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

/// The one crypto provider of this workspace. Keeps a provider that other code in the process installed first.
pub(crate) fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// The message of a refusal. A proxy in front of the engine may have answered with an HTML page.
pub(crate) fn readable(message: &str) -> String {
    let message = message.trim();
    if message.starts_with('<') {
        return "the answer is an HTML page, not an engine's".to_owned();
    }
    match message.char_indices().nth(2000) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// The error of a broken connection.
pub(crate) fn unreachable_kind(
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

/// The error of the operating system among the causes of `error`.
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

/// The message of the innermost cause: the layers of the HTTP client above it add nothing.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
