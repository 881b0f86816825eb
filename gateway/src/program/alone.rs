//! What a gateway knows by itself while etcd is away: failures, one-time facts, logins and ends.
//!
//! For as long as `staleness.newLogins` allows, people log in without etcd. Guessing, the newest login and
//! one-time facts are then looked after by each gateway on its own; logins and ends are handed over when etcd
//! is back. Everything is bounded: what is full refuses.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, SessionId, Timestamp};
use tidegate_store::{Ended, Store, StoreError, StoreResult};

/// Entries of each kind.
const ENTRIES_MAX: usize = 20_000;
/// Seconds after which failures are forgotten.
const FAILURES_S: i64 = 24 * 3_600;

/// The facts.
#[derive(Default)]
pub(super) struct Alone {
    failures: HashMap<Box<str>, (u32, Timestamp)>,
    once: HashMap<Box<str>, Timestamp>,
    logins: HashMap<(AccountId, Kind), (SessionId, Timestamp)>,
    /// Ended here, until etcd knows of everything.
    ended: BTreeMap<SessionId, (EndReason, Timestamp)>,
    /// What etcd does not know yet, oldest first.
    untold: VecDeque<Fact>,
}

/// What etcd is told when it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Somebody logged in.
    Login(AccountId, Kind, SessionId, Timestamp),
    /// A session ended.
    End(SessionId, EndReason, Timestamp),
}

impl Fact {
    /// Tells it; telling it twice does no harm.
    pub(super) async fn tell(&self, store: &impl Store) -> StoreResult<()> {
        match self {
            Self::Login(account, kind, session, until) => {
                store.login_late(account, *kind, *session, *until).await
            }
            Self::End(session, reason, until) => store.end(*session, *reason, *until).await,
        }
    }
}

impl Alone {
    /// Failures counted under `key` here.
    pub(super) fn failures(&self, key: &str) -> (u32, Timestamp) {
        self.failures.get(key).copied().unwrap_or((0, Timestamp(0)))
    }

    /// Counts a failure; `None` forgets them.
    pub(super) fn count_failure(
        &mut self,
        key: &str,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> StoreResult<u32> {
        let Some(at) = at else {
            self.failures.remove(key);
            return Ok(0);
        };
        if self.failures.len() >= ENTRIES_MAX {
            self.failures.retain(|_, (_, last)| now.since(*last) < FAILURES_S);
        }
        if self.failures.len() >= ENTRIES_MAX && !self.failures.contains_key(key) {
            return Err(full("failures"));
        }
        let entry = self.failures.entry(key.into()).or_insert((0, at));
        *entry = (entry.0.saturating_add(1), at);
        Ok(entry.0)
    }

    /// Claims a one-time fact on this gateway.
    pub(super) fn claim_once(&mut self, key: &str, until: Timestamp, now: Timestamp) -> StoreResult<bool> {
        if self.once.len() >= ENTRIES_MAX {
            self.once.retain(|_, until| now < *until);
        }
        if self.once.get(key).is_some_and(|until| now < *until) {
            return Ok(false);
        }
        if self.once.len() >= ENTRIES_MAX {
            return Err(full("one-time facts"));
        }
        self.once.insert(key.into(), until);
        Ok(true)
    }

    /// Notes a login; the one before it on this gateway is ended.
    pub(super) fn login(
        &mut self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        (until, now): (Timestamp, Timestamp),
    ) -> StoreResult<Option<SessionId>> {
        if self.logins.len() >= ENTRIES_MAX {
            self.logins.retain(|_, (_, until)| now < *until);
        }
        if self.logins.len() >= ENTRIES_MAX {
            return Err(full("logins"));
        }
        self.tell_later(Fact::Login(account.clone(), kind, session, until))?;
        tracing::warn!(%account, "a login while etcd is away: only this gateway knows of it");
        let before = self.logins.insert((account.clone(), kind), (session, until));
        let replaced = before.filter(|(before, _)| *before != session);
        if let Some((before, until)) = replaced {
            self.end(before, EndReason::Replaced, until)?;
        }
        Ok(replaced.map(|(before, _)| before))
    }

    /// Ends a session on this gateway.
    pub(super) fn end(&mut self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        if self.ended.len() >= ENTRIES_MAX {
            return Err(full("ended sessions"));
        }
        self.tell_later(Fact::End(session, reason, until))?;
        self.ended.entry(session).or_insert((reason, until));
        Ok(())
    }

    /// What etcd says is ended, and what this gateway says.
    pub(super) fn with_own_ends(&self, ended: &Ended) -> Ended {
        if self.ended.keys().all(|session| ended.contains_key(session)) {
            return Arc::clone(ended);
        }
        let mut all = BTreeMap::clone(ended);
        for (session, (reason, _)) in &self.ended {
            all.entry(*session).or_insert(*reason);
        }
        Arc::new(all)
    }

    /// The oldest fact that etcd does not know.
    pub(super) fn first(&self) -> Option<Fact> {
        self.untold.front().cloned()
    }

    /// etcd knows it now. With the last one, etcd looks after everything again.
    pub(super) fn handed_over(&mut self, fact: &Fact) {
        if self.untold.front() == Some(fact) {
            self.untold.pop_front();
        }
        if self.untold.is_empty() {
            self.failures.clear();
            self.logins.clear();
            self.ended.clear();
        }
    }

    fn tell_later(&mut self, fact: Fact) -> StoreResult<()> {
        if self.untold.len() >= ENTRIES_MAX {
            return Err(full("facts that etcd does not know"));
        }
        self.untold.push_back(fact);
        Ok(())
    }
}

fn full(what: &'static str) -> StoreError {
    StoreError::Full { what, most: ENTRIES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000);

    fn account() -> AccountId {
        AccountId { department: "sbj".parse().expect("a code"), name: "wangfang".parse().expect("a name") }
    }

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn guessing_is_counted_and_one_time_facts_have_one_winner() {
        let mut alone = Alone::default();
        assert_eq!(alone.count_failure("a", Some(NOW), NOW).ok(), Some(1));
        assert_eq!(alone.count_failure("a", Some(NOW.plus(1)), NOW).ok(), Some(2));
        assert_eq!(alone.failures("a"), (2, NOW.plus(1)));
        assert_eq!(alone.count_failure("a", None, NOW).ok(), Some(0));
        assert_eq!(alone.failures("a").0, 0);
        assert_eq!(alone.claim_once("k", NOW.plus(9), NOW).ok(), Some(true));
        assert_eq!(alone.claim_once("k", NOW.plus(9), NOW.plus(8)).ok(), Some(false));
        assert_eq!(alone.claim_once("k", NOW.plus(20), NOW.plus(9)).ok(), Some(true), "it had ended");
    }

    #[test]
    fn the_newest_login_wins_here_and_is_told_later() {
        let mut alone = Alone::default();
        let until = (NOW.plus(3_600), NOW);
        assert_eq!(alone.login(&account(), Kind::Portal, session(1), until).ok(), Some(None));
        assert_eq!(alone.login(&account(), Kind::Portal, session(2), until).ok(), Some(Some(session(1))));
        let known: Ended = Arc::default();
        let shown = alone.with_own_ends(&known);
        assert_eq!(shown.get(&session(1)), Some(&EndReason::Replaced));
        let mut told = Vec::new();
        while let Some(fact) = alone.first() {
            alone.handed_over(&fact);
            told.push(fact);
        }
        assert_eq!(told.len(), 3);
        assert!(matches!(told[2], Fact::End(ended, EndReason::Replaced, _) if ended == session(1)));
        assert!(Arc::ptr_eq(&alone.with_own_ends(&known), &known), "etcd looks after it again");
    }

    #[test]
    fn what_is_full_refuses() {
        let mut alone = Alone::default();
        for number in 0..ENTRIES_MAX {
            alone.count_failure(&number.to_string(), Some(NOW), NOW).expect("there is room");
            alone.claim_once(&number.to_string(), NOW.plus(1), NOW).expect("there is room");
        }
        assert!(alone.count_failure("one more", Some(NOW), NOW).is_err());
        assert!(alone.count_failure("0", Some(NOW), NOW).is_ok(), "a known one is counted on");
        assert!(alone.claim_once("one more", NOW.plus(1), NOW).is_err());
        assert!(alone.count_failure("one more", Some(NOW), NOW.plus(FAILURES_S)).is_ok());
        assert!(alone.claim_once("one more", NOW.plus(2), NOW.plus(1)).is_ok());
    }
}
