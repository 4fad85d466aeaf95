//! Runs the probes of a container and reports each outcome. How many outcomes mean what: [`super::machine`].

use std::{net::IpAddr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::{
    engine::Engine,
    model::{Container, Probe},
};

/// Looks this often before the first success, so that a quick start is seen quickly. Failures of these looks count
/// only once a period.
const EARLY: Duration = Duration::from_millis(150);

/// Where a container can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) engine: Engine,
    pub(crate) http: reqwest::Client,
    pub(crate) container_id: String,
    pub(crate) pod_ip: IpAddr,
    pub(crate) container: Container,
}

/// Probes for ever; `report` is told each outcome and answers whether to go on.
pub(crate) async fn run(target: Target, probe: Probe, mut report: impl FnMut(bool) -> bool) {
    let period = Duration::from_secs(probe.period_seconds.max(1));
    tokio::time::sleep(Duration::from_secs(probe.initial_delay_seconds)).await;
    let mut succeeded = false;
    loop {
        let mut outcome = look(&target, &probe).await;
        let mut waited = Duration::ZERO;
        while !outcome && !succeeded && waited + EARLY < period {
            tokio::time::sleep(EARLY).await;
            waited += EARLY;
            outcome = look(&target, &probe).await;
        }
        succeeded |= outcome;
        if !report(outcome) {
            return;
        }
        tokio::time::sleep(if outcome { period } else { period.saturating_sub(waited) }).await;
    }
}

async fn look(target: &Target, probe: &Probe) -> bool {
    let limit = Duration::from_secs(probe.timeout_seconds.max(1));
    timeout(limit, look_once(target, probe)).await.unwrap_or(false)
}

async fn look_once(target: &Target, probe: &Probe) -> bool {
    let port = |port: &super::model::PortRef| port.resolve([&target.container]);
    let host =
        |host: &str| if host.is_empty() { target.pod_ip.to_string() } else { host.to_owned() };
    if let Some(get) = &probe.http_get {
        let Some(port) = port(&get.port) else { return false };
        let scheme = if get.scheme.eq_ignore_ascii_case("https") { "https" } else { "http" };
        let path = get.path.trim_start_matches('/');
        let mut request = target.http.get(format!("{scheme}://{}:{port}/{path}", host(&get.host)));
        for header in &get.http_headers {
            request = request.header(&header.name, &header.value);
        }
        return match request.send().await {
            Ok(answer) => answer.status().is_success() || answer.status().is_redirection(),
            Err(_) => false,
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        let Some(port) = port(&tcp.port) else { return false };
        return TcpStream::connect((host(&tcp.host), port)).await.is_ok();
    }
    if let Some(exec) = &probe.exec {
        return target.engine.exec(&target.container_id, &exec.command).await.unwrap_or(false);
    }
    // A kind that this agent does not know: never ready, so that it is noticed.
    false
}
