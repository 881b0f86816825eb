//! The bytes of a client connection, and when they moved last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::held::Held;

/// The shard's age at the last bytes. It travels with the bytes, which hyper wants to be able to send elsewhere.
pub(super) struct Progress {
    pub(super) age: Arc<AtomicI64>,
    pub(super) read: AtomicI64,
    /// Since when bytes of a request's header come in; 0 when none are awaited.
    pub(super) header: AtomicI64,
    /// Whether a request is under way, so that bytes are not a new header.
    pub(super) busy: AtomicBool,
    /// Since when nothing could be written; 0 when it can.
    pub(super) blocked: AtomicI64,
    pub(super) aborted: AtomicBool,
}

impl Progress {
    /// Of a connection that begins now.
    pub(super) fn new(age: &Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(Self {
            age: Arc::clone(age),
            read: AtomicI64::new(age.load(Relaxed)),
            header: AtomicI64::new(0),
            busy: AtomicBool::new(false),
            blocked: AtomicI64::new(0),
            aborted: AtomicBool::new(false),
        })
    }
}

/// The bytes of a connection, with note of when they moved.
pub(super) struct Wire {
    pub(super) tls: TlsStream<Held<TcpStream>>,
    pub(super) progress: Arc<Progress>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.progress.aborted.load(Relaxed) {
            // What lies in the kernel's buffers is not delivered any more.
            let _ = socket2::SockRef::from(self.tls.get_ref().0.get_ref()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Wire {
    fn wrote<T>(&self, outcome: &Poll<io::Result<T>>) {
        match outcome {
            Poll::Ready(_) => self.progress.blocked.store(0, Relaxed),
            Poll::Pending if self.progress.blocked.load(Relaxed) == 0 => {
                self.progress.blocked.store(self.progress.age.load(Relaxed), Relaxed);
            }
            Poll::Pending => {}
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let progress = &self.progress;
            let age = progress.age.load(Relaxed);
            progress.read.store(age, Relaxed);
            if !progress.busy.load(Relaxed) && progress.header.load(Relaxed) == 0 {
                progress.header.store(age, Relaxed);
            }
        }
        outcome
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tls).poll_write(cx, bytes);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tls).poll_write_vectored(cx, slices);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.tls).poll_flush(cx);
        self.wrote(&outcome);
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
