//! When a module has failed too often, it rests.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{QUARANTINE_FAULTS, QUARANTINE_REST, QUARANTINE_WINDOW};

/// The recent traps and timeouts of one module, counted over all workers.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    faults: VecDeque<Instant>,
    until: Option<Instant>,
}

impl Quarantine {
    /// Notes a fault; true when the module rests from now on.
    pub(crate) fn record(&mut self, now: Instant) -> bool {
        while self.faults.front().is_some_and(|&at| now.saturating_duration_since(at) > QUARANTINE_WINDOW) {
            self.faults.pop_front();
        }
        self.faults.push_back(now);
        if self.faults.len() < QUARANTINE_FAULTS {
            return false;
        }
        self.faults.clear();
        self.until = Some(now + QUARANTINE_REST);
        true
    }

    /// The rest that is left; `None` when the module may run.
    pub(crate) fn remaining(&mut self, now: Instant) -> Option<Duration> {
        let left = self.until?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.until = None;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_enough_faults_and_wakes_up_again() {
        let start = Instant::now();
        let mut quarantine = Quarantine::default();
        for _ in 1..QUARANTINE_FAULTS {
            assert!(!quarantine.record(start));
            assert_eq!(quarantine.remaining(start), None);
        }
        assert!(quarantine.record(start));
        assert_eq!(quarantine.remaining(start), Some(QUARANTINE_REST));
        let last = start + QUARANTINE_REST - Duration::from_nanos(1);
        assert!(quarantine.remaining(last).is_some());
        assert_eq!(quarantine.remaining(start + QUARANTINE_REST), None);
        assert!(!quarantine.record(start + QUARANTINE_REST), "the count starts anew");
    }

    #[test]
    fn faults_far_apart_are_forgiven() {
        let mut now = Instant::now();
        let mut quarantine = Quarantine::default();
        for _ in 0..10 * QUARANTINE_FAULTS {
            assert!(!quarantine.record(now));
            now += QUARANTINE_WINDOW;
        }
    }
}
