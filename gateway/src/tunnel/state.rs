//! One session's tunnel: its client's connection while there is one, and its flows, which outlive a connection.
//!
//! ```text
//!  run:  socket -- records -- frames --> packets::take --> flows          one batch per readiness
//!        flows (ready queue, in turn) --> out (sealed) --> socket         one write per batch
//! ```
//!
//! Everything here runs on one shard, and nothing awaits while it holds a borrow.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tidegate_core::session::EndReason;
use tidegate_core::{Code, SessionId, Timestamp};
use tidegate_store::TunnelReport;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::address::Inner;
use super::connect::{DPD_S, Request};
use super::cstp::{self, Leave, Parsed};
use super::flow::{Flow, Key};
use super::limits::{Buffers, DECISIONS_PER_S, DIALS_PER_S, NAMES_PER_S, Rate};
use super::out::Out;
use super::record::{Broken, Content, Opener, RECORD_MAX, Sealer};
use super::socket;
use super::{FAREWELL, READ_BYTES};
use crate::listener::Connection;
use crate::recorder::SessionUse;
use crate::session::Opened;
use crate::shared::ShardContext;

mod packets;
mod refusals;
mod tcp;

/// How often stacks that wait for the time are looked at.
const TIMERS: Duration = Duration::from_millis(50);
/// Seconds for which the flows of a session without a connection are kept: as long as a client tries.
const GRACE_S: i64 = 360;
/// Seconds of silence after which a client is asked whether it is there, and after which it is given up.
const ASK_S: i64 = DPD_S as i64 * 2;
const GIVE_UP_S: i64 = DPD_S as i64 * 3;
/// Seconds a client may take nothing of what waits for it.
const STALLED_S: i64 = 60;
/// Seconds between two notes of when somebody was last seen.
const SEEN_S: i64 = 5;

/// One session's tunnel.
pub(super) struct Session {
    ctx: Rc<ShardContext>,
    id: SessionId,
    inner: Cell<Inner>,
    mtu: Cell<u16>,
    /// What the client calls itself.
    agent: RefCell<Box<str>>,
    /// Bytes of flows that have ended.
    moved: Cell<(u64, u64)>,
    pub(super) opened: RefCell<Rc<Opened>>,
    pub(super) usage: Rc<SessionUse>,
    born: Instant,
    out: RefCell<Option<Out>>,
    pub(super) flows: RefCell<HashMap<Key, Rc<Flow>>>,
    /// Connections that may have something to send, in turn.
    ready: RefCell<VecDeque<Rc<Flow>>>,
    /// Connections that got something in this batch.
    touched: RefCell<Vec<Rc<Flow>>>,
    /// Wakes the connection's loop.
    wake: Notify,
    /// Counts connections: only the newest is served.
    turn: Cell<u64>,
    connected: Cell<bool>,
    /// Why it is over.
    ended: Cell<Option<EndReason>>,
    /// Whether its connection is to be closed without a farewell.
    closing: Cell<bool>,
    /// Whether any stack waits for the time.
    timers: Cell<bool>,
    /// The shard's age when it was last looked at, when the client last sent a packet, when it last sent
    /// anything, when it last took anything, and when it was lost.
    age: Cell<i64>,
    active: Cell<i64>,
    heard: Cell<i64>,
    took: Cell<i64>,
    lost: Cell<i64>,
    noted: Cell<i64>,
    buffers: RefCell<Buffers>,
    dials: RefCell<Rate>,
    decisions: RefCell<Rate>,
    names: RefCell<Rate>,
    refusals: RefCell<refusals::Refusals>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client said that its user has logged out.
    LoggedOut,
    /// The session is over; the client was told why.
    Ended,
    /// The connection alone is gone, or another took its place.
    Lost,
}

impl From<Broken> for Ending {
    fn from(_: Broken) -> Self {
        Self::Lost
    }
}

impl Session {
    /// The tunnel of this session: the one that waits for its client, or a new one; and whether its client was
    /// somewhere else before.
    pub(super) fn of(
        ctx: &Rc<ShardContext>,
        connection: &Connection,
        opened: Rc<Opened>,
        request: &Request,
    ) -> (Rc<Self>, bool) {
        let id = opened.id();
        let usage = ctx.usage.of(&opened, ctx.now(), &ctx.shared().recorder);
        let age = connection.age();
        let known = ctx.tunnels.sessions.borrow().get(&id).map(Rc::clone).filter(|known| !known.is_over());
        let session = known.unwrap_or_else(|| {
            let new = Rc::new(Self {
                ctx: Rc::clone(ctx),
                id,
                inner: Cell::new(Inner::of(id, request.six)),
                mtu: Cell::new(request.mtu),
                agent: RefCell::default(),
                moved: Cell::default(),
                opened: RefCell::new(Rc::clone(&opened)),
                usage,
                born: Instant::now(),
                out: RefCell::default(),
                flows: RefCell::default(),
                ready: RefCell::default(),
                touched: RefCell::default(),
                wake: Notify::new(),
                turn: Cell::new(0),
                connected: Cell::new(false),
                ended: Cell::new(None),
                closing: Cell::new(false),
                timers: Cell::new(false),
                age: Cell::new(age),
                active: Cell::new(age),
                heard: Cell::new(age),
                took: Cell::new(age),
                lost: Cell::new(age),
                noted: Cell::new(age),
                buffers: RefCell::default(),
                dials: RefCell::new(Rate::new(DIALS_PER_S)),
                decisions: RefCell::new(Rate::new(DECISIONS_PER_S)),
                names: RefCell::new(Rate::new(NAMES_PER_S)),
                refusals: RefCell::default(),
            });
            ctx.tunnels.sessions.borrow_mut().insert(id, Rc::clone(&new));
            ctx.shared().homes.settle(id, ctx.tunnels.shard.get());
            new
        });
        session.inner.set(Inner::of(id, request.six));
        session.mtu.set(request.mtu);
        session.agent.replace(request.agent.as_str().into());
        let source = opened.source.to_canonical();
        let moved = session.opened.replace(opened).source.to_canonical() != source;
        session.age.set(age);
        (session, moved)
    }

    /// Where the client's computer is.
    pub(super) fn source(&self) -> IpAddr {
        self.opened.borrow().source
    }

    pub(super) fn ctx(&self) -> &ShardContext {
        &self.ctx
    }

    /// Takes a new connection; an older one, if there is one, is served no more.
    pub(super) fn connect(&self, sealer: Sealer) -> u64 {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        self.connected.set(true);
        self.closing.set(false);
        let age = self.age.get();
        self.active.set(age);
        self.heard.set(age);
        self.took.set(age);
        self.out.replace(Some(Out::new(sealer)));
        self.wake.notify_waiters();
        // What was under way with the connection before is asked for again.
        for flow in self.flows.borrow().values() {
            self.queue(flow);
        }
        turn
    }

    /// Time since the tunnel began, as stacks count it.
    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// Serves the client's connection until it ends.
    pub(super) async fn run(
        self: &Rc<Self>,
        connection: &Connection,
        stream: &TcpStream,
        opener: Opener,
        turn: u64,
    ) -> Ending {
        let mut wire = Receiving { opener, rest: Vec::new(), carry: Vec::new() };
        let mut timers = Instant::now() + TIMERS;
        let ending = loop {
            match self.step(stream, &mut wire, turn) {
                Ok(()) => {}
                Err(ending) => break ending,
            }
            if self.timers.get() && Instant::now() >= timers {
                self.fire();
                timers = Instant::now() + TIMERS;
                continue;
            }
            let writable = self.out.borrow().as_ref().is_some_and(|out| !out.waiting().is_empty());
            let interest = match writable {
                true => tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE,
                false => tokio::io::Interest::READABLE,
            };
            tokio::select! {
                biased;
                () = connection.aborted() => break Ending::Lost,
                () = self.wake.notified() => {}
                ready = stream.ready(interest) => if ready.is_err() {
                    break Ending::Lost;
                },
                () = tokio::time::sleep_until(timers), if self.timers.get() => {}
            }
        };
        if self.turn.get() == turn {
            if let Some(reason) = self.ended.get() {
                self.farewell(stream, reason).await;
            }
            self.disconnect();
        }
        ending
    }

    /// What came in, and what goes out.
    fn step(self: &Rc<Self>, stream: &TcpStream, wire: &mut Receiving, turn: u64) -> Result<(), Ending> {
        if self.turn.get() != turn || self.closing.get() {
            return Err(Ending::Lost);
        }
        if self.ended.get().is_some() {
            return Err(Ending::Ended);
        }
        self.receive(stream, wire)?;
        let touched = self.touched.take();
        for flow in &touched {
            self.served(flow);
        }
        loop {
            self.work();
            if !self.send(stream)? || self.ready.borrow().is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads what there is, once, and takes it in.
    fn receive(self: &Rc<Self>, stream: &TcpStream, wire: &mut Receiving) -> Result<(), Ending> {
        let mut scratch = self.ctx.tunnels.scratch.take();
        scratch.resize(READ_BYTES, 0);
        let taken = self.take_in(stream, wire, &mut scratch);
        self.ctx.tunnels.scratch.replace(scratch);
        taken
    }

    fn take_in(
        self: &Rc<Self>,
        stream: &TcpStream,
        wire: &mut Receiving,
        scratch: &mut [u8],
    ) -> Result<(), Ending> {
        let kept = wire.rest.len();
        let (before, room) = scratch.split_at_mut_checked(kept).ok_or(Ending::Lost)?;
        let filled = match socket::read(stream, room) {
            Ok(Some(moved)) if moved.count == 0 => return Ok(()),
            Ok(Some(moved)) => kept + moved.count,
            Ok(None) | Err(_) => return Err(Ending::Lost),
        };
        before.copy_from_slice(&wire.rest);
        wire.rest.clear();
        self.heard.set(self.age.get());
        let mut bytes = scratch.get_mut(..filled).unwrap_or_default();
        while let Some(length) = Opener::length(bytes)?.filter(|length| *length <= bytes.len()) {
            let (record, after) = bytes.split_at_mut_checked(length).ok_or(Broken)?;
            bytes = after;
            match wire.opener.open(record)? {
                Content::Data(plain) => self.frames(plain, &mut wire.carry)?,
                Content::Closed => return Err(Ending::Lost),
            }
        }
        wire.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes in the frames of a record. Stock clients send one in each; whoever cuts them otherwise is served too.
    fn frames(self: &Rc<Self>, plain: &[u8], carry: &mut Vec<u8>) -> Result<(), Ending> {
        if carry.is_empty() {
            let left = self.parse(plain)?;
            carry.extend_from_slice(left);
            return Ok(());
        }
        carry.extend_from_slice(plain);
        let whole = std::mem::take(carry);
        let left = self.parse(&whole)?;
        carry.extend_from_slice(left);
        Ok(())
    }

    fn parse<'a>(self: &Rc<Self>, mut bytes: &'a [u8]) -> Result<&'a [u8], Ending> {
        while !bytes.is_empty() {
            match cstp::parse(bytes) {
                Parsed::Frame(kind, payload, after) => {
                    bytes = after;
                    self.frame(kind, payload)?;
                }
                Parsed::Partial => break,
                Parsed::Bad => {
                    self.ctx.shared().metrics.tunnel_dropped("frame");
                    return Err(Ending::Lost);
                }
            }
        }
        Ok(bytes)
    }

    fn frame(self: &Rc<Self>, kind: cstp::Kind, payload: &[u8]) -> Result<(), Ending> {
        match kind {
            cstp::Kind::Data => self.packet(payload),
            cstp::Kind::Ask => {
                let answered =
                    self.out.borrow_mut().as_mut().is_some_and(|out| out.frame(cstp::Kind::Alive, payload));
                if !answered {
                    self.dropped("full");
                }
            }
            cstp::Kind::Disconnect if cstp::leave(payload) == Leave::Logout => return Err(Ending::LoggedOut),
            cstp::Kind::Disconnect => return Err(Ending::Lost),
            cstp::Kind::Alive | cstp::Kind::KeepAlive | cstp::Kind::Other(_) => {}
        }
        Ok(())
    }

    /// Writes what waits; true when all of it went out.
    fn send(&self, stream: &TcpStream) -> Result<bool, Ending> {
        let mut out = self.out.borrow_mut();
        let Some(out) = out.as_mut().filter(|out| !out.is_broken()) else { return Err(Ending::Lost) };
        while !out.waiting().is_empty() {
            let moved = socket::write(stream, out.waiting()).map_err(|_| Ending::Lost)?;
            if moved.count > 0 {
                self.took.set(self.age.get());
                out.wrote(moved.count);
            }
            if moved.done {
                return Ok(false);
            }
        }
        self.took.set(self.age.get());
        Ok(true)
    }

    /// Tells the client why it is over; it shows the text and does not come again.
    async fn farewell(&self, stream: &TcpStream, reason: EndReason) {
        let text = format!("{} {}", reason.code(), reason.code().title());
        if let Some(out) = self.out.borrow_mut().as_mut() {
            out.frame(cstp::Kind::Disconnect, &cstp::farewell(&text));
        }
        let sending = async {
            while let Ok(false) = self.send(stream) {
                if stream.writable().await.is_err() {
                    return;
                }
            }
            // Closed over bytes that nobody read, a connection is broken off, and the farewell with it.
            let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
            let mut unread = [0; 4 * 1024];
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut unread) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, sending).await;
    }

    fn disconnect(&self) {
        self.connected.set(false);
        self.out.replace(None);
        self.lost.set(self.age.get());
        if self.ended.get().is_some() {
            self.drop_flows();
        }
    }

    /// Says what goes through it, for whoever asks who is online.
    fn report(&self) {
        let flows = self.flows.borrow();
        let (mut up, mut down) = self.moved.get();
        for flow in flows.values() {
            up += flow.up.get();
            down += flow.down.get();
        }
        let client = self.agent.borrow().clone();
        let flows = u32::try_from(flows.len()).unwrap_or(u32::MAX);
        let report = TunnelReport { client, up, down, flows };
        self.usage.tunnels(self.connected.get().then_some(report));
    }

    /// Closes its connection without a farewell; the client comes again at once.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.wake.notify_one();
    }

    /// Ends what goes through here, and leaves the session to other gateways.
    pub(super) fn cut_off(&self) {
        self.drop_flows();
        self.close();
    }

    /// The session is over.
    pub(super) fn end(&self, reason: EndReason) {
        if self.ended.get().is_none() {
            self.ended.set(Some(reason));
            self.flush_refusals();
            if let Some(event) = self.usage.end(reason, self.ctx.now(), &self.ctx.shared().recorder) {
                self.ctx.record(event);
            }
            self.wake.notify_one();
            self.drop_flows();
        }
    }

    /// The user has logged out.
    pub(super) async fn log_out(&self) {
        let until = self.opened.borrow().ticket().absolute_end;
        self.end(EndReason::LoggedOut);
        self.tell(EndReason::LoggedOut, until).await;
    }

    /// Tells all gateways that the session is over: none of them takes the ticket any more.
    pub(super) async fn tell(&self, reason: EndReason, until: Timestamp) {
        if let Err(error) = self.ctx.end(self.id, reason, until).await {
            tracing::warn!(%error, "the end of a tunnel could not be stored");
        }
    }

    /// Lets what waits for the client go out.
    pub(super) fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Ends a flow that may not go on.
    pub(super) fn cut(&self, flow: &Rc<Flow>, code: Code) {
        self.close_flow(flow, Some(code));
        self.wake.notify_one();
    }

    /// Whether a client is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.get() && !self.closing.get()
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether nothing speaks for keeping it.
    pub(super) fn is_forgotten(&self, age: i64) -> bool {
        !self.connected.get() && (self.is_over() || age - self.lost.get() >= GRACE_S)
    }

    /// When its user last asked for something.
    pub(super) fn seen(&self, now: Timestamp) -> Timestamp {
        now.plus(self.active.get() - self.age.get())
    }

    /// What is to be done each second.
    pub(super) fn tick(&self, now: Timestamp, age: i64) {
        self.age.set(age);
        if self.is_over() {
            return;
        }
        if age - self.noted.get() >= SEEN_S && self.active.get() > self.noted.get() {
            self.noted.set(age);
            self.ctx.usage.of(&self.opened.borrow(), now, &self.ctx.shared().recorder);
        }
        self.report();
        self.forget_flows(age);
        self.flush_refusals_now_and_then(age);
        if !self.connected.get() {
            if age - self.lost.get() >= GRACE_S {
                self.drop_flows();
            }
            return;
        }
        let mut out = self.out.borrow_mut();
        let Some(out) = out.as_mut() else { return };
        out.shrink();
        if out.waiting().is_empty() {
            self.took.set(age);
        }
        let silent = age - self.heard.get();
        if silent >= GIVE_UP_S || age - self.took.get() >= STALLED_S {
            self.closing.set(true);
            self.wake.notify_one();
        } else if silent >= ASK_S && silent % SEEN_S == 0 {
            out.frame(cstp::Kind::Ask, b"");
            self.wake.notify_one();
        }
    }
}

/// What comes in of a connection.
struct Receiving {
    opener: Opener,
    /// The beginning of a record.
    rest: Vec<u8>,
    /// The beginning of a frame.
    carry: Vec<u8>,
}

const _: () = assert!(READ_BYTES > 2 * RECORD_MAX);
