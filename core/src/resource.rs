//! A business system as its owner described it.

use std::collections::BTreeMap;

use crate::policy::PortRange;
use crate::{Localized, ResourceName, Source};

/// A business system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The object it came from.
    pub source: Source,
    /// Its name inside the owner's department.
    pub name: ResourceName,
    /// Names for people.
    pub title: Localized,
    /// One sentence for the tile.
    pub description: Localized,
    /// Heading the tile is listed under; empty for none.
    pub category: Localized,
    /// Name of one of the portal's own icons.
    pub icon: Box<str>,
    /// Whom to call about it.
    pub contact: Contact,
    /// Labels rules can select by.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Whether a tile is shown to those who may open it.
    pub visible: bool,
    /// How it is reached.
    pub endpoint: Endpoint,
}

/// The owner's desk for questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The office, for people.
    pub office: Localized,
    /// Telephone, as dialled.
    pub phone: Box<str>,
    /// Office hours, for people.
    pub hours: Localized,
}

/// How a resource is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A web application behind the HTTPS proxy.
    Web(Web),
    /// Anything else, through the tunnel.
    Network(Network),
}

/// Hosts and ports reached through the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Lower-case names or addresses, at least one.
    pub hosts: Vec<Box<str>>,
    /// Ports, the same for TCP and UDP, at least one range.
    pub ports: Vec<PortRange>,
}

impl Network {
    /// Whether the system answers at `port`.
    #[must_use]
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|range| (range.from..=range.to).contains(&port))
    }
}

/// Where a web application lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Scheme of the upstream.
    pub scheme: UpstreamScheme,
    /// Lower-case host name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Where the tile leads on the resource's own host, `/` or deeper; never a prefix that is added.
    pub start_path: Box<str>,
    /// How an https upstream is verified.
    pub tls: UpstreamTls,
}

/// Scheme of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamScheme {
    /// Plain, allowed only inside the owner's networks.
    Http,
    /// TLS, always verified.
    Https,
}

/// How an upstream proves itself; there is no way to switch this off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM of the authorities to trust; `None` trusts the pool's default roots.
    pub ca_pem: Option<Box<str>>,
    /// SHA-256 of the leaf certificate's public key (SPKI); replaces the chain check when set.
    pub pin: Option<[u8; 32]>,
    /// Name to verify and to send as SNI instead of the host.
    pub server_name: Option<Box<str>>,
}

impl Resource {
    /// Upstream host and port, as rules see them where no others are asked for: the first of a network resource.
    #[must_use]
    pub fn upstream(&self) -> (&str, u16) {
        match &self.endpoint {
            Endpoint::Web(web) => (&web.host, web.port),
            Endpoint::Network(network) => (
                network.hosts.first().map_or("", |host| host),
                network.ports.first().map_or(0, |range| range.from),
            ),
        }
    }

    /// The web application, if it is one.
    #[must_use]
    pub fn web(&self) -> Option<&Web> {
        match &self.endpoint {
            Endpoint::Web(web) => Some(web),
            Endpoint::Network(_) => None,
        }
    }

    /// What is reached through the tunnel, if it is that.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        match &self.endpoint {
            Endpoint::Web(_) => None,
            Endpoint::Network(network) => Some(network),
        }
    }
}
