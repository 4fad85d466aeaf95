//! The front door of an environment: an address that stays, in front of a service whose address comes and goes.
//!
//! `verbatim.yaml` names the URL of an environment before anything runs there; this is what an ingress does for a
//! cluster. It only forwards bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::processes::Processes;

/// Asking where a service is takes a millisecond, and connecting to it another.
const PATIENCE: Duration = Duration::from_secs(5);

/// A service behind a door, and who knows where it is.
#[derive(Debug)]
pub(super) enum Service {
    /// A node agent answers its address, as text, at this URL.
    Container(reqwest::Client, String),
    /// An ordinary process runs in the place of this application's container.
    Process(Arc<Processes>, String),
}

impl Service {
    /// The service with this name in the namespace `default`, which a node agent at `agent` runs.
    pub(super) fn container(agent: &str, name: &str) -> Result<Service> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Service::Container(client, format!("{agent}/services/default/{name}")))
    }

    async fn address(&self) -> Result<SocketAddr> {
        match self {
            Service::Container(client, url) => {
                let answer = client.get(url).send().await?.error_for_status()?.text().await?;
                answer.trim().parse().context("the node agent answers no address")
            }
            Service::Process(processes, app) => processes.address(app).await,
        }
    }
}

/// A front door. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Door {
    /// Opens a door on a free port of 127.0.0.1. While nobody knows where the service is, connections are closed at
    /// once.
    pub(super) async fn open(service: Service) -> Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let address = listener.local_addr()?;
        let service = Arc::new(service);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A visitor that finds nobody in sees a closed connection; there is nobody here to tell.
                tokio::spawn(forward(stream, service.clone()));
            }
        });
        Ok(Door { address, accept })
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn forward(mut visitor: TcpStream, service: Arc<Service>) -> Result<()> {
    let address = service.address().await?;
    let mut service = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await??;
    copy_bidirectional(&mut visitor, &mut service).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_door_leads_to_where_the_service_is() {
        // No client here uses TLS, but reqwest wants to know whose it would be.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.local_addr().unwrap().to_string();
        let told = axum::Router::new()
            .route("/services/default/app", axum::routing::get(move || async move { address }));
        let directory = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", directory.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(directory, told).await });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = service.accept().await {
                stream.write_all(b"hello").await.unwrap();
            }
        });
        let read = async |name: &str| {
            let door = Door::open(Service::container(&base, name).unwrap()).await.unwrap();
            let mut stream = TcpStream::connect(door.address).await.unwrap();
            let mut text = String::new();
            // A door to nowhere closes the connection, with or without a reset.
            let _ = stream.read_to_string(&mut text).await;
            text
        };
        assert_eq!(read("app").await, "hello");
        assert_eq!(read("other").await, "");
    }
}
