//! What a gateway sees of the store, and what it says about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, DepartmentCode, Generation, SessionId, Snapshot, Timestamp};

/// Ended sessions and why; entries leave when their tickets would have ended.
pub type Ended = Arc<BTreeMap<SessionId, EndReason>>;

/// The newest the store has told.
#[derive(Clone, Debug)]
pub struct View {
    /// The newest readable snapshot; `None` before the first.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Sessions that were ended one by one.
    pub ended: Ended,
    /// When the store last proved that nothing newer exists.
    pub fresh_at: Timestamp,
    /// Seconds by which this computer's clock is ahead of the controller's, when that was heard last; a second or two
    /// are the way it was heard.
    pub skew_s: Option<i64>,
    /// Departments whose newest manifest could not be read; the previous one is kept.
    pub unreadable: Arc<BTreeMap<DepartmentCode, String>>,
}

/// A gateway's name: the pod's UID, or `--id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub String);

/// A gateway's word on what it enforces and whom it serves.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who speaks.
    pub ack: Ack,
    /// Sessions used there lately; a report, never an authority.
    pub sessions: Vec<SessionReport>,
}

/// What a gateway has in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its name.
    pub gateway: GatewayId,
    /// The generation in force on every shard.
    pub generation: Generation,
    /// Departments it denies since it cannot load what was published, and why.
    pub broken: BTreeMap<DepartmentCode, String>,
    /// Digests of the policy evaluators it carries.
    pub evaluators: Vec<[u8; 32]>,
    /// The numbers of the pool's keys it has.
    pub kids: Vec<u32>,
    /// When this was said.
    pub at: Timestamp,
}

/// One session as its gateway saw it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// Its kind.
    pub kind: Kind,
    /// Where the user's computer is.
    pub source: std::net::IpAddr,
    /// When it was opened.
    pub since: Timestamp,
    /// When it was last used.
    pub seen: Timestamp,
    /// What goes through it, if it is a tunnel that is up.
    pub tunnel: Option<TunnelReport>,
}

/// What goes through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelReport {
    /// What the client calls itself.
    pub client: Box<str>,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
    /// Flows that are open.
    pub flows: u32,
}
