//! An OCI registry for tests and the demo: `ferro-oci-server` in this process, with what it lacks put in front of it:
//! Basic and Bearer login, a switch that hides the referrers API, and a log of the requests.
//!
//! Storage and the distribution protocol are ferro's; nothing here touches manifests or blobs.

mod auth;
mod distribution;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use ferro_blob_store::{FsBlobStore, InMemoryBlobStore, SharedBlobStore};
use ferro_oci_server::{AppState, InMemoryRegistryMeta};
use http::{Method, StatusCode, header};
use serde_json::json;

pub use self::distribution::Distribution;
use loopback::{Served, any_loopback_port};

/// How the registry answers a client.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Who may do what.
    pub auth: Auth,
    /// Whether `GET /v2/NAME/referrers/DIGEST` exists. Without it the registry answers 404 there and sends no
    /// `OCI-Subject` header, so a client has to fall back to the tag `sha256-HEX`.
    pub referrers_api: bool,
    /// Whether a tag that is there may be set again. A registry with immutable tags refuses with 412 and the code
    /// `PRECONDITION`, as Harbor does.
    pub immutable_tags: bool,
    /// Where blobs and manifests are kept. `None` keeps them in memory.
    pub storage: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: any_loopback_port(),
            auth: Auth::Anonymous,
            referrers_api: true,
            immutable_tags: false,
            storage: None,
        }
    }
}

/// The login that the registry asks for.
#[derive(Debug, Clone)]
pub enum Auth {
    /// None: everybody may read and write.
    Anonymous,
    /// HTTP Basic on every request.
    Basic(Account),
    /// HTTP Basic with another account for each repository; no others are there.
    PerRepository(BTreeMap<String, Account>),
    /// A Bearer token from `/token` on the same address, for the scopes that the client names
    /// (the token protocol of the distribution project: GET with Basic, POST for OAuth2).
    Bearer(Bearer),
}

impl Auth {
    /// The one account that may do everything, if there are accounts.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Anonymous | Self::PerRepository(_) => None,
            Self::Basic(account) => Some(account),
            Self::Bearer(bearer) => Some(&bearer.account),
        }
    }
}

/// A user of the registry.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name that `docker login` asks for.
    pub username: String,
    /// The password, and also the identity (refresh) token that the OAuth2 form of the token request takes.
    pub password: String,
}

/// How tokens are given out.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The one account that may push.
    pub account: Account,
    /// Whether a token for pulling is given to a client that does not log in.
    pub anonymous_pull: bool,
    /// How long a token is good for.
    pub lifetime: Duration,
}

/// One request that reached the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The request method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The answer's status.
    pub status: StatusCode,
}

/// A running registry. Dropping it ends it.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use test_registry::{Config, Registry};
/// let registry = Registry::start(Config::default()).await?;
/// let image = format!("{}/example/app:1.0.0", registry.host());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Registry {
    served: Served,
    log: Log,
}

impl Registry {
    /// Starts a registry inside the current tokio runtime.
    ///
    /// # Errors
    /// The listener could not be bound, or the storage folder could not be made.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let log = Log::default();
        let served = Served::start(config.listen, app(&config, log.clone())?).await?;
        Ok(Self { served, log })
    }

    /// `127.0.0.1:PORT`, as it stands in an image reference.
    pub fn host(&self) -> String {
        self.served.address().to_string()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Every request so far, oldest first, token requests included.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_seen(&self) {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Seen>>>);

fn app(config: &Config, log: Log) -> anyhow::Result<Router> {
    let state = match &config.storage {
        None => {
            AppState::new(Arc::new(InMemoryBlobStore::new()), Arc::new(InMemoryRegistryMeta::new()))
        }
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            let blobs: SharedBlobStore = Arc::new(FsBlobStore::new(folder)?);
            AppState::new(blobs, Arc::new(InMemoryRegistryMeta::with_persistence(folder)))
        }
    };
    let mut app = ferro_oci_server::router(state);
    if !config.referrers_api {
        app = app.layer(middleware::from_fn(without_referrers_api));
    }
    if config.immutable_tags {
        let tags = Tags::default();
        app = app.layer(middleware::from_fn_with_state(tags, with_immutable_tags));
    }
    app = auth::protect(app, &config.auth);
    Ok(app.layer(middleware::from_fn_with_state(log, note)))
}

/// Behaves as a registry that was written before the referrers API.
async fn without_referrers_api(request: Request, next: Next) -> Response {
    if request.uri().path().contains("/referrers/") {
        // What `distribution` 2.8 answers for a route that it does not know.
        return (
            StatusCode::NOT_FOUND,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            "404 page not found\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().remove("oci-subject");
    response
}

/// The paths of tags that were written.
#[derive(Debug, Clone, Default)]
struct Tags(Arc<Mutex<BTreeSet<String>>>);

impl Tags {
    fn has(&self, path: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}

async fn with_immutable_tags(State(tags): State<Tags>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let names_a_tag = path
        .split_once("/manifests/")
        .is_some_and(|(_, name)| !name.contains(':') && *request.method() == Method::PUT);
    if !names_a_tag {
        return next.run(request).await;
    }
    if tags.has(&path) {
        let message = "Failed to process request due to an immutable tag rule";
        let body = json!({ "errors": [{ "code": "PRECONDITION", "message": message }] });
        return (StatusCode::PRECONDITION_FAILED, Json(body)).into_response();
    }
    let response = next.run(request).await;
    if response.status().is_success() {
        tags.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
    }
    response
}

async fn note(State(log): State<Log>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let response = next.run(request).await;
    let seen = Seen { method, target, status: response.status() };
    log.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    response
}

#[cfg(test)]
mod tests;
