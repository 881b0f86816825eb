//! The business systems of the demo: small web servers in this process, where the manifests say they are.
//!
//! The manifests put them at 10.20.x.y as everybody's are; the gateway dials 127.n.x.y instead (`--dial-map`),
//! and there they listen. A system added to the folder gets its server within the same second.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_core::{Endpoint, Resource, Snapshot, UpstreamScheme};
use tidegate_store::View;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::page::{self, System};

/// Demos that can run beside each other on one machine.
const SLOTS: std::ops::Range<u8> = 20..60;
/// The port that marks a slot as taken.
const MARK_PORT: u16 = 47_020;
/// Connections all systems serve at a time.
const CONNECTIONS_MAX: usize = 1_024;
/// Systems that get a server.
const SYSTEMS_MAX: usize = 64;
/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(10);

/// The part of loopback this demo's systems live in, held for as long as this value.
pub(crate) struct Slot {
    second: u8,
    _mark: TcpListener,
}

impl Slot {
    /// Finds a part nobody else's demo uses.
    pub(crate) async fn take() -> Result<Self> {
        for second in SLOTS {
            let mark = SocketAddr::from(([127, second, 0, 1], MARK_PORT));
            if let Ok(mark) = TcpListener::bind(mark).await {
                return Ok(Self { second, _mark: mark });
            }
        }
        anyhow::bail!("no addresses are left for the demo's systems: {} demos run already", SLOTS.len())
    }

    /// What the gateway dials instead of what the manifests say.
    pub(crate) fn dial_map(&self) -> String {
        format!("10.20.0.0/16=127.{}.0.0/16", self.second)
    }

    /// Where the system at `host` listens; `None` when it is none of the demo's.
    fn address(&self, host: &str, port: u16) -> Option<SocketAddr> {
        match host.parse::<Ipv4Addr>().ok()?.octets() {
            [10, 20, third, fourth] => {
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, self.second, third, fourth)), port))
            }
            _ => None,
        }
    }
}

/// Serves every system of the newest snapshot until the view ends; dropping the future stops all of them.
pub(crate) async fn serve(slot: Slot, mut views: watch::Receiver<View>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut servers: BTreeMap<SocketAddr, watch::Sender<Arc<System>>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let snapshot = views.borrow_and_update().snapshot.clone();
        for (address, system) in snapshot.iter().flat_map(|snapshot| systems(snapshot, &slot)) {
            if let Some(server) = servers.get(&address) {
                server.send_replace(Arc::new(system));
            } else if servers.len() < SYSTEMS_MAX {
                let (server, shown) = watch::channel(Arc::new(system));
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        tasks.spawn(accept(listener, shown, Arc::clone(&places)));
                    }
                    // The gateway's own page says that the system does not answer.
                    Err(error) => tracing::warn!(%address, %error, "a sample system cannot be started"),
                }
                servers.insert(address, server);
            }
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

fn systems<'a>(
    snapshot: &'a Snapshot,
    slot: &'a Slot,
) -> impl Iterator<Item = (SocketAddr, System)> + use<'a> {
    snapshot.departments.values().flat_map(move |department| {
        department
            .resources
            .values()
            .filter_map(move |resource| Some((place(resource, slot)?, System::of(department, resource))))
    })
}

/// Where a system is served: a web system at its address, one behind the tunnel at its first.
fn place(resource: &Resource, slot: &Slot) -> Option<SocketAddr> {
    match &resource.endpoint {
        Endpoint::Web(web) if web.scheme != UpstreamScheme::Http => None,
        Endpoint::Web(_) | Endpoint::Network(_) => {
            let (host, port) = resource.upstream();
            slot.address(host, port)
        }
    }
}

async fn accept(listener: TcpListener, system: watch::Receiver<Arc<System>>, places: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly "too many open files": let somebody else finish first.
                tracing::debug!(%error, "a sample system cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let system = Arc::clone(&system.borrow());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let system = Arc::clone(&system);
                async move { Ok::<_, Infallible>(page::answer(&system, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A client that goes away is none of our business.
            let _ = connection.await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_are_apart_and_map_only_the_demos_addresses() {
        let one = Slot::take().await.expect("a slot");
        let other = Slot::take().await.expect("another");
        assert_ne!(one.second, other.second);
        let expected = SocketAddr::from(([127, one.second, 1, 10], 8080));
        assert_eq!(one.address("10.20.1.10", 8080), Some(expected));
        for host in ["10.21.1.10", "192.0.2.1", "intranet.example", "::1"] {
            assert_eq!(one.address(host, 8080), None);
        }
    }

    /// Serves one system and gives what it answers to `request`, up to `most` bytes.
    async fn ask(request: &str, most: u64) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (_system, shown) = watch::channel(Arc::new(System::sample("社保 <Pension>")));
        let server = tokio::spawn(accept(listener, shown, Arc::new(Semaphore::new(4))));
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let mut stream = stream.take(most);
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("read");
        server.abort();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_system_shows_who_asks() {
        let head = "host: pension\r\nx-tidegate-jwt: e30.eyJuYW1lIjoiV2FuZyBGYW5nIn0.c2ln\r\nconnection: close\r\n\r\n";
        let home = ask(&format!("GET /app/ HTTP/1.1\r\n{head}"), 64 * 1024).await;
        assert!(
            home.contains("200 OK") && home.contains("Wang Fang") && home.contains("社保 &lt;Pension&gt;"),
            "{home}"
        );
        let whoami = ask(&format!("GET /whoami HTTP/1.1\r\n{head}"), 64 * 1024).await;
        assert!(whoami.contains("\"x-tidegate-jwt\":\"e30.eyJ"), "{whoami}");
        let upload = format!("POST /upload HTTP/1.1\r\ncontent-length: 5\r\n{head}12345");
        assert!(ask(&upload, 64 * 1024).await.contains("5 字节 bytes"));
    }

    #[tokio::test]
    async fn what_stays_open_stays_open() {
        let download = ask("GET /download?fast HTTP/1.1\r\nhost: x\r\n\r\n", 4 << 20).await;
        assert!(download.contains("content-length: 1073741824") && download.len() == 4 << 20);
        let upgrade = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let clock = ask(upgrade, 230).await;
        assert!(clock.contains("101 Switching Protocols") && clock.contains("{\"now\":"), "{clock}");
        let refused = ask("GET /ws HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 4096).await;
        assert!(refused.contains("400 Bad Request"), "{refused}");
    }
}
