//! Where each session lives: a client that comes again may reach another shard than the one that has its flows.
//!
//! ```text
//!  shard B: CONNECT, answer, keys -- Handover --> shard A: the session, its flows --> goes on
//! ```
//!
//! So a new outer address, new keys or a lost connection cost no flow, as long as the client reaches the same
//! gateway.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};

use tidegate_core::SessionId;
use tokio::sync::mpsc;

use super::connect::Request;
use super::record::{Opener, Sealer};

/// Connections that may wait for a shard to take them.
const WAITING_MAX: usize = 1_024;
/// Sessions whose home is known; of more only some shards know.
const SESSIONS_MAX: usize = 100_000;
/// Connections to the gateway's own hosts through its tunnels.
const OWN_MAX: usize = 65_536;

/// A client's connection on its way to the shard that has its session.
pub(crate) struct Handover {
    pub(super) stream: TcpStream,
    pub(super) opener: Opener,
    pub(super) sealer: Sealer,
    pub(super) request: Request,
    pub(super) source: IpAddr,
}

/// The sessions of all shards.
pub(crate) struct Homes {
    shards: Vec<Shard>,
    homes: Mutex<HashMap<SessionId, usize>>,
    /// Connections of our own clients to our own listener, and where those clients are.
    own: Mutex<HashMap<SocketAddr, IpAddr>>,
}

struct Shard {
    sender: mpsc::Sender<Handover>,
    receiver: Mutex<Option<mpsc::Receiver<Handover>>>,
}

impl Homes {
    /// For this many shards.
    pub(crate) fn new(shards: usize) -> Self {
        let shard = |_| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            Shard { sender, receiver: Mutex::new(Some(receiver)) }
        };
        Self { shards: (0..shards).map(shard).collect(), homes: Mutex::default(), own: Mutex::default() }
    }

    /// What is handed over to a shard; given out once.
    pub(crate) fn receiver(&self, shard: usize) -> Option<mpsc::Receiver<Handover>> {
        let shard = self.shards.get(shard)?;
        shard.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The shard that has a session.
    pub(super) fn of(&self, session: SessionId) -> Option<usize> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(&session).copied()
    }

    /// Hands a connection over; it comes back when the shard cannot take it.
    pub(super) fn send(&self, shard: usize, handover: Handover) -> Result<(), Box<Handover>> {
        match self.shards.get(shard) {
            Some(shard) => shard.sender.try_send(handover).map_err(|error| Box::new(error.into_inner())),
            None => Err(Box::new(handover)),
        }
    }

    /// Notes that a session lives on a shard.
    pub(super) fn settle(&self, session: SessionId, shard: usize) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() < SESSIONS_MAX || homes.contains_key(&session) {
            homes.insert(session, shard);
        }
    }

    /// Notes that it lives there no longer.
    pub(super) fn leave(&self, session: SessionId, shard: usize) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.get(&session) == Some(&shard) {
            homes.remove(&session);
        }
    }

    /// Notes that a connection from `local` to our own listener is that of a client at `source`.
    pub(super) fn announce(&self, local: SocketAddr, source: IpAddr) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() < OWN_MAX {
            own.insert(local, source);
        }
    }

    /// Where the client of a connection to our own listener is, if it came through a tunnel; told once.
    pub(crate) fn announced(&self, peer: SocketAddr) -> Option<IpAddr> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_home_and_only_that_one_gives_it_up() {
        let homes = Homes::new(2);
        let session = SessionId([1; 16]);
        assert_eq!(homes.of(session), None);
        homes.settle(session, 0);
        homes.settle(session, 1);
        homes.leave(session, 0);
        assert_eq!(homes.of(session), Some(1));
        homes.leave(session, 1);
        assert_eq!(homes.of(session), None);
        assert!(homes.receiver(0).is_some() && homes.receiver(0).is_none() && homes.receiver(2).is_none());
    }

    #[test]
    fn a_source_is_told_once() {
        let homes = Homes::new(1);
        let (local, source) = ("127.0.0.1:4".parse().unwrap(), "192.0.2.1".parse().unwrap());
        homes.announce(local, source);
        assert_eq!(homes.announced(local), Some(source));
        assert_eq!(homes.announced(local), None);
    }
}
