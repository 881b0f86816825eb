//! The CPU budget of one call.
//!
//! A tick asks, it does not condemn: a thread that lost the processor for a while must not have its
//! call counted as runaway. So the first tick that meets a call only notes the thread's CPU clock,
//! and later ticks interrupt once the call has used more than [`CPU_BUDGET`] of it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline};

use crate::limits::{CPU_BUDGET, MEMORY_BYTES};

/// What a store carries for its limits.
pub(crate) struct Budget {
    memory: StoreLimits,
    first_tick: Option<Duration>,
}

impl Budget {
    /// A store that holds one instance within all limits.
    pub(crate) fn store(engine: &wasmtime::Engine) -> Store<Self> {
        let memory = StoreLimitsBuilder::new()
            .memory_size(MEMORY_BYTES)
            .memories(1)
            .tables(1)
            .instances(1)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(engine, Self { memory, first_tick: None });
        store.limiter(|budget| &mut budget.memory);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().tick(thread_cpu_time())));
        store
    }

    /// Starts a call: the next tick is its first.
    #[inline]
    pub(crate) fn begin(store: &mut Store<Self>) {
        store.data_mut().first_tick = None;
        store.set_epoch_deadline(1);
    }

    fn tick(&mut self, cpu: Duration) -> UpdateDeadline {
        let first = *self.first_tick.get_or_insert(cpu);
        if cpu.saturating_sub(first) > CPU_BUDGET {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

/// CPU time this thread has used.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cpu_time_after_the_first_tick_counts() {
        let ms = Duration::from_millis;
        let mut budget = Budget { memory: StoreLimits::default(), first_tick: None };
        assert!(matches!(budget.tick(ms(500)), UpdateDeadline::Continue(1)));
        // Many ticks without CPU time: the thread was not running.
        for _ in 0..1_000 {
            assert!(matches!(budget.tick(ms(501)), UpdateDeadline::Continue(1)));
        }
        assert!(matches!(budget.tick(ms(500) + CPU_BUDGET), UpdateDeadline::Continue(1)));
        assert!(matches!(budget.tick(ms(501) + CPU_BUDGET), UpdateDeadline::Interrupt));
    }

    #[test]
    fn the_thread_clock_moves_with_work() {
        let before = thread_cpu_time();
        let mut sum = 0_u64;
        while thread_cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu_time() > before);
    }
}
