//! Moves requests and answers: connections, proxies, redirects, deadlines, limits. The only file that knows reqwest.
//!
//! Knows nothing about registries, and sends secrets only to the server that they are for.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use reqwest::redirect;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use verbatim_http::{RedactedUrl, ServerClock};

use crate::error::NetworkError;
use crate::http::handshake;
use crate::{Config, Error, ErrorKind, Timeouts};

/// Request bodies add time at this rate: the slowest connection that still counts as alive.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// How many redirects in a row are followed.
const MOST_REDIRECTS: usize = 10;

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum RequestBody {
    None,
    /// No bytes, with `Content-Length: 0`: some registries want a length with every POST.
    Empty,
    /// These bytes.
    Bytes {
        content_type: String,
        bytes: Bytes,
    },
    /// A stream from another source, which can be sent once.
    Stream {
        pieces: BodyStream,
        size: u64,
    },
}

/// A stream that can be taken once: it cannot be sent again. Remembers why it ended early, which whoever reads it does not
/// tell.
#[derive(Clone)]
pub(crate) struct BodyStream {
    pieces: Arc<Mutex<Option<ByteStream>>>,
    failure: Arc<Mutex<Option<Error>>>,
}

type ByteStream = BoxStream<'static, Result<Bytes, NetworkError>>;

impl BodyStream {
    pub(crate) fn new(
        stream: impl futures_util::Stream<Item = Result<Bytes, Error>> + Send + 'static,
    ) -> Self {
        let failure = Arc::<Mutex<Option<Error>>>::default();
        let noted = Arc::clone(&failure);
        let pieces = stream.map(move |piece| {
            piece.map_err(|error| {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                NetworkError("the source failed".to_owned())
            })
        });
        Self { pieces: Arc::new(Mutex::new(Some(pieces.boxed()))), failure }
    }

    /// Why the stream ended early.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn take(&self) -> Result<ByteStream, ErrorKind> {
        let taken = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| {
            ErrorKind::BrokenOff(NetworkError("the source must be read again".to_owned()))
        })
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").finish_non_exhaustive()
    }
}

/// A request with headers and body.
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
}

/// What to do with a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectPolicy {
    /// Follow it, without the login if it leads to another server.
    Follow,
    /// Return it as the answer.
    Stay,
}

#[derive(Debug)]
pub(crate) struct HttpClient {
    config: Config,
    tls: rustls::ClientConfig,
    /// Made on first use: with and without redirects.
    clients: [OnceLock<reqwest::Client>; 2],
    requests: Arc<AtomicU64>,
    /// By host and port.
    clocks: Mutex<BTreeMap<String, Arc<ServerClock>>>,
}

/// An answer whose body is not read yet.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    response: reqwest::Response,
    deadline: Instant,
    timeouts: Timeouts,
}

impl HttpClient {
    pub(crate) fn new(config: &Config) -> Result<Self, ErrorKind> {
        let tls = verbatim_http::client_config(&config.extra_roots)
            .map_err(|error| ErrorKind::Config(error.to_string()))?;
        let clients = [const { OnceLock::new() }; 2];
        Ok(Self {
            config: config.clone(),
            tls,
            clients,
            requests: Arc::default(),
            clocks: Mutex::default(),
        })
    }

    /// How many requests were sent, redirects included.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The clock of the server of a URL.
    pub(crate) fn clock(&self, url: &Url) -> Arc<ServerClock> {
        let port = url.port_or_known_default().unwrap_or_default();
        let place = format!("{}:{port}", url.host_str().unwrap_or_default());
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clocks.entry(place).or_default())
    }

    /// Whether a server on this machine speaks TLS; `None` if it cannot be asked.
    pub(crate) async fn speaks_tls(&self, host: &str, port: u16) -> Option<bool> {
        handshake::speaks_tls(host, port, self.tls.clone()).await
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        outgoing: HttpRequest,
        redirects: RedirectPolicy,
    ) -> Result<HttpResponse, ErrorKind> {
        let HttpRequest { method, url, headers, body } = outgoing;
        let client = self.client(redirects)?;
        let mut request = client.request(method.clone(), url.clone()).headers(headers);
        let mut allowed = self.config.timeouts.request;
        match body {
            RequestBody::None => {}
            RequestBody::Empty => request = request.header(CONTENT_LENGTH, 0),
            RequestBody::Bytes { content_type, bytes } => {
                allowed += time_for(bytes.len() as u64);
                request = request.header(CONTENT_TYPE, content_type).body(bytes);
            }
            RequestBody::Stream { pieces, size } => {
                allowed += time_for(size);
                request = request
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, size)
                    .body(reqwest::Body::wrap_stream(pieces.take()?));
            }
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (now, began, deadline) = (Timestamp::now(), Instant::now(), Instant::now() + allowed);
        let sent = timeout_at(deadline, request.send()).await;
        let url = RedactedUrl::of_request(&url);
        match sent {
            Ok(Ok(response)) => {
                let status = response.status().as_u16();
                tracing::debug!(%method, %url, status, time = ?began.elapsed(), "answered");
                // After a redirect, another server answers.
                self.clock(response.url()).note(response.headers(), now);
                Ok(HttpResponse { response, deadline, timeouts: self.config.timeouts })
            }
            Ok(Err(error)) => {
                let kind = classify(&error, &self.config.timeouts);
                tracing::debug!(%method, %url, %kind, cause = %cause(&error), time = ?began.elapsed(), "failed");
                Err(kind)
            }
            Err(_) => {
                tracing::debug!(%method, %url, ?allowed, "not answered in time");
                Err(ErrorKind::Timeout(allowed))
            }
        }
    }

    fn client(&self, redirects: RedirectPolicy) -> Result<&reqwest::Client, ErrorKind> {
        let slot = &self.clients[usize::from(redirects == RedirectPolicy::Follow)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let policy = match redirects {
            RedirectPolicy::Follow => follow_carefully(Arc::clone(&self.requests)),
            RedirectPolicy::Stay => redirect::Policy::none(),
        };
        let proxies = self.config.proxies.clone();
        let builder = reqwest::Client::builder()
            // Also asked for each server that a redirect leads to.
            .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).map(str::to_owned)))
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(&self.config.user_agent)
            .connect_timeout(self.config.timeouts.connect)
            .redirect(policy);
        let client = builder.build().map_err(|error| ErrorKind::Config(cause(&error).0))?;
        Ok(slot.get_or_init(|| client))
    }
}

impl HttpResponse {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The URL of the answer, after redirects.
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// Reads the body to its end, within the deadline of the request and up to `limit` bytes.
    pub(crate) async fn read(mut self, limit: u64) -> Result<Bytes, ErrorKind> {
        if self.response.content_length().is_some_and(|length| length > limit) {
            return Err(ErrorKind::TooLarge { limit });
        }
        let mut body = BytesMut::new();
        loop {
            let chunk = timeout_at(self.deadline, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| ErrorKind::Timeout(self.timeouts.request))?;
            match chunk.map_err(|error| broken(&error))? {
                Some(chunk) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(ErrorKind::TooLarge { limit });
                }
                Some(chunk) => body.extend_from_slice(&chunk),
                None => return Ok(body.freeze()),
            }
        }
    }

    /// The next chunk of the body, if it arrives within `idle`.
    pub(crate) async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, ErrorKind> {
        let chunk = timeout(idle, self.response.chunk()).await;
        chunk.map_err(|_| ErrorKind::Timeout(idle))?.map_err(|error| broken(&error))
    }
}

fn time_for(size: u64) -> Duration {
    Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND)
}

/// Follows redirects, but never from TLS to plain HTTP. (reqwest drops the login when the server changes.)
fn follow_carefully(requests: Arc<AtomicU64>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error(RedirectError::TooMany);
        }
        let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        if was_secure && attempt.url().scheme() != "https" {
            let url = RedactedUrl::of_request(attempt.url());
            return attempt.error(RedirectError::Downgrade(url));
        }
        requests.fetch_add(1, Ordering::Relaxed);
        attempt.follow()
    })
}

#[derive(Debug, thiserror::Error)]
enum RedirectError {
    #[error("too many redirects")]
    TooMany,
    #[error("a redirect to plain HTTP")]
    Downgrade(RedactedUrl),
}

/// The kind of a failure to get an answer.
fn classify(error: &reqwest::Error, timeouts: &Timeouts) -> ErrorKind {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(refused) = inner.downcast_ref::<RedirectError>() {
            return match refused {
                RedirectError::TooMany => ErrorKind::Malformed(refused.to_string()),
                RedirectError::Downgrade(url) => ErrorKind::PlainHttpRefused(url.clone()),
            };
        }
        if let Some(kind) = tls_failure(inner) {
            return kind;
        }
        source = inner.source();
    }
    if error.is_timeout() {
        return ErrorKind::Timeout(timeouts.connect);
    }
    ErrorKind::Unreachable(cause(error))
}

/// A TLS error hides in one or more I/O errors, whose `source` skips it.
fn tls_failure(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut error = error;
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
        error = inner;
    }
    let tls = error.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            ErrorKind::NotTls
        }
        other => ErrorKind::Tls(NetworkError(other.to_string())),
    })
}

fn broken(error: &reqwest::Error) -> ErrorKind {
    ErrorKind::BrokenOff(cause(error))
}

/// The text of the innermost error: the layers above it name only parts of the HTTP library, and the URL.
fn cause(error: &reqwest::Error) -> NetworkError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        Some(_) => NetworkError("the HTTP exchange failed".to_owned()),
        None => NetworkError(innermost.to_string()),
    }
}
