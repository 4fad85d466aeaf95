//! A task that serves one listener and ends with its handle.
//!
//! It knows nothing about what is served.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running HTTP server; dropping it closes the listener and aborts its task.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    /// Binds `listen` (port 0 for any free port) and serves `app` until the handle is dropped.
    pub async fn start(listen: SocketAddr, app: axum::Router) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self::on(listener, address, app))
    }

    /// Serves `app` on a listener that is bound to `address`: for one that has to know its address before.
    pub fn on(listener: TcpListener, address: SocketAddr, app: axum::Router) -> Self {
        let task = tokio::spawn(async move {
            // `axum::serve` never returns without a graceful shutdown; accept errors are retried inside.
            let _ = axum::serve(listener, app).await;
        });
        Self { address, task }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Any free port on the loopback address.
pub fn any_loopback_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
