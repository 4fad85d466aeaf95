//! Whether a server speaks TLS, found out by its first byte. Sends no request.
//!
//! A registry on this machine may speak either. docker, containerd and crane try TLS first and then plain HTTP; to begin a
//! handshake tells the same, and no request is sent that may be answered by something odd.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take for its first byte. One that says nothing until it has a request speaks no TLS.
const PATIENCE: Duration = Duration::from_secs(2);

/// The types of the records with which a server can answer ([RFC 8446, section 5.1][rfc]): an alert, or its hello.
///
/// [rfc]: https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const ALERT_OR_HANDSHAKE: [u8; 2] = [21, 22];

/// Whether the server there speaks TLS; `None` if nobody is there.
pub(crate) async fn speaks_tls(host: &str, port: u16, config: ClientConfig) -> Option<bool> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    let mut stream = timeout(PATIENCE, TcpStream::connect((host, port))).await.ok()?.ok()?;
    let first = timeout(PATIENCE, async {
        stream.write_all(&hello).await?;
        stream.read_u8().await
    });
    let speaks = matches!(first.await, Ok(Ok(first)) if ALERT_OR_HANDSHAKE.contains(&first));
    tracing::debug!(host, port, speaks, "asked for TLS");
    Some(speaks)
}
