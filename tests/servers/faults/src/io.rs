//! The two ends of a proxied connection as byte streams. No HTTP here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Upstream;

/// Says whether a client's connection ends with RST instead of FIN.
#[derive(Debug, Clone, Default)]
pub(super) struct EndWithReset(Arc<AtomicBool>);

impl EndWithReset {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
pub(super) struct ClientStream {
    stream: TcpStream,
    reset: EndWithReset,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream) -> (Self, EndWithReset) {
        let reset = EndWithReset::default();
        (Self { stream, reset: reset.clone() }, reset)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Acquire) {
            // A linger time of zero makes the kernel answer the close with RST.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.0.load(Ordering::Acquire) {
            // A shutdown would send FIN before the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What both kinds of connection to the service can do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a connection to the service.
pub(super) async fn connect(upstream: &Upstream) -> io::Result<Box<dyn Stream>> {
    Ok(match upstream {
        Upstream::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Upstream::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}
