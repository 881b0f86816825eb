//! What a gateway is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tidegate_core::Cidr;
use tidegate_store::GatewayId;

use crate::clock::Clock;
use crate::health::Note;
use crate::keys::Ring;

pub mod file;

/// Where Debian and most images keep the authorities everybody trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a gateway is started with.
#[derive(Debug)]
pub struct GatewayConfig {
    /// Its name towards the controller.
    pub id: GatewayId,
    /// Where it serves; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are, without TLS.
    pub metrics_listen: SocketAddr,
    /// The name people type; systems are at `<resource>-<code>.<host>`. A bare address has no systems.
    pub host: String,
    /// The port people type, when something in front maps it; else the one listened on.
    pub public_port: Option<u16>,
    /// How many shards; `None` takes one for each processor this process may use.
    pub shards: Option<usize>,
    /// The pool's keys.
    pub ring: Ring,
    /// Whom upstreams with neither `ca` nor `pin` must be vouched for by.
    pub upstream_roots: Arc<RootCertStore>,
    /// Where addresses are dialled instead, after every check (standalone only).
    pub dial_map: Option<DialMap>,
    /// Seconds without news from the store after which nobody may log in any more.
    pub new_logins_s: i64,
    /// Seconds without news from the store after which sessions end.
    pub end_sessions_s: i64,
    /// Networks of balancers whose connections begin with a PROXY header.
    pub balancers: Vec<Cidr>,
    /// Bounds on what clients may use up.
    pub limits: Limits,
    /// The time of day.
    pub clock: Clock,
    /// What keeps the store away, for whoever asks why the gateway is not ready.
    pub note: Note,
}

impl GatewayConfig {
    /// A gateway for `host` with every other setting as shipped.
    #[must_use]
    pub fn new(id: GatewayId, host: &str, listen: SocketAddr, ring: Ring) -> Self {
        Self {
            id,
            listen,
            metrics_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: host.trim_end_matches('.').to_ascii_lowercase(),
            public_port: None,
            shards: None,
            ring,
            upstream_roots: Arc::new(RootCertStore::empty()),
            dial_map: None,
            new_logins_s: 15 * 60,
            end_sessions_s: 60 * 60,
            balancers: Vec::new(),
            limits: Limits::default(),
            clock: Clock::system(),
            note: Note::default(),
        }
    }
}

/// The authorities of the operating system; none where it has no list of them.
#[must_use]
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    if let Ok(certificates) = CertificateDer::pem_file_iter(SYSTEM_ROOTS) {
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    }
    roots
}

/// Bounds on what clients may use up, each per shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one source (an IPv4 address, an IPv6 /64); an office may share one.
    pub connections_per_source: usize,
    /// TLS handshakes at the same time.
    pub handshakes: usize,
    /// Seconds a TLS handshake may take.
    pub handshake_s: u32,
    /// Seconds a request's header may take from its first byte.
    pub header_s: u32,
    /// Seconds a connection may be kept without a request.
    pub idle_s: u32,
    /// Seconds a client may neither send nor take what is waited for.
    pub stalled_s: u32,
    /// Seconds an upstream may take to accept a connection, its name's resolution and TLS included.
    pub connect_s: u32,
    /// Seconds an upstream may take to begin its answer.
    pub answer_s: u32,
    /// Seconds for which a drain still accepts, until balancers know that this gateway goes.
    pub settle_s: u32,
    /// Seconds over which a drain closes WebSockets, one after the other.
    pub tunnels_s: u32,
    /// Seconds a drain waits for requests under way.
    pub drain_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_source: 4_096,
            handshakes: 512,
            handshake_s: 10,
            header_s: 15,
            idle_s: 75,
            stalled_s: 60,
            connect_s: 10,
            answer_s: 120,
            settle_s: 0,
            tunnels_s: 0,
            drain_s: 10,
        }
    }
}

/// Addresses of one range, dialled in another: `10.20.0.0/16=127.20.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialMap {
    from: Cidr,
    to: Cidr,
}

/// A text that is no dial map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a dial map as 10.20.0.0/16=127.20.0.0/16: two ranges of the same size")]
pub struct DialMapError;

impl DialMap {
    /// Where `address` is dialled.
    #[must_use]
    pub fn apply(&self, address: IpAddr) -> IpAddr {
        let address = address.to_canonical();
        if !self.from.contains(address) {
            return address;
        }
        match (address, self.to.address()) {
            (IpAddr::V4(address), IpAddr::V4(to)) => {
                let host = u32::MAX.checked_shr(u32::from(self.from.prefix())).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(to) | (u32::from(address) & host)))
            }
            (IpAddr::V6(address), IpAddr::V6(to)) => {
                let host = u128::MAX.checked_shr(u32::from(self.from.prefix())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(to) | (u128::from(address) & host)))
            }
            // Both ranges are of one family, or the map would not have been parsed.
            (address, _) => address,
        }
    }
}

impl FromStr for DialMap {
    type Err = DialMapError;

    fn from_str(text: &str) -> Result<Self, DialMapError> {
        let (from, to) = text.split_once('=').ok_or(DialMapError)?;
        let (from, to): (Cidr, Cidr) =
            (from.parse().map_err(|_| DialMapError)?, to.parse().map_err(|_| DialMapError)?);
        let same = from.prefix() == to.prefix() && from.address().is_ipv4() == to.address().is_ipv4();
        if same { Ok(Self { from, to }) } else { Err(DialMapError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_map_moves_its_range_and_nothing_else() {
        let map: DialMap = "10.20.0.0/16=127.20.0.0/16".parse().expect("a map");
        let at = |text: &str| map.apply(text.parse().expect("an address")).to_string();
        assert_eq!(at("10.20.3.4"), "127.20.3.4");
        assert_eq!(at("::ffff:10.20.3.4"), "127.20.3.4");
        assert_eq!(at("10.21.3.4"), "10.21.3.4");
        assert_eq!(at("2001:db8::1"), "2001:db8::1");
        let map: DialMap = "fd00::/64=fd01::/64".parse().expect("a map");
        assert_eq!(map.apply("fd00::7".parse().expect("an address")).to_string(), "fd01::7");
    }

    #[test]
    fn ranges_must_match() {
        for bad in ["", "10.0.0.0/8", "10.0.0.0/8=11.0.0.0/9", "10.0.0.0/8=fd00::/8", "a=b"] {
            assert_eq!(bad.parse::<DialMap>(), Err(DialMapError), "{bad}");
        }
    }
}
