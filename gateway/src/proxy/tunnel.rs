//! A WebSocket after its handshake: bytes both ways until one side ends or the flow is cut.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::live::Flow;

/// What is read at once; messages are small, and there may be many of these connections.
const BUFFER_BYTES: usize = 8 * 1024;

/// Joins both ends. Dropping them, which is what a cut does, closes both connections.
pub(super) async fn run(flow: Rc<Flow>, client: OnUpgrade, upstream: OnUpgrade) {
    flow.tunnels();
    let joined = async {
        let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) else { return };
        let mut client = Noted { io: TokioIo::new(client), flow: &flow };
        let mut upstream = TokioIo::new(upstream);
        // However it ends, both ends are closed.
        let _ = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await;
    };
    tokio::select! {
        biased;
        _ = flow.cut() => {}
        () = joined => {}
    }
}

/// The client's end; the flow knows when bytes move.
struct Noted<'a> {
    io: TokioIo<Upgraded>,
    flow: &'a Flow,
}

impl AsyncRead for Noted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if polled.is_ready() {
            self.flow.touch();
        }
        polled
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
