//! The Node: its range of pod addresses, and its object in the API server.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Mutex,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    kube::{Kube, Patch},
    status::time,
};

/// A kubelet's port. Whoever listens on it at `127.A.B.1` owns `127.A.B.0/24`: agents side by side never share pod
/// addresses, and nothing has to be configured.
const CLAIM_PORT: u16 = 10250;

/// Addresses that pods get: `.2` to `.254` of the range.
const FIRST: u8 = 2;
const LAST: u8 = 254;

/// How many pods the node takes.
const PODS: u32 = (LAST - FIRST) as u32;

/// The addresses of a node's pods.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: [u8; 2],
    state: Mutex<AddressState>,
}

#[derive(Debug)]
struct AddressState {
    used: BTreeSet<u8>,
    last: u8,
}

impl Addresses {
    fn new(range: [u8; 2]) -> Self {
        Self { range, state: Mutex::new(AddressState { used: BTreeSet::new(), last: FIRST - 1 }) }
    }

    fn address(&self, last: u8) -> IpAddr {
        let [a, b] = self.range;
        Ipv4Addr::new(127, a, b, last).into()
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.address(1)
    }

    /// An address that no pod has; the one that was given back longest ago. `None` if all are taken.
    pub(crate) fn take(&self) -> Option<IpAddr> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = state.last;
        let free = (last + 1..=LAST)
            .chain(FIRST..=last)
            .find(|it| *it >= FIRST && !state.used.contains(it))?;
        state.used.insert(free);
        state.last = free;
        Some(self.address(free))
    }

    pub(crate) fn give_back(&self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            state.used.remove(&address.octets()[3]);
        }
    }
}

/// Claims a range of addresses that no other agent on this machine has. The listener holds the claim.
pub(crate) async fn claim() -> anyhow::Result<(TcpListener, Addresses)> {
    let mut refused = None;
    for _ in 0..32 {
        let mut random = [0; 2];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        // 127.0 to 127.15 are left alone: people use them by hand.
        let range = [16 + random[0] % 224, random[1]];
        let addresses = Addresses::new(range);
        match TcpListener::bind((addresses.host(), CLAIM_PORT)).await {
            Ok(listener) => return Ok((listener, addresses)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => Err(error).context(format!(
            "no range of 127.0.0.0/8 is free: port {CLAIM_PORT} is taken everywhere, perhaps by a kubelet on all addresses"
        )),
        None => bail!("no range was tried"),
    }
}

/// Registers the Node and calls it ready. The API server asks for logs at `port`.
pub(crate) async fn register(
    kube: &Kube,
    name: &str,
    addresses: &Addresses,
    port: u16,
) -> anyhow::Result<()> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let path = format!("/api/v1/nodes/{name}");
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": std::env::consts::OS,
            "kubernetes.io/arch": arch,
        }},
    });
    kube.patch(&format!("{path}?fieldManager=node-agent&force=true"), Patch::Apply, &node).await?;
    let now = time(Timestamp::now());
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "the node agent runs",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    // More than the machine has: requests and limits of tests shall not decide where pods fit.
    let capacity = json!({ "cpu": "1k", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": PODS.to_string() });
    let status = json!({ "status": {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            { "type": "InternalIP", "address": addresses.host().to_string() },
            { "type": "Hostname", "address": name },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        "conditions": [
            condition("Ready", "True", "NodeAgentReady"),
            condition("MemoryPressure", "False", "NodeAgentHasMemory"),
            condition("DiskPressure", "False", "NodeAgentHasDisk"),
            condition("PIDPressure", "False", "NodeAgentHasPID"),
        ],
    }});
    kube.patch(&format!("{path}/status"), Patch::Strategic, &status).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_not_reused_at_once() {
        let addresses = Addresses::new([20, 30]);
        let first = addresses.take().unwrap();
        assert_eq!(first.to_string(), "127.20.30.2");
        addresses.give_back(first);
        assert_eq!(addresses.take().unwrap().to_string(), "127.20.30.3");
        for _ in 0..252 {
            addresses.take().unwrap();
        }
        assert_eq!(addresses.take(), None);
        addresses.give_back(first);
        assert_eq!(addresses.take(), Some(first));
    }

    #[tokio::test]
    async fn two_agents_get_two_ranges() {
        let (_first, a) = claim().await.unwrap();
        let (_second, b) = claim().await.unwrap();
        assert_ne!(a.range, b.range);
    }
}
