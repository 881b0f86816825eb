//! The one way from a shard to the store: calls that the control thread makes on its behalf.
//!
//! ```text
//!  shard -- Call (bounded) --> control thread -- task per call --> store
//!        <----- oneshot -----
//! ```
//!
//! A shard never touches the store, so a slow disk or a lost store cannot stop one.

use std::time::Duration;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Generation, SessionId, Timestamp};
use tidegate_store::{
    CALL_DEADLINE, Intent, IntentId, Outcome, SessionReport, Store, StoreError, StoreResult,
};
use tokio::sync::{mpsc, oneshot};

pub(crate) mod modules;
pub(crate) mod thread;

/// Calls that may wait for the control thread.
pub const CALLS_MAX: usize = 1_024;

/// How long a shard waits for an answer: the store's own limit and a moment.
const PATIENCE: Duration = CALL_DEADLINE.saturating_add(Duration::from_secs(1));

/// Where an answer goes.
type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// What a shard asks for.
pub(crate) enum Call {
    End {
        session: SessionId,
        reason: EndReason,
        until: Timestamp,
        reply: Reply<()>,
    },
    Login {
        account: AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
        reply: Reply<Option<SessionId>>,
    },
    Offer {
        intent: Box<Intent>,
        reply: Reply<()>,
    },
    Outcome {
        id: IntentId,
        reply: Reply<Option<Outcome>>,
    },
    ClaimOnce {
        key: String,
        until: Timestamp,
        reply: Reply<bool>,
    },
    Failures {
        key: String,
        reply: Reply<(u32, Timestamp)>,
    },
    CountFailure {
        key: String,
        at: Option<Timestamp>,
        reply: Reply<u32>,
    },
}

/// What a shard tells without waiting for an answer.
pub(crate) enum Notice {
    /// A generation is in force on a shard.
    Applied { shard: usize, generation: Generation },
    /// The sessions a shard saw lately.
    Sessions { shard: usize, sessions: Vec<SessionReport> },
}

/// A shard's end of the way.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
}

impl Handle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, queue) = mpsc::channel(CALLS_MAX);
        (Self { calls }, queue)
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> StoreResult<T> {
        let (reply, answer) = oneshot::channel();
        self.calls
            .try_send(call(reply))
            .map_err(|_| StoreError::Full { what: "calls to the store", most: CALLS_MAX })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            _ => Err(StoreError::Unavailable("no answer in time".into())),
        }
    }

    /// Ends one session everywhere; see [`Store::end`].
    pub async fn end(&self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        self.call(|reply| Call::End { session, reason, until, reply }).await
    }

    /// Notes a login; see [`Store::login`].
    pub async fn login(
        &self,
        account: AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        self.call(|reply| Call::Login { account, kind, session, until, reply }).await
    }

    /// Hands over a change for the controller; see [`Store::offer`].
    pub async fn offer(&self, intent: Intent) -> StoreResult<()> {
        self.call(|reply| Call::Offer { intent: Box::new(intent), reply }).await
    }

    /// What became of a change; see [`Store::outcome`].
    pub async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        self.call(|reply| Call::Outcome { id, reply }).await
    }

    /// Claims a one-time fact; see [`Store::claim_once`].
    pub async fn claim_once(&self, key: &str, until: Timestamp) -> StoreResult<bool> {
        self.call(|reply| Call::ClaimOnce { key: key.into(), until, reply }).await
    }

    /// Failures counted under `key`; see [`Store::failures`].
    pub async fn failures(&self, key: &str) -> StoreResult<(u32, Timestamp)> {
        self.call(|reply| Call::Failures { key: key.into(), reply }).await
    }

    /// Counts a failure under `key`; see [`Store::count_failure`].
    pub async fn count_failure(&self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        self.call(|reply| Call::CountFailure { key: key.into(), at, reply }).await
    }
}

/// Makes one call. Whoever asked may have gone; then the answer is dropped.
pub(crate) async fn make<S: Store>(store: S, call: Call) {
    match call {
        Call::End { session, reason, until, reply } => {
            let _ = reply.send(store.end(session, reason, until).await);
        }
        Call::Login { account, kind, session, until, reply } => {
            let _ = reply.send(store.login(&account, kind, session, until).await);
        }
        Call::Offer { intent, reply } => {
            let _ = reply.send(store.offer(*intent).await);
        }
        Call::Outcome { id, reply } => {
            let _ = reply.send(store.outcome(id).await);
        }
        Call::ClaimOnce { key, until, reply } => {
            let _ = reply.send(store.claim_once(&key, until).await);
        }
        Call::Failures { key, reply } => {
            let _ = reply.send(store.failures(&key).await);
        }
        Call::CountFailure { key, at, reply } => {
            let _ = reply.send(store.count_failure(&key, at).await);
        }
    }
}
