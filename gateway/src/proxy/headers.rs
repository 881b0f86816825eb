//! Headers on the way out and back: what is taken off, what is put on.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use tidegate_core::{Code, Resource, UpstreamScheme, Web};

use crate::cookie;
use crate::recorder::Signed;
use crate::route::Site;

/// Who is asking, as `<code>/<name>`.
const USER: HeaderName = HeaderName::from_static("x-tidegate-user");
/// Their department's code.
const DEPARTMENT: HeaderName = HeaderName::from_static("x-tidegate-department");
/// Their name, percent-encoded UTF-8.
const NAME: HeaderName = HeaderName::from_static("x-tidegate-name");
/// All of that signed; see [`crate::identity`].
const TOKEN: HeaderName = HeaderName::from_static("x-tidegate-jwt");
/// The id of the request, as pages and records show it.
const REQUEST: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that speak of one connection only. `Connection` itself names more.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How many fields are put on.
const PUT_ON: usize = 9;

/// Most names in `Connection` that are looked at.
const NAMED_MAX: usize = 16;

/// What goes onto a request.
pub(super) struct Outgoing<'a> {
    pub(super) web: &'a Web,
    pub(super) site: &'a Site,
    pub(super) forwarded: &'a Forwarded,
    pub(super) signed: &'a Signed,
    pub(super) request: &'a str,
    pub(super) upgrade: bool,
}

/// Where a request comes from, in the two ways upstreams may want it.
#[derive(Clone)]
pub(crate) struct Forwarded {
    /// For `X-Forwarded-For`.
    pub(crate) source: HeaderValue,
    /// For `Forwarded`.
    pub(crate) all: HeaderValue,
}

impl Forwarded {
    /// A request of `source` to the host and port `authority`.
    pub(crate) fn new(source: IpAddr, authority: &HeaderValue) -> Self {
        let node = match source {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let host = authority.to_str().unwrap_or_default();
        let all = format!("for={node};host=\"{host}\";proto=https");
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Self { source: value(source.to_string()), all: value(all) }
    }
}

/// Whether a request wants to become a WebSocket; any other upgrade is refused, but for the offer of
/// HTTP/2 in the clear, which nobody has to take.
pub(super) fn upgrade(parts: &Parts) -> Result<bool, Code> {
    let Some(protocol) = parts.headers.get(header::UPGRADE) else { return Ok(false) };
    let asked = parts.version == Version::HTTP_11
        && list(&parts.headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    if !asked || protocol.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return Ok(false);
    }
    let fits = protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && parts.method == Method::GET;
    if fits { Ok(true) } else { Err(Code::UpgradeRefused) }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim)
}

/// Fields named in `Connection`, which go with it.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    if !headers.contains_key(header::CONNECTION) {
        return Vec::new();
    }
    list(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .take(NAMED_MAX)
        .collect()
}

/// Fields only we may set. Many upstreams read `-` and `_` alike, so both are taken off.
fn is_ours(name: &str) -> bool {
    let starts = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().zip(prefix.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    starts("x-tidegate-") || starts("x-forwarded-") || starts("x-real-ip") || name == "forwarded"
}

/// The headers of a request to the upstream, from those of the client's.
pub(super) fn outgoing(from: &HeaderMap, out: &Outgoing<'_>) -> HeaderMap {
    let named = named(from);
    let mut headers = HeaderMap::with_capacity(from.len() + PUT_ON);
    // What we put on ourselves comes last, so that it replaces whatever the client called so.
    for (name, value) in from {
        let dropped = HOP_BY_HOP.contains(name)
            // The body says how long it is; two sayings could differ.
            || *name == header::CONTENT_LENGTH
            || *name == header::EXPECT
            || *name == header::COOKIE
            || *name == header::HOST
            || is_ours(name.as_str())
            || named.contains(name);
        if !dropped {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(cookies) = others_cookies(from) {
        headers.insert(header::COOKIE, cookies);
    }
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| origin == out.site.origin)
        && let Ok(own) = HeaderValue::try_from(upstream_origin(out.web))
    {
        // The page and what it calls are one origin to the browser; they must be one to the upstream.
        headers.insert(header::ORIGIN, own);
    }
    headers.insert(header::HOST, out.signed.host.clone());
    if out.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    headers.insert(FORWARDED_FOR, out.forwarded.source.clone());
    headers.insert(FORWARDED_HOST, out.site.authority.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(header::FORWARDED, out.forwarded.all.clone());
    headers.insert(USER, out.signed.user.clone());
    headers.insert(DEPARTMENT, out.signed.department.clone());
    headers.insert(NAME, out.signed.name.clone());
    headers.insert(TOKEN, out.signed.token.clone());
    if let Ok(request) = HeaderValue::try_from(out.request) {
        headers.insert(REQUEST, request);
    }
    headers
}

/// The cookies that are not ours, in one field.
fn others_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let ours = |pair: &str| pair.trim_start().starts_with(cookie::PREFIX);
    let mut kept = String::new();
    // HTTP/2 sends each cookie in a field of its own; HTTP/1.1 wants them in one.
    for value in headers.get_all(header::COOKIE) {
        let Ok(text) = value.to_str() else { continue };
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty() && !ours(pair)) {
            if !kept.is_empty() {
                kept.push_str("; ");
            }
            kept.push_str(pair);
        }
    }
    if kept.is_empty() { None } else { HeaderValue::try_from(kept).ok() }
}

/// Makes an upstream's headers those of our answer.
pub(super) fn incoming(headers: &mut HeaderMap, web: &Web, site: &Site, upgraded: bool) {
    // Most answers have none of these: one look at each field tells.
    let special = headers.keys().any(|name| {
        // Alt-Svc would lead browsers past the gateway.
        HOP_BY_HOP.contains(name) || *name == header::ALT_SVC || *name == header::SET_COOKIE
    });
    if special {
        for name in named(headers).iter().chain(&HOP_BY_HOP).chain([&header::ALT_SVC]) {
            headers.remove(name);
        }
        let cookies: Vec<HeaderValue> =
            headers.get_all(header::SET_COOKIE).iter().filter_map(own_cookie).collect();
        headers.remove(header::SET_COOKIE);
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    if upgraded {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if let Some(target) = headers.get(header::LOCATION)
        && let Some(target) = moved(target, web, site)
    {
        headers.insert(header::LOCATION, target);
    }
}

/// An upstream's cookie without `Domain`, so that it stays on its own host; one with a name of ours is none.
fn own_cookie(cookie: &HeaderValue) -> Option<HeaderValue> {
    let bytes = cookie.as_bytes();
    if bytes.trim_ascii_start().starts_with(cookie::PREFIX.as_bytes()) {
        return None;
    }
    let is_domain = |part: &[u8]| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let mut parts = bytes.split(|byte| *byte == b';');
    if !parts.clone().skip(1).any(is_domain) {
        return Some(cookie.clone());
    }
    let mut kept = parts.next().unwrap_or_default().to_vec();
    for part in parts.filter(|part| !is_domain(part)) {
        kept.push(b';');
        kept.extend_from_slice(part);
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// A redirect to the upstream's own address, as one to its host at the gateway.
fn moved(target: &HeaderValue, web: &Web, site: &Site) -> Option<HeaderValue> {
    let target = target.to_str().ok()?;
    let origin = site.origin.to_str().ok()?;
    let with_port = format!("{}://{}:{}", scheme(web), web.host, web.port);
    let rest = [upstream_origin(web), with_port].iter().find_map(|own| {
        let rest = target.strip_prefix(own.as_str())?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
    })?;
    HeaderValue::try_from(format!("{origin}{rest}")).ok()
}

fn scheme(web: &Web) -> &'static str {
    match web.scheme {
        UpstreamScheme::Http => "http",
        UpstreamScheme::Https => "https",
    }
}

fn upstream_origin(web: &Web) -> String {
    format!("{}://{}", scheme(web), authority(web))
}

/// The host a resource's requests name.
pub(super) fn host(resource: &Resource) -> Option<HeaderValue> {
    HeaderValue::try_from(authority(resource.web()?)).ok()
}

/// Host and port as a browser would name them.
fn authority(web: &Web) -> String {
    let usual = match web.scheme {
        UpstreamScheme::Http => 80,
        UpstreamScheme::Https => 443,
    };
    if web.port == usual { web.host.to_string() } else { format!("{}:{}", web.host, web.port) }
}

#[cfg(test)]
mod tests;
