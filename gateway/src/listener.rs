//! Client connections: accepting, TLS, and who has been quiet for too long.
//!
//! ```text
//!  accept -- PROXY header, from listed networks -- limits --> TLS handshake (deadline) --> hyper (HTTP/1.1 or 2 by ALPN) --> http::handle
//!                                                      ^
//!  Connection: progress of its bytes, requests under way -- sweep each second: idle, slow, stalled -- abort
//! ```
//!
//! There is no timer per request: each connection notes the second of its last byte, and one sweep looks
//! at all of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use slab::Slab;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::Limits;
use crate::gateway::Phase;
use crate::metrics::Refused;
use crate::proxy::Forwarded;
use crate::route::Site;
use crate::shared::ShardContext;
use crate::tunnel;

mod held;
pub(crate) mod proxy_protocol;
mod wire;

pub(crate) use held::Held;
use wire::{First, Progress, Wire};

/// How long a client whose handshake failed may take to take the alert.
const FAREWELL: Duration = Duration::from_secs(1);
/// Most header fields of a request.
const HEADERS_MAX: usize = 128;
/// Longest header of a request, in bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Most a connection buffers before it is parsed or written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Requests under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Streams a client may open and reset at once before its connection is closed.
const RESETS_MAX: usize = 32;
/// How far a client may send ahead on one HTTP/2 stream and connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept for a slow HTTP/2 stream.
const STREAM_BUFFER: usize = 128 * 1024;
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections a drain still takes out of the kernel's queue.
const QUEUED_MAX: usize = 4_096;

/// The connections of one shard.
pub(crate) struct Connections {
    open: RefCell<Slab<Weak<Connection>>>,
    sources: RefCell<HashMap<IpAddr, usize>>,
    handshakes: Cell<usize>,
    /// Seconds this shard has run, at the last tick, also for the bytes of every connection; no step of the
    /// clock makes anybody late.
    age: Arc<AtomicI64>,
}

/// One client connection, also after it was upgraded.
pub(crate) struct Connection {
    source: IpAddr,
    shared: Cell<bool>,
    requests: Cell<u32>,
    /// When the last request was done.
    rested: Cell<i64>,
    /// Since when a part of a request's body is awaited; 0 when it is not.
    body_awaited: Cell<i64>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    progress: Arc<Progress>,
    owner: Rc<Connections>,
    key: Cell<usize>,
    gauge: prometheus::IntGauge,
    forwarded: RefCell<Option<(Rc<Site>, Forwarded)>>,
}

/// A request under way.
pub(crate) struct Active(Rc<Connection>);

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Order {
    GoOn,
    Finish,
    Abort,
}

impl Connections {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: RefCell::default(),
            sources: RefCell::default(),
            handshakes: Cell::new(0),
            age: Arc::new(AtomicI64::new(1)),
        })
    }

    /// Counts a client's connection, unless there are too many.
    pub(crate) fn admit(
        self: &Rc<Self>,
        ctx: &ShardContext,
        source: IpAddr,
    ) -> Result<Rc<Connection>, Refused> {
        let limits = &ctx.shared().limits;
        if self.open.borrow().len() >= limits.connections {
            return Err(Refused::Connections);
        }
        let key = network(source);
        let mut sources = self.sources.borrow_mut();
        let count = sources.entry(key).or_insert(0);
        if *count >= limits.connections_per_source {
            return Err(Refused::Source);
        }
        *count += 1;
        drop(sources);
        let age = self.age.load(Relaxed);
        let gauge = ctx.shared().metrics.connections.clone();
        gauge.inc();
        let connection = Rc::new(Connection {
            source: source.to_canonical(),
            shared: Cell::new(false),
            requests: Cell::new(0),
            rested: Cell::new(age),
            body_awaited: Cell::new(0),
            order: Cell::new(Order::GoOn),
            waker: RefCell::default(),
            progress: Progress::new(&self.age),
            owner: Rc::clone(self),
            key: Cell::new(usize::MAX),
            gauge,
            forwarded: RefCell::default(),
        });
        connection.key.set(self.open.borrow_mut().insert(Rc::downgrade(&connection)));
        Ok(connection)
    }

    /// Counts a client that has yet to show who it is, until the value is dropped.
    fn handshake(self: &Rc<Self>, limits: &Limits) -> Result<Handshaking, Refused> {
        if self.handshakes.get() >= limits.handshakes {
            return Err(Refused::Handshakes);
        }
        self.handshakes.set(self.handshakes.get() + 1);
        Ok(Handshaking(Rc::clone(self)))
    }

    /// Closes whoever is idle, slow or stalled; called each second.
    pub(crate) fn sweep(&self, ctx: &ShardContext, age: i64) {
        self.age.store(age, Relaxed);
        for connection in self.all() {
            match connection.judge(&ctx.shared().limits, age) {
                Some(Order::Abort) => {
                    ctx.shared().metrics.turned_away(Refused::Slow);
                    connection.abort();
                }
                Some(order) => connection.order(order),
                None => {}
            }
        }
    }

    /// Lets every connection finish what it is doing, then close.
    pub(crate) fn finish(&self) {
        self.all().iter().for_each(|connection| connection.order(Order::Finish));
    }

    /// Closes every connection at once.
    pub(crate) fn abort(&self) {
        self.all().iter().for_each(|connection| connection.abort());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        self.open.borrow().iter().filter_map(|(_, connection)| connection.upgrade()).collect()
    }
}

/// Whom a limit per source counts together.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

impl Connection {
    /// Where the client is.
    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    /// Whether requests of several systems may share it (HTTP/2), so that cutting one must spare it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.get()
    }

    /// Where its requests come from, as upstreams are told.
    pub(crate) fn forwarded(&self, site: &Rc<Site>) -> Forwarded {
        let mut kept = self.forwarded.borrow_mut();
        if let Some((of, forwarded)) = &*kept
            && Rc::ptr_eq(of, site)
        {
            return forwarded.clone();
        }
        let forwarded = Forwarded::new(self.source, &site.authority);
        *kept = Some((Rc::clone(site), forwarded.clone()));
        forwarded
    }

    /// Notes a request, until the value is dropped.
    pub(crate) fn active(self: &Rc<Self>) -> Active {
        self.requests.set(self.requests.get() + 1);
        self.progress.busy.store(true, Relaxed);
        self.progress.header.store(0, Relaxed);
        Active(Rc::clone(self))
    }

    /// Notes that a part of a request's body is awaited, or has come.
    pub(crate) fn awaits_body(&self, awaited: bool) {
        self.body_awaited.set(if awaited { self.progress.age.load(Relaxed) } else { 0 });
    }

    /// Closes it at once; what the client has not received yet is lost.
    pub(crate) fn abort(&self) {
        self.progress.aborted.store(true, Relaxed);
        self.order(Order::Abort);
    }

    /// Seconds this shard has run, at the last tick.
    pub(crate) fn age(&self) -> i64 {
        self.progress.age.load(Relaxed)
    }

    /// Waits until it is to be closed at once.
    pub(crate) async fn aborted(&self) {
        self.ordered(Order::Finish).await;
    }

    fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// The next order after `known`.
    async fn ordered(&self, known: Order) -> Order {
        std::future::poll_fn(|cx| {
            if self.order.get() > known {
                return Poll::Ready(self.order.get());
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn judge(&self, limits: &Limits, age: i64) -> Option<Order> {
        let since = |start: i64, limit: u32| start != 0 && age - start >= i64::from(limit);
        let progress = &self.progress;
        if since(progress.blocked.load(Relaxed), limits.stalled_s) {
            return Some(Order::Abort);
        }
        if self.requests.get() > 0 {
            let awaited = self.body_awaited.get();
            let stalled = awaited != 0 && since(awaited.max(progress.read.load(Relaxed)), limits.stalled_s);
            return stalled.then_some(Order::Abort);
        }
        // An HTTP/2 client may send frames that are no request; only its idle time counts.
        if !self.is_shared() && since(progress.header.load(Relaxed), limits.header_s) {
            return Some(Order::Abort);
        }
        // A client that does not even take our farewell is not waited for.
        if since(self.rested.get(), limits.idle_s + limits.stalled_s) {
            return Some(Order::Abort);
        }
        since(self.rested.get(), limits.idle_s).then_some(Order::Finish)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gauge.dec();
        self.owner.open.borrow_mut().try_remove(self.key.get());
        let mut sources = self.owner.sources.borrow_mut();
        let key = network(self.source);
        if let Some(count) = sources.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&key);
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let left = self.0.requests.get().saturating_sub(1);
        self.0.requests.set(left);
        if left == 0 {
            self.0.rested.set(self.0.progress.age.load(Relaxed));
            self.0.progress.busy.store(false, Relaxed);
        }
    }
}

/// Accepts until the drain begins, and then whoever is in the kernel's queue already.
pub(crate) async fn accept(
    ctx: Rc<ShardContext>,
    connections: Rc<Connections>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    mut phase: watch::Receiver<Phase>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let take = |stream, peer| {
        if let Err(reason) = take(&ctx, &connections, &acceptor, stream, peer) {
            ctx.shared().metrics.turned_away(reason);
        }
    };
    let mut draining = pin!(phase.wait_for(|phase| *phase == Phase::Draining));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut draining => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => take(stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closing the listener would reset those whom the kernel has accepted for us.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..QUEUED_MAX {
        let Ok((stream, peer)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(stream, peer);
        }
    }
}

/// Begins to serve a client.
fn take(
    ctx: &Rc<ShardContext>,
    connections: &Rc<Connections>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), Refused> {
    let handshaking = connections.handshake(&ctx.shared().limits)?;
    let (ctx, acceptor) = (Rc::clone(ctx), acceptor.clone());
    // Our own clients reach our own hosts through their tunnels, and say nothing for themselves: this computer may be
    // a balancer as well.
    let announced = ctx.shared().homes.announced(peer);
    if announced.is_none() && ctx.shared().is_balancer(peer.ip()) {
        let connections = Rc::clone(connections);
        tokio::task::spawn_local(behind_balancer(ctx, connections, acceptor, (stream, peer), handshaking));
    } else {
        let connection = connections.admit(&ctx, announced.unwrap_or(peer.ip()))?;
        tokio::task::spawn_local(serve(ctx, connection, stream, acceptor, handshaking));
    }
    Ok(())
}

/// Serves whom a balancer passes on.
async fn behind_balancer(
    ctx: Rc<ShardContext>,
    connections: Rc<Connections>,
    acceptor: TlsAcceptor,
    (mut stream, peer): (TcpStream, SocketAddr),
    handshaking: Handshaking,
) {
    let deadline = Duration::from_secs(u64::from(ctx.shared().limits.handshake_s));
    let source = match tokio::time::timeout(deadline, proxy_protocol::read(&mut stream)).await {
        Ok(Ok(source)) => source.unwrap_or(peer.ip()),
        _ => return ctx.shared().metrics.turned_away(Refused::NoProxyHeader),
    };
    match connections.admit(&ctx, source) {
        Ok(connection) => serve(ctx, connection, stream, acceptor, handshaking).await,
        Err(reason) => ctx.shared().metrics.turned_away(reason),
    }
}

struct Handshaking(Rc<Connections>);

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get().saturating_sub(1));
    }
}

async fn serve(
    ctx: Rc<ShardContext>,
    connection: Rc<Connection>,
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handshaking: Handshaking,
) {
    // Small answers must not wait for the acknowledgement of those before them.
    let _ = stream.set_nodelay(true);
    let deadline = Duration::from_secs(u64::from(ctx.shared().limits.handshake_s));
    let accept = acceptor.accept(Held::new(stream)).into_fallible();
    let accepted = tokio::time::timeout(deadline, accept).await;
    drop(handshaking);
    let mut tls = match accepted {
        Ok(Ok(tls)) => tls,
        refused => {
            ctx.shared().metrics.turned_away(Refused::Handshake);
            if let Ok(Err((_, mut held))) = refused {
                // The alert that says what was wrong may be kept back. Whoever does not take it at once does without.
                let _ = tokio::time::timeout(FAREWELL, held.shutdown()).await;
            }
            return;
        }
    };
    tls.get_mut().0.done();
    let two = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    connection.shared.set(two);
    let mut first = First::default();
    if !two {
        // A tunnel is told by its first bytes: no other client of it speaks of protocols in the handshake.
        let read = First::read(&mut tls, &connection.progress, tunnel::BEGINS);
        first = tokio::select! {
            biased;
            _ = connection.ordered(Order::GoOn) => return,
            read = read => match read {
                Ok(first) => first,
                Err(_) => return,
            },
        };
        if first.is(tunnel::BEGINS) {
            return Box::pin(tunnel::serve(ctx, connection, tls)).await;
        }
    }
    let wire = TokioIo::new(Wire { tls, first, progress: Arc::clone(&connection.progress) });
    let for_requests = Rc::clone(&connection);
    let service = service_fn(move |request| {
        let (ctx, connection) = (Rc::clone(&ctx), Rc::clone(&for_requests));
        async move { Ok::<_, Infallible>(crate::http::handle(ctx, connection, request).await) }
    });
    // What went wrong with a connection is its client's business: nothing is logged for it.
    macro_rules! drive {
        ($server:expr) => {{
            let mut server = pin!($server);
            let mut order = Order::GoOn;
            loop {
                tokio::select! {
                    biased;
                    next = connection.ordered(order) => match next {
                        Order::Abort => break,
                        next => {
                            order = next;
                            server.as_mut().graceful_shutdown();
                        }
                    },
                    _ = server.as_mut() => break,
                }
            }
        }};
    }
    if two {
        drive!(two_settings().serve_connection(wire, service));
    } else {
        drive!(one_settings().serve_connection(wire, service).with_upgrades());
    }
}

fn one_settings() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES)
        // The sweep looks after slow headers; hyper's own timer would cost one allocation per request.
        .header_read_timeout(None)
        .pipeline_flush(true);
    builder
}

fn two_settings() -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_BUFFER);
    builder
}

/// Runs what hyper wants to run beside a connection on the same shard.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
