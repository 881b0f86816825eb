//! Every bound of the engine in one place; `docs/reference/policy-limits.md` repeats them for people.

use std::time::Duration;

/// Largest module accepted, in bytes.
pub const MODULE_BYTES: usize = 4 * 1024 * 1024;
/// Largest linear memory of a module, in bytes.
pub const MEMORY_BYTES: usize = 16 * 1024 * 1024;
/// Most data segments of a module, the evaluator's own included.
pub const DATA_SEGMENTS: usize = 256;
/// Stack a module may use, in bytes.
pub const WASM_STACK_BYTES: usize = 64 * 1024;
/// Distance of two ticks of the clock that interrupts modules.
pub const TICK: Duration = Duration::from_millis(1);
/// CPU time a call may use after the first tick that meets it.
pub const CPU_BUDGET: Duration = Duration::from_millis(2);
/// How long the self-test at start waits for a runaway module to be stopped.
pub const SELF_TEST_PATIENCE: Duration = Duration::from_secs(10);
/// Most modules one process keeps loaded.
pub const MODULES: usize = 4_096;
/// Most live instances one worker keeps; the longest unused one makes room.
pub const INSTANCES: usize = 1_024;
/// This many traps or timeouts within [`QUARANTINE_WINDOW`] put a module to rest.
pub const QUARANTINE_FAULTS: usize = 5;
/// See [`QUARANTINE_FAULTS`].
pub const QUARANTINE_WINDOW: Duration = Duration::from_secs(60);
/// How long a module rests; a new module, that is, a new digest, starts at once.
pub const QUARANTINE_REST: Duration = Duration::from_secs(5 * 60);
