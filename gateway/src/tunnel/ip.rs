//! IP packets of a client, read without trusting a byte of them; and the few that are written here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;

mod write;

pub(crate) use write::{Why, echo_reply, echo_request, reset, udp, unreachable};

/// Numbers of protocols.
const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_6: u8 = 58;

/// A packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// Where it says it comes from.
    pub(crate) source: IpAddr,
    /// Where it goes.
    pub(crate) target: IpAddr,
    /// What it carries.
    pub(crate) transport: Transport<'a>,
    /// The whole packet, without anything behind it.
    pub(crate) bytes: &'a [u8],
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport<'a> {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram.
    Udp {
        /// The client's port.
        source: u16,
        /// The port it goes to.
        target: u16,
        /// What it says.
        payload: &'a [u8],
    },
    /// A ping.
    Echo {
        /// Which of the client's pings it belongs to.
        ident: u16,
        /// Its number.
        sequence: u16,
        /// What is to come back.
        payload: &'a [u8],
    },
}

/// The header of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The client's port.
    pub(crate) source: u16,
    /// The port it goes to.
    pub(crate) target: u16,
    /// Its number.
    pub(crate) sequence: u32,
    /// What it acknowledges.
    pub(crate) acknowledged: u32,
    /// Whether it opens a connection.
    pub(crate) syn: bool,
    /// Whether it acknowledges.
    pub(crate) ack: bool,
    /// Whether it is the last one.
    pub(crate) fin: bool,
    /// Whether it breaks a connection off.
    pub(crate) rst: bool,
    /// Bytes it carries.
    pub(crate) length: u32,
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bad {
    /// It is no packet.
    Malformed,
    /// It is a part of one.
    Fragment,
    /// It is neither TCP nor UDP nor a ping.
    Protocol,
}

/// Reads a packet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Packet<'_>, Bad> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => parse_four(bytes),
        Some(6) => parse_six(bytes),
        _ => Err(Bad::Malformed),
    }
}

fn parse_four(bytes: &[u8]) -> Result<Packet<'_>, Bad> {
    let header = bytes.first_chunk::<20>().ok_or(Bad::Malformed)?;
    let [first, _, high, low, _, _, fragment, offset, _, protocol, _, _, addresses @ ..] = *header;
    let [a, b, c, d, e, f, g, h] = addresses;
    let begins = usize::from(first & 0x0f) * 4;
    let ends = usize::from(u16::from_be_bytes([high, low]));
    if begins < 20 || ends < begins {
        return Err(Bad::Malformed);
    }
    let bytes = bytes.get(..ends).ok_or(Bad::Malformed)?;
    // More to come, or not the first: reassembly would let strangers fill memory.
    if fragment & 0x3f != 0 || offset != 0 {
        return Err(Bad::Fragment);
    }
    let payload = bytes.get(begins..).ok_or(Bad::Malformed)?;
    let (source, target) = (Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into());
    Ok(Packet { source, target, transport: transport(protocol, ICMP, payload)?, bytes })
}

fn parse_six(bytes: &[u8]) -> Result<Packet<'_>, Bad> {
    let header = bytes.first_chunk::<40>().ok_or(Bad::Malformed)?;
    let [_, _, _, _, high, low, protocol, _, addresses @ ..] = *header;
    let (source, target) = addresses.split_first_chunk::<16>().ok_or(Bad::Malformed)?;
    let target = target.first_chunk::<16>().ok_or(Bad::Malformed)?;
    let ends = 40 + usize::from(u16::from_be_bytes([high, low]));
    let bytes = bytes.get(..ends).ok_or(Bad::Malformed)?;
    const FRAGMENT: u8 = 44;
    if protocol == FRAGMENT {
        return Err(Bad::Fragment);
    }
    let payload = bytes.get(40..).ok_or(Bad::Malformed)?;
    let (source, target) = (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*target).into());
    Ok(Packet { source, target, transport: transport(protocol, ICMP_6, payload)?, bytes })
}

fn transport(protocol: u8, icmp: u8, bytes: &[u8]) -> Result<Transport<'_>, Bad> {
    match protocol {
        TCP => segment(bytes).map(Transport::Tcp),
        UDP => {
            let ([a, b, c, d, high, low, _, _], rest) =
                bytes.split_first_chunk::<8>().ok_or(Bad::Malformed)?;
            let length = usize::from(u16::from_be_bytes([*high, *low])).checked_sub(8);
            let payload = length.and_then(|length| rest.get(..length)).ok_or(Bad::Malformed)?;
            let (source, target) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            Ok(Transport::Udp { source, target, payload })
        }
        protocol if protocol == icmp => {
            let ([kind, code, _, _, a, b, c, d], payload) =
                bytes.split_first_chunk::<8>().ok_or(Bad::Malformed)?;
            let request = if icmp == ICMP { 8 } else { 128 };
            if *kind != request || *code != 0 {
                return Err(Bad::Protocol);
            }
            let (ident, sequence) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            Ok(Transport::Echo { ident, sequence, payload })
        }
        _ => Err(Bad::Protocol),
    }
}

fn segment(bytes: &[u8]) -> Result<Segment, Bad> {
    let header = bytes.first_chunk::<20>().ok_or(Bad::Malformed)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, offset, flags, ..] = *header;
    let begins = usize::from(offset >> 4) * 4;
    let length = bytes.len().checked_sub(begins).filter(|_| begins >= 20).ok_or(Bad::Malformed)?;
    let flag = |bit: u8| flags & bit != 0;
    Ok(Segment {
        source: u16::from_be_bytes([a, b]),
        target: u16::from_be_bytes([c, d]),
        sequence: u32::from_be_bytes([e, f, g, h]),
        acknowledged: u32::from_be_bytes([i, j, k, l]),
        fin: flag(0x01),
        syn: flag(0x02),
        rst: flag(0x04),
        ack: flag(0x10),
        length: u32::try_from(length).unwrap_or(u32::MAX),
    })
}

/// Writes the checksum of a whole TCP packet that was built with none.
pub(crate) fn finish_tcp(packet: &mut [u8]) {
    let (begins, source, target) = match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let Some([_, .., a, b, c, d, e, f, g, h]) = packet.first_chunk::<20>() else { return };
            let source = IpAddr::from([*a, *b, *c, *d]);
            (20, source, IpAddr::from([*e, *f, *g, *h]))
        }
        _ => {
            let Some(addresses) = packet.get(8..40) else { return };
            let Some((source, rest)) = addresses.split_first_chunk::<16>() else { return };
            let Some(target) = rest.first_chunk::<16>() else { return };
            (40, IpAddr::from(*source), IpAddr::from(*target))
        }
    };
    let Some(segment) = packet.get_mut(begins..) else { return };
    let sum = Sum::pseudo(source, target, TCP, segment.len());
    let checksum = sum.add(segment).finish();
    if let Some(place) = segment.get_mut(16..18) {
        place.copy_from_slice(&checksum);
    }
}

#[cfg(test)]
mod tests;
