//! Sends requests: the only file, beside the watch that uses it, that waits for the network.
//!
//! Owns TLS, deadlines and retries, so that nothing above it retries a call again. Knows no rule of Argo CD.

mod applications;
mod config;
mod exchange;
mod logs;
mod objects;
mod service;
mod session;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use verbatim_http::{ClockReading, Proxies, RetryPolicy, ServerClock, chance};

use crate::api::error::{Error, ErrorKind, TransportError};
use crate::api::kubernetes::Kubernetes;
use crate::api::request::{ApiRequest, AppRef, Method};
use crate::api::response::{AnswerHead, decode};
use crate::api::watch::{Board, WatchEvent};

pub use self::config::{Config, Timeouts, server_url};
pub use self::exchange::{IdentitySource, JobIdentity};

/// How many requests that the server limits are under way at the same time: enough to use all that it allows itself where
/// each takes a second, and at 4 for each the next one in its queue waits for little more than a second.
const LIMITED_AT_ONCE: usize = 16;

/// What a call may take when the time of its run is almost or already over: what was written is put back then, and claims are
/// closed.
const GRACE: Duration = Duration::from_secs(10);

/// A server that can be asked, with the time by which whoever asks wants to be done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>, Option<Instant>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    session: session::Session,
    /// Who we are when the session ends, for one request at a time.
    job: Option<tokio::sync::Mutex<JobIdentity>>,
    timeouts: Timeouts,
    retry: RetryPolicy,
    largest_answer: usize,
    sent: AtomicU64,
    clock: ServerClock,
    /// The server lets all its clients wait for the requests that it limits: ours are not to fill its queue.
    turns: Semaphore,
    /// Where changes of applications go, if not to Argo CD.
    kubernetes: Option<Kubernetes>,
    /// Streams of several applications, for whoever watches one of them.
    shared: Mutex<Vec<Weak<Board>>>,
}

impl Client {
    /// Prepares a client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If a certificate or a header cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let server = config.url.to_string();
        let fail = |why: String| Error {
            action: "prepare the connection".into(),
            server: server.clone(),
            kind: ErrorKind::Configuration(why),
        };
        // Installing a second time is refused and harmless: the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxies = Proxies::of_process();
        let mut builder = reqwest::Client::builder()
            // Over HTTP/2 the server takes everything for gRPC.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .user_agent(&config.user_agent)
            .default_headers(config::headers(&config).map_err(&fail)?)
            .connect_timeout(config.timeouts.connect)
            .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).map(str::to_owned)));
        if config.url.scheme() == "http" {
            // The system's certificates take a while to load and are of no use here.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = config.ca.as_ref().filter(|_| !config.insecure) {
            let tls = tls::trusting(pem, config.client_cert.as_ref()).map_err(&fail)?;
            builder = builder.tls_backend_preconfigured(tls);
        }
        let is_preconfigured = config.ca.is_some() && !config.insecure;
        if let Some(pem) = config.client_cert.as_ref().filter(|_| !is_preconfigured) {
            let identity =
                reqwest::Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| {
                    fail("the client certificate with its key cannot be read as PEM".into())
                })?;
            builder = builder.identity(identity);
        }
        if config.insecure {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let token = config.token.as_ref().map(ExposeSecret::expose_secret);
        let bearer = token.map(session::header).transpose().map_err(&fail)?;
        let http = builder.build().map_err(|error| fail(error.without_url().to_string()))?;
        let inner = Inner {
            http,
            base: config.url,
            session: session::Session::new(bearer),
            job: config.job.map(tokio::sync::Mutex::new),
            timeouts: config.timeouts,
            retry: config.retry,
            largest_answer: config.largest_answer,
            sent: AtomicU64::new(0),
            clock: ServerClock::default(),
            turns: Semaphore::new(LIMITED_AT_ONCE),
            kubernetes: config.kubernetes.map(Kubernetes::new),
            shared: Mutex::default(),
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// The same server for a run that is to be over by then: no call of it takes much longer.
    pub(crate) fn until(&self, deadline: Instant) -> Self {
        Self(Arc::clone(&self.0), Some(deadline))
    }

    /// How long a call may take that usually may take so long.
    fn limit(&self, usual: Duration) -> Duration {
        let left = self.1.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(usual, |left| usual.min(left.max(GRACE)))
    }

    /// The server's address.
    pub fn server(&self) -> &Url {
        &self.0.base
    }

    /// Whether there is a token at all.
    pub fn has_token(&self) -> bool {
        self.0.session.bearer().is_some()
    }

    /// Requests sent so far, repetitions and watches included.
    pub fn requests(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// The server's clock beside ours, by its last answer; `None` before the first.
    pub fn clock(&self) -> Option<ClockReading> {
        self.0.clock.reading()
    }

    /// Lets whoever watches one of its applications take a part of a stream, for as long as it is there.
    pub(crate) fn share(&self, board: &Arc<Board>) {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|board| board.strong_count() > 0);
        shared.push(Arc::downgrade(board));
    }

    /// A part of a stream that has this application, if there is one.
    pub(crate) fn shared(
        &self,
        app: &AppRef,
    ) -> Option<(Arc<Board>, UnboundedReceiver<WatchEvent>)> {
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.iter().filter_map(Weak::upgrade).find_map(|board| {
            let events = board.listen(app)?;
            Some((board, events))
        })
    }

    /// Whether there is a stream that has this application.
    pub(crate) fn shares(&self, app: &AppRef) -> bool {
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.iter().filter_map(Weak::upgrade).any(|board| board.has(app))
    }

    pub(crate) fn error(&self, request: &ApiRequest, kind: ErrorKind) -> Error {
        Error { action: request.action.clone(), server: self.0.base.to_string(), kind }
    }

    /// Sends a request, a read again if it failed in a way that may pass.
    async fn call<T: DeserializeOwned>(&self, request: ApiRequest) -> Result<T, Error> {
        let started = Instant::now();
        let limit =
            if request.is_idempotent() { self.0.timeouts.read } else { self.0.timeouts.write };
        let mut attempt = 1;
        loop {
            let kind = match self.once(&request, limit).await {
                Ok(answer) => return Ok(answer),
                Err(kind) => kind,
            };
            let may_pass = request.is_idempotent() && kind.is_transient();
            let asked = match &kind {
                ErrorKind::RateLimited { retry_after } => *retry_after,
                _ => None,
            };
            let wait = self.0.retry.wait_before_next(attempt, started.elapsed(), asked, chance());
            let in_time =
                |wait: &Duration| self.1.is_none_or(|deadline| Instant::now() + *wait < deadline);
            let Some(wait) = wait.filter(in_time).filter(|_| may_pass) else {
                return Err(self.error(&request, kind));
            };
            tracing::debug!(attempt, ?wait, error = %kind, "will {} again", request.action);
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        request: &ApiRequest,
        limit: Duration,
    ) -> Result<T, ErrorKind> {
        // It is never closed.
        let _turn = match request.is_limited() {
            true => self.0.turns.acquire().await.ok(),
            false => None,
        };
        let started = Instant::now();
        let answer = self.fetch_signed_in(request, limit).await?;
        tracing::debug!(
            status = answer.head().status,
            bytes = answer.body.len(),
            ms = started.elapsed().as_millis() as u64,
            "{:?} {}",
            request.method,
            request.target()
        );
        decode(answer.head(), &answer.body)
    }

    /// Sends a request; once more, with a new session, if the old one has ended. A request that is answered 401 did nothing.
    async fn fetch_signed_in(
        &self,
        request: &ApiRequest,
        limit: Duration,
    ) -> Result<Answered, ErrorKind> {
        let limit = self.limit(limit);
        let used = self.0.session.bearer();
        let answer = self.fetch(self.prepare(request)?, limit).await?;
        match answer.head().status {
            401 if Box::pin(self.sign_in(used.as_ref())).await => {
                self.fetch(self.prepare(request)?, limit).await
            }
            _ => Ok(answer),
        }
    }

    /// Gets a new session in the place of the one that was used, if a job can. `false`: there is none.
    async fn sign_in(&self, used: Option<&HeaderValue>) -> bool {
        let Some(job) = &self.0.job else { return false };
        let job = job.lock().await;
        // Another request has done so meanwhile.
        if self.0.session.bearer().as_ref() != used {
            return true;
        }
        let session = match self.log_in_as(&job).await {
            Ok(token) => session::header(token.expose_secret()),
            Err(error) => Err(format!("{error}: {}", error.kind)),
        };
        match session {
            Ok(header) => {
                tracing::info!("the session had ended; this job has logged in again");
                self.0.session.replace(header);
                true
            }
            Err(why) => {
                tracing::warn!("the session has ended, and this job cannot log in again: {why}");
                false
            }
        }
    }

    /// Sends a request, and takes the whole answer.
    async fn fetch(
        &self,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<Answered, ErrorKind> {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        let (sent, deadline) = (Timestamp::now(), Instant::now() + limit);
        let mut response = match timeout_at(deadline, request.send()).await {
            Err(_) => return Err(ErrorKind::Timeout(limit)),
            Ok(Err(error)) => return Err(transport(error)),
            Ok(Ok(response)) => response,
        };
        self.0.session.note(response.headers());
        self.0.clock.note(response.headers(), sent);
        let mut body = Vec::new();
        loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => return Err(ErrorKind::Timeout(limit)),
                Ok(Err(_)) => return Err(ErrorKind::Truncated(body.len())),
                Ok(Ok(None)) => return Ok(Answered { response, body }),
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > self.0.largest_answer => {
                    return Err(ErrorKind::TooLarge(self.0.largest_answer));
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            }
        }
    }

    /// The address of a path of the API.
    fn url(&self, target: &str) -> Result<Url, ErrorKind> {
        let base = self.0.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{target}"))
            .map_err(|error| ErrorKind::Configuration(error.to_string()))
    }

    fn prepare(&self, request: &ApiRequest) -> Result<reqwest::RequestBuilder, ErrorKind> {
        let url = self.url(&request.target())?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.0.http.request(method, url);
        if let Some(bearer) = self.0.session.bearer() {
            builder = builder.header(AUTHORIZATION, bearer);
        }
        if request.method != Method::Get {
            // Exactly this, also without a body: anything else is answered 415.
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.to_string());
        }
        Ok(builder)
    }

    /// Opens an event stream. The server sends no headers before the first event, so the wait is bounded.
    pub(crate) async fn open(
        &self,
        request: &ApiRequest,
        wait: Duration,
    ) -> Result<AnswerStream, ErrorKind> {
        // Exactly this: with anything beside it the server answers in another framing.
        let open = async || {
            let builder = self.prepare(request)?.header(ACCEPT, "text/event-stream");
            self.0.sent.fetch_add(1, Ordering::Relaxed);
            stream(builder, "text/event-stream", wait).await
        };
        let used = self.0.session.bearer();
        match open().await {
            Err(ErrorKind::Unauthenticated(_)) if Box::pin(self.sign_in(used.as_ref())).await => {
                open().await
            }
            opened => opened,
        }
    }

    /// Opens a stream of JSON documents, one a line.
    pub(crate) async fn open_lines(
        &self,
        request: &ApiRequest,
        wait: Duration,
    ) -> Result<AnswerStream, ErrorKind> {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        stream(self.prepare(request)?, "application/json", wait).await
    }
}

/// An answer with its whole body.
struct Answered {
    response: reqwest::Response,
    body: Vec<u8>,
}

impl Answered {
    fn head(&self) -> AnswerHead<'_> {
        head(&self.response)
    }
}

/// Sends the request of a stream, and waits for the head of the answer.
async fn stream(
    builder: reqwest::RequestBuilder,
    framing: &str,
    wait: Duration,
) -> Result<AnswerStream, ErrorKind> {
    let response = match timeout(wait, builder.send()).await {
        Err(_) => return Err(ErrorKind::Timeout(wait)),
        Ok(Err(error)) => return Err(transport(error)),
        Ok(Ok(response)) => response,
    };
    let head = head(&response);
    if head.status == 200 && head.content_type.starts_with(framing) {
        return Ok(AnswerStream(response));
    }
    let (status, content_type) = (head.status, head.content_type.to_owned());
    let body = timeout(wait, response.bytes()).await.ok().and_then(Result::ok).unwrap_or_default();
    let head = AnswerHead { status, content_type: &content_type, ..AnswerHead::default() };
    Err(decode::<Value>(head, &body)
        .err()
        .unwrap_or(ErrorKind::NotArgoCd { status, content_type: content_type.clone() }))
}

/// The body of a stream, piece by piece.
pub(crate) struct AnswerStream(reqwest::Response);

impl AnswerStream {
    /// The next piece; `None` at the end, however it came.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.chunk().await.ok().flatten().map(|chunk| chunk.to_vec())
    }

    /// The next piece; `None` at the proper end. A stream that breaks off is an error.
    pub(crate) async fn next_whole(&mut self) -> Result<Option<Vec<u8>>, ErrorKind> {
        match self.0.chunk().await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.to_vec())),
            Err(_) => Err(ErrorKind::Truncated(0)),
        }
    }
}

fn head(response: &reqwest::Response) -> AnswerHead<'_> {
    let text =
        |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    AnswerHead {
        status: response.status().as_u16(),
        content_type: text(CONTENT_TYPE).unwrap_or_default(),
        location: text(LOCATION),
        retry_after: text(RETRY_AFTER),
    }
}

fn transport(error: reqwest::Error) -> ErrorKind {
    let never_sent = error.is_connect() || error.is_builder();
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(layer) = source {
        match layer.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return ErrorKind::Certificate(TransportError::new(layer, true));
            }
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                return ErrorKind::OtherScheme { speaks_tls: false };
            }
            Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                return ErrorKind::ClientCertificate(TransportError::new(layer, true));
            }
            _ => {}
        }
        if layer.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return ErrorKind::OtherScheme { speaks_tls: true };
        }
        // TLS errors travel inside an io::Error, which hides them from `source`.
        source = match layer.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => layer.source(),
        };
    }
    if timed_out && never_sent {
        return ErrorKind::Unreachable(TransportError::new(
            &std::io::Error::other("no connection in time"),
            true,
        ));
    }
    ErrorKind::Unreachable(TransportError::new(&error, never_sent))
}

/// Whether a server says by this alert that it takes nobody without another certificate: it has read no request then.
fn is_about_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}
