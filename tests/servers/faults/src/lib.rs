//! A proxy that stands before an engine, a registry or an Argo CD and breaks chosen requests.
//!
//! It forwards HTTP/1.1 as it comes, upgraded connections included, to a TCP address or a unix socket, counts what
//! passes, and injects the fault of the first [`Rule`] that fits. It knows nothing about the service behind it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use fault_proxy::{Fault, FaultProxy, Rule, Upstream};
//! let proxy = FaultProxy::start(Upstream::parse("http://127.0.0.1:5000")?).await?;
//! // The second manifest request is answered, but the answer never arrives.
//! proxy.inject(Rule::new(Fault::Reset).path("/manifests/").nth(1).delivered());
//! // … run the client against `proxy.url()` …
//! assert_eq!(proxy.faults_injected(), 1);
//! # Ok(())
//! # }
//! ```

mod io;
mod rule;
mod serve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use rule::{Fault, Rule};

use loopback::any_loopback_port;

/// Where a proxy forwards to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// `HOST:PORT`, spoken to without TLS.
    Tcp(String),
    /// A unix socket, such as that of a Docker Engine.
    Unix(PathBuf),
}

impl Upstream {
    /// Reads `http://HOST:PORT`, `tcp://HOST:PORT` or `unix:///PATH`.
    ///
    /// # Errors
    /// Another scheme, or an address without a port.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(path.into()));
        }
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("tcp://"));
        let Some(rest) = rest else {
            bail!("an upstream is http://…, tcp://… or unix://…, not `{text}`")
        };
        let host = rest.trim_end_matches('/');
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) if !host.contains('/') => Ok(Self::Tcp(host.to_owned())),
            _ => bail!("an upstream is HOST:PORT without a path, not `{host}`"),
        }
    }
}

/// One request that reached the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The request method.
    #[serde(serialize_with = "as_text")]
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The status that the client was sent; `None` while it waits, and when it got no answer.
    #[serde(serialize_with = "status_number")]
    pub status: Option<StatusCode>,
    /// The fault that was injected.
    pub fault: Option<Fault>,
    /// Whether the service behind the proxy received the request.
    pub delivered: bool,
    /// Whether it met its fault, after it took effect where the rule says so.
    #[serde(skip)]
    pub struck: bool,
}

fn as_text<S: serde::Serializer>(value: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.as_str())
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn status_number<S: serde::Serializer>(
    value: &Option<StatusCode>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(|status| status.as_u16()).serialize(serializer)
}

/// A running proxy. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy on a free loopback port, without faults.
    ///
    /// # Errors
    /// The listener could not be bound.
    pub async fn start(upstream: Upstream) -> anyhow::Result<Self> {
        Self::start_at(any_loopback_port(), upstream).await
    }

    /// Starts a proxy on `listen`.
    ///
    /// # Errors
    /// The listener could not be bound.
    pub async fn start_at(listen: SocketAddr, upstream: Upstream) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(upstream));
        let task = tokio::spawn(serve::accept(listener, shared.clone()));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `tcp://127.0.0.1:PORT`, as `DOCKER_HOST` takes it.
    pub fn docker_host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Adds a rule. Rules are tried in the order they were added; each counts for itself the requests that fit it,
    /// from the moment it was added.
    pub fn inject(&self, rule: Rule) {
        self.shared.state().rules.push(rule::Counted::new(rule, None));
    }

    /// Adds a rule for the requests, among those that fit it, that `chosen` says yes to.
    pub fn inject_where(
        &self,
        rule: Rule,
        chosen: impl Fn(&Method, &str) -> bool + Send + 'static,
    ) {
        self.shared.state().rules.push(rule::Counted::new(rule, Some(Box::new(chosen))));
    }

    /// Takes every rule away. The connections of stalled requests end.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
        self.shared.healed.send_replace(());
    }

    /// Every request so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How many requests arrived.
    pub fn requests(&self) -> usize {
        self.shared.state().seen.len()
    }

    /// How many of them met a fault.
    pub fn faults_injected(&self) -> usize {
        self.shared.state().seen.iter().filter(|one| one.fault.is_some()).count()
    }

    /// Waits until `count` requests have arrived in all, answered or not. For tests that interrupt a client at a known
    /// point; the caller bounds the wait.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = arrived.wait_for(|so_far| *so_far >= count).await;
    }

    /// Waits until `count` requests have met a fault in all. The caller bounds the wait.
    pub async fn faulted(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        let _ = arrived.wait_for(|_| self.faults_injected() >= count).await;
    }

    /// The same, when they have taken effect where the rule says so.
    pub async fn struck(&self, count: usize) {
        let struck = || self.shared.state().seen.iter().filter(|one| one.struck).count();
        let mut arrived = self.shared.arrived.subscribe();
        let _ = arrived.wait_for(|_| struck() >= count).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the proxy's tasks have in common.
#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    /// The number of requests so far.
    arrived: watch::Sender<usize>,
    /// Told when the rules end.
    healed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<rule::Counted>,
    seen: Vec<Seen>,
    /// Set by [`Fault::Unreachable`]: nobody listens any more.
    gone: bool,
}

impl Shared {
    fn new(upstream: Upstream) -> Self {
        let (arrived, healed) = (watch::Sender::new(0), watch::Sender::new(()));
        Self { upstream, state: Mutex::default(), arrived, healed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and says which rule, if any, applies to it.
    fn arrive(&self, method: &Method, target: &str) -> (usize, Option<Rule>) {
        let mut state = self.state();
        let rule = if state.gone {
            // A connection that a client keeps open is as dead as one that it tries to open.
            Some(Rule::new(Fault::Unreachable))
        } else {
            rule::first_match(&mut state.rules, method, target)
        };
        let fault = rule.as_ref().map(|rule| rule.fault.clone());
        state.gone |= fault == Some(Fault::Unreachable);
        let seen = Seen {
            method: method.clone(),
            target: target.to_owned(),
            status: None,
            struck: rule.as_ref().is_some_and(|rule| !rule.delivered),
            fault,
            delivered: false,
        };
        state.seen.push(seen);
        let index = state.seen.len() - 1;
        drop(state);
        self.arrived.send_modify(|count| *count += 1);
        (index, rule)
    }

    /// Notes that a request has taken effect before its fault.
    fn strike(&self, index: usize) {
        self.note(index, |seen| seen.struck = true);
        self.arrived.send_modify(|_| ());
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.state().seen.get_mut(index) {
            change(seen);
        }
    }
}
