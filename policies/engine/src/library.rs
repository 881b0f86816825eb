//! The modules of a process, compiled once and shared by its workers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::policy::Fault;
use tidegate_policy_evaluator::layout::ABI;
use wasmtime::{InstancePre, Linker, Module, Store};

use crate::budget::Budget;
use crate::class_a;
use crate::engine::Engine;
use crate::instance::Instance;
use crate::layout::Layout;
use crate::limits::MODULES;
use crate::load_error::LoadError;
use crate::quarantine::Quarantine;

/// SHA-256 of a module's bytes.
pub type Digest = [u8; 32];

/// The loaded modules by digest. Loading happens on the control thread, off the workers.
pub struct Library {
    engine: Engine,
    modules: RwLock<HashMap<Digest, Arc<Loaded>>>,
}

/// A module that passed every check.
pub(crate) struct Loaded {
    // Keeps the ticker alive as long as an instance can run.
    engine: Engine,
    code: InstancePre<Budget>,
    layout: Layout,
    /// Whether `quarantine` must be asked before a call.
    resting: AtomicBool,
    quarantine: Mutex<Quarantine>,
}

impl Library {
    /// An empty library.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, modules: RwLock::default() }
    }

    /// Checks, compiles and tries a class A module; loading it again does nothing.
    ///
    /// # Errors
    /// With the first reason found; the department's decisions are then denied as not loaded.
    pub fn load(&self, name: &Digest, wasm: &[u8]) -> Result<(), LoadError> {
        if self.get(name).is_some() {
            return Ok(());
        }
        // Cheapest first: nothing is hashed or parsed that is too large anyway.
        let layout = class_a::check(wasm)?;
        if digest(&SHA256, wasm).as_ref() != name.as_slice() {
            return Err(LoadError::WrongDigest);
        }
        self.compile(name, wasm, layout)
    }

    /// Forgets every module but these, and with them their quarantine.
    pub fn retain(&self, keep: &[Digest]) {
        let keep: HashSet<&Digest> = keep.iter().collect();
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|name, _| keep.contains(name));
    }

    /// Whether a module is loaded.
    #[must_use]
    pub fn holds(&self, name: &Digest) -> bool {
        self.get(name).is_some()
    }

    /// Compiles bytes that no check has seen: the proofs of the sandbox need programs no check lets in.
    #[cfg(test)]
    pub(crate) fn load_unchecked(&self, name: &Digest, wasm: &[u8]) -> Result<(), LoadError> {
        self.compile(name, wasm, Layout::CURRENT)
    }

    pub(crate) fn get(&self, name: &Digest) -> Option<Arc<Loaded>> {
        self.modules.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn compile(&self, name: &Digest, wasm: &[u8], layout: Layout) -> Result<(), LoadError> {
        let refused = |error: wasmtime::Error| LoadError::NotCompiled(format!("{error:#}"));
        let engine = self.engine.wasmtime();
        let module = Module::new(engine, wasm).map_err(refused)?;
        let code = Linker::new(engine).instantiate_pre(&module).map_err(refused)?;
        let loaded = Arc::new(Loaded {
            engine: self.engine.clone(),
            code,
            layout,
            resting: AtomicBool::new(false),
            quarantine: Mutex::default(),
        });
        let (_, abi) =
            Instance::new(Arc::clone(&loaded)).map_err(|error| LoadError::Abi(format!("{error:#}")))?;
        if abi != ABI {
            return Err(LoadError::Abi(format!("it speaks ABI {abi}, this gateway ABI {ABI}")));
        }
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        if modules.len() >= MODULES {
            return Err(LoadError::TooManyModules);
        }
        modules.insert(*name, loaded);
        Ok(())
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

impl Loaded {
    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        self.engine.wasmtime()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn instantiate(&self, store: &mut Store<Budget>) -> wasmtime::Result<wasmtime::Instance> {
        self.code.instantiate(store)
    }

    /// Refuses while the module rests.
    #[inline]
    pub(crate) fn check_rest(&self) -> Result<(), Fault> {
        if self.resting.load(Ordering::Relaxed) { self.still_rests(Instant::now()) } else { Ok(()) }
    }

    #[cold]
    fn still_rests(&self, now: Instant) -> Result<(), Fault> {
        let mut quarantine = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        if quarantine.remaining(now).is_some() {
            return Err(Fault::Quarantined);
        }
        self.resting.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Notes a trap or a timeout.
    #[cold]
    pub(crate) fn failed(&self, now: Instant) {
        let mut quarantine = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        if quarantine.record(now) {
            self.resting.store(true, Ordering::Relaxed);
            tracing::warn!("a policy module failed too often and rests");
        }
    }
}
