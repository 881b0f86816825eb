//! Resource: where a system lives and how it proves itself.

use tidegate_core::{
    Code, Contact, Endpoint, Resource, UpstreamScheme, UpstreamTls, Web, is_forbidden_target,
};

use super::text::{boxed, localized, map};
use super::{Context, Problems};
use crate::types::{ResourceSpec, Tls};

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
    let Some(web) = &spec.web else {
        let fix = "describe a web address in spec.web";
        problems.add("spec", Code::NotYetSupported, "the system has no web address", fix);
        return None;
    };
    let tls = web.tls.as_ref().map(|tls| verification(namespace, tls, context, problems)).unwrap_or_default();
    let web = address(&web.url, tls, problems)?;
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
        endpoint: Endpoint::Web(web),
    })
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
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    let valid = host.parse::<std::net::IpAddr>().is_ok() || (is_host_name(&host) && !numeric);
    (valid && port != 0).then_some((host, port))
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
