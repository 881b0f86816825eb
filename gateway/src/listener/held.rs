//! A TCP stream that keeps a session ticket back until there is something to send with it.
//!
//! A handshake in TLS 1.3 ends with a record that nobody waits for: the ticket for a later connection. Sent on
//! its own it costs a system call and a packet, and wakes the client for nothing. It goes out with the first
//! answer instead, or with the farewell.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The type of a record that is encrypted; the server's first flight begins with another.
const ENCRYPTED: u8 = 23;
/// Longest that is kept back; a ticket is shorter.
const HELD_MAX: usize = 1_024;

/// A client's connection below TLS.
pub(super) struct Held {
    tcp: TcpStream,
    held: Vec<u8>,
    /// Until the first bytes after the handshake.
    handshaking: bool,
    /// Whether the last write ended within a record, so that what follows is the rest of it.
    partial: bool,
}

impl Held {
    /// A connection whose handshake begins.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, held: Vec::new(), handshaking: true, partial: false }
    }

    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Notes that the handshake is done: nothing more is kept back.
    pub(super) fn done(&mut self) {
        self.handshaking = false;
    }

    /// Whether this is a ticket: a whole short encrypted write in a handshake.
    fn is_ticket(&self, length: usize, first: Option<u8>) -> bool {
        self.handshaking && !self.partial && first == Some(ENCRYPTED) && self.held.len() + length <= HELD_MAX
    }

    /// Sends what was kept back.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match Pin::new(&mut self.tcp).poll_write(cx, &self.held) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => drop(self.held.drain(..sent)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let first = slices.iter().find_map(|slice| slice.first().copied());
        if this.is_ticket(length, first) {
            for slice in slices {
                this.held.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(length));
        }
        if this.held.is_empty() {
            let outcome = Pin::new(&mut this.tcp).poll_write_vectored(cx, slices);
            this.partial = matches!(&outcome, Poll::Ready(Ok(sent)) if *sent < length);
            return outcome;
        }
        // Together, in one call: this happens once in the life of a connection.
        let held = std::mem::take(&mut this.held);
        let all: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(&held))
            .chain(slices.iter().map(|slice| IoSlice::new(slice)))
            .collect();
        let outcome = Pin::new(&mut this.tcp).poll_write_vectored(cx, &all);
        let sent = if let Poll::Ready(Ok(sent)) = &outcome { *sent } else { 0 };
        this.held = held.get(sent..).unwrap_or_default().to_vec();
        match outcome {
            Poll::Ready(Ok(sent)) if sent > held.len() => Poll::Ready(Ok(sent - held.len())),
            // None of the new bytes went out yet: try again without the caller, who would take 0 for the end.
            Poll::Ready(Ok(_)) => {
                std::task::ready!(this.poll_release(cx))?;
                Pin::new(&mut this.tcp).poll_write_vectored(cx, slices)
            }
            other => other,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_release(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
