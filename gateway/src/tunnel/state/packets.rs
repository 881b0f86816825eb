//! A client's packets: to the gateway itself, to a flow there is, or to one that is to be decided.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use tidegate_core::{Code, Timestamp};
use tokio::net::UdpSocket;

use super::super::address::{self, Ours};
use super::super::cstp;
use super::super::dns;
use super::super::flow::{self, Datagrams, End, Flow, Key, Kind, Tcp};
use super::super::grant::{self, Refused};
use super::super::ip::{self, Bad, Packet, Segment, Transport, Why};
use super::super::limits::{FLOWS_MAX, FLOWS_PER_SHARD};
use super::Session;

/// The port of name servers.
const DNS: u16 = 53;
/// Largest datagram of a system.
const DATAGRAM_MAX: usize = 16 * 1024;
/// Datagrams taken at once from one flow.
const DATAGRAMS_MAX: usize = 32;

impl Session {
    /// Takes in a packet.
    pub(super) fn packet(self: &Rc<Self>, bytes: &[u8]) {
        let packet = match ip::parse(bytes) {
            Ok(packet) => packet,
            Err(bad) => {
                return self.dropped(match bad {
                    Bad::Malformed => "malformed",
                    Bad::Fragment => "fragment",
                    Bad::Protocol => "protocol",
                });
            }
        };
        if !self.inner.get().is(packet.source) {
            return self.dropped("source");
        }
        if address::ours(packet.target) == Some(Ours::Gateway) {
            return self.to_gateway(&packet);
        }
        let key = |protocol, source, port| Key { protocol, source, target: packet.target, port };
        match packet.transport {
            Transport::Tcp(segment) => {
                let key = key(Kind::Tcp, segment.source, segment.target);
                let known = self.flows.borrow().get(&key).map(Rc::clone);
                match known {
                    Some(flow) if is_new(&flow, segment) => {
                        // The computer has forgotten the one before, and uses its port again.
                        self.close_flow(&flow, None);
                        self.open(key, &packet);
                    }
                    Some(flow) => self.known_segment(&flow, &packet, segment.rst),
                    None if segment.syn && !segment.ack && !segment.rst => self.open(key, &packet),
                    None => self.refuse(&packet, Why::Prohibited),
                }
            }
            Transport::Udp { source, target, .. } => {
                self.datagram(key(Kind::Udp, source, target), &packet);
            }
            Transport::Echo { ident, .. } if address::ours(packet.target).is_none() => {
                self.datagram(key(Kind::Ping, ident, 0), &packet);
            }
            Transport::Echo { .. } => self.echo(&packet),
        }
    }

    pub(super) fn dropped(&self, reason: &str) {
        self.ctx.shared().metrics.tunnel_dropped(reason);
    }

    /// Sends a packet that was written here.
    pub(super) fn emit(&self, packet: &[u8]) {
        let fits = packet.len() <= usize::from(self.mtu.get());
        let sent =
            fits && self.out.borrow_mut().as_mut().is_some_and(|out| out.frame(cstp::Kind::Data, packet));
        if sent {
            self.wake.notify_one();
        } else {
            self.dropped(if fits { "full" } else { "large" });
        }
    }

    fn to_gateway(&self, packet: &Packet<'_>) {
        self.active.set(self.age.get());
        match packet.transport {
            Transport::Echo { .. } => self.echo(packet),
            Transport::Udp { source, target: DNS, payload } => {
                if !self.names.borrow_mut().take(self.now()) {
                    return self.dropped("names");
                }
                let opened = Rc::clone(&self.opened.borrow());
                let answer = dns::answer(payload, |name| grant::find(&self.ctx, &opened, name));
                match answer {
                    Some(answer) => {
                        let (from, to) = ((packet.target, DNS), (packet.source, source));
                        self.emit(&ip::udp(from, to, &answer));
                    }
                    None => self.dropped("malformed"),
                }
            }
            Transport::Udp { .. } | Transport::Tcp(_) => self.refuse(packet, Why::Port),
        }
    }

    fn echo(&self, packet: &Packet<'_>) {
        if let Transport::Echo { ident, sequence, payload } = packet.transport {
            self.emit(&ip::echo_reply(packet.target, packet.source, (ident, sequence), payload));
        }
    }

    /// Tells the client at once that there is no way.
    pub(super) fn refuse(&self, packet: &Packet<'_>, why: Why) {
        let answer = match packet.transport {
            Transport::Tcp(_) => ip::reset(packet),
            _ => Some(ip::unreachable(packet, why)),
        };
        if let Some(answer) = answer {
            self.emit(&answer);
        }
    }

    fn known_segment(&self, flow: &Rc<Flow>, packet: &Packet<'_>, reset: bool) {
        self.active.set(self.age.get());
        let pending = flow.tcp().is_some_and(|tcp| tcp.stack.borrow().is_none());
        match (pending, reset) {
            // The client does not want to wait for the system any more.
            (true, true) => self.close_flow(flow, None),
            // It asks again, and the answer is on its way.
            (true, false) => {}
            (false, _) => self.segment(flow, packet.bytes),
        }
    }

    fn datagram(self: &Rc<Self>, key: Key, packet: &Packet<'_>) {
        let known = self.flows.borrow().get(&key).map(Rc::clone);
        let Some(flow) = known else { return self.open(key, packet) };
        let Some(datagrams) = flow.datagrams() else { return };
        self.active.set(self.age.get());
        flow.active.set(self.age.get());
        let socket = datagrams.socket.borrow();
        match &*socket {
            None => {
                if !datagrams.keep(packet.bytes) {
                    self.dropped("waiting");
                }
            }
            Some(socket) => match send(&flow, socket, packet) {
                Ok(count) => flow.up.set(flow.up.get() + count as u64),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    self.refuse(packet, Why::Port);
                }
                Err(_) => self.dropped("full"),
            },
        }
    }

    /// Decides about a new flow, and dials if it may be.
    fn open(self: &Rc<Self>, key: Key, packet: &Packet<'_>) {
        let now = self.ctx.now();
        let too_many = |resource| Refused { code: Code::TooManyConnections, resource, denial: None };
        if !self.decisions.borrow_mut().take(self.now()) {
            self.refused(too_many(None));
            return self.refuse(packet, Why::Prohibited);
        }
        let granted = if key.protocol == Kind::Tcp && grant::is_own(&self.ctx, key.target, key.port) {
            Ok(None)
        } else {
            let opened = Rc::clone(&self.opened.borrow());
            let port = (key.protocol != Kind::Ping).then_some(key.port);
            grant::decide(&self.ctx, &opened, key.target, port).map(Some)
        };
        let grant = match granted {
            Ok(grant) => grant,
            Err(refused) => {
                self.refused(refused);
                return self.refuse(packet, Why::Prohibited);
            }
        };
        let all = self.ctx.tunnels.flows.get();
        let full = self.flows.borrow().len() >= FLOWS_MAX || all >= FLOWS_PER_SHARD;
        if full || !self.dials.borrow_mut().take(self.now()) {
            self.refused(too_many(grant.map(|grant| grant.resource)));
            return self.refuse(packet, Why::Prohibited);
        }
        let due = grant.as_ref().map_or(Timestamp::NEVER, |grant| grant.permit.valid_until());
        if let Some(grant) = &grant {
            self.allowed(grant, now);
        }
        let end = match key.protocol {
            Kind::Tcp => End::Tcp(Box::new(Tcp {
                syn: RefCell::new(packet.bytes.to_vec()),
                first: match packet.transport {
                    Transport::Tcp(segment) => segment.sequence,
                    _ => 0,
                },
                ..Tcp::default()
            })),
            _ => {
                let datagrams = Datagrams::default();
                datagrams.keep(packet.bytes);
                End::Datagrams(datagrams)
            }
        };
        let flow = Rc::new(Flow {
            key,
            grant: RefCell::new(grant),
            due: Cell::new(due),
            address: Cell::new(None),
            up: Cell::new(0),
            down: Cell::new(0),
            since: now,
            active: Cell::new(self.age.get()),
            closed: Cell::new(false),
            wake: tokio::sync::Notify::new(),
            end,
        });
        self.ctx.shared().metrics.tunnel_flows.inc();
        self.ctx.tunnels.flows.set(all + 1);
        self.flows.borrow_mut().insert(key, Rc::clone(&flow));
        tokio::task::spawn_local(flow::run(Rc::clone(self), flow));
    }

    /// A flow of datagrams has its socket: what waited goes out.
    pub(in super::super) fn bound(&self, flow: &Flow, socket: Rc<UdpSocket>) {
        let Some(datagrams) = flow.datagrams().filter(|_| !flow.closed.get()) else { return };
        for bytes in datagrams.waiting.take() {
            match ip::parse(&bytes).map(|packet| send(flow, &socket, &packet)) {
                Ok(Ok(count)) => flow.up.set(flow.up.get() + count as u64),
                _ => self.dropped("full"),
            }
        }
        datagrams.socket.replace(Some(socket));
    }

    /// Passes on what a system has sent.
    pub(in super::super) fn datagrams(&self, flow: &Rc<Flow>, socket: &UdpSocket) {
        let mut buffer = [0; DATAGRAM_MAX];
        for _ in 0..DATAGRAMS_MAX {
            let received = match socket.try_recv(&mut buffer) {
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // "Nobody listens there": the next datagram of the client says so.
                Err(_) => return,
            };
            flow.active.set(self.age.get());
            flow.down.set(flow.down.get() + received.len() as u64);
            let inner = self.inner.get();
            let client = match flow.key.target {
                IpAddr::V4(_) => IpAddr::V4(inner.four),
                IpAddr::V6(_) => match inner.six {
                    Some(six) => IpAddr::V6(six),
                    None => return,
                },
            };
            let Key { protocol, source, target, port } = flow.key;
            if protocol == Kind::Ping {
                // The kernel's number for the socket stands where the client's was.
                if let Some(([_, _, _, _, _, _, high, low], payload)) = received.split_first_chunk::<8>() {
                    let number = u16::from_be_bytes([*high, *low]);
                    self.emit(&ip::echo_reply(target, client, (source, number), payload));
                }
            } else {
                self.emit(&ip::udp((target, port), (client, source), received));
            }
        }
    }

    /// Nothing came of dialling.
    pub(in super::super) fn not_dialled(&self, flow: &Rc<Flow>, code: Code) {
        self.ctx.shared().metrics.upstream_failures.with_label_values(&[code.name()]).inc();
        for bytes in flow.datagrams().map(|datagrams| datagrams.waiting.take()).unwrap_or_default() {
            if let Ok(packet) = ip::parse(&bytes) {
                self.refuse(&packet, Why::Prohibited);
            }
        }
        self.close_flow(flow, Some(code));
        self.wake.notify_one();
    }
}

/// Whether a segment opens another connection than the one there is.
fn is_new(flow: &Flow, segment: Segment) -> bool {
    let opens = segment.syn && !segment.ack && !segment.rst;
    opens && flow.tcp().is_some_and(|tcp| tcp.first != segment.sequence)
}

/// Sends a client's datagram or ping on.
fn send(flow: &Flow, socket: &UdpSocket, packet: &Packet<'_>) -> std::io::Result<usize> {
    match packet.transport {
        Transport::Udp { payload, .. } => socket.try_send(payload),
        Transport::Echo { ident, sequence, payload } => {
            // The host behind a name may be of the other family. Number and sum are the kernel's to write.
            let four = flow.address.get().is_none_or(|address| address.is_ipv4());
            socket.try_send(&ip::echo_request(four, (ident, sequence), payload))
        }
        Transport::Tcp(_) => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}
