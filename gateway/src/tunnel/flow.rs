//! One flow of a client: a TCP connection, an exchange of datagrams, or a row of pings, and the socket it goes on
//! with. Each has a task that dials and then waits for its socket; the work itself is the session's.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tidegate_core::{Code, Timestamp};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Notify;

use super::grant::Grant;
use super::limits::{BYTES_WAITING, DATAGRAMS_WAITING, DIAL_WAIT, DNS_IDLE_S, UDP_IDLE_S};
use super::stack::Stack;
use super::state::Session;
use crate::shared::ShardContext;
use crate::upstream;

/// What tells a client's flows apart; its own address does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) protocol: Kind,
    /// The client's port, or the number of its pings.
    pub(super) source: u16,
    pub(super) target: IpAddr,
    /// 0 for pings.
    pub(super) port: u16,
}

/// The kinds of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Tcp,
    Udp,
    Ping,
}

/// A flow that was allowed.
pub(super) struct Flow {
    pub(super) key: Key,
    /// By whose word; `None` for the gateway's own hosts.
    pub(super) grant: RefCell<Option<Grant>>,
    /// The first instant at which time alone may change that.
    pub(super) due: Cell<Timestamp>,
    /// Where it was dialled, before any mapping.
    pub(super) address: Cell<Option<IpAddr>>,
    /// Bytes of the client.
    pub(super) up: Cell<u64>,
    /// Bytes for the client.
    pub(super) down: Cell<u64>,
    pub(super) since: Timestamp,
    /// The shard's age when something last went by.
    pub(super) active: Cell<i64>,
    /// Set once, when it is over.
    pub(super) closed: Cell<bool>,
    /// Wakes its task.
    pub(super) wake: Notify,
    pub(super) end: End,
}

/// The far end of a flow.
pub(super) enum End {
    Tcp(Box<Tcp>),
    Datagrams(Datagrams),
}

/// A TCP connection.
#[derive(Default)]
pub(super) struct Tcp {
    /// The client's first segment, until the system has answered.
    pub(super) syn: RefCell<Vec<u8>>,
    /// The number of that segment.
    pub(super) first: u32,
    pub(super) stack: RefCell<Option<Stack>>,
    pub(super) upstream: RefCell<Option<Rc<TcpStream>>>,
    /// Bytes of its buffers, each direction.
    pub(super) share: Cell<usize>,
    /// What its task is to wait for, and what it waits for.
    pub(super) wants: Cell<Wants>,
    pub(super) waits: Cell<Wants>,
    /// Whether the system sends no more.
    pub(super) ended: Cell<bool>,
    /// Whether the client sends no more, and the system was told.
    pub(super) told: Cell<bool>,
    /// Whether it is in the queue of those that have something to send.
    pub(super) queued: Cell<bool>,
    /// When its stack wants to be asked again.
    pub(super) timer: Cell<Option<Duration>>,
}

/// Datagrams or pings.
#[derive(Default)]
pub(super) struct Datagrams {
    pub(super) socket: RefCell<Option<Rc<UdpSocket>>>,
    /// What came before there was a socket.
    pub(super) waiting: RefCell<Vec<Vec<u8>>>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Wants {
    fn interest(self) -> Option<Interest> {
        match (self.read, self.write) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        }
    }
}

impl Flow {
    /// Seconds of silence after which it is forgotten; a TCP connection says itself when it ends.
    pub(super) fn patience(&self) -> Option<i64> {
        match (self.key.protocol, self.key.port) {
            (Kind::Tcp, _) => None,
            (Kind::Udp, 53) => Some(DNS_IDLE_S),
            _ => Some(UDP_IDLE_S),
        }
    }

    /// The TCP connection, if it is one.
    pub(super) fn tcp(&self) -> Option<&Tcp> {
        match &self.end {
            End::Tcp(tcp) => Some(tcp),
            End::Datagrams(_) => None,
        }
    }

    /// The datagrams, if it is made of them.
    pub(super) fn datagrams(&self) -> Option<&Datagrams> {
        match &self.end {
            End::Tcp(_) => None,
            End::Datagrams(datagrams) => Some(datagrams),
        }
    }

    /// Waits until it is closed.
    async fn closed(&self) {
        while !self.closed.get() {
            self.wake.notified().await;
        }
    }
}

impl Datagrams {
    /// Keeps what came too early, if there is room.
    pub(super) fn keep(&self, payload: &[u8]) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let kept: usize = waiting.iter().map(Vec::len).sum();
        let fits = waiting.len() < DATAGRAMS_WAITING && kept + payload.len() <= BYTES_WAITING;
        if fits {
            waiting.push(payload.to_vec());
        }
        fits
    }
}

/// Dials for a flow and serves it until it is over.
pub(super) async fn run(session: Rc<Session>, flow: Rc<Flow>) {
    let dialling = async { tokio::time::timeout(DIAL_WAIT, dial(&session, &flow)).await };
    let dialled = tokio::select! {
        biased;
        () = flow.closed() => return,
        dialled = dialling => dialled.unwrap_or(Err(Code::UpstreamTimeout)),
    };
    match dialled {
        Ok(Dialled::Tcp(stream)) => {
            let stream = Rc::new(stream);
            session.connected(&flow, Rc::clone(&stream));
            serve_tcp(&session, &flow, &stream).await;
        }
        Ok(Dialled::Datagrams(socket)) => {
            let socket = Rc::new(socket);
            // Until it has said so once, it takes nothing.
            let _ = socket.writable().await;
            session.bound(&flow, Rc::clone(&socket));
            serve_datagrams(&session, &flow, &socket).await;
        }
        Err(code) => session.not_dialled(&flow, code),
    }
}

async fn serve_tcp(session: &Rc<Session>, flow: &Rc<Flow>, stream: &TcpStream) {
    let Some(tcp) = flow.tcp() else { return };
    while !flow.closed.get() {
        let wants = tcp.wants.get();
        tcp.waits.set(wants);
        match wants.interest() {
            Some(interest) => tokio::select! {
                biased;
                () = flow.wake.notified() => continue,
                ready = stream.ready(interest) => if ready.is_err() {
                    return session.broken(flow);
                },
            },
            None => {
                flow.wake.notified().await;
                continue;
            }
        }
        session.served(flow);
        session.nudge();
    }
}

async fn serve_datagrams(session: &Rc<Session>, flow: &Rc<Flow>, socket: &UdpSocket) {
    while !flow.closed.get() {
        tokio::select! {
            biased;
            () = flow.wake.notified() => continue,
            ready = socket.readable() => if ready.is_err() {
                return session.broken(flow);
            },
        }
        session.datagrams(flow, socket);
    }
}

enum Dialled {
    Tcp(TcpStream),
    Datagrams(UdpSocket),
}

/// Resolves, checks each address, and connects to the first that answers.
async fn dial(session: &Session, flow: &Flow) -> Result<Dialled, Code> {
    let ctx = session.ctx();
    let Key { protocol, port, .. } = flow.key;
    let grant = flow.grant.borrow().clone();
    let Some(grant) = grant else {
        let stream = own(ctx, session.source()).await;
        return stream.map(Dialled::Tcp).map_err(|_| Code::UpstreamUnreachable);
    };
    let addresses = ctx.pool.addresses(grant.permit.owner(), &grant.host, ctx.now()).await?;
    let mut failed = Code::NameNotResolved;
    for address in addresses {
        // The grant may be a newer one than before the last wait.
        let grant = flow.grant.borrow().clone().unwrap_or_else(|| grant.clone());
        if let Err(code) = upstream::may_dial(grant.permit.owner(), address) {
            failed = code;
            continue;
        }
        let dialled = ctx.shared().dial_map.map_or(address, |map| map.apply(address));
        flow.address.set(Some(address));
        let to = SocketAddr::new(dialled, port);
        let connected = match protocol {
            Kind::Tcp => TcpStream::connect(to).await.map(|stream| {
                let _ = stream.set_nodelay(true);
                Dialled::Tcp(stream)
            }),
            Kind::Udp => udp(to).await.map(Dialled::Datagrams),
            Kind::Ping => ping(to).map(Dialled::Datagrams),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                failed = Code::PingUnavailable;
            }
            Err(_) => failed = Code::UpstreamUnreachable,
        }
    }
    Err(failed)
}

/// A connection to the gateway's own listener, which is told whose it is.
async fn own(ctx: &ShardContext, source: IpAddr) -> std::io::Result<TcpStream> {
    let to = ctx.shared().own_address();
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(to.ip(), 0))?;
    ctx.shared().homes.announce(socket.local_addr()?, source);
    let stream = socket.connect(to).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn udp(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// A socket of the kernel's own pings, which needs no privilege where `net.ipv4.ping_group_range` allows it.
fn ping(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let (domain, protocol) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(to.ip(), 0).into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_number_and_bytes() {
        let small = Datagrams::default();
        assert_eq!((0..10).filter(|_| small.keep(&[0; 100])).count(), DATAGRAMS_WAITING);
        let large = Datagrams::default();
        assert!(large.keep(&[0; 16_000]), "the largest packet there is");
        assert!(!large.keep(&[0; 16_000]));
    }
}
