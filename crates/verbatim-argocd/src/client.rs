//! Sends requests: the only file, beside the watch that uses it, that waits for the network.
//!
//! Owns TLS, deadlines and retries, so that nothing above it retries a call again. Knows no rule of Argo CD.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::error::{Error, ErrorKind, Transport};
use crate::model::{
    AppDetails, Application, ApplicationList, ApplicationSet, CanI, LiveResource, ManagedResources,
    Manifests, Session, SyncWindows, Tree, UserInfo, Version,
};
use crate::request::{self, AppRef, Method, ObjectRef, Refresh, Request, Sync};
use crate::response::{Head, decode};

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server, with the root path if it has one. See [`server_url`].
    pub url: Url,
    /// A JWT. Without one only the version can be read.
    pub token: Option<SecretString>,
    /// Certificates in PEM that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// A client certificate with its key in PEM.
    pub client_cert: Option<SecretString>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// Sent with every request, for proxies that ask for their own credentials.
    pub headers: Vec<(String, SecretString)>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// How often reads are repeated.
    pub retry: Retry,
}

impl Config {
    /// A configuration with the defaults.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            token: None,
            ca: None,
            client_cert: None,
            insecure: false,
            headers: Vec::new(),
            user_agent: concat!("verbatim/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
        }
    }
}

/// Deadlines of single calls.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// For a read, each attempt.
    pub read: Duration,
    /// For a write: the server renders the manifests before it answers.
    pub write: Duration,
    /// For a read with refresh: the server waits for the controller, without a limit of its own.
    pub refresh: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            write: Duration::from_secs(120),
            refresh: Duration::from_secs(20),
        }
    }
}

/// The budget for repeating a read that failed in a way that may pass.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Time in all, from the first attempt until the last one begins.
    pub budget: Duration,
    /// The pause after the first attempt; each further one is twice as long.
    pub first_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            budget: Duration::from_secs(30),
            first_pause: Duration::from_millis(150),
        }
    }
}

/// Reads a server's address: `argocd.example.com`, `https://…/root`, `http://127.0.0.1:8080`. Without a scheme it is
/// https, or http if `plaintext`.
///
/// # Errors
///
/// If it is no address, has another scheme, or holds credentials.
pub fn server_url(text: &str, plaintext: bool, root_path: Option<&str>) -> Result<Url, ErrorKind> {
    let bad = |why: String| ErrorKind::Configuration(why);
    let full = match text.split_once("://") {
        Some(_) => text.to_owned(),
        None if plaintext => format!("http://{text}"),
        None => format!("https://{text}"),
    };
    let mut url = Url::parse(&full)
        .map_err(|error| bad(format!("`{text}` is not a server's address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad(format!(
            "`{text}` is not a server's address: want [https://]HOST[:PORT][/ROOT]"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a server's address must not hold credentials".into()));
    }
    url.set_query(None);
    url.set_fragment(None);
    let root = format!(
        "{}/{}",
        url.path().trim_end_matches('/'),
        root_path.unwrap_or_default().trim_matches('/')
    );
    url.set_path(root.trim_end_matches('/'));
    Ok(url)
}

/// Whether a server is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A server that can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    has_token: bool,
    timeouts: Timeouts,
    retry: Retry,
    sent: AtomicU64,
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
        let mut builder = reqwest::Client::builder()
            // Over HTTP/2 the server takes everything for gRPC.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .user_agent(&config.user_agent)
            .default_headers(headers(&config).map_err(&fail)?)
            .connect_timeout(config.timeouts.connect);
        if is_loopback(&config.url) {
            builder = builder.no_proxy();
        }
        if config.url.scheme() == "http" {
            // The system's certificates take a while to load and are of no use here.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = &config.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| fail(format!("the CA certificates cannot be read: {error}")))?;
            if certificates.is_empty() {
                return Err(fail("the CA file holds no certificate in PEM".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(pem) = &config.client_cert {
            let identity =
                reqwest::Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| {
                    fail("the client certificate with its key cannot be read as PEM".into())
                })?;
            builder = builder.identity(identity);
        }
        if config.insecure {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let http = builder.build().map_err(|error| fail(error.without_url().to_string()))?;
        Ok(Self(Arc::new(Inner {
            http,
            base: config.url,
            has_token: config.token.is_some(),
            timeouts: config.timeouts,
            retry: config.retry,
            sent: AtomicU64::new(0),
        })))
    }

    /// The server's address.
    pub fn server(&self) -> &Url {
        &self.0.base
    }

    /// Whether there is a token at all.
    pub fn has_token(&self) -> bool {
        self.0.has_token
    }

    /// Requests sent so far, repetitions and watches included.
    pub fn requests(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn error(&self, request: &Request, kind: ErrorKind) -> Error {
        Error { action: request.action.clone(), server: self.0.base.to_string(), kind }
    }

    /// A live read of an application.
    pub async fn get(&self, app: &AppRef) -> Result<Application, Error> {
        self.call(request::get(app)).await
    }

    /// Makes the controller compare, and reads the application then.
    pub async fn refresh(&self, app: &AppRef, how: Refresh) -> Result<Application, Error> {
        let request = request::refresh(app, how);
        // Not repeated: it writes an annotation, and a controller that does not answer will not do so in a moment.
        self.once(&request, self.0.timeouts.refresh)
            .await
            .map_err(|kind| self.error(&request, kind))
    }

    /// The applications of some projects that match a selector.
    pub async fn list(
        &self,
        projects: &[String],
        selector: Option<&str>,
        namespace: Option<&str>,
    ) -> Result<Vec<Application>, Error> {
        let list: ApplicationList = self.call(request::list(projects, selector, namespace)).await?;
        Ok(list.items)
    }

    /// Applies a JSON patch to an application.
    pub async fn patch(&self, app: &AppRef, patch: String) -> Result<Application, Error> {
        self.call(request::patch(app, patch)).await
    }

    /// Starts a sync.
    pub async fn sync(&self, app: &AppRef, sync: &Sync) -> Result<Application, Error> {
        self.call(request::sync(app, sync)).await
    }

    /// Stops the running operation.
    pub async fn terminate(&self, app: &AppRef) -> Result<(), Error> {
        self.call::<Value>(request::terminate(app)).await.map(drop)
    }

    /// The objects of an application.
    pub async fn tree(&self, app: &AppRef) -> Result<Tree, Error> {
        self.call(request::tree(app)).await
    }

    /// The manifests of the last comparison.
    pub async fn managed_resources(&self, app: &AppRef) -> Result<ManagedResources, Error> {
        self.call(request::managed_resources(app)).await
    }

    /// One managed resource.
    pub async fn managed_resource(
        &self,
        app: &AppRef,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<ManagedResources, Error> {
        self.call(request::managed_resource(app, kind, namespace, name)).await
    }

    /// The manifests that the sources give now.
    pub async fn manifests(&self, app: &AppRef) -> Result<Manifests, Error> {
        self.call(request::manifests(app)).await
    }

    /// A live read of one object, as JSON.
    pub async fn resource(&self, app: &AppRef, object: &ObjectRef) -> Result<Value, Error> {
        let request = request::resource(app, object);
        let live: LiveResource = self.call(request.clone()).await?;
        serde_json::from_str(&live.manifest).map_err(|error| {
            let reason = format!(
                "the manifest in it is not JSON, line {} column {}",
                error.line(),
                error.column()
            );
            self.error(&request, ErrorKind::Malformed { length: live.manifest.len(), reason })
        })
    }

    /// The sync windows.
    pub async fn sync_windows(&self, app: &AppRef) -> Result<SyncWindows, Error> {
        self.call(request::sync_windows(app)).await
    }

    /// Whether the token may do something to the application; `None` while its project is not known.
    pub async fn can_i(&self, app: &AppRef, action: &str) -> Result<Option<bool>, Error> {
        let Some(request) = request::can_i(app, action) else { return Ok(None) };
        let answer: CanI = self.call(request).await?;
        Ok(Some(answer.value == "yes"))
    }

    /// What a source offers.
    pub async fn app_details(
        &self,
        app: &AppRef,
        project: &str,
        source: &crate::model::Source,
        index: usize,
    ) -> Result<AppDetails, Error> {
        self.call(request::app_details(app, project, source, index)).await
    }

    /// An ApplicationSet.
    pub async fn application_set(
        &self,
        name: &str,
        namespace: &str,
    ) -> Result<ApplicationSet, Error> {
        self.call(request::application_set(name, namespace)).await
    }

    /// A token for a user name and a password.
    pub async fn login(
        &self,
        username: &str,
        password: &SecretString,
    ) -> Result<SecretString, Error> {
        let session: Session =
            self.call(request::session(username, password.expose_secret())).await?;
        Ok(session.token.into())
    }

    /// Whose token this is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if the token is not good, though the server answers 200 then, too.
    pub async fn who_am_i(&self) -> Result<UserInfo, Error> {
        let request = request::user_info();
        let info: UserInfo = self.call(request.clone()).await?;
        if info.logged_in {
            Ok(info)
        } else {
            Err(self.error(
                &request,
                ErrorKind::Unauthenticated("it is expired or not from this server".into()),
            ))
        }
    }

    /// The server's version.
    pub async fn version(&self) -> Result<String, Error> {
        let version: Version = self.call(request::version()).await?;
        Ok(version.version)
    }

    /// Sends a request, a read again if it failed in a way that may pass.
    async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let started = Instant::now();
        let limit =
            if request.is_idempotent() { self.0.timeouts.read } else { self.0.timeouts.write };
        let mut attempt = 1;
        loop {
            let kind = match self.once(&request, limit).await {
                Ok(answer) => return Ok(answer),
                Err(kind) => kind,
            };
            let retry = self.0.retry;
            let pause = pause(&kind, attempt, retry.first_pause);
            let may_pass = request.is_idempotent() && kind.is_transient();
            if !may_pass || attempt >= retry.attempts || started.elapsed() + pause > retry.budget {
                return Err(self.error(&request, kind));
            }
            tracing::debug!(attempt, ?pause, error = %kind, "will {} again", request.action);
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<T, ErrorKind> {
        let started = Instant::now();
        let deadline = started + limit;
        let mut response = match timeout_at(deadline, self.prepare(request)?.send()).await {
            Err(_) => return Err(ErrorKind::Timeout(limit)),
            Ok(Err(error)) => return Err(transport(error)),
            Ok(Ok(response)) => response,
        };
        let mut body = Vec::new();
        loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => return Err(ErrorKind::Timeout(limit)),
                Ok(Err(_)) => return Err(ErrorKind::Truncated(body.len())),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            }
        }
        tracing::debug!(
            status = response.status().as_u16(),
            bytes = body.len(),
            ms = started.elapsed().as_millis() as u64,
            "{:?} {}",
            request.method,
            request.target()
        );
        decode(head(&response), &body)
    }

    fn prepare(&self, request: &Request) -> Result<reqwest::RequestBuilder, ErrorKind> {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        let base = self.0.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{}", request.target()))
            .map_err(|error| ErrorKind::Configuration(error.to_string()))?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.0.http.request(method, url);
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
        request: &Request,
        wait: Duration,
    ) -> Result<EventStream, ErrorKind> {
        // Exactly this: with anything beside it the server answers in another framing.
        let builder = self.prepare(request)?.header(ACCEPT, "text/event-stream");
        let response = match timeout(wait, builder.send()).await {
            Err(_) => return Err(ErrorKind::Timeout(wait)),
            Ok(Err(error)) => return Err(transport(error)),
            Ok(Ok(response)) => response,
        };
        let head = head(&response);
        if head.status == 200 && head.content_type.starts_with("text/event-stream") {
            return Ok(EventStream(response));
        }
        let (status, content_type) = (head.status, head.content_type.to_owned());
        let body =
            timeout(wait, response.bytes()).await.ok().and_then(Result::ok).unwrap_or_default();
        let head = Head { status, content_type: &content_type, ..Head::default() };
        Err(decode::<Value>(head, &body)
            .err()
            .unwrap_or(ErrorKind::NotArgoCd { status, content_type: content_type.clone() }))
    }
}

/// The body of a stream, piece by piece.
pub(crate) struct EventStream(reqwest::Response);

impl EventStream {
    /// The next piece; `None` at the end, however it came.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.chunk().await.ok().flatten().map(|chunk| chunk.to_vec())
    }
}

fn head(response: &reqwest::Response) -> Head<'_> {
    let text =
        |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    Head {
        status: response.status().as_u16(),
        content_type: text(CONTENT_TYPE).unwrap_or_default(),
        location: text(LOCATION),
        retry_after: text(RETRY_AFTER),
    }
}

fn headers(config: &Config) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        let mut secret = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of header {name} has characters that none may have"))?;
        secret.set_sensitive(true);
        headers.insert(name, secret);
        Ok::<_, String>(())
    };
    for (name, value) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{name}` is not the name of a header"))?;
        add(name, value.expose_secret())?;
    }
    if let Some(token) = &config.token {
        add(AUTHORIZATION, &format!("Bearer {}", token.expose_secret().trim()))
            .map_err(|_| "the token has characters that none may have".to_owned())?;
    }
    Ok(headers)
}

fn transport(error: reqwest::Error) -> ErrorKind {
    let never_sent = error.is_connect() || error.is_builder();
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(layer) = source {
        if layer
            .downcast_ref::<rustls::Error>()
            .is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_)))
        {
            return ErrorKind::Certificate(Transport::new(layer, true));
        }
        // TLS errors travel inside an io::Error, which hides them from `source`.
        source = match layer.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => layer.source(),
        };
    }
    if timed_out && never_sent {
        return ErrorKind::Unreachable(Transport::new(
            &std::io::Error::other("no connection in time"),
            true,
        ));
    }
    ErrorKind::Unreachable(Transport::new(&error, never_sent))
}

/// The pause before the next attempt: doubled each time, up to 4 s, with jitter so that many jobs do not come back at
/// once; or what the server asks for.
fn pause(kind: &ErrorKind, attempt: u32, first: Duration) -> Duration {
    if let ErrorKind::RateLimited { retry_after: Some(after) } = kind {
        return *after;
    }
    let full = (first * 2u32.saturating_pow(attempt - 1)).min(Duration::from_secs(4));
    let mut random = [0; 2];
    // Without randomness the full pause is as good.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => 0.5 + 0.5 * f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    full.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("argocd.example.com", false, None, Ok("https://argocd.example.com/")),
            ("argocd.example.com:8443", false, None, Ok("https://argocd.example.com:8443/")),
            ("argocd.example.com", true, None, Ok("http://argocd.example.com/")),
            ("https://example.com/argo/", false, None, Ok("https://example.com/argo")),
            ("https://example.com", false, Some("/argo/"), Ok("https://example.com/argo")),
            ("http://127.0.0.1:8080", false, None, Ok("http://127.0.0.1:8080/")),
            ("[::1]:8080", true, None, Ok("http://[::1]:8080/")),
            (
                "https://u:p@example.com",
                false,
                None,
                Err("a server's address must not hold credentials"),
            ),
            (
                "ftp://example.com",
                false,
                None,
                Err(
                    "`ftp://example.com` is not a server's address: want [https://]HOST[:PORT][/ROOT]",
                ),
            ),
            ("https://", false, None, Err("`https://` is not a server's address: empty host")),
        ];
        for (text, plaintext, root, want) in cases {
            let got = server_url(text, plaintext, root)
                .map(|url| url.to_string())
                .map_err(|kind| kind.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn pauses_grow_and_obey_the_server() {
        let (first, timeout) = (Duration::from_millis(100), ErrorKind::Timeout(Duration::ZERO));
        for (attempt, most) in [(1, 100), (2, 200), (3, 400), (20, 4000)] {
            let got = pause(&timeout, attempt, first).as_millis();
            assert!(got <= most && got >= most / 2, "{attempt}: {got}");
        }
        let told = ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(9)) };
        assert_eq!(pause(&told, 1, first), Duration::from_secs(9));
    }
}
