//! Makes calls. Login, retries, limits and deadlines are only here.
//!
//! The operations decide what to ask and what an answer means; `wire.rs` moves the bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret as _;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use url::Url;
use verbatim_credentials::{Credential, FoundLogin, Keychain};
use verbatim_http::{ServerClock, chance, retry_after};
use verbatim_oci::Repository;

use crate::auth::challenge::{Challenge, challenges};
use crate::auth::login::{Login, LoginScheme, basic_header, bearer_header, choose};
use crate::auth::realm;
use crate::auth::scope::TokenScope;
use crate::auth::token::{self, AccessToken, TokenRequest};
use crate::error::{ErrorResponse, UnusableLogin};
use crate::http::endpoint::{self, Scheme};
use crate::http::wire::{HttpClient, HttpRequest, HttpResponse, RedirectPolicy, RequestBody};
use crate::{Config, Error, ErrorKind};

/// Error documents are short; a longer body is not one.
const ERROR_LIMIT: u64 = 64 * 1024;

/// The answer of a token server.
const TOKEN_LIMIT: u64 = 1024 * 1024;

/// One request to a registry, with its login and retries.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Completes "cannot …" in errors.
    pub(crate) action: String,
    pub(crate) repository: &'a Repository,
    /// The access that it needs.
    pub(crate) need: TokenScope,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The media types to accept.
    pub(crate) accept: &'static [&'static str],
    pub(crate) body: RequestBody,
    /// Error statuses that count as an answer.
    pub(crate) answers: &'static [u16],
    /// The largest answer, in bytes.
    pub(crate) limit: u64,
    /// Whether a retry is safe when it is unknown whether the request was carried out.
    pub(crate) repeat: bool,
}

impl<'a> Call<'a> {
    /// A call that reads a document.
    pub(crate) fn get(action: String, repository: &'a Repository, url: Url, limit: u64) -> Self {
        Self {
            action,
            repository,
            need: TokenScope::pull(repository),
            method: Method::GET,
            url,
            accept: &[],
            body: RequestBody::None,
            answers: &[],
            limit,
            repeat: true,
        }
    }

    /// The error of this call.
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.action, &self.url, kind)
    }

    /// What errors say of this call, for those who outlive it.
    pub(crate) fn place(&self) -> CallPlace {
        CallPlace { action: self.action.clone(), url: self.url.clone() }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // The digest is of the bytes as they are stored. Without a word, a server may compress them.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for accept in self.accept {
            headers.append(ACCEPT, HeaderValue::from_static(accept));
        }
        headers
    }
}

/// Which call it was.
#[derive(Clone, Debug)]
pub(crate) struct CallPlace {
    action: String,
    url: Url,
}

impl CallPlace {
    /// The error of the call.
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.action, &self.url, kind)
    }
}

/// An answer with a success status, or with one that the call names.
#[derive(Debug)]
pub(crate) struct RegistryResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl RegistryResponse {
    /// A header, if it exists and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An answer that is read in chunks. It counts as a running request until it is dropped.
#[derive(Debug)]
pub(crate) struct ResponseStream {
    reply: HttpResponse,
    idle: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ResponseStream {
    /// The next chunk; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        self.reply.chunk(self.idle).await
    }
}

/// The way to all registries.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) config: Config,
    keychain: Keychain,
    wire: HttpClient,
    hosts: Mutex<HashMap<String, Arc<HostState>>>,
    /// Of each registry on this machine, whether it speaks TLS.
    local: Mutex<HashMap<String, Arc<OnceCell<bool>>>>,
}

/// The state of one registry.
#[derive(Debug)]
struct HostState {
    permits: Arc<Semaphore>,
    /// Locked while a token is fetched, so concurrent requests fetch only one.
    login: tokio::sync::Mutex<Login>,
}

impl Transport {
    pub(crate) fn new(config: Config, keychain: Keychain) -> Result<Self, ErrorKind> {
        let wire = HttpClient::new(&config)?;
        Ok(Self { config, keychain, wire, hosts: Mutex::default(), local: Mutex::default() })
    }

    /// The URL of `rest` below `repository`. A registry on this machine is asked once whether it speaks TLS.
    pub(crate) async fn url(&self, repository: &Repository, rest: &str) -> Result<Url, Error> {
        let cell = match self.scheme(repository) {
            Ok(uses_tls) => return endpoint::url(uses_tls, repository, rest),
            Err(cell) => cell,
        };
        let plain = endpoint::url(false, repository, rest)?;
        let host = plain.host_str().unwrap_or_default().trim_matches(['[', ']']);
        // Without a port, TLS has another one.
        let port = plain.port().unwrap_or(443);
        let ask = || async { self.wire.speaks_tls(host, port).await.ok_or(()) };
        // Where nobody is, nobody is found by the request either; the next one asks again.
        match cell.get_or_try_init(ask).await {
            Ok(true) => endpoint::url(true, repository, rest),
            Ok(false) | Err(()) => Ok(plain),
        }
    }

    /// Whether a registry is reached over TLS, or where that is noted.
    fn scheme(&self, repository: &Repository) -> Result<bool, Arc<OnceCell<bool>>> {
        match endpoint::scheme(&self.config, repository) {
            Scheme::Https => Ok(true),
            Scheme::Http => Ok(false),
            Scheme::Either => {
                let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
                let cell = local.entry(repository.registry().to_owned()).or_default();
                cell.get().copied().ok_or_else(|| Arc::clone(cell))
            }
        }
    }

    /// The clock of a repository's registry.
    pub(crate) fn clock_of(&self, repository: &Repository) -> Option<Arc<ServerClock>> {
        let uses_tls = self.scheme(repository).unwrap_or(false);
        Some(self.wire.clock(&endpoint::url(uses_tls, repository, "").ok()?))
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.wire.requests()
    }

    /// Makes a call, with retries, and reads the whole answer.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<RegistryResponse, Error> {
        match call.repeat {
            true => self.persist(|| self.attempt(call)).await,
            false => self.attempt(call).await,
        }
    }

    /// Makes a call once, and returns its answer as a stream. Whoever reads it retries, and opens it again.
    pub(crate) async fn open(&self, call: &Call<'_>) -> Result<ResponseStream, Error> {
        let (reply, permit) = self.attempt_to_open(call).await?;
        Ok(ResponseStream { reply, idle: self.config.timeouts.idle, _permit: permit })
    }

    /// Retries until an attempt succeeds, one fails for good, or the budget is used up.
    pub(crate) async fn persist<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let (began, policy) = (Instant::now(), &self.config.retry);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let (spent, asked) = (began.elapsed(), error.kind().retry_after());
            let Some(wait) = policy.wait_before_next(attempts, spent, asked, chance()) else {
                return Err(error);
            };
            tracing::debug!(%error, kind = %error.kind(), attempts, ?wait, "waiting before the next attempt");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<RegistryResponse, Error> {
        let (reply, _permit) = self.attempt_to_open(call).await?;
        let (status, headers) = (reply.status(), reply.headers().clone());
        let body = match call.method {
            Method::HEAD => Bytes::new(),
            _ => reply.read(call.limit).await.map_err(|kind| call.error(kind))?,
        };
        if status == StatusCode::NOT_FOUND && call.method != Method::HEAD {
            let kind = ErrorKind::NotFound(ErrorResponse::read(status, &body));
            let error = self.blame(call, call.error(kind)).await;
            if matches!(error.kind(), ErrorKind::NoUsableLogin { .. }) {
                return Err(error);
            }
        }
        Ok(RegistryResponse { status, headers, body })
    }

    async fn attempt_to_open(
        &self,
        call: &Call<'_>,
    ) -> Result<(HttpResponse, Option<OwnedSemaphorePermit>), Error> {
        let host = self.host(&call.url);
        // The semaphore is never closed.
        let permit = Arc::clone(&host.permits).acquire_owned().await.ok();
        let reply = match self.exchange(&host, call).await {
            Ok(reply) => reply,
            Err(error) => return Err(self.blame(call, error).await),
        };
        let status = reply.status();
        if status.is_success() || call.answers.contains(&status.as_u16()) {
            return Ok((reply, permit));
        }
        // A server that the registry redirects to saw no login.
        let is_own = reply.url().origin() == call.url.origin();
        let error = call.error(error_kind(reply).await);
        Err(if is_own { self.blame(call, error).await } else { error })
    }

    /// Says of a refusal which login it is about.
    async fn blame(&self, call: &Call<'_>, error: Error) -> Error {
        let host = self.host(&call.url);
        let Some(found) = host.login.lock().await.found(call.repository).map(Arc::clone) else {
            return error;
        };
        let Some(response) = error.kind().refusal().cloned() else { return error };
        // A registry that names what it misses lets everybody see that.
        let is_shown = response.has_code("MANIFEST_UNKNOWN") || response.has_code("BLOB_UNKNOWN");
        match response.status {
            401 | 403 | 404 if found.unusable.is_some() && !is_shown => {
                error.with_kind(ErrorKind::NoUsableLogin { response, why: UnusableLogin(found) })
            }
            401 if !found.credential.is_anonymous() => {
                error.with_kind(ErrorKind::LoginRefused { login: found.to_string(), response })
            }
            403 if !found.credential.is_anonymous() => error.with_login(found.to_string()),
            _ => error,
        }
    }

    /// Sends the request with the known login. If the registry asks for another one, logs in and sends it again.
    async fn exchange(&self, host: &HostState, call: &Call<'_>) -> Result<HttpResponse, Error> {
        let registry = self.url(call.repository, "").await?;
        // An upload may lead to another server, which must not see this login.
        if call.url.origin() != registry.origin() {
            return self.send(call, None).await;
        }
        let shown = self.known_login(host, call, &registry).await?;
        let reply = self.send(call, shown.clone()).await?;
        // A server that the registry redirects to may not ask for a login either.
        if reply.status() != StatusCode::UNAUTHORIZED || reply.url().origin() != registry.origin() {
            return Ok(reply);
        }
        let challenges = challenges(reply.headers());
        // Read to the end, so that the connection can be reused.
        let body = reply.read(ERROR_LIMIT).await.unwrap_or_default();
        let header = match challenges.is_empty() {
            true => None,
            false => self.answer(host, call, &registry, &challenges, shown.as_ref()).await?,
        };
        match header {
            Some(header) => self.send(call, Some(header)).await,
            None => {
                let response = ErrorResponse::read(StatusCode::UNAUTHORIZED, &body);
                Err(call.error(ErrorKind::Unauthorized(response)))
            }
        }
    }

    async fn send(
        &self,
        call: &Call<'_>,
        login: Option<HeaderValue>,
    ) -> Result<HttpResponse, Error> {
        let mut headers = call.headers();
        if let Some(login) = login {
            headers.insert(AUTHORIZATION, login);
        }
        let outgoing = HttpRequest {
            method: call.method.clone(),
            url: call.url.clone(),
            headers,
            body: call.body.clone(),
        };
        self.wire.send(outgoing, RedirectPolicy::Follow).await.map_err(|kind| call.error(kind))
    }

    fn host(&self, url: &Url) -> Arc<HostState> {
        let key = url.origin().ascii_serialization();
        // A panic while the map was held cannot have left it half changed.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let permits = Arc::new(Semaphore::new(self.config.concurrency.max(2)));
            Arc::new(HostState { permits, login: tokio::sync::Mutex::default() })
        };
        Arc::clone(hosts.entry(key).or_insert_with(new))
    }

    /// The login that the registry wanted last time.
    async fn known_login(
        &self,
        host: &HostState,
        call: &Call<'_>,
        registry: &Url,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut login = host.login.lock().await;
        match login.scheme.clone() {
            Some(scheme) => self.header(&mut login, &scheme, &call.need, call, registry).await,
            None => Ok(None),
        }
    }

    /// The login that answers `challenges`; `None` if it is the one that was refused.
    async fn answer(
        &self,
        host: &HostState,
        call: &Call<'_>,
        registry: &Url,
        challenges: &[Challenge],
        shown: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut login = host.login.lock().await;
        if let Some(shown) = shown {
            login.forget(shown);
        }
        let (scheme, scopes) = choose(challenges).map_err(|kind| call.error(kind))?;
        let need = call.need.clone().and_scopes(scopes.unwrap_or_default());
        login.scheme = Some(scheme.clone());
        let header = self.header(&mut login, &scheme, &need, call, registry).await?;
        Ok(header.filter(|header| Some(header) != shown))
    }

    async fn header(
        &self,
        login: &mut Login,
        scheme: &LoginScheme,
        need: &TokenScope,
        call: &Call<'_>,
        registry: &Url,
    ) -> Result<Option<HeaderValue>, Error> {
        if let LoginScheme::Bearer { .. } = scheme
            && let Some(header) = login.token(need, Instant::now())
        {
            return Ok(Some(header));
        }
        let found = self.find_login(login, call).await?;
        let credential = &found.credential;
        let header = match (scheme, credential) {
            (_, Credential::RegistryToken(token)) => bearer_header(token).map(Some),
            (LoginScheme::Basic, Credential::Basic { username, password }) => {
                basic_header(username, password).map(Some)
            }
            (LoginScheme::Basic, Credential::IdentityToken(_)) => {
                let what = "a name and a password, but there is only an identity token".to_owned();
                Err(ErrorKind::LoginUnsupported(what))
            }
            (LoginScheme::Basic, _) => Ok(None),
            (LoginScheme::Bearer { realm, service }, _) => {
                let request = token::request(realm, service.as_deref(), need, credential);
                let is_anonymous = credential.is_anonymous();
                let token = self.token(call, registry, realm, request, is_anonymous).await?;
                let header = bearer_header(&token.secret);
                if let Ok(header) = &header {
                    let good_until = Instant::now() + token.lifetime;
                    login.keep_token(need.clone(), header.clone(), good_until);
                }
                header.map(Some)
            }
        };
        header.map_err(|kind| call.error(kind))
    }

    async fn find_login(
        &self,
        login: &mut Login,
        call: &Call<'_>,
    ) -> Result<Arc<FoundLogin>, Error> {
        let repository = call.repository;
        if let Some(found) = login.found(repository) {
            return Ok(Arc::clone(found));
        }
        let found = self.keychain.find(repository.registry(), repository.path()).await;
        let found = found.map_err(|error| call.error(ErrorKind::Credentials(error)))?;
        if let Some(error) = &found.unusable {
            tracing::warn!(%error, why = %error.kind(), "going on without a login");
        }
        let found = Arc::new(found);
        login.keep(repository, Arc::clone(&found));
        Ok(found)
    }

    /// Asks a token server once: retries of the call repeat this, too.
    async fn token(
        &self,
        call: &Call<'_>,
        registry: &Url,
        realm: &Url,
        request: TokenRequest,
        is_anonymous: bool,
    ) -> Result<AccessToken, Error> {
        let action = format!("get a token for {}", call.repository);
        let fail = |kind| Error::new(&action, realm, kind);
        endpoint::check_scheme(&self.config, registry, realm).map_err(fail)?;
        let trusted = &self.config.trusted_realms;
        if !is_anonymous && !realm::may_see_credentials(registry, realm, trusted) {
            let host = realm.host_str().unwrap_or_default().to_owned();
            return Err(fail(ErrorKind::RealmRefused(host)));
        }
        let mut headers = HeaderMap::new();
        let (method, url, body) = match request {
            TokenRequest::Get { url, basic } => {
                if let Some((username, password)) = basic {
                    let header = basic_header(&username, &password).map_err(fail)?;
                    headers.insert(AUTHORIZATION, header);
                }
                (Method::GET, url, RequestBody::None)
            }
            TokenRequest::Post { url, form } => {
                let bytes = Bytes::copy_from_slice(form.expose_secret().as_bytes());
                let content_type = "application/x-www-form-urlencoded".to_owned();
                (Method::POST, url, RequestBody::Bytes { content_type, bytes })
            }
        };
        // A redirect would carry a password or a refresh token to wherever it leads.
        let outgoing = HttpRequest { method, url, headers, body };
        let reply = self.wire.send(outgoing, RedirectPolicy::Stay).await.map_err(fail)?;
        if !reply.status().is_success() {
            return Err(fail(error_kind(reply).await));
        }
        let body = reply.read(TOKEN_LIMIT).await.map_err(fail)?;
        token::read(&body).map_err(fail)
    }
}

async fn error_kind(reply: HttpResponse) -> ErrorKind {
    let (status, retry_after) = (reply.status(), retry_after(reply.headers()));
    // A body that cannot be read is dropped: the status says enough.
    let body = reply.read(ERROR_LIMIT).await.unwrap_or_default();
    ErrorKind::of_status(status, ErrorResponse::read(status, &body), retry_after)
}
