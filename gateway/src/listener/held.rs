//! A stream that keeps a session ticket back until there is something to send with it.
//!
//! A handshake in TLS 1.3 ends with a record that nobody waits for: the ticket for a later connection. Sent on
//! its own it costs a system call and a packet, and wakes the client for nothing. It goes out with the first
//! answer instead, or with the farewell.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

/// The type of a record that is encrypted; the server's first flight begins with another.
const ENCRYPTED: u8 = 23;
/// Longest that is kept back; a ticket is shorter.
const HELD_MAX: usize = 1_024;

/// A client's connection below TLS.
pub(crate) struct Held<S> {
    stream: S,
    held: Vec<u8>,
    /// Until the first bytes after the handshake.
    handshaking: bool,
    /// Whether the last write ended within a record, so that what follows is the rest of it.
    partial: bool,
}

impl<S> Held<S> {
    /// A connection whose handshake begins.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), handshaking: true, partial: false }
    }

    /// The socket.
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The connection by itself. What is kept back has gone out by then: with the first answer.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Notes that the handshake is done: nothing more is kept back.
    pub(super) fn done(&mut self) {
        self.handshaking = false;
    }

    /// Whether this is a ticket: a whole short encrypted write in a handshake.
    fn is_ticket(&self, length: usize, first: Option<u8>) -> bool {
        self.handshaking && !self.partial && first == Some(ENCRYPTED) && self.held.len() + length <= HELD_MAX
    }

    /// Notes whether a write of `length` bytes ended within a record. One that did not happen changes nothing.
    fn note(&mut self, length: usize, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(sent)) = outcome {
            self.partial = *sent < length;
        }
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Sends what was kept back.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.held) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => drop(self.held.drain(..sent)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
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
            let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
            this.note(length, &outcome);
            return outcome;
        }
        // Together, in one call: this happens once in the life of a connection.
        let held = std::mem::take(&mut this.held);
        let all: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(&held))
            .chain(slices.iter().map(|slice| IoSlice::new(slice)))
            .collect();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, &all);
        let sent = if let Poll::Ready(Ok(sent)) = &outcome { *sent } else { 0 };
        this.held = held.get(sent..).unwrap_or_default().to_vec();
        let outcome = match outcome {
            Poll::Ready(Ok(sent)) if sent > held.len() => Poll::Ready(Ok(sent - held.len())),
            // None of the new bytes went out yet: try again without the caller, who would take 0 for the end.
            Poll::Ready(Ok(_)) => {
                std::task::ready!(this.poll_release(cx))?;
                Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
            }
            other => other,
        };
        this.note(length, &outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
