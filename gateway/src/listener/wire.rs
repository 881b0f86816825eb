//! The bytes of a client connection, and when they moved last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
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

    /// Notes that bytes have come in.
    fn moved(&self) {
        let age = self.age.load(Relaxed);
        self.read.store(age, Relaxed);
        if !self.busy.load(Relaxed) && self.header.load(Relaxed) == 0 {
            self.header.store(age, Relaxed);
        }
    }
}

/// The bytes of a connection, with note of when they moved.
pub(super) struct Wire {
    pub(super) tls: TlsStream<Held<TcpStream>>,
    /// What was read to see what the client wants.
    pub(super) first: First,
    pub(super) progress: Arc<Progress>,
}

/// The first bytes of a connection.
#[derive(Default)]
pub(super) struct First {
    bytes: [u8; FIRST_BYTES],
    end: usize,
    /// How many of them were read a second time.
    given: usize,
}

/// How many bytes tell what a client wants.
const FIRST_BYTES: usize = 8;

impl First {
    /// Reads for as long as it may become `wanted`.
    pub(super) async fn read(
        tls: &mut TlsStream<Held<TcpStream>>,
        progress: &Progress,
        wanted: &[u8; FIRST_BYTES],
    ) -> io::Result<Self> {
        let mut first = Self::default();
        while !first.is(wanted) && wanted.starts_with(first.left()) {
            let room = first.bytes.get_mut(first.end..).unwrap_or_default();
            let count = tls.read(room).await?;
            if count == 0 {
                break;
            }
            first.end += count;
            progress.moved();
        }
        Ok(first)
    }

    /// Whether it is all of `wanted`.
    pub(super) fn is(&self, wanted: &[u8; FIRST_BYTES]) -> bool {
        self.left() == wanted
    }

    fn left(&self) -> &[u8] {
        self.bytes.get(self.given..self.end).unwrap_or_default()
    }

    /// Gives it out once more; true when there was something.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let count = self.left().len().min(buffer.remaining());
        buffer.put_slice(self.left().get(..count).unwrap_or_default());
        self.given += count;
        count > 0
    }
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
        if self.first.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.progress.moved();
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
