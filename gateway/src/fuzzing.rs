//! The pure functions on what clients send, as fuzz targets reach them; not part of the interface.

use tidegate_core::ResourceId;

/// The form of a path that is decided and forwarded; `None` when it is refused.
#[must_use]
pub fn normalise(path: &str) -> Option<String> {
    crate::path::normalise(path).ok().map(|normal| normal.into_owned())
}

/// The system an authority names below `portal`.
#[must_use]
pub fn resource_of(authority: &str, portal: &str) -> Option<ResourceId> {
    crate::route::resource_of(&crate::route::host_of(authority)?, portal)
}

/// Whose connection a balancer passes on, and where its header ends; `None` when it is none.
#[must_use]
pub fn proxy_header(bytes: &[u8]) -> Option<(Option<std::net::IpAddr>, usize)> {
    crate::listener::proxy_protocol::parse(bytes).ok()
}

/// Whether a body of a VPN client's login says something; `None` when it is refused.
#[must_use]
pub fn client_says(body: &[u8]) -> Option<String> {
    crate::tunnel::login::message::Said::parse(body).ok().map(|said| format!("{said:?}"))
}
