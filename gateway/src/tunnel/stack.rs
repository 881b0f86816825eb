//! The gateway's end of one TCP connection of a client: smoltcp, one interface per connection.
//!
//! ```text
//!  client's segments -- input --> [ received ] -- take --> upstream
//!  client <-- output -- Outlet <-- [  to send ] <-- give -- upstream
//! ```
//!
//! An interface of its own for every connection keeps the cost of a segment the same however many connections
//! a client has: smoltcp looks at every socket of an interface for each packet. It does no I/O and reads no
//! clock; what it has to send it sends when it is asked and there is room.

use std::net::SocketAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};

use super::cstp::Kind;
use super::ip;
use super::out::Out;

/// Where packets to a client go.
pub(crate) trait Outlet {
    /// Whether one more may be added.
    fn has_room(&self) -> bool;
    /// Room for a packet, to be written before [`Outlet::commit`].
    fn reserve(&mut self, length: usize) -> Option<&mut [u8]>;
    /// Sends the packet that was written last.
    fn commit(&mut self);
}

impl Outlet for Out {
    fn has_room(&self) -> bool {
        Out::has_room(self)
    }

    fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        Out::reserve(self, Kind::Data, length)
    }

    fn commit(&mut self) {
        Out::commit(self);
    }
}

/// How far [`Stack::output`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There is nothing more to send.
    All,
    /// There may be more, and others have their turn first.
    Some,
    /// There was no room.
    NoRoom,
}

/// One TCP connection, ended here.
pub(crate) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    mtu: usize,
}

impl Stack {
    /// A connection to `target` whose first segment is about to come in; `seed` makes its numbers.
    pub(crate) fn new(
        target: SocketAddr,
        mtu: usize,
        (receive, send): (usize, usize),
        seed: u64,
        now: Duration,
    ) -> Option<Self> {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut nowhere = Link { packet: None, outlet: &mut Nowhere, mtu };
        let mut interface = Interface::new(config, &mut nowhere, instant(now));
        let mut fits = true;
        interface.update_ip_addrs(|addresses| {
            let prefix = if target.is_ipv4() { 32 } else { 128 };
            fits = addresses.push(IpCidr::new(target.ip().into(), prefix)).is_ok();
        });
        let mut socket = Socket::new(SocketBuffer::new(vec![0; receive]), SocketBuffer::new(vec![0; send]));
        // Batches are acknowledged once and whole anyway; waiting would only add to every round trip.
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        socket.listen(IpEndpoint::from(target)).ok().filter(|()| fits)?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Some(Self { interface, sockets, handle, mtu })
    }

    /// Takes in a packet of this connection. Answers that cannot wait go out at once.
    pub(crate) fn input(&mut self, packet: &[u8], now: Duration, outlet: &mut impl Outlet) {
        let mut link = Link { packet: Some(packet), outlet, mtu: self.mtu };
        self.interface.poll_ingress_single(instant(now), &mut link, &mut self.sockets);
    }

    /// Sends what there is to send, at most `most` packets.
    pub(crate) fn output(&mut self, now: Duration, most: usize, outlet: &mut impl Outlet) -> Sent {
        for _ in 0..most {
            if !outlet.has_room() {
                return Sent::NoRoom;
            }
            let mut link = Link { packet: None, outlet: &mut *outlet, mtu: self.mtu };
            let sent = self.interface.poll_egress(instant(now), &mut link, &mut self.sockets);
            if sent == smoltcp::iface::PollResult::None {
                return Sent::All;
            }
        }
        Sent::Some
    }

    /// When it wants to be asked again, though nothing happens.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Duration> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Offers what was received; `take` says how much of it it took.
    pub(crate) fn take(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize {
        let took = self.socket().recv(|bytes| {
            let count = take(bytes).min(bytes.len());
            (count, count)
        });
        took.unwrap_or(0)
    }

    /// Offers room for what is to be sent; `give` says how much of it it filled.
    pub(crate) fn give(&mut self, give: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let given = self.socket().send(|room| {
            let count = give(room).min(room.len());
            (count, count)
        });
        given.unwrap_or(0)
    }

    /// Bytes that were received and not taken.
    pub(crate) fn received(&mut self) -> usize {
        self.socket().recv_queue()
    }

    /// Whether there is room for something to send.
    pub(crate) fn has_room(&mut self) -> bool {
        self.socket().can_send()
    }

    /// Whether the client has said that it sends no more, and all it sent was taken.
    pub(crate) fn has_ended(&mut self) -> bool {
        let socket = self.socket();
        let opening = matches!(socket.state(), State::Listen | State::SynReceived);
        !opening && !socket.may_recv()
    }

    /// Whether the connection stands, or stood.
    pub(crate) fn is_established(&mut self) -> bool {
        !matches!(self.socket().state(), State::Listen | State::SynReceived)
    }

    /// Whether nothing of it is left to do.
    pub(crate) fn is_over(&mut self) -> bool {
        // Below there is a reliable connection: nobody sends the last segment a second time.
        matches!(self.socket().state(), State::Closed | State::TimeWait)
    }

    /// Sends no more after what there is.
    pub(crate) fn finish(&mut self) {
        self.socket().close();
    }

    /// Breaks it off.
    pub(crate) fn abort(&mut self) {
        self.socket().abort();
    }
}

fn instant(since: Duration) -> Instant {
    Instant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// What an interface sees of the tunnel: at most one packet in, and the way out.
struct Link<'a, O> {
    packet: Option<&'a [u8]>,
    outlet: &'a mut O,
    mtu: usize,
}

impl<O: Outlet> Device for Link<'_, O> {
    type RxToken<'t>
        = In<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Away<'t, O>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(In<'_>, Away<'_, O>)> {
        let packet = self.packet.take()?;
        Some((In(packet), Away(self.outlet)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Away<'_, O>> {
        self.outlet.has_room().then_some(Away(self.outlet))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // TLS has seen to it that nothing was changed on the way; our own sum is faster.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities
    }
}

struct In<'a>(&'a [u8]);

impl RxToken for In<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Away<'a, O>(&'a mut O);

impl<O: Outlet> TxToken for Away<'_, O> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Some(packet) = self.0.reserve(length) else {
            // No room after all: it is lost, and sent again later.
            return f(&mut vec![0; length]);
        };
        let made = f(packet);
        ip::finish_tcp(packet);
        self.0.commit();
        made
    }
}

/// A way out that leads nowhere.
struct Nowhere;

impl Outlet for Nowhere {
    fn has_room(&self) -> bool {
        false
    }

    fn reserve(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }

    fn commit(&mut self) {}
}

#[cfg(test)]
mod tests;
