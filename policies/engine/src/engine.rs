//! The process-wide engine: wasmtime's configuration, its ticker, and the proof that both work.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use wasmtime::{Config, Instance, Module, OptLevel, Trap, WasmFeatures};

use crate::budget::Budget;
use crate::limits::{SELF_TEST_PATIENCE, TICK, WASM_STACK_BYTES};
use crate::ticker::Ticker;

/// Runs modules within limits; one per process, cheap to clone.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    // Ticks as long as anything can still run a module.
    _ticker: Arc<Ticker>,
}

/// Why the engine cannot be trusted to run anything.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused its configuration.
    #[error("the WASM engine cannot be configured here: {0}")]
    Configuration(String),
    /// The operating system gave no thread.
    #[error("the WASM engine cannot start a thread")]
    Thread(#[from] std::io::Error),
    /// An endless loop was not interrupted.
    #[error("a runaway module is not stopped on this machine")]
    SelfTest,
}

impl Engine {
    /// Starts the ticker and proves that it stops a runaway module.
    ///
    /// # Errors
    /// If the proof fails: without it nothing may be evaluated.
    pub fn new() -> Result<Self, EngineError> {
        let engine = configured()?;
        let clock = engine.clone();
        let ticker = Ticker::start(move || clock.increment_epoch())?;
        self_test(&engine, SELF_TEST_PATIENCE)?;
        Ok(Self { wasmtime: engine, _ticker: Arc::new(ticker) })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

fn configured() -> Result<wasmtime::Engine, EngineError> {
    // What a module may contain is a list of what is allowed: a feature wasmtime learns to switch on
    // by default in a later release stays off here.
    let allowed = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::FLOATS;
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all().difference(allowed), false);
    config.wasm_features(allowed, true);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.cranelift_opt_level(OptLevel::Speed);
    // Instances are reused, so each may reserve 4 GiB of addresses: Cranelift then leaves out the
    // bounds checks of every load, and the guard pages do their work.
    config.memory_reservation(1 << 32);
    config.memory_may_move(false);
    config.wasm_backtrace_max_frames(None);
    wasmtime::Engine::new(&config).map_err(|error| EngineError::Configuration(format!("{error:#}")))
}

/// `(module (func (export "run") (loop (br 0))))`
const ENDLESS_LOOP: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x07\x01\x03run\0\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

/// Runs an endless loop on a thread of its own and waits for it to be interrupted.
fn self_test(engine: &wasmtime::Engine, patience: Duration) -> Result<(), EngineError> {
    let (report, reported) = mpsc::sync_channel(1);
    let runner = engine.clone();
    let thread = std::thread::Builder::new().name("policy-self-test".into()).spawn(move || {
        // Nobody listens any more once patience has run out.
        let _ = report.send(is_interrupted(&runner));
    })?;
    let passed = reported.recv_timeout(patience) == Ok(true);
    if passed {
        return Ok(());
    }
    // Without a working ticker only this thread can still stop the loop; it does not try for ever.
    for _ in 0..1_000 {
        if thread.is_finished() {
            break;
        }
        engine.increment_epoch();
        std::thread::sleep(TICK);
    }
    Err(EngineError::SelfTest)
}

fn is_interrupted(engine: &wasmtime::Engine) -> bool {
    let run = || -> wasmtime::Result<()> {
        let module = Module::new(engine, ENDLESS_LOOP)?;
        let mut store = Budget::store(engine);
        Budget::begin(&mut store);
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        Budget::begin(&mut store);
        run.call(&mut store, ())
    };
    run().is_err_and(|error| error.downcast_ref::<Trap>() == Some(&Trap::Interrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runaway_module_is_stopped() {
        assert!(Engine::new().is_ok());
    }

    #[test]
    fn without_ticks_the_self_test_fails_and_ends() {
        let engine = configured().expect("configuration");
        let outcome = self_test(&engine, Duration::from_millis(20));
        assert!(matches!(outcome, Err(EngineError::SelfTest)));
    }
}
