//! Live facts: intents, ended sessions, logins, one-time facts, failure counters.
//!
//! Every table has a bound. A full table is swept of what has expired before anything is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{
    Durability, Key, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, Value, WriteTransaction,
};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, SessionId, Timestamp};

use super::disk::{ENDED, FAILURES, INTENTS, LOGINS, ONCE, OUTCOMES, failed};
use super::worker::Worker;
use crate::wire::v1;
use crate::{Intent, IntentId, Outcome, StoreError, StoreResult};

/// Unsettled intents.
pub(crate) const INTENTS_MAX: usize = 10_000;
/// Outcomes still remembered.
const OUTCOMES_MAX: usize = 100_000;
/// Seconds an outcome is remembered.
pub(super) const OUTCOME_S: i64 = 600;
/// Ended sessions whose tickets have not ended yet.
const ENDED_MAX: usize = 100_000;
/// Accounts with a login, by kind.
const LOGINS_MAX: usize = 1_000_000;
/// One-time facts.
const ONCE_MAX: usize = 200_000;
/// Failure counters.
const FAILURES_MAX: usize = 200_000;
/// Seconds after the last failure at which a counter is forgotten.
pub(super) const FAILURE_S: i64 = 24 * 3_600;
/// Bytes of a caller's key.
const KEY_MAX: usize = 256;

/// A caller's key, if it is not too long.
pub(super) fn key(key: &str) -> StoreResult<Box<str>> {
    if key.len() > KEY_MAX {
        return Err(StoreError::Full { what: "bytes in a key", most: KEY_MAX });
    }
    Ok(key.into())
}

/// Refuses a further entry beyond `most`.
fn room<K: Key + 'static, V: Value + 'static>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
    what: &'static str,
    most: usize,
) -> StoreResult<()> {
    let len = transaction.open_table(table).map_err(failed)?.len().map_err(failed)?;
    if len >= most as u64 { Err(StoreError::Full { what, most }) } else { Ok(()) }
}

fn name_of(session: SessionId) -> u128 {
    u128::from_be_bytes(session.0)
}

impl Worker {
    /// Runs a transaction that may find a table full: then once more after a sweep.
    fn swept_write<T>(
        &mut self,
        durability: Durability,
        work: impl Fn(&WriteTransaction) -> StoreResult<T>,
    ) -> StoreResult<T> {
        match self.disk.write(durability, &work) {
            Err(StoreError::Full { .. }) => {
                self.sweep(self.now())?;
                self.disk.write(durability, work)
            }
            other => other,
        }
    }

    /// Keeps an intent; one that is known already, settled or not, is not kept twice.
    pub(super) fn offer(&mut self, intent: &Intent) -> StoreResult<()> {
        let bytes = v1::encode_intent(intent);
        v1::decode_intent(&bytes)?;
        let name = intent.id.0;
        self.swept_write(Durability::Immediate, |transaction| {
            let outcomes = transaction.open_table(OUTCOMES).map_err(failed)?;
            if outcomes.get(name).map_err(failed)?.is_some() {
                return Ok(());
            }
            let mut intents = transaction.open_table(INTENTS).map_err(failed)?;
            if intents.get(name).map_err(failed)?.is_some() {
                return Ok(());
            }
            if intents.len().map_err(failed)? >= INTENTS_MAX as u64 {
                return Err(StoreError::Full { what: "pending changes", most: INTENTS_MAX });
            }
            intents.insert(name, bytes.as_slice()).map_err(failed)?;
            Ok(())
        })?;
        self.offered.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// The oldest unsettled intent. One that cannot be read is dropped with a word in the log.
    pub(super) fn oldest_intent(&mut self) -> StoreResult<Option<Intent>> {
        loop {
            let oldest = self.disk.read(|transaction| {
                let intents = transaction.open_table(INTENTS).map_err(failed)?;
                let first = intents.first().map_err(failed)?;
                Ok(first.map(|(name, bytes)| (name.value(), v1::decode_intent(bytes.value()))))
            })?;
            match oldest {
                None => return Ok(None),
                Some((_, Ok(intent))) => return Ok(Some(intent)),
                Some((name, Err(error))) => {
                    tracing::error!(%error, "an intent cannot be read and is dropped");
                    self.disk.write(Durability::Immediate, |transaction| {
                        transaction.open_table(INTENTS).map_err(failed)?.remove(name).map_err(failed)?;
                        Ok(())
                    })?;
                }
            }
        }
    }

    /// Removes an intent and keeps its outcome; settling twice keeps the first.
    pub(super) fn settle(&mut self, id: IntentId, outcome: Outcome) -> StoreResult<()> {
        let bytes = v1::encode_outcome(outcome);
        let until = self.now().plus(OUTCOME_S).0;
        self.swept_write(Durability::Immediate, |transaction| {
            let mut intents = transaction.open_table(INTENTS).map_err(failed)?;
            if intents.remove(id.0).map_err(failed)?.is_none() {
                return Ok(());
            }
            room(transaction, OUTCOMES, "outcomes", OUTCOMES_MAX)?;
            let mut outcomes = transaction.open_table(OUTCOMES).map_err(failed)?;
            outcomes.insert(id.0, (until, bytes.as_slice())).map_err(failed)?;
            Ok(())
        })
    }

    /// What became of an intent.
    pub(super) fn outcome(&mut self, id: IntentId) -> StoreResult<Option<Outcome>> {
        let now = self.now().0;
        self.disk.read(|transaction| {
            let outcomes = transaction.open_table(OUTCOMES).map_err(failed)?;
            let stored = outcomes.get(id.0).map_err(failed)?;
            stored
                .filter(|stored| stored.value().0 > now)
                .map(|stored| v1::decode_outcome(stored.value().1))
                .transpose()
        })
    }

    /// Ends a session; the first reason stays.
    pub(super) fn end(&mut self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        if until <= self.now() || self.view.borrow().ended.contains_key(&session) {
            return Ok(());
        }
        self.swept_write(Durability::Immediate, |transaction| {
            insert_ended(transaction, session, reason, until)
        })?;
        self.show_ended(session, reason);
        Ok(())
    }

    fn show_ended(&self, session: SessionId, reason: EndReason) {
        self.view.send_modify(|view| {
            Arc::make_mut(&mut view.ended).insert(session, reason);
        });
    }

    /// Notes the newest session of an account and kind, and ends the one before it in the same step.
    pub(super) fn login(
        &mut self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        let kind = match kind {
            Kind::Portal => "portal",
            Kind::Tunnel => "tunnel",
        };
        let key = format!("{account}/{kind}");
        let before = self.disk.read(|transaction| {
            let logins = transaction.open_table(LOGINS).map_err(failed)?;
            Ok(logins.get(key.as_str()).map_err(failed)?.map(|stored| stored.value()))
        })?;
        let now = self.now();
        let replaced = before
            .map(|(name, until)| (SessionId(name.to_be_bytes()), Timestamp(until)))
            .filter(|(old, until)| *old != session && *until > now)
            .filter(|(old, _)| !self.view.borrow().ended.contains_key(old));
        // Only the end of the old session must survive a crash.
        let durability = if replaced.is_some() { Durability::Immediate } else { Durability::None };
        self.swept_write(durability, |transaction| {
            if before.is_none() {
                room(transaction, LOGINS, "logins", LOGINS_MAX)?;
            }
            let mut logins = transaction.open_table(LOGINS).map_err(failed)?;
            logins.insert(key.as_str(), (name_of(session), until.0)).map_err(failed)?;
            match replaced {
                Some((old, until)) => insert_ended(transaction, old, EndReason::Replaced, until),
                None => Ok(()),
            }
        })?;
        let replaced = replaced.map(|(old, _)| old);
        if let Some(old) = replaced {
            self.show_ended(old, EndReason::Replaced);
        }
        Ok(replaced)
    }

    /// Claims a one-time fact.
    pub(super) fn claim_once(&mut self, key: &str, until: Timestamp) -> StoreResult<bool> {
        let now = self.now().0;
        self.swept_write(Durability::Immediate, |transaction| {
            let taken = {
                let once = transaction.open_table(ONCE).map_err(failed)?;
                once.get(key).map_err(failed)?.map(|stored| stored.value())
            };
            if taken.is_some_and(|until| until > now) {
                return Ok(false);
            }
            if taken.is_none() {
                room(transaction, ONCE, "one-time facts", ONCE_MAX)?;
            }
            let mut once = transaction.open_table(ONCE).map_err(failed)?;
            once.insert(key, until.0).map_err(failed)?;
            Ok(true)
        })
    }

    /// The failures under a key.
    pub(super) fn failures(&mut self, key: &str) -> StoreResult<(u32, Timestamp)> {
        let forgotten = self.now().plus(-FAILURE_S).0;
        let stored = self.disk.read(|transaction| {
            let failures = transaction.open_table(FAILURES).map_err(failed)?;
            Ok(failures.get(key).map_err(failed)?.map(|stored| stored.value()))
        })?;
        let (count, at) = stored.filter(|(_, at)| *at > forgotten).unwrap_or((0, 0));
        Ok((count, Timestamp(at)))
    }

    /// Counts a failure, or forgets all of them.
    pub(super) fn count_failure(&mut self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        let (count, _) = self.failures(key)?;
        let Some(at) = at else {
            if count > 0 {
                self.disk.write(Durability::None, |transaction| {
                    transaction.open_table(FAILURES).map_err(failed)?.remove(key).map_err(failed)?;
                    Ok(())
                })?;
            }
            return Ok(0);
        };
        let count = count.saturating_add(1);
        self.swept_write(Durability::None, |transaction| {
            if count == 1 {
                room(transaction, FAILURES, "failure counters", FAILURES_MAX)?;
            }
            let mut failures = transaction.open_table(FAILURES).map_err(failed)?;
            failures.insert(key, (count, at.0)).map_err(failed)?;
            Ok(())
        })?;
        Ok(count)
    }

    /// Forgets what has expired, makes the rest durable, and shows the sessions still ended.
    pub(super) fn sweep(&mut self, now: Timestamp) -> StoreResult<()> {
        let ended = self.disk.write(Durability::Immediate, |transaction| {
            transaction
                .open_table(OUTCOMES)
                .map_err(failed)?
                .retain(|_, (until, _)| until > now.0)
                .map_err(failed)?;
            transaction
                .open_table(LOGINS)
                .map_err(failed)?
                .retain(|_, (_, until)| until > now.0)
                .map_err(failed)?;
            transaction.open_table(ONCE).map_err(failed)?.retain(|_, until| until > now.0).map_err(failed)?;
            transaction
                .open_table(FAILURES)
                .map_err(failed)?
                .retain(|_, (_, at)| at > now.plus(-FAILURE_S).0)
                .map_err(failed)?;
            let mut ended = transaction.open_table(ENDED).map_err(failed)?;
            ended.retain(|_, (until, _)| until > now.0).map_err(failed)?;
            let mut left = BTreeMap::new();
            for stored in ended.iter().map_err(failed)? {
                let (name, value) = stored.map_err(failed)?;
                // A reason of a later version still ends the session.
                let reason = v1::decode_ended(value.value().1).unwrap_or(EndReason::Kicked);
                left.insert(SessionId(name.value().to_be_bytes()), reason);
            }
            Ok(left)
        })?;
        self.view.send_if_modified(|view| {
            let changed = *view.ended != ended;
            if changed {
                view.ended = Arc::new(ended);
            }
            changed
        });
        Ok(())
    }
}

fn insert_ended(
    transaction: &WriteTransaction,
    session: SessionId,
    reason: EndReason,
    until: Timestamp,
) -> StoreResult<()> {
    room(transaction, ENDED, "ended sessions", ENDED_MAX)?;
    let bytes = v1::encode_ended(reason);
    let mut ended = transaction.open_table(ENDED).map_err(failed)?;
    ended.insert(name_of(session), (until.0, bytes.as_slice())).map_err(failed)?;
    Ok(())
}
