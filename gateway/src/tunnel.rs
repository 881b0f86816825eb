//! The tunnel: a stock client's packets end here, and what may go on is dialled anew with ordinary sockets.
//!
//! ```text
//!  listener -- "CONNECT " --> serve -- ticket --> Session -- records, frames --> packets
//!                                                   |  names: the gateway answers them itself   (dns)
//!                                                   |  first packet of a flow: decide --> dial  (grant, flow)
//!                                                   +- refused: reset or ICMP; no flow, no dial: that is the lock
//!  login: the XML exchange, which gives the ticket away
//! ```
//!
//! There is no TUN device and no privilege: TCP ends in a stack in user space, one per connection ([`stack`]),
//! UDP and ping in ordinary sockets. A session belongs to one shard for as long as its client is connected, and
//! to any gateway of the pool before and after.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::session::EndReason;
use tidegate_core::{Code, SessionId, Snapshot, Timestamp, TunnelNames};
use tidegate_store::View;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::cookie;
use crate::listener::{Connection, Connections, Held};
use crate::session::{self, Auth, Opened};
use crate::shared::ShardContext;

mod address;
mod checksum;
mod connect;
mod cstp;
mod dns;
mod flow;
pub(crate) mod fuzzing;
mod grant;
mod home;
mod ip;
mod judge;
mod limits;
pub(crate) mod login;
mod out;
mod record;
mod socket;
mod stack;
mod state;

use address::Inner;
pub(crate) use connect::BEGINS;
use connect::{Bad, Granted, Refusal, Request};
use home::Handover;
pub(crate) use home::Homes;
use record::{Opener, Sealer};
use state::{Ending, Session};

/// What is read from a client at once; one such buffer serves a whole shard.
const READ_BYTES: usize = 256 * 1024;
/// Longest a client may take to take a farewell.
const FAREWELL: Duration = Duration::from_secs(2);
/// Unsent bytes in the kernel at which it takes no more: what waits longer than that waits here, where an urgent
/// packet can still go first.
const UNSENT_BYTES: u32 = 128 * 1024;

/// The tunnels of one shard.
#[derive(Default)]
pub(crate) struct Tunnels {
    sessions: RefCell<HashMap<SessionId, Rc<Session>>>,
    names: RefCell<Option<(Arc<Snapshot>, Rc<TunnelNames>)>>,
    scratch: RefCell<Vec<u8>>,
    /// Flows of all sessions.
    flows: Cell<usize>,
    /// Which shard this is.
    shard: Cell<usize>,
}

impl Tunnels {
    /// The names of the newest snapshot.
    fn names(&self, snapshot: &Arc<Snapshot>) -> Rc<TunnelNames> {
        let mut kept = self.names.borrow_mut();
        if let Some((of, names)) = &*kept
            && Arc::ptr_eq(of, snapshot)
        {
            return Rc::clone(names);
        }
        let names = Rc::new(TunnelNames::new(snapshot));
        *kept = Some((Arc::clone(snapshot), Rc::clone(&names)));
        names
    }

    /// When the client of a session last asked for something, if its tunnel is here.
    pub(crate) fn seen(&self, session: SessionId, now: Timestamp) -> Option<Timestamp> {
        self.sessions.borrow().get(&session).map(|session| session.seen(now))
    }

    /// Closes one of `steps` equal parts of the tunnels that are left, without a farewell: their clients come
    /// again at once, to another gateway.
    pub(crate) fn close(&self, steps: usize) {
        let left = self.all();
        let left: Vec<_> = left.into_iter().filter(|session| session.is_connected()).collect();
        for session in left.iter().take(left.len().div_ceil(steps.max(1))) {
            session.close();
        }
    }

    /// Ends all flows, so that their ends are recorded, and records the refusals that were counted.
    pub(crate) fn finish(&self) {
        for session in self.all() {
            session.drop_flows();
            session.flush_refusals();
        }
    }

    fn all(&self) -> Vec<Rc<Session>> {
        self.sessions.borrow().values().map(Rc::clone).collect()
    }
}

/// Judges again what a new view may have changed.
pub(crate) fn apply(ctx: &ShardContext, before: &View, now: Timestamp) {
    judge::apply(ctx, before, now);
}

/// Judges again what time may have changed; called each second on a shard that is `age` seconds old.
pub(crate) fn tick(ctx: &ShardContext, now: Timestamp, age: i64) {
    for session in ctx.tunnels.all() {
        session.tick(now, age);
    }
    judge::tick(ctx, now);
    let forgotten = |session: &Rc<Session>| session.is_forgotten(age);
    ctx.tunnels.sessions.borrow_mut().retain(|id, session| {
        let forgotten = forgotten(session);
        if forgotten {
            ctx.shared().homes.leave(*id, ctx.tunnels.shard.get());
        }
        !forgotten
    });
}

/// Serves a client whose first bytes were [`BEGINS`].
pub(crate) async fn serve(
    ctx: Rc<ShardContext>,
    connection: Rc<Connection>,
    mut tls: TlsStream<Held<TcpStream>>,
) {
    let _active = connection.active();
    let limit = Duration::from_secs(u64::from(ctx.shared().limits.header_s));
    let Ok(Some(head)) = tokio::time::timeout(limit, head(&mut tls)).await else { return };
    let refuse = |refusal, code: Code| connect::refused(refusal, &format!("{code} {}", code.title()));
    let opened = match connect::parse(&head) {
        Ok(request) => open(&ctx, &connection, &request).await.map(|opened| (request, opened)),
        Err(Bad::Malformed) => Err((Refusal::Malformed, Code::HeadersRefused)),
        Err(Bad::NoTicket) => Err((Refusal::Over, Code::NoSession)),
    };
    let (request, opened) = match opened {
        Ok(opened) => opened,
        Err((refusal, code)) => {
            let sending = async {
                let _ = tls.write_all(refuse(refusal, code).as_bytes()).await;
                let _ = tls.shutdown().await;
            };
            let _ = tokio::time::timeout(FAREWELL, sending).await;
            return;
        }
    };
    let answer = connect::accepted(&granted(&ctx, &opened, &request));
    let sending = async {
        tls.write_all(answer.as_bytes()).await?;
        tls.flush().await
    };
    if !matches!(tokio::time::timeout(FAREWELL, sending).await, Ok(Ok(()))) {
        return;
    }
    let (held, server) = tls.into_inner();
    let (stream, version) = (held.into_inner(), server.protocol_version());
    let directions =
        server.dangerous_extract_secrets().ok().and_then(|secrets| record::directions(secrets, version).ok());
    let Some((opener, sealer)) = directions else { return };
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let homes = &ctx.shared().homes;
    let home = homes.of(opened.id()).filter(|home| *home != ctx.tunnels.shard.get());
    let (stream, opener, sealer) = match home {
        None => (stream, opener, sealer),
        Some(home) => {
            let Ok(stream) = stream.into_std() else { return };
            let source = connection.source();
            let handover = Handover { stream, opener, sealer, request: request.clone(), source };
            let Err(back) = homes.send(home, handover) else { return };
            let Handover { stream, opener, sealer, .. } = *back;
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            (stream, opener, sealer)
        }
    };
    run(&ctx, &connection, (opened, &request), stream, (opener, sealer)).await;
}

/// Serves what other shards hand over.
pub(crate) async fn take_over(ctx: Rc<ShardContext>, connections: Rc<Connections>, shard: usize) {
    ctx.tunnels.shard.set(shard);
    let Some(mut handovers) = ctx.shared().homes.receiver(shard) else { return };
    while let Some(handover) = handovers.recv().await {
        let Handover { stream, opener, sealer, request, source } = handover;
        let Ok(connection) = connections.admit(&ctx, source) else { continue };
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let ctx = Rc::clone(&ctx);
        tokio::task::spawn_local(async move {
            let _active = connection.active();
            // It was asked on the other shard a moment ago; a refusal now is a lost connection.
            if let Ok(opened) = open(&ctx, &connection, &request).await {
                run(&ctx, &connection, (opened, &request), stream, (opener, sealer)).await;
            }
        });
    }
}

/// Serves a client whose answer is sent, until its connection ends.
async fn run(
    ctx: &Rc<ShardContext>,
    connection: &Connection,
    (opened, request): (Rc<Opened>, &Request),
    stream: TcpStream,
    (opener, sealer): (Opener, Sealer),
) {
    let (session, moved) = Session::of(ctx, connection, opened, request);
    let turn = session.connect(sealer);
    if moved {
        judge::moved(ctx, &session, ctx.now());
    }
    let ending = session.run(connection, &stream, opener, turn).await;
    if ending == Ending::LoggedOut {
        session.log_out().await;
    }
}

/// What the answer says.
fn granted(ctx: &ShardContext, opened: &Opened, request: &Request) -> Granted {
    let session = opened.id();
    Granted {
        inner: Inner::of(session, request.six),
        mtu: request.mtu,
        link: request.link,
        idle_s: i64::from(opened.department.session.idle_s),
        left_s: opened.absolute.since(ctx.now()),
        spread: session.0.first().copied().unwrap_or_default(),
    }
}

/// The head of the request, read byte by byte so that nothing behind it is taken.
async fn head(tls: &mut TlsStream<Held<TcpStream>>) -> Option<Vec<u8>> {
    let mut head = BEGINS.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= connect::HEAD_MAX {
            return None;
        }
        head.push(tls.read_u8().await.ok()?);
    }
    Some(head)
}

/// Whose the ticket is, or why there is no tunnel.
async fn open(
    ctx: &ShardContext,
    connection: &Connection,
    request: &Request,
) -> Result<Rc<Opened>, (Refusal, Code)> {
    let source = connection.source();
    match session::authenticate_value(ctx, &request.ticket, cookie::TUNNEL, source).await {
        Auth::Live(opened) => Ok(opened),
        Auth::Nobody(code) => Err((Refusal::Over, code)),
        // A gateway without news for too long ends sessions, yet another one may know better.
        Auth::Ended(ended) if ended.reason == EndReason::GatewayStale => {
            Err((Refusal::Later, Code::GatewayStale))
        }
        Auth::Ended(ended) => Err((Refusal::Over, ended.reason.code())),
        Auth::Behind => Err((Refusal::Later, Code::SnapshotBehind)),
    }
}
