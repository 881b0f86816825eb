//! The tunnel as a client's computer meets it: a simulated client with a TCP stack of its own.

mod computer;
mod flows;
mod sessions;
mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tidegate_core::policy::{Factor, PortRange};
use tidegate_core::session::{Kind, Ticket};
use tidegate_core::{Endpoint, Network, Resource, SessionId};
use tidegate_gateway::cookie::{self, Session};
use tidegate_store::Store as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::systems::change_department;
use crate::world::{World, until};

/// The name of the system in the tunnel.
const NAME: &str = "files.example";
/// Where it lies, as manifests say it.
const PLACE: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

/// A system that echoes over TCP and UDP at one port, and the name server that knows it.
struct Echo {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Echo {
    /// Starts it, and lets `sbj`'s clerks in.
    async fn start(world: &World) -> Self {
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.20.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            if let Ok(socket) = UdpSocket::bind(address).await {
                break (listener, socket);
            }
        };
        let names = UdpSocket::bind("127.20.0.1:0").await.expect("a port");
        let (address, resolver) =
            (listener.local_addr().expect("an address"), names.local_addr().expect("an address"));
        let mut tasks = JoinSet::new();
        tasks.spawn(echo_connections(listener));
        tasks.spawn(echo_datagrams(socket));
        tasks.spawn(serve_names(names));
        publish(world, address.port(), resolver).await;
        Self { port: address.port(), _tasks: tasks }
    }
}

async fn publish(world: &World, port: u16, resolver: SocketAddr) {
    change_department(&world.store, |own| {
        own.resolvers = vec![resolver];
        let name = "payroll".parse().expect("a name");
        let mut resource = Resource::clone(&own.resources[&name]);
        let hosts = vec![PLACE.to_string().into(), NAME.into()];
        resource.endpoint =
            Endpoint::Network(Network { hosts, ports: vec![PortRange { from: port, to: port }] });
        own.resources.insert(name, Arc::new(resource));
    })
    .await;
    in_force(world).await;
}

/// Waits until every shard has in force what was published.
async fn in_force(world: &World) {
    let wanted = world.store.subscribe().borrow().snapshot.as_ref().expect("a snapshot").generation.sequence;
    until(async || {
        let text = world.probe("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix("tidegate_snapshot_sequence "));
        line.and_then(|value| value.parse::<u64>().ok()).filter(|applied| *applied >= wanted)
    })
    .await;
}

async fn echo_connections(listener: TcpListener) {
    let mut open = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        open.spawn(async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
    }
}

async fn echo_datagrams(socket: UdpSocket) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
        let _ = socket.send_to(&buffer[..count], from).await;
    }
}

/// Every name lies at [`PLACE`].
async fn serve_names(socket: UdpSocket) {
    let mut buffer = [0; 1_232];
    while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
        let mut answer = buffer[..count].to_vec();
        let ends = answer[12..].iter().position(|byte| *byte == 0).map_or(count, |at| 12 + at + 5);
        let is_four = answer.get(ends - 3) == Some(&1);
        answer.truncate(ends);
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..12].copy_from_slice(&[0, u8::from(is_four), 0, 0, 0, 0]);
        if is_four {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend_from_slice(&PLACE.octets());
        }
        let _ = socket.send_to(&answer, from).await;
    }
}

/// The ticket of somebody in `sbj` who has logged in with a client.
fn ticket(world: &World, name: &str, session: u8) -> Ticket {
    let snapshot = world.store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let now = world.clock.now();
    Ticket {
        session: SessionId([session; 16]),
        account: format!("sbj/{name}").parse().expect("an id"),
        uid: format!("uid-{name}").parse().expect("a uid"),
        epoch: 1,
        kind: Kind::Tunnel,
        factors: Factor::Password.bit(),
        issued: now,
        absolute_end: now.plus(8 * 3_600),
        generation: snapshot.generation,
    }
}

/// The same as clients carry it.
fn sealed(world: &World, ticket: &Ticket) -> String {
    let now = world.clock.now();
    Session::of(ticket.clone(), now).seal(&world.ring, cookie::TUNNEL, now).expect("it is sealed")
}

/// `wangfang`'s computer, connected.
async fn computer(world: &World) -> computer::Computer {
    let value = sealed(world, &ticket(world, "wangfang", 1));
    computer::Computer::connect(world, &value).await.expect("it connects")
}

fn place(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(PLACE), port)
}

/// Reads a whole answer.
async fn all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}
