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

/// The first frame of a tunnel: the length of its payload and of all of it; `None` when there is none.
#[must_use]
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    crate::tunnel::fuzzing::frame(bytes)
}

/// What the head of a tunnel's request says; `None` when it is refused.
#[must_use]
pub fn tunnel_head(head: &[u8]) -> Option<String> {
    crate::tunnel::fuzzing::head(head)
}

/// Takes in a packet of a client and gives the answers that need no flow: a refusal, and a reset.
#[must_use]
pub fn packet(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    crate::tunnel::fuzzing::packet(bytes)
}

/// Gives packets to one TCP connection; what it sends.
#[must_use]
pub fn connection<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    crate::tunnel::fuzzing::connection(packets)
}

/// What the name server in the tunnel answers, which knows `files.example` only.
#[must_use]
pub fn name_answer(message: &[u8]) -> Option<Vec<u8>> {
    crate::tunnel::fuzzing::name_answer(message)
}
