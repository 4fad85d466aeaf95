//! The part of a kubelet's own API that the API server asks for logs: `GET /containerLogs/NAMESPACE/POD/CONTAINER`, over
//! TLS with a certificate that nobody checks, as between an API server and a kubelet that was not told otherwise.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Shared, engine::Written};

/// A client that has not said hello by then is left alone, so that it cannot keep the others waiting.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Which part of a log: `PodLogOptions` of Kubernetes, as the API server sends it on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<u64>,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
    limit_bytes: Option<usize>,
}

impl Options {
    /// What the engine is asked for.
    fn written(&self, now: Timestamp) -> Written {
        let seconds_ago = |ago: i64| now.as_second().saturating_sub(ago);
        let since = self.since_seconds.map(seconds_ago);
        Written {
            follow: self.follow,
            timestamps: self.timestamps,
            tail: self.tail_lines,
            since: since.or_else(|| self.since_time.map(|time| time.as_second())),
        }
    }
}

/// Serves until the agent ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    let secure = Secure { acceptor: acceptor(listener.local_addr()?)?, listener };
    let router = Router::new().route("/containerLogs/{namespace}/{pod}/{container}", get(logs));
    axum::serve(secure, router.with_state(shared)).await.context("the log endpoint ended")
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(options): Query<Options>,
) -> Response {
    let refused = |why: &str| {
        let why = format!("container \"{container}\" in pod \"{pod}\" {why}\n");
        (StatusCode::BAD_REQUEST, why).into_response()
    };
    if options.previous {
        // The agent removes a container before it starts the next one.
        return refused("has no earlier container");
    }
    let Some(id) = shared.container(&namespace, &pod, &container) else {
        return refused("is waiting to start");
    };
    let written = shared.engine.written(&id, &options.written(Timestamp::now()));
    let left = options.limit_bytes.unwrap_or(usize::MAX);
    Body::from_stream(stream::unfold((written, left), |(mut written, left)| async move {
        let chunk: Result<Bytes, io::Error> = written.recv().await?;
        let chunk = chunk.map(|bytes| bytes.slice(..bytes.len().min(left)));
        let left = left - chunk.as_ref().map_or(0, Bytes::len);
        (left > 0 || chunk.as_ref().is_ok_and(|bytes| !bytes.is_empty()))
            .then_some((chunk, (written, left)))
    }))
    .into_response()
}

fn acceptor(address: SocketAddr) -> anyhow::Result<TlsAcceptor> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed([address.ip().to_string()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Secure {
    acceptor: TlsAcceptor,
    listener: TcpListener,
}

impl axum::serve::Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            let handshake = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await;
            match handshake {
                Ok(Ok(stream)) => return (stream, address),
                Ok(Err(error)) => tracing::debug!("a handshake failed: {error}"),
                Err(_) => tracing::debug!("a handshake took too long"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_engine() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let check = |query: &str, want: Written| {
            let uri = format!("http://node/x?{query}").parse().unwrap();
            let Query(options) = Query::<Options>::try_from_uri(&uri).unwrap();
            assert_eq!(options.written(now), want, "{query}");
        };
        let none = Written::default;
        check("", none());
        check(
            "follow=true&timestamps=true&tailLines=3",
            Written { follow: true, timestamps: true, tail: Some(3), ..none() },
        );
        check("sinceSeconds=60", Written { since: Some(now.as_second() - 60), ..none() });
        check(
            "sinceTime=2026-11-24T09%3A59%3A30Z",
            Written { since: Some(now.as_second() - 30), ..none() },
        );
    }
}
