//! Services: one loopback port each, forwarded to the ready pods of this node in turn.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};

use super::{
    Shared,
    kube::{Change, Patch},
    model::{Container, PortRef, Service, ServicePort},
};

/// The annotation with the address of a Service's first port, `127.0.0.1:PORT`. Those of named ports are in
/// `node-agent.verbatim.dev/address.NAME`.
pub const ADDRESS_ANNOTATION: &str = "node-agent.verbatim.dev/address";

/// A pod as services see it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pod_ip: IpAddr,
    pub(crate) ready: bool,
    /// Running (or last) container ids by container name, for logs.
    pub(crate) containers: BTreeMap<String, String>,
    pub(crate) specs: Vec<Container>,
}

/// Where a port of a Service is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The name of the port, empty if it has none.
    pub port_name: String,
    /// The port's number in the Service.
    pub port: u16,
    /// `127.0.0.1:PORT`: what to connect to.
    pub address: SocketAddr,
}

#[derive(Debug)]
struct Port {
    forwarded: Forwarded,
    accept: AbortHandle,
    /// The port as specified when it was opened.
    spec: ServicePort,
}

/// Follows the Services of the cluster, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (changes, mut changed) = mpsc::channel(64);
    tokio::spawn(shared.kube.clone().follow::<Service>("/api/v1/services", String::new(), changes));
    let mut open: HashMap<String, (Service, Vec<Port>)> = HashMap::new();
    while let Some(change) = changed.recv().await {
        match change {
            Change::All(services) => {
                let known =
                    |uid: &String| services.iter().any(|service| service.metadata.uid == *uid);
                let gone: Vec<String> = open.keys().filter(|uid| !known(uid)).cloned().collect();
                gone.iter().for_each(|uid| close(&mut open, uid));
                for service in services {
                    apply(&shared, &mut open, service).await;
                }
            }
            Change::Set(service) => apply(&shared, &mut open, service).await,
            Change::Gone(service) => close(&mut open, &service.metadata.uid),
        }
        let all =
            open.values().flat_map(|(_, ports)| ports.iter().map(|port| port.forwarded.clone()));
        let mut all: Vec<Forwarded> = all.collect();
        all.sort_by(|a, b| {
            (&a.namespace, &a.service, a.port).cmp(&(&b.namespace, &b.service, b.port))
        });
        shared.forwarded.send_replace(all);
    }
}

fn close(open: &mut HashMap<String, (Service, Vec<Port>)>, uid: &str) {
    if let Some((_, ports)) = open.remove(uid) {
        ports.iter().for_each(|port| port.accept.abort());
    }
}

async fn apply(
    shared: &Arc<Shared>,
    open: &mut HashMap<String, (Service, Vec<Port>)>,
    service: Service,
) {
    if let Err(error) = try_apply(shared, open, service.clone()).await {
        tracing::warn!(
            "service {}/{}: {error:#}",
            service.metadata.namespace,
            service.metadata.name
        );
    }
}

async fn try_apply(
    shared: &Arc<Shared>,
    open: &mut HashMap<String, (Service, Vec<Port>)>,
    service: Service,
) -> anyhow::Result<()> {
    // Without a selector somebody else says where it leads.
    if service.spec.kind == "ExternalName" || service.spec.selector.is_empty() {
        return Ok(());
    }
    let metadata = service.metadata.clone();
    let (_, mut before) = open.remove(&metadata.uid).unwrap_or_default();
    let mut ports = Vec::new();
    for spec in
        service.spec.ports.iter().filter(|port| matches!(port.protocol.as_str(), "TCP" | ""))
    {
        // The same port keeps its address, whatever else changed.
        if let Some(same) = before.iter().position(|port| port.spec == *spec) {
            ports.push(before.swap_remove(same));
            continue;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot open a port")?;
        let address = listener.local_addr()?;
        let forwarded = Forwarded {
            namespace: metadata.namespace.clone(),
            service: metadata.name.clone(),
            port_name: spec.name.clone(),
            port: spec.port,
            address,
        };
        let selector = service.spec.selector.clone();
        let target = if spec.target_port == PortRef::Number(0) {
            PortRef::Number(spec.port)
        } else {
            spec.target_port.clone()
        };
        let accept = tokio::spawn(accept(
            shared.clone(),
            listener,
            metadata.namespace.clone(),
            selector,
            target,
        ));
        ports.push(Port { forwarded, accept: accept.abort_handle(), spec: spec.clone() });
    }
    before.iter().for_each(|port| port.accept.abort());
    let mut annotations = BTreeMap::new();
    for port in ports.iter().rev() {
        let address = port.forwarded.address.to_string();
        if !port.forwarded.port_name.is_empty() {
            annotations.insert(
                format!("{ADDRESS_ANNOTATION}.{}", port.forwarded.port_name),
                address.clone(),
            );
        }
        annotations.insert(ADDRESS_ANNOTATION.to_owned(), address);
    }
    let told =
        annotations.iter().all(|(name, value)| metadata.annotations.get(name) == Some(value));
    let path = format!("/api/v1/namespaces/{}/services/{}", metadata.namespace, metadata.name);
    if !told {
        shared
            .kube
            .patch(&path, Patch::Merge, &json!({ "metadata": { "annotations": annotations } }))
            .await?;
    }
    if service.spec.kind == "LoadBalancer" {
        let status =
            json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } } });
        shared.kube.patch(&format!("{path}/status"), Patch::Merge, &status).await?;
    }
    open.insert(metadata.uid, (service, ports));
    Ok(())
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    namespace: String,
    selector: BTreeMap<String, String>,
    target: PortRef,
) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut client, _)) = listener.accept().await {
        let ready = {
            let endpoints =
                shared.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            addresses(endpoints.values(), &namespace, &selector, &target)
        };
        // Without a ready pod the connection is closed at once.
        if ready.is_empty() {
            continue;
        }
        let address = ready[turn.fetch_add(1, Ordering::Relaxed) % ready.len()];
        tokio::spawn(async move {
            if let Ok(mut pod) = TcpStream::connect(address).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
            }
        });
    }
}

/// The addresses of the ready pods that a selector picks.
fn addresses<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    namespace: &str,
    selector: &BTreeMap<String, String>,
    target: &PortRef,
) -> Vec<SocketAddr> {
    endpoints
        .into_iter()
        .filter(|endpoint| endpoint.ready && endpoint.namespace == namespace)
        .filter(|endpoint| {
            selector.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
        })
        .filter_map(|endpoint| {
            Some(SocketAddr::new(endpoint.pod_ip, target.resolve(&endpoint.specs)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(namespace: &str, label: &str, ready: bool, ip: &str) -> Endpoint {
        let container =
            serde_json::from_value(json!({ "ports": [{ "name": "http", "containerPort": 8080 }] }))
                .unwrap();
        Endpoint {
            uid: ip.to_owned(),
            namespace: namespace.to_owned(),
            name: ip.to_owned(),
            labels: BTreeMap::from([
                ("app".to_owned(), label.to_owned()),
                ("more".to_owned(), "x".to_owned()),
            ]),
            pod_ip: ip.parse().unwrap(),
            ready,
            containers: BTreeMap::new(),
            specs: vec![container],
        }
    }

    #[test]
    fn only_ready_pods_that_are_selected_get_connections() {
        let endpoints = [
            endpoint("a", "web", true, "127.9.0.2"),
            endpoint("a", "web", false, "127.9.0.3"),
            endpoint("a", "other", true, "127.9.0.4"),
            endpoint("b", "web", true, "127.9.0.5"),
        ];
        let selector = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        for (port, want) in [
            (PortRef::Name("http".to_owned()), vec!["127.9.0.2:8080"]),
            (PortRef::Number(81), vec!["127.9.0.2:81"]),
            (PortRef::Name("nothing".to_owned()), vec![]),
        ] {
            let got: Vec<String> = addresses(&endpoints, "a", &selector, &port)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got, want, "{port:?}");
        }
    }
}
