use std::collections::VecDeque;

use smoltcp::socket::tcp;
use smoltcp::wire::IpAddress;

use super::*;

/// A client with one connection, and the packets it gets.
struct Client {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    sent: Wire,
}

/// Packets on their way.
#[derive(Default)]
struct Wire {
    packets: VecDeque<Vec<u8>>,
    written: Vec<u8>,
    full: bool,
}

impl Outlet for Wire {
    fn has_room(&self) -> bool {
        !self.full
    }

    fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        self.written = vec![0; length];
        Some(&mut self.written)
    }

    fn commit(&mut self) {
        self.packets.push_back(std::mem::take(&mut self.written));
    }
}

const MTU: usize = 16_000;

impl Client {
    fn new(own: IpAddress, target: SocketAddr) -> Self {
        let mut sent = Wire::default();
        let mut link = Link { packet: None, outlet: &mut sent, mtu: MTU };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut link, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let prefix = if target.is_ipv4() { 24 } else { 64 };
            addresses.push(IpCidr::new(own, prefix)).expect("room");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 1 << 18]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.connect(interface.context(), IpEndpoint::from(target), 4_000).expect("it connects");
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, sent }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn turn(&mut self, packet: Option<&[u8]>, now: Duration) {
        let mut link = Link { packet, outlet: &mut self.sent, mtu: MTU };
        self.interface.poll(instant(now), &mut link, &mut self.sockets);
    }
}

/// Both ends exchange packets until neither has any, dropping each that `drops` picks.
fn exchange(client: &mut Client, stack: &mut Stack, now: Duration, mut drops: impl FnMut() -> bool) {
    let mut back = Wire::default();
    loop {
        client.turn(None, now);
        let sent: Vec<_> = client.sent.packets.drain(..).collect();
        for packet in &sent {
            if !drops() {
                stack.input(packet, now, &mut back);
            }
        }
        while stack.output(now, 4, &mut back) == Sent::Some {}
        if sent.is_empty() && back.packets.is_empty() {
            return;
        }
        for packet in back.packets.drain(..) {
            if !drops() {
                client.turn(Some(&packet), now);
            }
        }
    }
}

fn pair(six: bool) -> (Client, Stack) {
    let (own, target) = if six {
        (IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1), "[fd00::2]:22")
    } else {
        (IpAddress::v4(10, 0, 0, 1), "10.0.0.2:22")
    };
    let target = target.parse().expect("an address");
    let client = Client::new(own, target);
    let stack = Stack::new(target, MTU, (65_536, 65_536), 7, Duration::ZERO).expect("a stack");
    (client, stack)
}

#[test]
fn bytes_go_both_ways_and_both_ends_close() {
    for six in [false, true] {
        let (mut client, mut stack) = pair(six);
        assert!(!stack.is_established() && !stack.has_ended());
        exchange(&mut client, &mut stack, Duration::ZERO, || false);
        assert!(stack.is_established() && stack.has_room());
        client.socket().send_slice(b"hello").expect("room");
        assert_eq!(
            stack.give(|room| {
                room[..5].copy_from_slice(b"world");
                5
            }),
            5
        );
        exchange(&mut client, &mut stack, Duration::ZERO, || false);
        assert_eq!(stack.received(), 5);
        assert_eq!(
            stack.take(|bytes| {
                assert_eq!(bytes, b"hello");
                5
            }),
            5
        );
        let mut read = [0; 5];
        client.socket().recv_slice(&mut read).expect("bytes");
        assert_eq!(&read, b"world");
        client.socket().close();
        exchange(&mut client, &mut stack, Duration::ZERO, || false);
        assert!(stack.has_ended() && !stack.is_over());
        stack.finish();
        exchange(&mut client, &mut stack, Duration::ZERO, || false);
        assert!(stack.is_over());
        assert_eq!(client.socket().state(), State::TimeWait);
    }
}

#[test]
fn what_is_lost_is_sent_again() {
    let (mut client, mut stack) = pair(false);
    exchange(&mut client, &mut stack, Duration::ZERO, || false);
    let message: Vec<u8> = (0..500_000u32).map(|at| (at % 253) as u8).collect();
    let (mut sent, mut received) = (0, Vec::new());
    let mut now = Duration::ZERO;
    let mut number = 0_u32;
    while received.len() < message.len() {
        sent += stack.give(|room| {
            let count = room.len().min(message.len() - sent);
            room[..count].copy_from_slice(&message[sent..sent + count]);
            count
        });
        exchange(&mut client, &mut stack, now, || {
            number += 1;
            number.is_multiple_of(17)
        });
        let mut buffer = [0; 65_536];
        while let Ok(count @ 1..) = client.socket().recv_slice(&mut buffer) {
            received.extend_from_slice(&buffer[..count]);
        }
        // The time of the next attempt, whoever makes it.
        now += Duration::from_millis(500);
        assert!(now < Duration::from_secs(3_600), "{} of {}", received.len(), message.len());
    }
    assert_eq!(received, message);
}

#[test]
fn nothing_is_sent_without_room() {
    let (mut client, mut stack) = pair(false);
    exchange(&mut client, &mut stack, Duration::ZERO, || false);
    stack.give(|room| room.len());
    let mut wire = Wire { full: true, ..Wire::default() };
    assert_eq!(stack.output(Duration::ZERO, 100, &mut wire), Sent::NoRoom);
    wire.full = false;
    assert_eq!(stack.output(Duration::ZERO, 1, &mut wire), Sent::Some);
    assert_eq!(wire.packets.len(), 1);
    assert_eq!(wire.packets[0].len(), MTU);
}

#[test]
fn an_abort_is_a_reset() {
    let (mut client, mut stack) = pair(false);
    exchange(&mut client, &mut stack, Duration::ZERO, || false);
    stack.abort();
    exchange(&mut client, &mut stack, Duration::ZERO, || false);
    assert!(stack.is_over());
    assert_eq!(client.socket().state(), State::Closed);
}
