//! The TCP connections of a session: bytes between stacks and sockets, and packets to the client in turn.

use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use tidegate_core::Code;
use tokio::net::TcpStream;

use super::super::flow::{Flow, Wants};
use super::super::ip;
use super::super::limits::HALF_OPEN_S;
use super::super::socket;
use super::super::stack::{Sent, Stack};
use super::Session;
use crate::keys;

/// Packets a connection sends before the others have their turn.
const TURN: usize = 4;

impl Session {
    /// The system has answered: the client's first segment is, too.
    pub(in super::super) fn connected(self: &Rc<Self>, flow: &Rc<Flow>, stream: Rc<TcpStream>) {
        let Some(tcp) = flow.tcp().filter(|_| !flow.closed.get()) else { return };
        let share = self.buffers.borrow_mut().take();
        let seed = keys::random().map_or(0, u64::from_le_bytes);
        let target = SocketAddr::new(flow.key.target, flow.key.port);
        let now = self.now();
        let stack = share.and_then(|share| {
            tcp.share.set(share);
            Stack::new(target, usize::from(self.mtu.get()), (share, share), seed, now)
        });
        let Some(mut stack) = stack else { return self.not_dialled(flow, Code::TooManyConnections) };
        let syn = tcp.syn.take();
        if let Some(out) = self.out.borrow_mut().as_mut() {
            stack.input(&syn, now, out);
        }
        tcp.stack.replace(Some(stack));
        tcp.upstream.replace(Some(stream));
        // From here on the client has its time to confirm; it may have waited long for the system.
        flow.active.set(self.age.get());
        self.served(flow);
        self.wake.notify_one();
    }

    /// Takes in a segment of a connection that stands; what follows from it comes at the end of the batch.
    pub(super) fn segment(&self, flow: &Rc<Flow>, packet: &[u8]) {
        let Some(tcp) = flow.tcp() else { return };
        if let (Some(stack), Some(out)) = (tcp.stack.borrow_mut().as_mut(), self.out.borrow_mut().as_mut()) {
            stack.input(packet, self.now(), out);
            let mut touched = self.touched.borrow_mut();
            // Segments of one connection come in rows.
            if !touched.last().is_some_and(|last| Rc::ptr_eq(last, flow)) {
                touched.push(Rc::clone(flow));
            }
        }
    }

    /// Moves what can be moved between stack and socket, and lets the client know.
    pub(in super::super) fn served(&self, flow: &Rc<Flow>) {
        if flow.closed.get() {
            return;
        }
        self.pump(flow);
        self.queue(flow);
    }

    fn pump(&self, flow: &Flow) {
        let Some(tcp) = flow.tcp() else { return };
        let (mut stack, upstream) = (tcp.stack.borrow_mut(), tcp.upstream.borrow());
        let (Some(stack), Some(upstream)) = (stack.as_mut(), upstream.as_ref()) else { return };
        let mut wants = Wants::default();
        let mut broken = false;
        let (mut up, mut down) = (0, 0);
        while stack.received() > 0 && !wants.write && !broken {
            let took = stack.take(|bytes| match socket::write(upstream, bytes) {
                Ok(moved) => {
                    wants.write = moved.done;
                    moved.count
                }
                Err(_) => {
                    broken = true;
                    0
                }
            });
            up += took;
            if took == 0 {
                break;
            }
        }
        while !tcp.ended.get() && stack.has_room() && !wants.read && !broken {
            let given = stack.give(|room| match socket::read(upstream, room) {
                Ok(Some(moved)) => {
                    wants.read = moved.done;
                    moved.count
                }
                Ok(None) => {
                    tcp.ended.set(true);
                    0
                }
                Err(_) => {
                    broken = true;
                    0
                }
            });
            down += given;
            if given == 0 {
                break;
            }
        }
        flow.up.set(flow.up.get() + up as u64);
        flow.down.set(flow.down.get() + down as u64);
        if up + down > 0 {
            flow.active.set(self.age.get());
        }
        if broken {
            stack.abort();
        } else {
            if tcp.ended.get() {
                stack.finish();
            }
            if stack.has_ended() && !tcp.told.replace(true) {
                // A system that is gone already needs not be told.
                let _ = socket2::SockRef::from(&**upstream).shutdown(Shutdown::Write);
            }
        }
        tcp.wants.set(wants);
        if wants != tcp.waits.get() {
            flow.wake.notify_one();
        }
    }

    /// The system's socket has failed.
    pub(in super::super) fn broken(&self, flow: &Rc<Flow>) {
        match flow.tcp() {
            Some(tcp) => {
                if let Some(stack) = tcp.stack.borrow_mut().as_mut() {
                    stack.abort();
                }
                self.queue(flow);
                self.wake.notify_one();
            }
            None => self.close_flow(flow, None),
        }
    }

    /// Puts a connection among those that may have something to send.
    pub(super) fn queue(&self, flow: &Rc<Flow>) {
        if let Some(tcp) = flow.tcp()
            && tcp.stack.borrow().is_some()
            && !tcp.queued.replace(true)
        {
            self.ready.borrow_mut().push_back(Rc::clone(flow));
        }
    }

    /// Lets connections send, each in its turn, while there is room.
    pub(super) fn work(&self) {
        let now = self.now();
        loop {
            let Some(flow) = self.ready.borrow_mut().pop_front() else { return };
            let Some(tcp) = flow.tcp() else { continue };
            let (sent, over, timer) = {
                let (mut stack, mut out) = (tcp.stack.borrow_mut(), self.out.borrow_mut());
                let (Some(stack), Some(out)) = (stack.as_mut(), out.as_mut()) else {
                    tcp.queued.set(false);
                    continue;
                };
                let sent = stack.output(now, TURN, out);
                let timer = if sent == Sent::All { stack.due(now) } else { None };
                (sent, stack.is_over(), timer)
            };
            match sent {
                Sent::NoRoom => return self.ready.borrow_mut().push_front(flow),
                Sent::Some => self.ready.borrow_mut().push_back(flow),
                Sent::All => {
                    tcp.queued.set(false);
                    tcp.timer.set(timer);
                    if timer.is_some() {
                        self.timers.set(true);
                    }
                    if over {
                        self.close_flow(&flow, None);
                    }
                }
            }
        }
    }

    /// Asks the stacks again whose time has come.
    pub(super) fn fire(&self) {
        let now = self.now();
        let mut waiting = false;
        for flow in self.flows.borrow().values() {
            let Some(due) = flow.tcp().and_then(|tcp| tcp.timer.get()) else { continue };
            waiting = true;
            if due <= now {
                self.queue(flow);
            }
        }
        self.timers.set(waiting);
    }

    /// A connection whose client has not confirmed it, for too long.
    pub(super) fn is_half_open(&self, flow: &Flow, age: i64) -> bool {
        let stands =
            |tcp: &super::super::flow::Tcp| tcp.stack.borrow_mut().as_mut().is_none_or(Stack::is_established);
        age - flow.active.get() >= HALF_OPEN_S && flow.tcp().is_some_and(|tcp| !stands(tcp))
    }

    /// Breaks a connection off, with a reset for the client.
    pub(super) fn reset(&self, flow: &Flow) {
        let Some(tcp) = flow.tcp() else { return };
        let mut out = self.out.borrow_mut();
        let Some(out) = out.as_mut() else { return };
        match tcp.stack.borrow_mut().as_mut() {
            Some(stack) => {
                stack.abort();
                stack.output(self.now(), 1, out);
            }
            None => {
                let syn = tcp.syn.take();
                if let Some(answer) = ip::parse(&syn).ok().and_then(|packet| ip::reset(&packet)) {
                    out.frame(super::super::cstp::Kind::Data, &answer);
                }
            }
        }
    }
}
