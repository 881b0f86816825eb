//! Resource: where a system lives and how it proves itself.

use tidegate_core::{
    Code, Contact, Endpoint, Network, Resource, UpstreamScheme, UpstreamTls, Web, is_forbidden_target,
};

use super::policy::ports;
use super::text::{boxed, localized, map};
use super::{Context, Problems};
use crate::types::{self, ResourceSpec, Tls};

/// Longest PEM of authorities.
const CA_BYTES_MAX: usize = 64 * 1_024;

pub(super) fn convert(
    namespace: &str,
    name: &str,
    spec: &ResourceSpec,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Resource> {
    let name =
        problems.take("metadata.name", name.parse(), "choose a name of letters, digits and hyphens")?;
    let endpoint = match (&spec.web, &spec.network) {
        (Some(web), None) => {
            let tls = web
                .tls
                .as_ref()
                .map(|tls| verification(namespace, tls, context, problems))
                .unwrap_or_default();
            Endpoint::Web(address(&web.url, tls, problems)?)
        }
        (None, Some(network)) => Endpoint::Network(places(network, problems)?),
        _ => {
            let fix = "write either spec.web or spec.network";
            problems.add("spec", Code::SchemaViolation, "the system is reached in no one way", fix);
            return None;
        }
    };
    Some(Resource {
        source: context.source.clone(),
        name,
        title: localized(&spec.names),
        description: localized(&spec.description),
        category: localized(&spec.category),
        icon: boxed(spec.icon.as_ref()),
        contact: Contact {
            office: localized(&spec.contact.office),
            phone: boxed(spec.contact.phone.as_ref()),
            hours: localized(&spec.contact.hours),
        },
        labels: map(&spec.labels),
        visible: spec.visible,
        endpoint,
    })
}

/// Hosts and ports of a network resource.
fn places(network: &types::Network, problems: &mut Problems) -> Option<Network> {
    let mut hosts = Vec::with_capacity(network.hosts.len());
    for (index, host) in network.hosts.iter().enumerate() {
        let path = format!("spec.network.hosts[{index}]");
        let host = host.to_ascii_lowercase();
        match host.parse::<std::net::IpAddr>() {
            Ok(address) if is_forbidden_target(address) => {
                let message = format!("{host} is never reachable through a gateway");
                problems.add(
                    path,
                    Code::AddressForbidden,
                    message,
                    "write the system's address inside the department's networks",
                );
            }
            Ok(address) => hosts.push(address.to_canonical().to_string().into_boxed_str()),
            Err(_) if is_host_name(&host) && !is_numeric(&host) => hosts.push(host.into_boxed_str()),
            Err(_) => {
                let message = format!("{host:?} is neither a host name nor an address");
                problems.add(
                    path,
                    Code::SchemaViolation,
                    message,
                    "write it like files.example.org or 10.20.3.5",
                );
            }
        }
    }
    let ports = ports(&network.ports, "spec.network.ports", Code::SchemaViolation, problems);
    let whole = hosts.len() == network.hosts.len() && ports.len() == network.ports.len();
    (whole && !hosts.is_empty() && !ports.is_empty()).then_some(Network { hosts, ports })
}

fn address(url: &str, tls: UpstreamTls, problems: &mut Problems) -> Option<Web> {
    let mut refuse = |code, message: String, fix: &str| problems.add("spec.web.url", code, message, fix);
    let like = "write it like http://10.20.1.10:8080/";
    let parts = url
        .strip_prefix("http://")
        .map(|rest| (UpstreamScheme::Http, 80, rest))
        .or_else(|| url.strip_prefix("https://").map(|rest| (UpstreamScheme::Https, 443, rest)));
    let Some((scheme, default_port, rest)) = parts else {
        refuse(Code::SchemaViolation, format!("{url:?} is neither http:// nor https://"), like);
        return None;
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let Some((host, port)) = host_and_port(authority, default_port) else {
        refuse(Code::SchemaViolation, format!("{authority:?} is not a host with an optional port"), like);
        return None;
    };
    if host.parse().is_ok_and(is_forbidden_target) {
        let message = format!("{host} is never reachable through a gateway");
        refuse(
            Code::AddressForbidden,
            message,
            "write the system's address inside the department's networks",
        );
        return None;
    }
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '?' | '#');
    if path.contains(odd)
        || path.split('/').any(|segment| matches!(segment, "." | ".."))
        || path.contains("//")
    {
        refuse(
            Code::PathRefused,
            format!("the path {path:?} is ambiguous"),
            "write it without dots and double slashes",
        );
        return None;
    }
    Some(Web { scheme, host: host.into(), port, start_path: path.into(), tls })
}

/// Host in lower case, an IPv6 address without its brackets; port.
fn host_and_port(authority: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (address, port)
    } else {
        let (host, port) = authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon));
        (host, port)
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        None if port.is_empty() => default_port,
        _ => return None,
    };
    let host = host.to_ascii_lowercase();
    let valid = host.parse::<std::net::IpAddr>().is_ok() || (is_host_name(&host) && !is_numeric(&host));
    (valid && port != 0).then_some((host, port))
}

/// Whether a name would be taken for an address somewhere.
fn is_numeric(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn verification(namespace: &str, tls: &Tls, context: &Context<'_>, problems: &mut Problems) -> UpstreamTls {
    let ca_pem = tls.ca_config_map.as_ref().and_then(|reference| {
        let path = "spec.web.tls.caConfigMap";
        let Some(pem) = (context.config_maps)(namespace, &reference.name, &reference.key) else {
            let message =
                format!("there is no ConfigMap {namespace}/{} with a key {}", reference.name, reference.key);
            problems.add(path, Code::ReferenceMissing, message, "create it, or correct the reference");
            return None;
        };
        if pem.len() > CA_BYTES_MAX || !pem.contains("-----BEGIN CERTIFICATE-----") {
            let message =
                format!("the ConfigMap {namespace}/{} holds no certificates in PEM", reference.name);
            problems.add(
                path,
                Code::ReferenceMissing,
                message,
                "put the authority's certificate there, at most 64 KiB",
            );
            return None;
        }
        Some(pem.into_boxed_str())
    });
    let pin = tls.pin.as_deref().and_then(|text| {
        let pin = text.strip_prefix("sha256:").and_then(digest);
        if pin.is_none() {
            let message = format!("{text:?} is not a digest");
            problems.add(
                "spec.web.tls.pin",
                Code::SchemaViolation,
                message,
                "write sha256: and 64 hexadecimal digits",
            );
        }
        pin
    });
    let server_name = tls.server_name.as_ref().map(|name| name.to_ascii_lowercase().into_boxed_str());
    UpstreamTls { ca_pem, pin, server_name }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}
