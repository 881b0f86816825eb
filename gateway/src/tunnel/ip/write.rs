//! Packets that the gateway writes itself: datagrams, answers to ping, refusals.

use std::net::IpAddr;

use super::super::checksum::Sum;
use super::{ICMP, ICMP_6, Packet, Segment, TCP, Transport, UDP};

/// How far a packet may travel; it goes to the client and no further.
const HOPS: u8 = 64;
/// How much of a refused packet is quoted.
const QUOTED_MAX: usize = 512;

/// Why a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may not go there.
    Prohibited,
    /// Nobody listens there.
    Port,
}

/// An IP packet with this payload, whose checksum lies at `at` unless the protocol has none.
fn packet(source: IpAddr, target: IpAddr, protocol: u8, mut payload: Vec<u8>, at: usize) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    // ICMP over IPv4 is the one protocol here without a pseudo header.
    let sum = match protocol {
        ICMP => Sum::default(),
        _ => Sum::pseudo(source, target, protocol, payload.len()),
    };
    let mut checksum = sum.add(&payload).finish();
    if protocol == UDP && checksum == [0, 0] {
        // No checksum at all is written as zero.
        checksum = [0xff, 0xff];
    }
    if let Some(place) = payload.get_mut(at..at + 2) {
        place.copy_from_slice(&checksum);
    }
    let mut out = Vec::with_capacity(40 + payload.len());
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let [high, low] = length.saturating_add(20).to_be_bytes();
            // "Do not fragment": nothing on the way could.
            out.extend_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&target.octets());
            let checksum = Sum::default().add(&out).finish();
            if let Some(place) = out.get_mut(10..12) {
                place.copy_from_slice(&checksum);
            }
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let [high, low] = length.to_be_bytes();
            out.extend_from_slice(&[0x60, 0, 0, 0, high, low, protocol, HOPS]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&target.octets());
        }
        _ => return Vec::new(),
    }
    out.extend_from_slice(&payload);
    out
}

/// A datagram.
pub(crate) fn udp((source, from): (IpAddr, u16), (target, to): (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(payload.len() + 8);
    for field in [from, to, length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    packet(source, target, UDP, datagram, 6)
}

/// The answer to a ping, from `source` to `target`.
pub(crate) fn echo_reply(
    source: IpAddr,
    target: IpAddr,
    (ident, sequence): (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let (protocol, kind) = if source.is_ipv4() { (ICMP, 0) } else { (ICMP_6, 129) };
    packet(source, target, protocol, echo(kind, (ident, sequence), payload), 2)
}

/// A ping without a packet around it, as sockets for pings take it: its sum is not written.
pub(crate) fn echo_request(four: bool, numbers: (u16, u16), payload: &[u8]) -> Vec<u8> {
    echo(if four { 8 } else { 128 }, numbers, payload)
}

fn echo(kind: u8, (ident, sequence): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(8 + payload.len());
    message.extend_from_slice(&[kind, 0, 0, 0]);
    message.extend_from_slice(&ident.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(payload);
    message
}

/// "Your packet is refused."
pub(crate) fn unreachable(refused: &Packet<'_>, why: Why) -> Vec<u8> {
    let (protocol, kind, code) = match (refused.target.is_ipv4(), why) {
        (true, Why::Prohibited) => (ICMP, 3, 13),
        (true, Why::Port) => (ICMP, 3, 3),
        (false, Why::Prohibited) => (ICMP_6, 1, 1),
        (false, Why::Port) => (ICMP_6, 1, 4),
    };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(refused.bytes.iter().take(QUOTED_MAX));
    packet(refused.target, refused.source, protocol, message, 2)
}

/// "There is no such connection": what a segment of none is answered with, unless it says the same.
pub(crate) fn reset(refused: &Packet<'_>) -> Option<Vec<u8>> {
    let Transport::Tcp(segment) = refused.transport else { return None };
    let Segment { source, target, sequence, acknowledged, syn, ack, fin, rst, length } = segment;
    if rst {
        return None;
    }
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    let (number, acknowledges, flags) = if ack {
        (acknowledged, 0, RST)
    } else {
        let after = sequence.wrapping_add(length).wrapping_add(u32::from(syn) + u32::from(fin));
        (0, after, RST | ACK)
    };
    let mut answer = Vec::with_capacity(20);
    answer.extend_from_slice(&target.to_be_bytes());
    answer.extend_from_slice(&source.to_be_bytes());
    answer.extend_from_slice(&number.to_be_bytes());
    answer.extend_from_slice(&acknowledges.to_be_bytes());
    answer.extend_from_slice(&[5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    Some(packet(refused.target, refused.source, TCP, answer, 16))
}
