//! Changes asked for at gateways: take, apply, write, publish, settle — in this order.
//!
//! A crash anywhere leaves the intent with the store; taking it again finds what is done already.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidegate_core::{Code, Timestamp, Uid};
use tidegate_store::audit::{Event, Record};
use tidegate_store::{Intent, IntentAction, Outcome, Store};
use tokio::time::Instant;

use super::round::Controller;
use super::{Next, RETRY};
use crate::events::ControllerEvent;
use crate::intake::Reading;

/// Intents one account may have in an hour; a person needs two or three.
const PER_HOUR: usize = 10;

/// Accounts whose intents are counted at once.
const ACCOUNTS_MAX: usize = 200_000;

/// How many intents each account had lately.
#[derive(Debug, Default)]
pub(super) struct Limit {
    lately: BTreeMap<Uid, VecDeque<Timestamp>>,
}

impl Limit {
    /// Counts one more; false when that is too many.
    fn admit(&mut self, uid: &Uid, now: Timestamp) -> bool {
        let old = now.plus(-3_600);
        if self.lately.len() >= ACCOUNTS_MAX && !self.lately.contains_key(uid) {
            self.lately.retain(|_, times| times.back().is_some_and(|last| *last > old));
            if self.lately.len() >= ACCOUNTS_MAX {
                return false;
            }
        }
        let times = self.lately.entry(uid.clone()).or_default();
        while times.front().is_some_and(|first| *first <= old) {
            times.pop_front();
        }
        if times.len() >= PER_HOUR {
            return false;
        }
        times.push_back(now);
        true
    }

    /// Takes the last count back: the intent will be tried again.
    fn take_back(&mut self, uid: &Uid) {
        if let Some(times) = self.lately.get_mut(uid) {
            times.pop_back();
        }
    }
}

impl<S: Store> Controller<S> {
    /// Brings one intent to its end, or leaves it with the store for later.
    pub(super) async fn settle(&mut self, intent: &Intent, reading: &Arc<Reading>, next: Next) -> Next {
        let later = Next { intents_from: Instant::now() + RETRY, ..next };
        let now = crate::time::now();
        let known =
            self.builder.vault.record(&intent.uid).is_some_and(|record| record.settled(intent).is_some());
        let applied = if !known && !self.limit.admit(&intent.uid, now) {
            Err(Code::IntentRefused)
        } else {
            match self.builder.vault.intend(&self.state, intent, now) {
                Ok(applied) => applied,
                Err(error) => {
                    self.limit.take_back(&intent.uid);
                    let _told = self.state_failed(&error);
                    return later;
                }
            }
        };
        let mut next = next;
        let outcome = match applied {
            Ok((version, _)) => {
                // Published before it is settled: who hears "done" finds it in force.
                self.builder.touch(&intent.account.department);
                // Objects wait for no intent.
                next = Next { objects_from: next.objects_from, ..self.round(reading).await };
                if !next.published {
                    return Next { intents_from: Instant::now() + RETRY, ..next };
                }
                Outcome::Done { version }
            }
            Err(code) => Outcome::Refused(code),
        };
        if let Err(error) = self.store.settle(intent.id, outcome).await {
            let _told = self.store_failed(&error);
            return Next { intents_from: Instant::now() + RETRY, ..next };
        }
        self.tell_settled(intent, outcome, now);
        next
    }

    fn tell_settled(&self, intent: &Intent, outcome: Outcome, now: Timestamp) {
        let action = match intent.action {
            IntentAction::Activate { .. } => "activate",
            IntentAction::ChangePassword { .. } => "changePassword",
        };
        let refused = match outcome {
            Outcome::Done { .. } => None,
            Outcome::Refused(code) => Some(code),
        };
        let label = refused.map_or("done", Code::name);
        self.metrics.intents.with_label_values(&[action, label]).inc();
        self.record(Record {
            at: now,
            event: Event::IntentSettled { intent: intent.id, account: intent.account.clone(), outcome },
        });
        self.teller.tell(ControllerEvent::IntentSettled {
            account: intent.account.to_string(),
            action,
            refused: refused.map(Code::id),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_ten_intents_an_hour_and_others_are_not_hindered() {
        let mut limit = Limit::default();
        let (one, two) = ("u-1".parse().unwrap(), "u-2".parse().unwrap());
        let now = Timestamp(1_760_000_000);
        for second in 0..10 {
            assert!(limit.admit(&one, now.plus(second)));
        }
        assert!(!limit.admit(&one, now.plus(10)));
        assert!(limit.admit(&two, now.plus(10)));
        limit.take_back(&one);
        assert!(limit.admit(&one, now.plus(10)));
        assert!(limit.admit(&one, now.plus(3_600)));
        assert!(!limit.admit(&one, now.plus(3_600)));
    }
}
