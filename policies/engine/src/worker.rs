//! One thread's instances.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use tidegate_core::policy::{Evaluate, Fault, Request, Side, Verdict};
use tidegate_core::{LocalTime, PolicyModule};

use crate::instance::{Ask, Instance};
use crate::library::{Digest, Library};
use crate::limits::INSTANCES;
use crate::subject::PreparedSubject;

/// Evaluates modules of a [`Library`] on one thread, with one reused instance for each.
pub struct Worker {
    library: Arc<Library>,
    instances: HashMap<Name, Slot, BuildHasherDefault<NameHasher>>,
    /// Counts evaluations, to know which instance has been idle longest.
    now: u64,
    // A call runs on the thread that owns the worker and on no other.
    not_sync: PhantomData<Cell<()>>,
}

struct Slot {
    instance: Instance,
    used: u64,
}

impl Slot {
    #[inline]
    fn ask(&mut self, now: u64, ask: Ask<'_>) -> Result<Verdict, Fault> {
        self.used = now;
        self.instance.loaded().check_rest()?;
        self.instance.evaluate(ask)
    }
}

impl Worker {
    /// A worker without instances; they are made when first asked.
    #[must_use]
    pub fn new(library: Arc<Library>) -> Self {
        Self { library, instances: HashMap::default(), now: 0, not_sync: PhantomData }
    }

    /// Drops the instances of every module but these; call it with each new snapshot.
    pub fn retain(&mut self, keep: &[Digest]) {
        let keep: HashSet<&Digest> = keep.iter().collect();
        self.instances.retain(|name, _| keep.contains(&name.0));
    }

    /// How many instances are alive.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    #[cold]
    fn instantiate(&mut self, name: Name) -> Result<&mut Slot, Fault> {
        let loaded = self.library.get(&name.0).ok_or(Fault::NotLoaded)?;
        loaded.check_rest()?;
        if self.instances.len() >= INSTANCES {
            let idlest = self.instances.iter().min_by_key(|(_, slot)| slot.used).map(|(name, _)| *name);
            if let Some(idlest) = idlest {
                self.instances.remove(&idlest);
            }
        }
        // The same program was instantiated when it was loaded: this fails only for want of memory.
        let (instance, _) = Instance::new(loaded).map_err(|_| Fault::NotLoaded)?;
        Ok(self.instances.entry(name).or_insert(Slot { instance, used: self.now }))
    }

    #[cold]
    fn discard(&mut self, name: Name, fault: Fault) -> Fault {
        if let Some(Slot { instance, .. }) = self.instances.remove(&name)
            && matches!(fault, Fault::Trap | Fault::Timeout)
        {
            instance.loaded().failed(Instant::now());
        }
        fault
    }

    #[cfg(test)]
    pub(crate) fn instance(&self, name: &Digest) -> Option<&Instance> {
        self.instances.get(&Name(*name)).map(|slot| &slot.instance)
    }
}

impl Evaluate for Worker {
    type Prepared = PreparedSubject;

    fn evaluate(
        &mut self,
        module: &PolicyModule,
        side: Side,
        subject: &PreparedSubject,
        request: &Request<'_>,
        local: LocalTime,
    ) -> Result<Verdict, Fault> {
        let name = Name(module.digest);
        self.now += 1;
        let now = self.now;
        let ask = Ask { side, subject, request, local, rules: module.rules.len() };
        let answer = match self.instances.get_mut(&name) {
            Some(slot) => slot.ask(now, ask),
            None => self.instantiate(name)?.ask(now, ask),
        };
        match answer {
            Err(fault @ (Fault::Trap | Fault::Timeout | Fault::Malformed)) => Err(self.discard(name, fault)),
            answer => answer,
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("instances", &self.instances.len()).finish_non_exhaustive()
    }
}

/// A digest as a key. It is a hash already: its first bytes choose the bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name(Digest);

impl Hash for Name {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let first = self.0.first_chunk::<8>().copied().unwrap_or_default();
        state.write_u64(u64::from_le_bytes(first));
    }
}

#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
