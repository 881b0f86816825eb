//! The addresses that stand for granted host names inside the tunnel.
//!
//! ```text
//!  (department, host) -- FNV-1a, linear probing in the order of departments and hosts --> index 16..65,535
//!       index --> 198.18.<index>  and  fd7a:7467:7464:1::<index>
//! ```
//!
//! They are a function of the snapshot alone, so every gateway of the pool gives the same ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{DepartmentCode, ResourceId, Snapshot};

/// Addresses below belong to the gateway itself.
const FIRST: u16 = 16;
/// Hosts that get an address; beyond that probing would take long, and names do not resolve.
const HOSTS_MAX: usize = 49_152;
/// The upper half of every IPv4 address in the tunnel: 198.18.0.0/16.
const FOUR: [u8; 2] = [198, 18];
/// The upper part of every IPv6 address in the tunnel.
const SIX: [u16; 4] = [0xfd7a, 0x7467, 0x7464, 1];

/// A host of a department's network resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHost {
    /// The department that owns the resources.
    pub department: DepartmentCode,
    /// The host name or address as the manifest has it.
    pub host: Box<str>,
    /// The resources that name it, in the order of their names.
    pub resources: Vec<ResourceId>,
}

/// The hosts of all network resources, and the addresses that stand for names.
#[derive(Clone, Debug, Default)]
pub struct TunnelNames {
    hosts: Vec<NamedHost>,
    by_name: HashMap<Box<str>, Vec<usize>>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    by_index: HashMap<u16, usize>,
    indexes: HashMap<usize, u16>,
}

impl TunnelNames {
    /// The names of a snapshot.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut names = Self::default();
        for (code, department) in &snapshot.departments {
            let mut hosts: BTreeMap<&str, BTreeSet<ResourceId>> = BTreeMap::new();
            for (name, resource) in &department.resources {
                let Some(network) = resource.network() else { continue };
                for host in &network.hosts {
                    let id = ResourceId { department: code.clone(), name: name.clone() };
                    hosts.entry(host).or_default().insert(id);
                }
            }
            for (host, resources) in hosts {
                names.add(code, host, resources);
            }
        }
        names
    }

    fn add(&mut self, code: &DepartmentCode, host: &str, resources: BTreeSet<ResourceId>) {
        let number = self.hosts.len();
        let resources = resources.into_iter().collect();
        self.hosts.push(NamedHost { department: code.clone(), host: host.into(), resources });
        if let Ok(address) = host.parse::<IpAddr>() {
            self.by_address.entry(address.to_canonical()).or_default().push(number);
            return;
        }
        if self.by_index.len() >= HOSTS_MAX {
            return;
        }
        let mut index = place(hash(code.as_str(), host));
        while self.by_index.contains_key(&index) {
            index = index.checked_add(1).unwrap_or(FIRST);
        }
        self.by_index.insert(index, number);
        self.indexes.insert(number, index);
        self.by_name.entry(host.into()).or_default().push(number);
    }

    /// The hosts that bear this name, by department.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a NamedHost> + use<'a> {
        self.by_name.get(name).into_iter().flatten().filter_map(|number| self.hosts.get(*number))
    }

    /// The address that stands for a named host: IPv4 and IPv6.
    #[must_use]
    pub fn addresses(&self, host: &NamedHost) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let numbers = self.by_name.get(&host.host)?;
        let same = |number: &&usize| {
            self.hosts.get(**number).is_some_and(|other| other.department == host.department)
        };
        let index = *self.indexes.get(numbers.iter().find(same)?)?;
        Some((four(index), six(index)))
    }

    /// The hosts at an address as a client in the tunnel sees it: the one a virtual address stands for, or
    /// all that lie there.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = &NamedHost> {
        let virtual_host = index_of(address).and_then(|index| self.by_index.get(&index));
        let real = self.by_address.get(&address.to_canonical()).into_iter().flatten();
        virtual_host.into_iter().chain(real).filter_map(|number| self.hosts.get(*number))
    }
}

fn four(index: u16) -> Ipv4Addr {
    let [high, low] = index.to_be_bytes();
    Ipv4Addr::new(FOUR[0], FOUR[1], high, low)
}

fn six(index: u16) -> Ipv6Addr {
    let [a, b, c, d] = SIX;
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, index)
}

/// Which virtual address it is, if it is one.
fn index_of(address: IpAddr) -> Option<u16> {
    let index = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, high, low] = address.octets();
            ([a, b] == FOUR).then(|| u16::from_be_bytes([high, low]))
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, 0, 0, 0, index] = address.segments() else { return None };
            ([a, b, c, d] == SIX).then_some(index)
        }
    };
    index.filter(|index| *index >= FIRST)
}

/// Where probing begins.
fn place(hash: u64) -> u16 {
    let room = u64::from(u16::MAX - FIRST) + 1;
    u16::try_from(u64::from(FIRST) + hash % room).unwrap_or(FIRST)
}

/// FNV-1a: the same everywhere and for ever, which a hasher of the library does not promise.
fn hash(department: &str, host: &str) -> u64 {
    let bytes = department.bytes().chain([0]).chain(host.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
