//! Password hashing on threads of its own, behind a queue that is fair per department.
//!
//! ```text
//!  shard -- submit(department, work) --> [ queue per department ] -- round robin --> hashing thread
//!        <-- Turn: place(), done() ---
//! ```
//!
//! One argon2id takes 19 MiB and tens of milliseconds: it must neither stop a shard nor, in a login
//! storm, take the memory. A [`Turn`] that is dropped takes its work out of the queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::oneshot;

use crate::keys;

#[cfg(test)]
mod tests;

/// Most pieces of work that wait.
pub const QUEUE_MAX: usize = 1_000;

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over that memory.
const PASSES: u32 = 2;

/// How much nicer than the shards the hashing threads are.
const NICENESS: i32 = 10;

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{QUEUE_MAX} password checks wait already")]
pub struct Full;

/// The queue and its threads; they stop when the last clone is gone.
#[derive(Clone)]
pub struct HashQueue {
    inner: Arc<Inner>,
    _running: Arc<Running>,
}

/// One piece of work in the queue.
pub struct Turn<T> {
    result: oneshot::Receiver<T>,
    inner: Arc<Inner>,
    department: Box<str>,
    number: u64,
}

struct Inner {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queues {
    /// Work by department; no queue is empty.
    waiting: BTreeMap<Box<str>, VecDeque<Work>>,
    /// Departments in the order they are served; each with waiting work, once.
    order: VecDeque<Box<str>>,
    count: usize,
    next: u64,
    stopping: bool,
}

struct Work {
    number: u64,
    run: Box<dyn FnOnce() + Send>,
}

struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().stopping = true;
        self.0.arrived.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing that holds the lock can leave the queues half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn push(&mut self, department: &str, work: Work) {
        match self.waiting.get_mut(department) {
            Some(queue) => queue.push_back(work),
            None => {
                self.waiting.insert(department.into(), VecDeque::from([work]));
                self.order.push_back(department.into());
            }
        }
        self.count += 1;
    }

    /// The next work: the first of the department whose turn it is, which then goes to the back.
    fn pop(&mut self) -> Option<Work> {
        let department = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&department)?;
        let work = queue.pop_front()?;
        self.count -= 1;
        if queue.is_empty() {
            self.waiting.remove(&department);
        } else {
            self.order.push_back(department);
        }
        Some(work)
    }

    fn remove(&mut self, department: &str, number: u64) {
        let Some(queue) = self.waiting.get_mut(department) else { return };
        let before = queue.len();
        queue.retain(|work| work.number != number);
        self.count -= before - queue.len();
        if queue.is_empty() {
            self.waiting.remove(department);
            self.order.retain(|other| &**other != department);
        }
    }

    /// How many are served before and including this one; 0 when it is not waiting any more.
    fn place(&self, department: &str, number: u64) -> usize {
        let Some(queue) = self.waiting.get(department) else { return 0 };
        let Some(index) = queue.iter().position(|work| work.number == number) else { return 0 };
        let mut ahead = index;
        let mut passed_own = false;
        for other in &self.order {
            if &**other == department {
                passed_own = true;
                continue;
            }
            let length = self.waiting.get(other).map_or(0, VecDeque::len);
            // Those before us in the round get one more turn than those after us.
            ahead += length.min(if passed_own { index } else { index + 1 });
        }
        ahead + 1
    }
}

impl HashQueue {
    /// Starts `threads` hashing threads, at lower priority than the shards.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let inner = Arc::new(Inner { queues: Mutex::default(), arrived: Condvar::new() });
        let running = Arc::new(Running(Arc::clone(&inner)));
        for index in 0..threads.max(1) {
            let inner = Arc::clone(&inner);
            std::thread::Builder::new().name(format!("hash-{index}")).spawn(move || serve(&inner))?;
        }
        // The hash that unknown accounts are checked against exists before the first of them.
        let _ = dummy();
        Ok(Self { inner, _running: running })
    }

    /// Puts `work` into the queue of `department`.
    pub fn submit<T: Send + 'static>(
        &self,
        department: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Turn<T>, Full> {
        let (sender, result) = oneshot::channel();
        let mut queues = self.inner.lock();
        if queues.count >= QUEUE_MAX {
            return Err(Full);
        }
        let number = queues.next;
        queues.next += 1;
        let run = Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        });
        queues.push(department, Work { number, run });
        drop(queues);
        self.inner.arrived.notify_one();
        Ok(Turn { result, inner: Arc::clone(&self.inner), department: department.into(), number })
    }

    /// How many pieces of work wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.lock().count
    }
}

impl<T> Turn<T> {
    /// How many are served up to and including this one; 0 when it is being served.
    #[must_use]
    pub fn place(&self) -> usize {
        self.inner.lock().place(&self.department, self.number)
    }

    /// The result, when it is there; `None` when the queue has stopped. May be dropped and called again.
    pub async fn done(&mut self) -> Option<T> {
        (&mut self.result).await.ok()
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        self.inner.lock().remove(&self.department, self.number);
    }
}

fn serve(inner: &Inner) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "hashing runs at the priority of the shards");
    }
    loop {
        let mut queues = inner.lock();
        let work = loop {
            if queues.stopping {
                return;
            }
            match queues.pop() {
                Some(work) => break work,
                None => queues = inner.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(queues);
        (work.run)();
    }
}

fn argon2id() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The hash of `password` in PHC form; `None` without random numbers. Slow: for hashing threads.
#[must_use]
pub fn hash(password: &str) -> Option<Box<str>> {
    let salt: [u8; 16] = keys::random().ok()?;
    let hash = argon2id()?.hash_password_with_salt(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string().into())
}

/// Whether `password` is the one behind `phc`; `None` when there was no memory to find out, which must not
/// be taken for a wrong password. Slow: for hashing threads.
#[must_use]
pub fn verify(password: &str, phc: &str) -> Option<bool> {
    let Ok(hash) = PasswordHash::new(phc) else { return Some(false) };
    // The cost is written in the hash; one that costs more than ours was not made by a gateway.
    let affordable = Params::try_from(&hash).is_ok_and(|params| {
        params.m_cost() <= MEMORY_KIB && params.t_cost() <= PASSES && params.p_cost() == 1
    });
    if !affordable {
        return Some(false);
    }
    match argon2id()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Some(true),
        Err(argon2::password_hash::Error::OutOfMemory) => None,
        Err(_) => Some(false),
    }
}

/// A hash nobody knows the password of: what an unknown account is checked against, so that it costs
/// the same as a wrong password.
#[must_use]
pub fn dummy() -> &'static str {
    static DUMMY: LazyLock<Box<str>> = LazyLock::new(|| {
        let unknown = keys::random::<16>().map_or_else(|_| String::new(), |bytes| format!("{bytes:?}"));
        hash(&unknown).unwrap_or_default()
    });
    &DUMMY
}
