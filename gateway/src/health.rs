//! Whether the gateway is alive, and whether people should be sent to it.
//!
//! Alive: every thread made progress lately. Ready: configuration is in force on every shard, etcd proved since
//! the start that nothing newer exists, sessions are still honoured, and nobody has asked for the end.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tidegate_core::{Generation, Timestamp};
use tidegate_store::View;
use tokio::sync::watch;

use crate::gateway::Phase;
use crate::shared::Shared;

/// Milliseconds without progress after which a thread is stuck.
const STUCK_MS: u64 = 10_000;
/// What a thread shows that has ended in order.
const ENDED: u64 = u64::MAX;

/// A word on what is wrong right now, left by whoever knows for whoever asks. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<String>>);

impl Note {
    /// Leaves a word; an empty one when all is well.
    pub fn leave(&self, word: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    /// The word, after a colon, if there is one.
    fn after_colon(&self) -> String {
        let word = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if word.is_empty() { String::new() } else { format!(": {word}") }
    }
}

/// When each thread last made progress.
pub struct Heartbeats {
    since: Instant,
    beats: Box<[AtomicU64]>,
}

impl Heartbeats {
    /// Of the threads `0..count`.
    pub(crate) fn new(count: usize) -> Self {
        Self { since: Instant::now(), beats: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Thread `index` makes progress.
    pub(crate) fn beat(&self, index: usize) {
        self.set(index, self.age_ms());
    }

    /// Thread `index` has nothing more to do.
    pub(crate) fn end(&self, index: usize) {
        self.set(index, ENDED);
    }

    /// The first thread that is stuck.
    pub(crate) fn stuck(&self) -> Option<usize> {
        self.stuck_at(self.age_ms())
    }

    fn stuck_at(&self, now: u64) -> Option<usize> {
        self.beats.iter().position(|beat| now.saturating_sub(beat.load(Relaxed)) >= STUCK_MS)
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(beat) = self.beats.get(index) {
            beat.store(value, Relaxed);
        }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(ENDED - 1)
    }
}

/// What the endpoints and the gauges are made from.
pub(crate) struct Health {
    shared: Arc<Shared>,
    started: Timestamp,
    view: RefCell<Arc<View>>,
    applied: Cell<Option<Generation>>,
    phase: watch::Receiver<Phase>,
}

impl Health {
    /// Of a gateway that starts now with this view.
    pub(crate) fn new(shared: Arc<Shared>, view: Arc<View>, phase: watch::Receiver<Phase>) -> Self {
        let started = shared.clock.now();
        Self { shared, started, view: RefCell::new(view), applied: Cell::new(None), phase }
    }

    /// The newest view.
    pub(crate) fn sees(&self, view: Arc<View>) {
        self.view.replace(view);
    }

    /// This generation is in force on every shard; true when that is news.
    pub(crate) fn applied(&self, generation: Generation) -> bool {
        self.applied.replace(Some(generation)) != Some(generation)
    }

    /// Brings the gauges up to date.
    pub(crate) fn refresh(&self) {
        let metrics = &self.shared.metrics;
        metrics.staleness.set(self.staleness_s());
        metrics.skew.set(self.view.borrow().skew_s.unwrap_or(0));
        metrics.hash_queue.set(i64::try_from(self.shared.hash_queue.waiting()).unwrap_or(i64::MAX));
        metrics.audit_lost.set(i64::try_from(self.shared.recorder.lost()).unwrap_or(i64::MAX));
    }

    /// Whether the process works, and if not, what hangs.
    pub(crate) fn alive(&self) -> Result<(), String> {
        match self.shared.heartbeats.stuck() {
            None => Ok(()),
            Some(thread) => Err(format!("thread {thread} has made no progress for {} s", STUCK_MS / 1_000)),
        }
    }

    /// Whether people should be sent here, and if not, why.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if *self.phase.borrow() != Phase::Serving {
            return Err("draining".into());
        }
        if self.applied.get().is_none() {
            return Err(format!("no configuration yet{}", self.shared.note.after_colon()));
        }
        if !is_own_proof(self.view.borrow().fresh_at, self.started) {
            let why = self.shared.note.after_colon();
            return Err(format!("no proof of freshness since the start{why}"));
        }
        // Those who are logged in go on until then; where only this gateway is cut off, the controller
        // replaces it long before.
        let stale = self.staleness_s();
        if stale >= self.shared.end_sessions_s {
            return Err(format!("cut off for too long: no news from the store for {stale} s"));
        }
        Ok(())
    }

    fn staleness_s(&self) -> i64 {
        self.shared.clock.now().since(self.view.borrow().fresh_at).max(0)
    }
}

/// Whether a proof of freshness was given to the process that started then. A copy from the disk may be days
/// old, and what was revoked since would be let in. Both are whole seconds: a proof of the very second of the
/// start may be an earlier process's.
fn is_own_proof(fresh_at: Timestamp, started: Timestamp) -> bool {
    fresh_at > started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_of_the_second_of_the_start_may_be_an_earlier_process_s() {
        let started = Timestamp(1_795_000_000);
        assert!(!is_own_proof(started.plus(-1), started));
        assert!(!is_own_proof(started, started));
        assert!(is_own_proof(started.plus(1), started));
    }

    #[test]
    fn a_thread_without_progress_is_noticed_and_one_that_ended_is_not() {
        let beats = Heartbeats::new(3);
        beats.set(0, 5_000);
        beats.set(1, 1);
        beats.end(2);
        assert_eq!(beats.stuck_at(10_000), None);
        assert_eq!(beats.stuck_at(10_001), Some(1));
        beats.set(1, 9_000);
        assert_eq!(beats.stuck_at(14_999), None);
        assert_eq!(beats.stuck_at(15_000), Some(0));
    }
}
