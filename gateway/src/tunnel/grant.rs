//! Where a flow may go: from an address inside the tunnel to a host, a resource and a permit.
//!
//! ```text
//!  address --> hosts: the one a virtual address stands for, else all that lie there
//!          --> network resources with that host and port --> decide each
//!          --> one department permits: that is it; several: denied, for nobody could say by whose rules it went
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use tidegate_core::{Code, Decision, Denial, NamedHost, Permit, Question, Resource, ResourceId, Snapshot};

use super::Tunnels;
use super::address::{self, OWN_4, OWN_6};
use super::dns::Found;
use crate::session::Opened;
use crate::shared::ShardContext;

/// What may be reached.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// By whose word.
    pub(super) permit: Permit,
    /// The resource.
    pub(super) resource: ResourceId,
    /// The host name or address as the manifest has it.
    pub(super) host: Box<str>,
}

impl Grant {
    /// Whether what `other` has opened may go on under this one. The same host of another department may be found
    /// by other name servers, and is recorded as another system's.
    pub(super) fn leads_where(&self, other: &Self) -> bool {
        self.host == other.host && self.resource.department == other.resource.department
    }
}

/// Why a flow may not be.
#[derive(Debug)]
pub(super) struct Refused {
    /// The stable code.
    pub(super) code: Code,
    /// The resource, if it was one's.
    pub(super) resource: Option<ResourceId>,
    /// The decision, if there was one.
    pub(super) denial: Option<Box<Denial>>,
}

impl Refused {
    fn of(code: Code) -> Self {
        Self { code, resource: None, denial: None }
    }
}

/// Decides whether `opened` may reach `target` at `port`; a ping has none, and any port will do.
pub(super) fn decide(
    ctx: &ShardContext,
    opened: &Opened,
    target: IpAddr,
    port: Option<u16>,
) -> Result<Grant, Refused> {
    let Some(snapshot) = ctx.snapshot() else { return Err(Refused::of(Code::NoSnapshot)) };
    let names = ctx.tunnels.names(&snapshot);
    let mut granted: Option<Grant> = None;
    let mut refused = Refused::of(Code::ResourceUnknown);
    for host in names.at(target) {
        for id in &host.resources {
            let Some(port) = port_of(&snapshot, id, port) else { continue };
            match ask(ctx, opened, &snapshot, host, id, port) {
                Decision::Permit(_) if granted.as_ref().is_some_and(|grant| other_owner(grant, id)) => {
                    return Err(Refused { resource: Some(id.clone()), ..Refused::of(Code::AddressOverlap) });
                }
                Decision::Permit(permit) => {
                    granted.get_or_insert(Grant { permit, resource: id.clone(), host: host.host.clone() });
                }
                Decision::Deny(denial) if refused.denial.is_none() => {
                    let code = denial.reason.code();
                    refused = Refused { code, resource: Some(id.clone()), denial: Some(Box::new(denial)) };
                }
                Decision::Deny(_) => {}
            }
        }
    }
    granted.ok_or(refused)
}

fn other_owner(grant: &Grant, id: &ResourceId) -> bool {
    grant.resource.department != id.department
}

/// The port to decide about: the one asked for if the resource has it, any of its own for a ping.
fn port_of(snapshot: &Snapshot, id: &ResourceId, port: Option<u16>) -> Option<u16> {
    let (_, resource) = snapshot.resource(id)?;
    let network = resource.network()?;
    match port {
        Some(port) => network.has_port(port).then_some(port),
        None => network.ports.first().map(|range| range.from),
    }
}

fn ask(
    ctx: &ShardContext,
    opened: &Opened,
    snapshot: &Arc<Snapshot>,
    host: &NamedHost,
    id: &ResourceId,
    port: u16,
) -> Decision {
    let question = Question {
        snapshot,
        member: &opened.ticket().account.department,
        account: &opened.account,
        resource: id,
        method: "",
        path: "",
    };
    ctx.decide_flow(&question, (&host.host, port), opened.subject.as_ref())
}

/// What a name is for `opened`.
pub(super) fn find(ctx: &ShardContext, opened: &Opened, name: &str) -> Found {
    let names = &ctx.shared().names;
    let own = name == names.portal
        || (names.resources
            && name.strip_suffix(names.portal.as_str()).is_some_and(|rest| rest.ends_with('.')));
    if own {
        return Found::Address(OWN_4, OWN_6);
    }
    let Some(snapshot) = ctx.snapshot() else { return Found::Nothing };
    let names = Tunnels::names(&ctx.tunnels, &snapshot);
    let member = &opened.ticket().account.department;
    let mut hosts: Vec<&NamedHost> = names.named(name).collect();
    hosts.sort_by_key(|host| host.department != *member);
    let granted = |host: &&&NamedHost| {
        host.resources.iter().any(|id| {
            let resource = snapshot.resource(id).map(|(_, resource)| Arc::clone(resource));
            resource.is_some_and(|resource| any_port(ctx, opened, &snapshot, host, id, &resource))
        })
    };
    let found = hosts.iter().find(granted).and_then(|host| names.addresses(host));
    found.map_or(Found::Nothing, |(four, six)| Found::Address(four, six))
}

/// Whether any of a resource's ranges of ports is open.
fn any_port(
    ctx: &ShardContext,
    opened: &Opened,
    snapshot: &Arc<Snapshot>,
    host: &NamedHost,
    id: &ResourceId,
    resource: &Resource,
) -> bool {
    let ports = resource.network().into_iter().flat_map(|network| &network.ports);
    let mut ends = ports.flat_map(|range| [range.from, range.to]);
    ends.any(|port| matches!(ask(ctx, opened, snapshot, host, id, port), Decision::Permit(_)))
}

/// Whether the gateway's own listener answers at this address and port.
pub(super) fn is_own(ctx: &ShardContext, target: IpAddr, port: u16) -> bool {
    let shared = ctx.shared();
    address::ours(target) == Some(address::Ours::Hosts)
        && (port == shared.names.port() || port == shared.address.port())
}
