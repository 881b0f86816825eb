//! The body of a request on its way to an upstream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::BodyError;
use crate::listener::Connection;
use crate::live::{Flow, Relay};

/// What an upstream is sent.
pub(crate) enum RequestBody {
    /// Nothing.
    Empty,
    /// What the client sends, passed on frame by frame while it may.
    Relay(Relay<Awaited>),
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, connection: &Rc<Connection>, flow: &Rc<Flow>) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        Self::Relay(Relay::new(Awaited::new(body, connection), Rc::clone(flow), None))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Relay(relay) => Pin::new(relay).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}

/// A client's body; its connection knows while it keeps us waiting, and may be closed for it.
pub(crate) struct Awaited {
    body: Incoming,
    connection: Rc<Connection>,
}

impl Awaited {
    pub(crate) fn new(body: Incoming, connection: &Rc<Connection>) -> Self {
        Self { body, connection: Rc::clone(connection) }
    }
}

impl Body for Awaited {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.connection.awaits_body(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.connection.awaits_body(false);
    }
}
