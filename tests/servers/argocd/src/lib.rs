//! A simulated Argo CD: stateful, over HTTP/1.1, with the routes that clients of this project call and with what hurts
//! about the real one.
//!
//! It renders git checkouts with the real helm and kustomize, applies the manifests to a cluster in memory, and answers
//! as Argo CD 3.6 answers, error texts included. Its behaviour is held to the real server's by the shared cases
//! (`cargo xtask test servers`). Like the real one it loses overlapping updates, shows stale health after a write,
//! gives 403 for what is missing, and has one operation slot an application.
//!
//! A request that it has no route for is remembered and makes the test fail, see [`SimulatedArgocd::unexpected`].

mod applicationset;
mod auth;
mod cache;
pub mod cases;
mod cluster;
mod controller;
mod error;
mod gojson;
mod health;
mod kube;
mod kube_apps;
mod objects;
mod patch;
mod repo;
mod routes;
mod schema;
mod store;
mod tree;
mod windows;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use loopback::{Served, any_loopback_port};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinHandle;

pub use auth::{Account, Right};
pub use cluster::fake::{Behaviour, PodRule};
pub use repo::Tools;

/// API tokens of Argo CD, one an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// May do everything.
    pub admin: String,
    /// May get, update and sync applications: what a pipeline should have.
    pub bot: String,
    /// May only get applications.
    pub reader: String,
}

/// How the simulated server behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// The password of `admin`.
    pub password: String,
    /// Who may log in, and what they may do; by default `admin`, `bot` and `reader` as on the rig.
    pub accounts: Option<Vec<Account>>,
    /// The programs that render.
    pub tools: Tools,
    /// What runs the pods.
    pub pods: Pods,
    /// How long things take.
    pub pace: Pace,
    /// A request without a route does not make [`SimulatedArgocd`] panic when it is dropped.
    pub lenient: bool,
    /// Where clones and checkouts are kept; a temporary folder by default.
    pub work: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: any_loopback_port(),
            password: "password".to_owned(),
            accounts: None,
            tools: Tools::default(),
            pods: Pods::Fake { ready_after: Duration::from_millis(30) },
            pace: Pace::default(),
            lenient: false,
            work: None,
        }
    }
}

/// What runs the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    /// Nothing: pods are said to be ready after this time, with an `imageID` made from the image's reference.
    Fake {
        /// The time until they are.
        ready_after: Duration,
    },
    /// A node agent (package `node-agent`) that is started with [`SimulatedArgocd::kubeconfig`] and the node's name
    /// [`NODE`]: containers really run.
    NodeAgent,
}

/// The name of the Node that pods are placed on.
pub const NODE: &str = cluster::NODE;

/// How long things take, in milliseconds. The defaults are near an idle real server, without the limit of requests that one
/// meets first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// From the reading to the writing of a PATCH or PUT, beside the rendering. Another write in between is lost.
    pub write_ms: u64,
    /// From a change of the spec to the comparison that sees it: so long the status is stale.
    pub compare_ms: u64,
    /// From a change in the cluster to the status that shows it.
    pub live_ms: u64,
    /// From a POST sync until the controller takes the operation.
    pub pickup_ms: u64,
    /// The least time that an operation takes.
    pub operation_ms: u64,
    /// From the end of an operation to the comparison after it: so long health and sync status are those from before.
    pub settle_ms: u64,
    /// From a foreign change of a generated application until its ApplicationSet takes it back.
    pub revert_ms: u64,
    /// From a change of an Application until lists and watches show it.
    pub cache_ms: u64,
    /// From the arrival of any request until it is looked at: the way there.
    pub request_ms: u64,
    /// Whether requests wait as the real server's own limit has them wait.
    pub limited: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            write_ms: 20,
            compare_ms: 20,
            live_ms: 20,
            pickup_ms: 10,
            operation_ms: 80,
            settle_ms: 40,
            revert_ms: 10,
            cache_ms: 0,
            request_ms: 0,
            limited: false,
        }
    }
}

/// One request that reached the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The request method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The answer's status; 0 while there is none.
    pub status: u16,
    /// How many of the requests to Kubernetes it costs that the real server allows itself.
    pub units: u32,
}

/// A running simulated Argo CD. Dropping it ends it.
#[derive(Debug)]
pub struct SimulatedArgocd {
    served: Served,
    server: Arc<Server>,
    tasks: Vec<JoinHandle<()>>,
    lenient: bool,
    _work: Option<tempfile::TempDir>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) store: store::Store,
    pub(crate) cache: cache::Cache,
    pub(crate) cluster: Arc<cluster::Cluster>,
    pub(crate) repo: repo::RepoServer,
    pub(crate) sessions: auth::Sessions,
    pub(crate) controller: controller::Runtime,
    pub(crate) pace: Mutex<Pace>,
    pub(crate) pod_rules: Arc<Mutex<Vec<PodRule>>>,
    /// `application.instanceLabelKey` of `argocd-cm`.
    pub(crate) label_key: Mutex<String>,
    pub(crate) limiter: routes::limits::Limiter,
    unexpected: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    /// The bearer token of the small Kubernetes API.
    pub(crate) kube_token: String,
    /// May read there, and nothing else.
    pub(crate) kube_reader: String,
}

impl Server {
    pub(crate) fn pace(&self) -> Pace {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_unexpected(&self, request: String) {
        tracing::warn!("no route for {request}");
        self.unexpected.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}

/// Sleeps for a number of milliseconds.
pub(crate) async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

impl SimulatedArgocd {
    /// Starts a server inside the current tokio runtime.
    ///
    /// # Errors
    /// The listener could not be bound, or no work folder be made.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let (work, kept) = match config.work {
            Some(work) => (work, None),
            None => {
                let folder = tempfile::Builder::new().prefix("simulated-argocd-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let accounts = config.accounts.unwrap_or_else(|| Account::usual(&config.password));
        let server = Arc::new(Server {
            store: store::Store::new(),
            cache: cache::Cache::new(),
            cluster: Arc::new(cluster::Cluster::new(config.pods == Pods::NodeAgent)),
            repo: repo::RepoServer::new(config.tools, work),
            sessions: auth::Sessions::new(accounts),
            controller: controller::Runtime::default(),
            pace: Mutex::new(config.pace),
            pod_rules: Arc::default(),
            label_key: Mutex::new("app.kubernetes.io/instance".to_owned()),
            limiter: routes::limits::Limiter::new(),
            unexpected: Mutex::default(),
            seen: Mutex::default(),
            kube_token: cluster::random_hex(),
            kube_reader: cluster::random_hex(),
        });
        let listening = Served::start(config.listen, routes::router(server.clone())).await;
        let served = listening.with_context(|| format!("cannot listen on {}", config.listen))?;
        let mut tasks = vec![
            tokio::spawn(cache::run(server.clone())),
            tokio::spawn(controller::run(server.clone())),
            tokio::spawn(applicationset::run(server.clone())),
            tokio::spawn(deadlines(server.cluster.clone())),
        ];
        if let Pods::Fake { ready_after } = config.pods {
            let fakes = cluster::fake::Fakes { ready_after, rules: server.pod_rules.clone() };
            tasks.push(tokio::spawn(cluster::fake::run(server.cluster.clone(), fakes)));
        }
        Ok(Self { served, server, tasks, lenient: config.lenient, _work: kept })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// API tokens of the accounts `admin`, `bot` and `reader`.
    pub fn tokens(&self) -> Tokens {
        let token = |name: &str| self.server.sessions.token(name, "apiKey");
        Tokens { admin: token("admin"), bot: token("bot"), reader: token("reader") }
    }

    /// Ends all sessions: who is to go on has to log in again.
    pub fn end_sessions(&self) {
        self.server.sessions.end();
    }

    /// A kubeconfig for the part of the Kubernetes API that a node agent uses.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_of(&self.server.kube_token)
    }

    /// The same of somebody who may only look.
    pub fn reader_kubeconfig(&self) -> String {
        self.kubeconfig_of(&self.server.kube_reader)
    }

    fn kubeconfig_of(&self, token: &str) -> String {
        let server = format!("{}/_kube", self.url());
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "simulated",
            "clusters": [{ "name": "simulated", "cluster": { "server": server } }],
            "users": [{ "name": "agent", "user": { "token": token } }],
            "contexts": [{ "name": "simulated", "context": { "cluster": "simulated", "user": "agent" } }],
        })
        .to_string()
    }

    /// The requests that there was no route for. A test that made none has talked to the server as the real one allows.
    pub fn unexpected(&self) -> Vec<String> {
        self.server.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every request so far, oldest first; those of the control and of the node agent excepted.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_seen(&self) {
        self.server.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Changes how long things take.
    pub fn set_pace(&self, pace: Pace) {
        *self.server.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// What becomes of the pods that are made from now on; the last rule that fits an image applies.
    pub fn set_pod_rules(&self, rules: Vec<PodRule>) {
        *self.server.pod_rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Changes `application.instanceLabelKey`.
    pub fn set_label_key(&self, key: &str) {
        *self.server.label_key.lock().unwrap_or_else(PoisonError::into_inner) = key.to_owned();
    }

    /// Keeps operations of `app` running (`true`) until they are let go (`false`) or terminated.
    pub fn hold_operations(&self, app: &str, held: bool) {
        self.server.controller.hold(app, held);
    }

    /// The live objects of the cluster as `KIND NAMESPACE/NAME`, with their JSON.
    pub fn live_objects(&self) -> BTreeMap<String, serde_json::Value> {
        let name = |key: &objects::Key| format!("{} {}/{}", key.kind, key.namespace, key.name);
        let objects = self.server.cluster.objects();
        objects.iter().map(|(key, object)| (name(key), object.clone())).collect()
    }
}

impl Drop for SimulatedArgocd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let unexpected = self.unexpected();
        if !self.lenient && !unexpected.is_empty() && !std::thread::panicking() {
            panic!("the simulated Argo CD has no route for: {}", unexpected.join(", "));
        }
    }
}

/// Lets the cluster notice rollouts that missed their deadline.
async fn deadlines(cluster: Arc<cluster::Cluster>) {
    let mut changes = cluster.changes();
    loop {
        let left = cluster.next_deadline().map(|deadline| deadline.duration_until_now());
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep_or_for_ever(left) => cluster.tick(),
        }
        changes.mark_unchanged();
    }
}

/// A time's distance from now; nothing when it is over.
trait UntilNow {
    fn duration_until_now(self) -> Duration;
}

impl UntilNow for jiff::Timestamp {
    fn duration_until_now(self) -> Duration {
        Duration::try_from(self.duration_since(Self::now())).unwrap_or(Duration::ZERO)
    }
}

async fn sleep_or_for_ever(left: Option<Duration>) {
    match left {
        // A little more, so that the deadline has passed for sure; and no busy loop on one that has.
        Some(left) => tokio::time::sleep(left + Duration::from_millis(20)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
