//! A department's resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use tidegate_core as model;
use tidegate_core::policy::PortRange;
use tidegate_core::{Endpoint, ResourceName, UpstreamScheme};

use super::common::{
    Localized, Pairs, Source, from_bytes, id, list, optional_text, pairs, pairs_of, text, to_bytes,
};
use crate::wire::{bounds, unreadable};
use crate::{StoreError, StoreResult};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Resources<'b> {
    #[b(0)]
    resources: Vec<Resource<'b>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Resource<'b> {
    #[b(0)]
    source: Source<'b>,
    #[b(1)]
    name: &'b str,
    #[b(2)]
    title: Localized<'b>,
    #[b(3)]
    description: Localized<'b>,
    #[b(4)]
    category: Localized<'b>,
    #[b(5)]
    icon: &'b str,
    #[b(6)]
    office: Localized<'b>,
    #[b(7)]
    phone: &'b str,
    #[b(8)]
    hours: Localized<'b>,
    #[b(9)]
    labels: Pairs<'b>,
    #[n(10)]
    visible: bool,
    #[b(11)]
    web: Option<Web<'b>>,
    #[b(12)]
    network: Option<Network<'b>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Web<'b> {
    #[n(0)]
    https: bool,
    #[b(1)]
    host: &'b str,
    #[n(2)]
    port: u16,
    #[b(3)]
    start_path: &'b str,
    #[b(4)]
    ca_pem: Option<&'b str>,
    #[n(5)]
    pin: Option<ByteArray<32>>,
    #[b(6)]
    server_name: Option<&'b str>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Network<'b> {
    #[b(0)]
    hosts: Vec<&'b str>,
    #[n(1)]
    ports: Vec<Ports>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Ports {
    #[n(0)]
    from: u16,
    #[n(1)]
    to: u16,
}

impl<'b> From<&'b model::Resource> for Resource<'b> {
    fn from(value: &'b model::Resource) -> Self {
        Self {
            source: (&value.source).into(),
            name: value.name.as_str(),
            title: (&value.title).into(),
            description: (&value.description).into(),
            category: (&value.category).into(),
            icon: &value.icon,
            office: (&value.contact.office).into(),
            phone: &value.contact.phone,
            hours: (&value.contact.hours).into(),
            labels: pairs_of(&value.labels),
            visible: value.visible,
            web: value.web().map(|web| Web {
                https: web.scheme == UpstreamScheme::Https,
                host: &web.host,
                port: web.port,
                start_path: &web.start_path,
                ca_pem: web.tls.ca_pem.as_deref(),
                pin: web.tls.pin.map(ByteArray::from),
                server_name: web.tls.server_name.as_deref(),
            }),
            network: value.network().map(|network| Network {
                hosts: network.hosts.iter().map(|host| &**host).collect(),
                ports: network.ports.iter().map(|range| Ports { from: range.from, to: range.to }).collect(),
            }),
        }
    }
}

impl TryFrom<Resource<'_>> for model::Resource {
    type Error = StoreError;

    fn try_from(wire: Resource<'_>) -> StoreResult<Self> {
        Ok(Self {
            source: wire.source.try_into()?,
            name: id(wire.name)?,
            title: wire.title.try_into()?,
            description: wire.description.try_into()?,
            category: wire.category.try_into()?,
            icon: text(wire.icon, bounds::NAME)?,
            contact: model::Contact {
                office: wire.office.try_into()?,
                phone: text(wire.phone, bounds::NAME)?,
                hours: wire.hours.try_into()?,
            },
            labels: pairs(wire.labels)?,
            visible: wire.visible,
            endpoint: match (wire.web, wire.network) {
                (Some(web), None) => Endpoint::Web(web.try_into()?),
                (None, Some(network)) => Endpoint::Network(network.try_into()?),
                _ => return Err(unreadable("a resource that is reached in no one way")),
            },
        })
    }
}

impl TryFrom<Network<'_>> for model::Network {
    type Error = StoreError;

    fn try_from(wire: Network<'_>) -> StoreResult<Self> {
        let range = |wire: Ports| {
            let range = PortRange { from: wire.from, to: wire.to };
            if range.from > range.to {
                Err(unreadable("ports that end before they begin"))
            } else {
                Ok(range)
            }
        };
        let hosts = list(wire.hosts, bounds::LIST, |host| text(host, bounds::NAME))?;
        let ports = list(wire.ports, bounds::LIST, range)?;
        if hosts.is_empty() || ports.is_empty() {
            return Err(unreadable("a network resource without hosts or ports"));
        }
        Ok(Self { hosts, ports })
    }
}

impl TryFrom<Web<'_>> for model::Web {
    type Error = StoreError;

    fn try_from(wire: Web<'_>) -> StoreResult<Self> {
        if !wire.start_path.starts_with('/') {
            return Err(unreadable("a start path without a slash"));
        }
        Ok(Self {
            scheme: if wire.https { UpstreamScheme::Https } else { UpstreamScheme::Http },
            host: text(wire.host, bounds::NAME)?,
            port: wire.port,
            start_path: text(wire.start_path, bounds::TEXT)?,
            tls: model::UpstreamTls {
                ca_pem: optional_text(wire.ca_pem, bounds::PEM)?,
                pin: wire.pin.map(|pin| *pin),
                server_name: optional_text(wire.server_name, bounds::NAME)?,
            },
        })
    }
}

/// The bytes of a department's resources, in the order of their names.
#[must_use]
pub fn encode_resources(resources: &BTreeMap<ResourceName, Arc<model::Resource>>) -> Vec<u8> {
    to_bytes(&Resources { resources: resources.values().map(|r| Resource::from(&**r)).collect() })
}

/// A department's resources by name.
///
/// # Errors
/// When the bytes are not resources within [`bounds`], or a name is there twice.
pub fn decode_resources(bytes: &[u8]) -> StoreResult<BTreeMap<ResourceName, Arc<model::Resource>>> {
    let wire: Resources<'_> = from_bytes(bytes, bounds::PART, "resources")?;
    let mut resources = BTreeMap::new();
    for resource in list(wire.resources, bounds::RESOURCES, model::Resource::try_from)? {
        if resources.insert(resource.name.clone(), Arc::new(resource)).is_some() {
            return Err(unreadable("a resource is there twice"));
        }
    }
    Ok(resources)
}
