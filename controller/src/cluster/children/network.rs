//! The NetworkPolicy of a pool: whom its gateways may talk to, should one ever be taken over.
//!
//! In: people, metrics and probes. Out: etcd, the cluster's name servers, and what departments published: their networks,
//! and the resolvers of their names. Not the API server, and not one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tidegate_core::Cidr;

use super::{HTTPS_PORT, METRICS_PORT, Maker, merge};
use crate::cluster::labels;
use crate::cluster::settings::{EtcdMode, host_of, port_of};

/// Most networks of a policy; API servers take objects of 1.5 MiB.
const NETWORKS_MAX: usize = 5_000;
/// Where names are asked.
const DNS_PORT: u16 = 53;
/// The address of name servers that run on every node.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
/// The name of etcd's pods, as the chart has it.
const ETCD: &str = "tidegate-etcd";

/// What departments open to the gateways that serve them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Networks of systems.
    pub networks: BTreeSet<Cidr>,
    /// Name servers of departments.
    pub resolvers: BTreeSet<SocketAddr>,
}

impl Maker<'_> {
    pub(super) fn network_policy(&self) -> Value {
        let tcp = |port: u16| json!({"protocol": "TCP", "port": port});
        let names = [json!({"protocol": "UDP", "port": DNS_PORT}), tcp(DNS_PORT)];
        let mut egress = vec![
            json!({"to": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": NODE_LOCAL_DNS}}], "ports": names}),
            self.etcd_egress(),
        ];
        let blocks = blocks(&self.observed.reach.networks);
        if !blocks.is_empty() {
            egress.push(json!({"to": blocks}));
        }
        let mut resolvers: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
        for resolver in self.observed.reach.resolvers.iter().take(NETWORKS_MAX) {
            resolvers.entry(resolver.port()).or_default().push(block_of(resolver.ip()));
        }
        egress.extend(resolvers.into_iter().map(|(port, to)| {
            json!({"to": to, "ports": [{"protocol": "UDP", "port": port}, {"protocol": "TCP", "port": port}]})
        }));
        egress.extend(self.settings.gateway.network_policy.extra_egress.iter().cloned());
        json!({"spec": {
            "podSelector": {"matchLabels": labels::pods(self.pool)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [tcp(HTTPS_PORT), tcp(METRICS_PORT)]}],
            "egress": egress,
        }})
    }

    /// The way to etcd: its pods where the chart runs it; else its addresses, and its ports where it has names, which a
    /// policy does not know.
    fn etcd_egress(&self) -> Value {
        let etcd = &self.settings.etcd;
        let ports: BTreeSet<u16> = etcd.endpoints.iter().filter_map(|endpoint| port_of(endpoint)).collect();
        let ports: Vec<Value> = ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
        let mut rule = json!({"ports": ports});
        let addresses: Option<Vec<IpAddr>> =
            etcd.endpoints.iter().map(|endpoint| host_of(endpoint)?.parse().ok()).collect();
        match (etcd.mode, addresses) {
            (EtcdMode::Bundled, _) => {
                merge(&mut rule, json!({"to": [{"podSelector": {"matchLabels": {labels::NAME: ETCD}}}]}));
            }
            (EtcdMode::External, Some(addresses)) => {
                let to: Vec<Value> = addresses.into_iter().map(block_of).collect();
                merge(&mut rule, json!({"to": to}));
            }
            (EtcdMode::External, None) => {}
        }
        rule
    }
}

/// Networks without those that lie in another one.
fn blocks(networks: &BTreeSet<Cidr>) -> Vec<Value> {
    let within = |inner: &Cidr, outer: &Cidr| {
        inner != outer && outer.prefix() <= inner.prefix() && outer.contains(inner.address())
    };
    let mut kept: Vec<&Cidr> = Vec::new();
    // In order of address and then of prefix, so that whatever holds a network comes before it.
    for network in networks {
        if kept.last().is_none_or(|last| !within(network, last)) {
            kept.push(network);
        }
    }
    if kept.len() > NETWORKS_MAX {
        tracing::error!(networks = kept.len(), most = NETWORKS_MAX, "the network policy leaves networks out");
    }
    kept.into_iter()
        .take(NETWORKS_MAX)
        .map(|network| json!({"ipBlock": {"cidr": network.to_string()}}))
        .collect()
}

fn block_of(address: IpAddr) -> Value {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    json!({"ipBlock": {"cidr": format!("{address}/{prefix}")}})
}
