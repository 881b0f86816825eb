//! The addresses inside the tunnel. They mean nothing outside of one session's stack, so they need not be unique.
//!
//! | Address | Whose |
//! |---|---|
//! | `198.18.0.1`, `fd7a:7467:7464:1::1` | the gateway: name server, answers ping |
//! | `198.18.0.2`, `fd7a:7467:7464:1::2` | the gateway's own hosts: portal and systems |
//! | the rest of `198.18.0.0/16`, `fd7a:7467:7464:1::/112` | granted names ([`tidegate_core::TunnelNames`]) |
//! | `198.19.0.0/16`, `fd7a:7467:7464:2::/64` | clients, each by the name of its session |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::SessionId;

/// The gateway as its clients see it.
pub(crate) const GATEWAY_4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same over IPv6.
pub(crate) const GATEWAY_6: Ipv6Addr = Ipv6Addr::new(0xfd7a, 0x7467, 0x7464, 1, 0, 0, 0, 1);
/// Where the gateway's own hosts are.
pub(crate) const OWN_4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The same over IPv6.
pub(crate) const OWN_6: Ipv6Addr = Ipv6Addr::new(0xfd7a, 0x7467, 0x7464, 1, 0, 0, 0, 2);

/// A client's own addresses: the same wherever and as often as it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Its IPv4 address.
    pub(crate) four: Ipv4Addr,
    /// Its IPv6 address, if it can have one.
    pub(crate) six: Option<Ipv6Addr>,
}

impl Inner {
    /// The addresses of a session.
    pub(crate) fn of(session: SessionId, with_six: bool) -> Self {
        let hash = digest(&SHA256, &session.0);
        let mut bytes = [0; 10];
        for (byte, hashed) in bytes.iter_mut().zip(hash.as_ref()) {
            *byte = *hashed;
        }
        let [a, b, rest @ ..] = bytes;
        // Neither the first nor the last address of a network.
        let four = Ipv4Addr::new(198, 19, a, b.clamp(1, 254));
        let [c, d, e, f] = [[0, 1], [2, 3], [4, 5], [6, 7]].map(|[high, low]: [usize; 2]| {
            let byte = |at| rest.get(at).copied().unwrap_or_default();
            u16::from_be_bytes([byte(high), byte(low)])
        });
        let six = Ipv6Addr::new(0xfd7a, 0x7467, 0x7464, 2, c, d, e, f.max(1));
        Self { four, six: with_six.then_some(six) }
    }

    /// Whether a packet may come from `address`.
    pub(crate) fn is(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.four,
            IpAddr::V6(address) => Some(address) == self.six,
        }
    }
}

/// Whose an address is that belongs to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// The gateway's: name server and ping.
    Gateway,
    /// Its own hosts'.
    Hosts,
}

/// Whether `address` belongs to the gateway.
pub(crate) fn ours(address: IpAddr) -> Option<Ours> {
    if address == IpAddr::V4(GATEWAY_4) || address == IpAddr::V6(GATEWAY_6) {
        Some(Ours::Gateway)
    } else if address == IpAddr::V4(OWN_4) || address == IpAddr::V6(OWN_6) {
        Some(Ours::Hosts)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_the_session() {
        let of = |byte: u8| Inner::of(SessionId([byte; 16]), true);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        for byte in 0..=255 {
            let inner = of(byte);
            assert_eq!(inner.four.octets()[..2], [198, 19]);
            assert!((1..=254).contains(&inner.four.octets()[3]));
            assert!(inner.is(inner.four.into()) && inner.is(inner.six.expect("asked for").into()));
            assert!(!inner.is(GATEWAY_4.into()));
        }
        assert_eq!(Inner::of(SessionId([1; 16]), false).six, None);
    }
}
