//! Live facts: intents, ended sessions, logins, one-time facts, failure counters.
//!
//! Every step is a comparison and a write in one transaction, so that asking twice does no harm, and every
//! fact that expires hangs on a lease that many share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Code, SessionId, Timestamp};

use super::keys::Keys;
use super::link::{Answer, Stored};
use super::publish::fence;
use super::seal::Purpose;
use super::{EtcdRole, Shared};
use crate::wire::{unreadable, v1};
use crate::{Intent, IntentId, Outcome, StoreError, StoreResult};

/// Unsettled intents.
const INTENTS_MAX: usize = 10_000;
/// Ended sessions whose tickets have not ended yet.
const ENDED_MAX: usize = 100_000;
/// Accounts with a login, by kind.
const LOGINS_MAX: usize = 1_000_000;
/// One-time facts.
const ONCE_MAX: usize = 200_000;
/// Failure counters.
const FAILURES_MAX: usize = 200_000;
/// Seconds an outcome is remembered.
const OUTCOME_S: i64 = 600;
/// Seconds after the last failure at which a counter is forgotten.
const FAILURE_S: i64 = 24 * 3_600;
/// Bytes of a caller's key.
const KEY_MAX: usize = 256;
/// Times a step is tried when somebody else was faster.
const RACES: usize = 16;
/// How long a count of keys is trusted; it costs the store a walk over them.
const COUNTED: Duration = Duration::from_secs(30);

/// How many keys of each kind there were when they were last counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counted: Mutex<BTreeMap<&'static str, (Instant, usize)>>,
}

/// What became of a login.
enum Noted {
    /// It is the newest, and replaced this session.
    Newest(Option<SessionId>),
    /// A newer one is noted, and stays.
    Late,
}

/// A caller's key, if it is not too long.
pub(super) fn key(key: &str) -> StoreResult<&str> {
    if key.len() > KEY_MAX {
        return Err(StoreError::Full { what: "bytes in a key", most: KEY_MAX });
    }
    Ok(key)
}

fn absent(key: &str) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, 0)
}

fn unchanged(stored: Option<&Stored>, key: &str) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, stored.map_or(0, |stored| stored.revision))
}

fn first(answer: &Answer) -> Option<&Stored> {
    answer.found.iter().flatten().next()
}

impl Shared {
    fn sealed(&self, key: &str, plain: &[u8]) -> StoreResult<Vec<u8>> {
        self.sealer().seal(Purpose::Live, key, plain)
    }

    fn timed(&self, stored: &Stored) -> StoreResult<v1::Timed> {
        v1::decode_timed(&self.sealer().open(Purpose::Live, &stored.key, &stored.value)?)
    }

    /// Refuses a further key of a kind beyond `most`.
    async fn room(&self, kind: &'static str, what: &'static str, most: usize) -> StoreResult<()> {
        let fresh = {
            let mut counted = self.counts.counted.lock().unwrap_or_else(PoisonError::into_inner);
            match counted.get_mut(kind) {
                Some((at, count)) if at.elapsed() < COUNTED && *count < most => {
                    *count += 1;
                    true
                }
                _ => false,
            }
        };
        if fresh {
            return Ok(());
        }
        let count = self.link.count(&self.keys.kind(kind)).await?;
        let mut counted = self.counts.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.insert(kind, (Instant::now(), count + 1));
        if count >= most { Err(StoreError::Full { what, most }) } else { Ok(()) }
    }

    /// A step whose puts hang on a lease that lasts until `until`; a lease the store lost is made anew.
    async fn leased(
        &self,
        until: Timestamp,
        step: impl Fn(PutOptions) -> (Vec<Compare>, Vec<TxnOp>, Vec<TxnOp>),
    ) -> StoreResult<Answer> {
        let mut last = StoreError::Unavailable("no lease lasts".into());
        for _ in 0..2 {
            let lease = self.leases.until(&self.link, until, self.now()).await?;
            let (when, then, otherwise) = step(PutOptions::new().with_lease(lease));
            match self.link.step(when, then, otherwise).await {
                Err(StoreError::Refused(why)) if why.contains("lease not found") => {
                    self.leases.forget().await;
                    last = StoreError::Unavailable(why);
                }
                other => return other,
            }
        }
        Err(last)
    }

    /// The comparison the controller's writes to live facts make; gateways have none.
    fn fenced(&self) -> Option<Compare> {
        match self.role {
            EtcdRole::Controller { term } => Some(fence(term)),
            EtcdRole::Gateway { .. } => None,
        }
    }

    /// Keeps an intent; one that is known already, settled or not, is not kept twice.
    pub(super) async fn offer(&self, intent: &Intent) -> StoreResult<()> {
        let bytes = v1::encode_intent(intent);
        v1::decode_intent(&bytes)?;
        self.room("intents", "pending changes", INTENTS_MAX).await?;
        let (key, outcome) = (self.keys.intent(intent.id), self.keys.outcome(intent.id));
        let put = TxnOp::put(key.clone(), self.sealed(&key, &bytes)?, None);
        self.link.step(vec![absent(&key), absent(&outcome)], vec![put], Vec::new()).await?;
        Ok(())
    }

    /// The oldest unsettled intent. One that cannot be read, since its key is not in the ring any more for example, is
    /// refused, so that whoever asked for it hears of it and nobody behind it waits.
    pub(super) async fn oldest_intent(&self) -> StoreResult<Option<Intent>> {
        loop {
            let Some(stored) = self.link.first(&self.keys.kind("intents")).await? else { return Ok(None) };
            let opened = self.sealer().open(Purpose::Live, &stored.key, &stored.value);
            match opened.and_then(|bytes| v1::decode_intent(&bytes)) {
                Ok(intent) => return Ok(Some(intent)),
                Err(error) => {
                    tracing::error!(key = stored.key, %error, "an intent cannot be read and is refused");
                    if let Some(id) = self.keys.intent_of(&stored.key) {
                        self.settle(id, Outcome::Refused(Code::IntentRefused)).await?;
                        continue;
                    }
                    // Nobody can ask for the outcome of what has no name.
                    let mut when = vec![unchanged(Some(&stored), &stored.key)];
                    when.extend(self.fenced());
                    self.link.step(when, vec![TxnOp::delete(stored.key, None)], Vec::new()).await?;
                }
            }
        }
    }

    /// Removes an intent and keeps its outcome; settling twice keeps the first.
    pub(super) async fn settle(&self, id: IntentId, outcome: Outcome) -> StoreResult<()> {
        let until = self.now().plus(OUTCOME_S);
        let (intent, key) = (self.keys.intent(id), self.keys.outcome(id));
        let value = self.sealed(&key, &v1::encode_timed(until, &v1::encode_outcome(outcome)))?;
        let answer = self
            .leased(until, |lease| {
                let mut when = vec![Compare::create_revision(intent.clone(), CompareOp::Greater, 0)];
                when.extend(self.fenced());
                let then = vec![
                    TxnOp::delete(intent.clone(), None),
                    TxnOp::put(key.clone(), value.clone(), Some(lease)),
                ];
                (when, then, vec![TxnOp::get(intent.clone(), None)])
            })
            .await?;
        match (&self.role, first(&answer)) {
            // It is still there, so it was the fence that held.
            (EtcdRole::Controller { term }, Some(_)) if !answer.succeeded => Err(StoreError::Fenced(*term)),
            _ => Ok(()),
        }
    }

    /// What became of an intent.
    pub(super) async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        let Some(stored) = self.link.get(&self.keys.outcome(id)).await? else { return Ok(None) };
        let timed = self.timed(&stored)?;
        if timed.at <= self.now() { Ok(None) } else { v1::decode_outcome(&timed.fact).map(Some) }
    }

    /// Ends a session; the first reason stays.
    pub(super) async fn end(
        &self,
        session: SessionId,
        reason: EndReason,
        until: Timestamp,
    ) -> StoreResult<()> {
        if until <= self.now() || self.view.borrow().ended.contains_key(&session) {
            return Ok(());
        }
        self.room("ended", "ended sessions", ENDED_MAX).await?;
        let (key, value) = self.ended_fact(session, reason, until)?;
        let answer = self
            .leased(until, |lease| {
                let put = TxnOp::put(key.clone(), value.clone(), Some(lease));
                (vec![absent(&key)], vec![put], vec![TxnOp::get(key.clone(), None)])
            })
            .await?;
        match first(&answer).filter(|stored| stored.value != value) {
            Some(stored) => self.note_ended([stored]),
            None => self.show_ended([(session, reason, until)]),
        }
        Ok(())
    }

    fn ended_fact(
        &self,
        session: SessionId,
        reason: EndReason,
        until: Timestamp,
    ) -> StoreResult<(String, Vec<u8>)> {
        let key = self.keys.ended(session, until);
        let value = self.sealed(&key, &v1::encode_timed(until, &v1::encode_ended(reason)))?;
        Ok((key, value))
    }

    /// Shows sessions the store says have ended. What cannot be read is no word on any session.
    pub(super) fn note_ended<'a>(&self, stored: impl IntoIterator<Item = &'a Stored>) {
        let read = |stored: &Stored| {
            let session = Keys::ended_session(&stored.key).ok_or_else(|| unreadable("no session's key"))?;
            let timed = self.timed(stored)?;
            // A reason of a later version still ends the session.
            let reason = v1::decode_ended(&timed.fact).unwrap_or(EndReason::Kicked);
            Ok::<_, StoreError>((session, reason, timed.at))
        };
        self.show_ended(stored.into_iter().filter_map(|stored| {
            read(stored)
                .inspect_err(
                    |error| tracing::error!(key = stored.key, %error, "an ended session cannot be read"),
                )
                .ok()
        }));
    }

    /// Notes the newest session of an account and kind, and ends the one before it in the same step.
    pub(super) async fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        match Box::pin(self.note_login(account, kind, (session, until), false)).await? {
            Noted::Newest(replaced) => Ok(replaced),
            Noted::Late => Ok(None),
        }
    }

    /// Notes a session that was opened while the store was away, unless a newer one is noted already.
    pub(super) async fn login_late(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<()> {
        match Box::pin(self.note_login(account, kind, (session, until), true)).await? {
            Noted::Newest(_) => Ok(()),
            Noted::Late => Box::pin(self.end(session, EndReason::Replaced, until)).await,
        }
    }

    async fn note_login(
        &self,
        account: &AccountId,
        kind: Kind,
        (session, until): (SessionId, Timestamp),
        late: bool,
    ) -> StoreResult<Noted> {
        let key = self.keys.login(account, kind);
        let value = self.sealed(&key, &v1::encode_timed(until, &session.0))?;
        let mut replaced = None;
        for _ in 0..RACES {
            let before = self.link.get(&key).await?;
            if before.as_ref().is_some_and(|stored| stored.value == value) {
                return Ok(Noted::Newest(self.replaced(replaced)));
            }
            if before.is_none() {
                self.room("logins", "logins", LOGINS_MAX).await?;
            }
            replaced = before.as_ref().and_then(|stored| self.replaces(stored, session));
            // Both ends come from the same rules of one department, so the later one is of the later login.
            if late && replaced.is_some_and(|(_, end)| end > until) {
                return Ok(Noted::Late);
            }
            let end =
                replaced.map(|(old, end)| self.ended_fact(old, EndReason::Replaced, end)).transpose()?;
            let last = replaced.map_or(until, |(_, end)| end.max(until));
            let answer = self
                .leased(last, |lease| {
                    let mut then = vec![TxnOp::put(key.clone(), value.clone(), Some(lease.clone()))];
                    if let Some((key, value)) = &end {
                        then.push(TxnOp::put(key.clone(), value.clone(), Some(lease)));
                    }
                    (vec![unchanged(before.as_ref(), &key)], then, Vec::new())
                })
                .await?;
            if answer.succeeded {
                return Ok(Noted::Newest(self.replaced(replaced)));
            }
        }
        Err(StoreError::Unavailable("the account logs in too often at once".into()))
    }

    fn replaced(&self, replaced: Option<(SessionId, Timestamp)>) -> Option<SessionId> {
        let (old, end) = replaced?;
        self.show_ended([(old, EndReason::Replaced, end)]);
        Some(old)
    }

    /// The session a login replaces: another one whose ticket still counts.
    fn replaces(&self, stored: &Stored, session: SessionId) -> Option<(SessionId, Timestamp)> {
        let timed = self.timed(stored).ok()?;
        let old = SessionId(timed.fact.try_into().ok()?);
        let counts = old != session && timed.at > self.now() && !self.view.borrow().ended.contains_key(&old);
        counts.then_some((old, timed.at))
    }

    /// Claims a one-time fact.
    pub(super) async fn claim_once(&self, name: &str, until: Timestamp) -> StoreResult<bool> {
        let key = self.keys.once(name);
        self.room("once", "one-time facts", ONCE_MAX).await?;
        // Sealing is never the same twice, so a value that equals ours is ours: an answer was lost.
        let value = self.sealed(&key, &v1::encode_timed(until, &[]))?;
        let mut before: Option<Stored> = None;
        for _ in 0..RACES {
            let answer = self
                .leased(until, |lease| {
                    let put = TxnOp::put(key.clone(), value.clone(), Some(lease));
                    (vec![unchanged(before.as_ref(), &key)], vec![put], vec![TxnOp::get(key.clone(), None)])
                })
                .await?;
            if answer.succeeded {
                return Ok(true);
            }
            before = first(&answer).cloned();
            if let Some(stored) = &before {
                if stored.value == value {
                    return Ok(true);
                }
                // One that cannot be read was claimed by somebody.
                if self.timed(stored).map_or(true, |timed| timed.at > self.now()) {
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// The failures under a key, and what is stored.
    async fn stored_failures(&self, name: &str) -> StoreResult<(u32, Timestamp, Option<Stored>)> {
        let stored = self.link.get(&self.keys.lock(name)).await?;
        // One that cannot be read was sealed with a key that was thrown away: whoever was slowed down by it begins anew.
        let read = |stored: &Stored| {
            let timed = self.timed(stored);
            timed.inspect_err(|error| tracing::warn!(%error, "failures cannot be read")).ok()
        };
        let timed = stored.as_ref().and_then(read);
        let forgotten = self.now().plus(-FAILURE_S);
        let (count, at) = match timed.filter(|timed| timed.at > forgotten) {
            Some(timed) => {
                let count = timed.fact.try_into().map_err(|_| unreadable("a failure counter"))?;
                (u32::from_be_bytes(count), timed.at)
            }
            None => (0, Timestamp(0)),
        };
        Ok((count, at, stored))
    }

    /// The failures under a key.
    pub(super) async fn failures(&self, name: &str) -> StoreResult<(u32, Timestamp)> {
        let (count, at, _) = self.stored_failures(name).await?;
        Ok((count, at))
    }

    /// Counts a failure, or forgets all of them.
    pub(super) async fn count_failure(&self, name: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        let key = self.keys.lock(name);
        let Some(at) = at else {
            self.link.step(Vec::new(), vec![TxnOp::delete(key, None)], Vec::new()).await?;
            return Ok(0);
        };
        for _ in 0..RACES {
            let (count, _, before) = self.stored_failures(name).await?;
            if before.is_none() {
                self.room("locks", "failure counters", FAILURES_MAX).await?;
            }
            let count = count.saturating_add(1);
            let value = self.sealed(&key, &v1::encode_timed(at, &count.to_be_bytes()))?;
            let answer = self
                .leased(at.plus(FAILURE_S), |lease| {
                    let put = TxnOp::put(key.clone(), value.clone(), Some(lease));
                    (vec![unchanged(before.as_ref(), &key)], vec![put], vec![TxnOp::get(key.clone(), None)])
                })
                .await?;
            if answer.succeeded || first(&answer).is_some_and(|stored| stored.value == value) {
                return Ok(count);
            }
        }
        Err(StoreError::Unavailable("too many failures are counted at once".into()))
    }
}
