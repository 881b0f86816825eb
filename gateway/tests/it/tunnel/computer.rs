//! A client and the computer behind it: frames over TLS, packets written by hand, TCP by smoltcp.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{PORTAL, SOON, World};

/// How many there were.
static COMPUTERS: AtomicU64 = AtomicU64::new(1);

/// What stock clients call themselves.
const AGENT: &str = "Open AnyConnect VPN Agent v9.01";

/// Silence after which nothing more is expected.
pub(super) const QUIET: Duration = Duration::from_millis(200);

/// A connected client.
pub(super) struct Computer {
    pub(super) tls: TlsStream<TcpStream>,
    pub(super) four: Ipv4Addr,
    pub(super) six: Ipv6Addr,
    pub(super) mtu: usize,
    read: Vec<u8>,
    interface: Interface,
    sockets: SocketSet<'static>,
    link: Link,
    began: Instant,
    port: u16,
    /// Packets that are not TCP's.
    pub(super) others: VecDeque<Vec<u8>>,
    /// The payload of a farewell.
    pub(super) farewell: Option<Vec<u8>>,
}

#[derive(Default)]
struct Link {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    mtu: usize,
}

struct In(Vec<u8>);
struct Away<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Away<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let made = f(&mut packet);
        self.0.push_back(packet);
        made
    }
}

impl Device for Link {
    type RxToken<'a> = In;
    type TxToken<'a> = Away<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(In, Away<'_>)> {
        Some((In(self.incoming.pop_front()?), Away(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Away<'_>> {
        Some(Away(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A TLS connection to the gateway.
pub(super) async fn dial(world: &World) -> TlsStream<TcpStream> {
    dial_from(world, Ipv4Addr::LOCALHOST).await
}

async fn dial_from(world: &World, source: Ipv4Addr) -> TlsStream<TcpStream> {
    let (address, config) = world.address();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("an address");
    let stream = socket.connect(address).await.expect("the gateway");
    let name = PORTAL.try_into().expect("a name");
    TlsConnector::from(config).connect(name, stream).await.expect("TLS")
}

/// A request with a ticket.
pub(super) fn request(ticket: &str, agent: &str) -> String {
    format!(
        "CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: {PORTAL}\r\nUser-Agent: {agent}\r\n\
         Cookie: webvpn={ticket}\r\nX-CSTP-Version: 1\r\nX-CSTP-Base-MTU: 1500\r\nX-CSTP-MTU: 1390\r\n\
         X-CSTP-Address-Type: IPv6,IPv4\r\nX-CSTP-Full-IPv6-Capability: true\r\n\r\n"
    )
}

/// Sends a request and reads the head of the answer.
pub(super) async fn ask(tls: &mut TlsStream<TcpStream>, request: &str) -> String {
    tls.write_all(request.as_bytes()).await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tokio::time::timeout(SOON, tls.read_u8()).await.expect("in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

impl Computer {
    /// Connects; the head of a refusal otherwise.
    pub(super) async fn connect(world: &World, ticket: &str) -> Result<Self, String> {
        Self::connect_as(world, ticket, AGENT).await
    }

    pub(super) async fn connect_as(world: &World, ticket: &str, agent: &str) -> Result<Self, String> {
        Self::begin(dial(world).await, ticket, agent).await
    }

    /// Connects from somewhere else.
    pub(super) async fn connect_from(world: &World, ticket: &str, source: Ipv4Addr) -> Result<Self, String> {
        Self::begin(dial_from(world, source).await, ticket, AGENT).await
    }

    async fn begin(mut tls: TlsStream<TcpStream>, ticket: &str, agent: &str) -> Result<Self, String> {
        let head = ask(&mut tls, &request(ticket, agent)).await;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(head);
        }
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{name} in {head}")).to_owned()
        };
        let four: Ipv4Addr = field("X-CSTP-Address").parse().expect("an address");
        let six: Ipv6Addr = field("X-CSTP-Address-IP6")
            .split('/')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("an address");
        let mtu = field("X-CSTP-MTU").parse().expect("a number");
        let mut link = Link { mtu, ..Link::default() };
        let mut config = Config::new(HardwareAddress::Ip);
        // No two computers count from the same number.
        config.random_seed = COMPUTERS.fetch_add(1, Ordering::Relaxed);
        let mut interface = Interface::new(config, &mut link, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(four.into(), 32)).expect("room");
            addresses.push(IpCidr::new(six.into(), 128)).expect("room");
        });
        let own = Self {
            tls,
            four,
            six,
            mtu,
            read: Vec::new(),
            interface,
            sockets: SocketSet::new(Vec::new()),
            link,
            began: Instant::now(),
            port: 40_000,
            others: VecDeque::new(),
            farewell: None,
        };
        Ok(own)
    }

    /// Comes again with a new connection, as a client does that has lost the one before.
    pub(super) async fn reconnect(&mut self, world: &World, ticket: &str) {
        self.move_to(world, ticket, Ipv4Addr::LOCALHOST).await;
    }

    /// The same from somewhere else.
    pub(super) async fn move_to(&mut self, world: &World, ticket: &str, source: Ipv4Addr) {
        let mut tls = dial_from(world, source).await;
        let head = ask(&mut tls, &request(ticket, AGENT)).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(&format!("X-CSTP-Address: {}\r\n", self.four)), "{head}");
        self.tls = tls;
        self.read.clear();
    }

    /// Sends a frame of this kind.
    pub(super) async fn frame(&mut self, kind: u8, payload: &[u8]) {
        let [high, low] = u16::try_from(payload.len()).expect("short").to_be_bytes();
        let frame = [b"STF\x01", &[high, low, kind, 0][..], payload].concat();
        let _ = self.tls.write_all(&frame).await;
        let _ = self.tls.flush().await;
    }

    /// Sends a packet.
    pub(super) async fn send(&mut self, packet: &[u8]) {
        self.frame(0, packet).await;
    }

    /// The next frame, if one comes within `patience`; `Err` when the connection has ended.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<(u8, Vec<u8>)>, ()> {
        loop {
            if let Some((header, rest)) = self.read.split_first_chunk::<8>() {
                assert_eq!(&header[..4], b"STF\x01");
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if rest.len() >= length {
                    let (kind, payload) = (header[6], rest[..length].to_vec());
                    self.read.drain(..8 + length);
                    return Ok(Some((kind, payload)));
                }
            }
            let mut buffer = vec![0; 16 * 1024];
            match tokio::time::timeout(patience, self.tls.read(&mut buffer)).await {
                Err(_) => return Ok(None),
                Ok(Ok(count @ 1..)) => self.read.extend_from_slice(&buffer[..count]),
                Ok(_) => return Err(()),
            }
        }
    }

    /// One turn of the computer: what came is taken in, what is to go goes. False once it is cut off.
    pub(super) async fn turn(&mut self, patience: Duration) -> bool {
        let mut patience = patience;
        loop {
            match self.next(patience).await {
                Ok(Some((0, packet))) => match protocol(&packet) {
                    6 => self.link.incoming.push_back(packet),
                    _ => self.others.push_back(packet),
                },
                Ok(Some((5, payload))) => self.farewell = Some(payload),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(()) => return false,
            }
            patience = Duration::ZERO;
        }
        let now = smoltcp::time::Instant::from_micros(
            i64::try_from(self.began.elapsed().as_micros()).expect("short"),
        );
        self.interface.poll(now, &mut self.link, &mut self.sockets);
        while let Some(packet) = self.link.outgoing.pop_front() {
            self.send(&packet).await;
        }
        true
    }

    /// Turns until `done` has something to say.
    pub(super) async fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(answer) = done(self) {
                return answer;
            }
            assert!(Instant::now() < end, "it happens soon");
            self.turn(Duration::from_millis(20)).await;
        }
    }

    /// The payload of the farewell, once the connection is closed.
    pub(super) async fn closed(&mut self) -> Option<Vec<u8>> {
        let end = Instant::now() + SOON;
        while self.turn(Duration::from_millis(20)).await {
            assert!(Instant::now() < end, "it is closed soon");
        }
        self.farewell.take()
    }

    /// Begins a connection.
    pub(super) fn open(&mut self, target: SocketAddr) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 1 << 18]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        self.port += 1;
        socket.connect(self.interface.context(), IpEndpoint::from(target), self.port).expect("it begins");
        self.sockets.add(socket)
    }

    pub(super) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A connection that stands, or `None` when it was refused.
    pub(super) async fn connect_to(&mut self, target: SocketAddr) -> Option<SocketHandle> {
        let handle = self.open(target);
        self.until(|own| match own.socket(handle).state() {
            tcp::State::Established => Some(Some(handle)),
            tcp::State::Closed => Some(None),
            _ => None,
        })
        .await
    }

    /// Sends `bytes` and reads as many back.
    pub(super) async fn exchange(&mut self, handle: SocketHandle, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut read) = (0, Vec::new());
        self.until(|own| {
            let socket = own.socket(handle);
            if socket.can_send() && sent < bytes.len() {
                sent += socket.send_slice(&bytes[sent..]).expect("it stands");
            }
            while socket.can_recv() {
                let more = socket.recv(|part| (part.len(), part.to_vec())).expect("it stands");
                read.extend_from_slice(&more);
            }
            (read.len() >= bytes.len()).then_some(())
        })
        .await;
        read
    }

    /// Sends a datagram and waits for the next packet that is not TCP's.
    pub(super) async fn ask_datagram(&mut self, packet: &[u8]) -> Vec<u8> {
        self.send(packet).await;
        self.until(|own| own.others.pop_front()).await
    }

    /// Asks the gateway's name server for an IPv4 address.
    pub(super) async fn resolve(&mut self, name: &str) -> Option<Ipv4Addr> {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).expect("a label"));
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, 1, 0, 1]);
        let gateway = Ipv4Addr::new(198, 18, 0, 1);
        let packet = udp((self.four.into(), 5_353), (gateway.into(), 53), &question);
        let answer = self.ask_datagram(&packet).await;
        let answer = &answer[28..];
        assert_eq!(&answer[..2], &[0, 7]);
        let found = answer[7] == 1;
        found.then(|| <[u8; 4]>::try_from(&answer[answer.len() - 4..]).expect("four bytes").into())
    }
}

/// What a packet carries.
pub(super) fn protocol(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { packet[9] } else { packet[6] }
}

fn header(source: IpAddr, target: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut out = Vec::new();
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let [high, low] = (length + 20).to_be_bytes();
            out.extend_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&target.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let [high, low] = length.to_be_bytes();
            out.extend_from_slice(&[0x60, 0, 0, 0, high, low, protocol, 64]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&target.octets());
        }
        _ => panic!("two families"),
    }
    out.extend_from_slice(payload);
    out
}

/// A datagram; nobody looks at its sum.
pub(super) fn udp((source, from): (IpAddr, u16), (target, to): (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("short");
    let fields = [from, to, length, 0].map(u16::to_be_bytes).concat();
    header(source, target, 17, &[&fields, payload].concat())
}

/// A ping.
pub(super) fn ping(source: IpAddr, target: IpAddr, payload: &[u8]) -> Vec<u8> {
    let (protocol, kind) = if source.is_ipv4() { (1, 8) } else { (58, 128) };
    header(source, target, protocol, &[&[kind, 0, 0, 0, 0x12, 0x34, 0, 9][..], payload].concat())
}

/// A first segment.
pub(super) fn syn(source: (IpAddr, u16), target: (IpAddr, u16)) -> Vec<u8> {
    let ports = [source.1, target.1].map(u16::to_be_bytes).concat();
    let rest = [0, 0, 0, 7, 0, 0, 0, 0, 5 << 4, 2, 255, 255, 0, 0, 0, 0];
    header(source.0, target.0, 6, &[&ports[..], &rest].concat())
}
