//! What controller and gateways tell each other: the trait, wire format v1, the backends.
//!
//! ```text
//!  controller -- publish --> [ parts, manifests ] -- subscribe --> gateway control thread
//!             <- intents ---                      <-- offer -----
//!             -- settle --->                      --- end, login, claim_once, report -->
//! ```
//!
//! The trait says what we need, not what a backend is. One conformance test runs on every backend.

pub mod audit;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
pub mod etcd;
mod intent;
mod publication;
mod view;
pub mod wire;

use std::future::Future;
use std::time::Duration;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Code, Generation, SessionId, Timestamp};
use tokio::sync::watch;

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdConfig, EtcdIdentity, EtcdRole, EtcdTls};
pub use intent::{Intent, IntentAction, IntentId, Outcome};
pub use publication::{Change, Publication};
pub use view::{Ack, Ended, GatewayId, Report, SessionReport, TunnelReport, View};

/// No call to a store may wait longer than this.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Why a store call failed. An unknown error is an outage, never a deletion.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or does not answer in time.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// The store's medium is full or broken.
    #[error("the store cannot write: {0}")]
    Medium(String),
    /// A deposed controller, or a stale version.
    #[error("the store has a newer term than {0}")]
    Fenced(u64),
    /// A bound was reached.
    #[error("too many {what} (at most {most})")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// It is not one we use: too old, no right to it, or settings that cannot be.
    #[error("the store cannot be used: {0}")]
    Refused(String),
    /// What is stored cannot be decoded.
    #[error("stored bytes cannot be read: {0}")]
    Unreadable(String),
}

impl StoreError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) => Code::WireUnreadable,
            _ => Code::StoreFailed,
        }
    }
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// The shared store of one pool, as both sides see it.
pub trait Store: Clone + Send + Sync + 'static {
    /// Publishes what changed, atomically: gateways see all of it or none. Nothing is written, and the
    /// generation stays, when the bytes are equal to what is published.
    fn publish(&self, publication: Publication) -> impl Future<Output = StoreResult<Generation>> + Send;

    /// The newest view; it changes with every publication, every ended session and every proof of freshness.
    fn subscribe(&self) -> watch::Receiver<View>;

    /// What a gateway has in force and who is online there.
    fn report(&self, report: Report) -> impl Future<Output = StoreResult<()>> + Send;

    /// Everything gateways reported, for `Propagated` and for people.
    fn reports(&self) -> impl Future<Output = StoreResult<Vec<Report>>> + Send;

    /// Gateways that reported and are gone: whatever kept them listed has run out. Only silence is not that.
    fn gone(&self) -> impl Future<Output = StoreResult<Vec<GatewayId>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Forgets a gateway whose last word was `ack`, since it will not come back; the controller's word. One that has
    /// spoken since has come back, and is not forgotten.
    fn forget(&self, ack: &Ack) -> impl Future<Output = StoreResult<()>> + Send {
        let _ = ack;
        async { Ok(()) }
    }

    /// A gateway hands over a change that needs the controller. Refused beyond the bound.
    fn offer(&self, intent: Intent) -> impl Future<Output = StoreResult<()>> + Send;

    /// The controller's next unsettled intent, oldest first; waits until there is one.
    fn take(&self) -> impl Future<Output = StoreResult<Intent>> + Send;

    /// The controller has written the truth (or refused): the intent is gone, its outcome can be asked for.
    fn settle(&self, id: IntentId, outcome: Outcome) -> impl Future<Output = StoreResult<()>> + Send;

    /// What became of an intent; `None` while it is pending. Kept for ten minutes.
    fn outcome(&self, id: IntentId) -> impl Future<Output = StoreResult<Option<Outcome>>> + Send;

    /// Ends one session everywhere. `until` is when its ticket would have ended anyway.
    fn end(
        &self,
        session: SessionId,
        reason: EndReason,
        until: Timestamp,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Notes a login; the session it replaces is ended as `Replaced` in the same step.
    fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<SessionId>>> + Send;

    /// Notes a login that was made while the store was away. It replaces what was noted before it, like any other; where
    /// a newer one is noted already, the late session is ended as `Replaced` instead.
    fn login_late(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> impl Future<Output = StoreResult<()>> + Send {
        async move { self.login(account, kind, session, until).await.map(drop) }
    }

    /// Claims a one-time fact (activation code, TOTP step): true for one caller only, until `until`.
    fn claim_once(&self, key: &str, until: Timestamp) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Reads the failures counted under `key` (an account, a source): count and time of the last.
    fn failures(&self, key: &str) -> impl Future<Output = StoreResult<(u32, Timestamp)>> + Send;

    /// Counts a failed attempt under `key` and returns the new count; `None` forgets them.
    fn count_failure(
        &self,
        key: &str,
        at: Option<Timestamp>,
    ) -> impl Future<Output = StoreResult<u32>> + Send;
}
