//! A node agent: what a kubelet is to a cluster, for tests on one machine.
//!
//! It registers a Node and starts each container of its pods in a Docker Engine, by the reference in the pod's
//! specification, with the host's network and an address of its own in 127.0.0.0/8 as pod IP. It probes, restarts with
//! back-off, forwards a loopback port for every Service, reports as a kubelet reports, and deletes with grace.
//!
//! A container must listen on its pod's address (variable `POD_IP`), not on all addresses: pods share one network, and
//! two of them on one port would collide otherwise.
//!
//! What it does not do: volumes, resource limits, security contexts, registry credentials, `kubectl exec`.
//! The rules are in [`machine`], [`status`], [`image_id`] and [`environment`], which are pure; [`worker`] carries out.

pub mod control;
mod engine;
mod environment;
pub mod image_id;
mod kube;
mod kubelet;
mod machine;
mod model;
mod node;
mod probe;
mod registry;
pub mod services;
mod status;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use self::{
    engine::Engine,
    image_id::Modes,
    kube::{Change, Kube},
    machine::BackOff,
    model::Pod,
    node::Addresses,
    services::{Endpoint, Forwarded},
    worker::Seen,
};

/// How to run a node agent.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// The kubeconfig of the API server; its user has a token
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// The Docker Engine that runs the containers; it shares this machine's network
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,
    /// The name of the Node
    #[arg(long, default_value = "node-agent")]
    pub node: String,
    /// The wait before the second restart of a container, and after a failed pull; doubled each time
    #[arg(long, default_value = "10s", value_parser = seconds)]
    pub back_off: Duration,
    /// The longest such wait
    #[arg(long, default_value = "300s", value_parser = seconds)]
    pub back_off_max: Duration,
    /// Write `{"url": "http://…"}`, the address of the control endpoint, into this file once the Node is ready
    #[arg(long)]
    pub endpoint_file: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number
        .parse()
        .map(Duration::from_secs)
        .map_err(|_| format!("`{text}` is not a number of seconds, such as 10s"))
}

/// What the tasks of an agent share.
#[derive(Debug)]
pub(crate) struct Shared {
    kube: Kube,
    engine: Engine,
    http: reqwest::Client,
    /// For probes: follows no redirects, and takes any certificate, as a kubelet's.
    probe_http: reqwest::Client,
    addresses: Addresses,
    back_off: BackOff,
    modes: watch::Sender<Modes>,
    endpoints: Mutex<BTreeMap<String, Endpoint>>,
    forwarded: watch::Sender<Vec<Forwarded>>,
    /// The digests that each workload's container ran, oldest first.
    history: Mutex<HashMap<(String, String), Vec<String>>>,
}

impl Shared {
    fn publish(&self, endpoint: Endpoint) {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(endpoint.uid.clone(), endpoint);
    }

    fn retract(&self, uid: &str) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// The id of a container that runs, or ran last.
    fn container(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let found = endpoints.values().find(|it| it.namespace == namespace && it.name == pod);
        found.and_then(|it| it.containers.get(container).cloned())
    }

    /// Notes that `owner` runs `digest`, and returns the digest it ran before.
    fn older(&self, owner: &str, repository: &str, digest: &str) -> Option<String> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = history.entry((owner.to_owned(), repository.to_owned())).or_default();
        if !seen.iter().any(|it| it == digest) {
            seen.push(digest.to_owned());
        }
        seen.iter().rev().find(|it| *it != digest).cloned()
    }
}

/// Runs an agent until SIGTERM or Ctrl-C, and then removes its containers.
///
/// # Errors
/// The engine or the API server cannot be reached at the start; later failures are logged and tried again.
pub async fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).try_init().ok();
    let kube = Kube::from_kubeconfig(&args.kubeconfig)?;
    let engine = Engine::connect(&args.docker_host, &args.node).await?;
    let left = engine.remove_all(None).await?;
    if left > 0 {
        tracing::info!("removed {left} containers of an earlier agent");
    }
    let (listener, addresses) = node::claim().await?;
    let url = format!("http://{}", listener.local_addr()?);
    let for_logs = TcpListener::bind((addresses.host(), 0)).await?;
    let log_port = for_logs.local_addr()?.port();
    let shared = Arc::new(Shared {
        kube: kube.clone(),
        engine: engine.clone(),
        http: kube::http().build()?,
        probe_http: kube::http()
            .redirect(reqwest::redirect::Policy::none())
            .danger_accept_invalid_certs(true)
            .build()?,
        addresses,
        back_off: BackOff { first: args.back_off, max: args.back_off_max },
        modes: watch::Sender::new(Modes::default()),
        endpoints: Mutex::default(),
        forwarded: watch::Sender::new(Vec::new()),
        history: Mutex::default(),
    });
    node::register(&kube, &args.node, &shared.addresses, log_port)
        .await
        .context("cannot register the Node")?;
    if let Some(path) = &args.endpoint_file {
        // Renamed into place: who waits for the file never reads a part of it.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, json!({ "url": url }).to_string())
            .and_then(|()| std::fs::rename(&unfinished, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    tracing::info!("Node {} is registered; control endpoint {url}", args.node);
    let server = axum::serve(listener, control::router(shared.clone()));
    tokio::select! {
        ended = server.into_future() => ended.context("the control endpoint ended")?,
        ended = kubelet::serve(for_logs, shared.clone()) => ended?,
        () = pods(shared.clone(), args.node.clone()) => {}
        () = services::run(shared.clone()) => {}
        () = asked_to_end() => {}
    }
    // As no kubelet would: an agent that ends leaves nothing on the machine.
    let removed = engine.remove_all(None).await?;
    tracing::info!("removed {removed} containers");
    Ok(())
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Gives every pod of this node a worker, for ever.
async fn pods(shared: Arc<Shared>, node: String) {
    let (changes, mut changed) = mpsc::channel(64);
    tokio::spawn(shared.kube.clone().follow::<Pod>(
        "/api/v1/pods",
        format!("fieldSelector=spec.nodeName={node}"),
        changes,
    ));
    let mut workers: HashMap<String, watch::Sender<Seen>> = HashMap::new();
    while let Some(change) = changed.recv().await {
        // A worker that ended has dropped its receiver.
        workers.retain(|_, worker| !worker.is_closed());
        match change {
            Change::All(pods) => {
                for (uid, worker) in &workers {
                    if !pods.iter().any(|pod| pod.metadata.uid == *uid) {
                        worker.send_modify(|seen| seen.gone = true);
                    }
                }
                pods.into_iter().for_each(|pod| see(&shared, &mut workers, pod));
            }
            Change::Set(pod) => see(&shared, &mut workers, pod),
            Change::Gone(pod) => {
                if let Some(worker) = workers.get(&pod.metadata.uid) {
                    worker.send_modify(|seen| seen.gone = true);
                }
            }
        }
    }
}

fn see(shared: &Arc<Shared>, workers: &mut HashMap<String, watch::Sender<Seen>>, pod: Pod) {
    let seen = Seen { pod, gone: false };
    match workers.get(&seen.pod.metadata.uid) {
        Some(worker) => {
            worker.send_replace(seen);
        }
        None => {
            let uid = seen.pod.metadata.uid.clone();
            let (sender, receiver) = watch::channel(seen);
            workers.insert(uid, sender);
            tokio::spawn(worker::run(shared.clone(), receiver));
        }
    }
}

/// Removes the containers that an agent for `node` left in an engine, for instance because it was killed. Returns how
/// many there were.
///
/// # Errors
/// The engine does not answer.
pub async fn remove_containers(docker_host: &str, node: &str) -> anyhow::Result<usize> {
    Engine::connect(docker_host, node).await?.remove_all(None).await
}
