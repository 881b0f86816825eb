//! The addresses of a host: itself, from the owner's name servers, or from the system's.
//!
//! The owner's servers are asked directly (UDP, then TCP when an answer was cut), from a new port with a
//! new number each time, so that an answer cannot be guessed in advance.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tidegate_core::{Code, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::keys;

mod message;

/// How long one server is waited for, and how many times each is asked.
const PATIENCE: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 2;
/// Name servers asked for one department.
const RESOLVERS_MAX: usize = 4;
/// Addresses tried for one host.
const ADDRESSES_MAX: usize = 8;
/// Hosts remembered; more begin anew.
const NAMES_MAX: usize = 4_096;
/// Seconds an answer is kept at least and at most, whatever it says.
const TTL_MIN_S: u32 = 1;
const TTL_MAX_S: u32 = 300;
/// Questions to the system's resolver at once.
const BLOCKING_MAX: usize = 8;
/// Seconds an answer of the system's resolver is kept; it does not say for how long it holds.
const SYSTEM_TTL_S: u32 = 10;

/// Answers of one shard that still hold, by host and name servers.
pub(super) struct Cache {
    names: RefCell<HashMap<Question, (Timestamp, Vec<IpAddr>)>>,
    blocking: Semaphore,
}

type Question = (Box<str>, Vec<SocketAddr>);

impl Default for Cache {
    fn default() -> Self {
        Self { names: RefCell::default(), blocking: Semaphore::new(BLOCKING_MAX) }
    }
}

impl Cache {
    /// The addresses of `host`.
    pub(super) async fn resolve(
        &self,
        host: &str,
        resolvers: &[SocketAddr],
        now: Timestamp,
    ) -> Result<Vec<IpAddr>, Code> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![address.to_canonical()]);
        }
        let question: Question = (host.into(), resolvers.to_vec());
        if let Some((until, addresses)) = self.names.borrow().get(&question)
            && now < *until
        {
            return Ok(addresses.clone());
        }
        let (mut addresses, ttl) = if resolvers.is_empty() {
            // The system's resolver blocks a thread for each question.
            let _place = self.blocking.acquire().await.map_err(|_| Code::NameNotResolved)?;
            let found = tokio::net::lookup_host((host, 0)).await.map_err(|_| Code::NameNotResolved)?;
            (found.map(|found| found.ip().to_canonical()).collect::<Vec<_>>(), SYSTEM_TTL_S)
        } else {
            ask_all(host, resolvers).await.ok_or(Code::NameNotResolved)?
        };
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(Code::NameNotResolved);
        }
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        let until = now.plus(i64::from(ttl.clamp(TTL_MIN_S, TTL_MAX_S)));
        names.insert(question, (until, addresses.clone()));
        Ok(addresses)
    }
}

/// Asks each server for IPv4, then IPv6, until one answers.
async fn ask_all(host: &str, resolvers: &[SocketAddr]) -> Option<(Vec<IpAddr>, u32)> {
    for _ in 0..ROUNDS {
        for server in resolvers.iter().take(RESOLVERS_MAX) {
            let (four, six) =
                tokio::join!(ask(*server, host, message::Kind::A), ask(*server, host, message::Kind::Aaaa));
            let answers: Vec<message::Answer> = [four, six].into_iter().flatten().collect();
            let ttl =
                answers.iter().filter(|answer| !answer.addresses.is_empty()).map(|answer| answer.ttl).min();
            let addresses: Vec<IpAddr> =
                answers.iter().flat_map(|answer| answer.addresses.iter().copied()).collect();
            if let Some(ttl) = ttl {
                return Some((addresses, ttl));
            }
            if answers.len() == 2 {
                // It answered, and there is nothing.
                return None;
            }
        }
    }
    None
}

async fn ask(server: SocketAddr, host: &str, kind: message::Kind) -> Option<message::Answer> {
    let id = u16::from_be_bytes(keys::random().ok()?);
    let query = message::query(id, host, kind)?;
    let over_udp = async {
        let any: SocketAddr =
            if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(server).await.ok()?;
        socket.send(&query).await.ok()?;
        let mut buffer = [0; message::UDP_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await.ok()?;
            // What does not belong to the question is somebody else's; go on waiting for the answer.
            if let Some(answer) = message::answer(buffer.get(..length)?, id, host, kind) {
                return Some(answer);
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, over_udp).await.ok()??;
    if !answer.truncated {
        return Some(answer);
    }
    let over_tcp = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        let length = u16::try_from(query.len()).ok()?;
        stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await.ok()?;
        let length = stream.read_u16().await.ok()?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await.ok()?;
        message::answer(&buffer, id, host, kind)
    };
    tokio::time::timeout(PATIENCE, over_tcp).await.ok()?
}
