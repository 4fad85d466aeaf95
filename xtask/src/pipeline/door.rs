//! The front door of an environment: an address that stays, in front of a service whose address comes and goes.
//!
//! `verbatim.yaml` names the URL of an environment before anything runs there; this is what an ingress does for a
//! cluster. It only forwards bytes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Asking where a service is takes a millisecond, and connecting to it another.
const PATIENCE: Duration = Duration::from_secs(5);

/// A front door. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Door {
    /// Opens a door on a free port of 127.0.0.1. `where_to` is a URL that answers with the address of the service as
    /// text, as the node agent does; while it does not, connections are closed at once.
    pub(super) async fn open(where_to: String) -> Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let address = listener.local_addr()?;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A visitor that finds nobody in sees a closed connection; there is nobody here to tell.
                tokio::spawn(forward(stream, client.clone(), where_to.clone()));
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

async fn forward(mut visitor: TcpStream, client: reqwest::Client, where_to: String) -> Result<()> {
    let address = client.get(&where_to).send().await?.error_for_status()?.text().await?;
    let mut service = tokio::time::timeout(PATIENCE, TcpStream::connect(address.trim())).await??;
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
        let told =
            axum::Router::new().route("/app", axum::routing::get(move || async move { address }));
        let directory = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", directory.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(directory, told).await });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = service.accept().await {
                stream.write_all(b"hello").await.unwrap();
            }
        });
        let read = async |path: &str| {
            let door = Door::open(format!("{base}{path}")).await.unwrap();
            let mut stream = TcpStream::connect(door.address).await.unwrap();
            let mut text = String::new();
            // A door to nowhere closes the connection, with or without a reset.
            let _ = stream.read_to_string(&mut text).await;
            text
        };
        assert_eq!(read("/app").await, "hello");
        assert_eq!(read("/other").await, "");
    }
}
