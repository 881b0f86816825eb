//! Where the controller is killed: before a call and after it, once for every call it makes.
//!
//! A call is what it asks for, with names that differ between lives taken out. One that changes something is another
//! one in every step of the life; one that does not is the same in all of them, since being killed at it leaves no
//! trace. What a controller does that has just been started is a step of its own, whatever it was that it was started
//! in the middle of.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_tests::process::Process;
use tokio::sync::watch;

/// The step of a controller that has just been started.
const START: &str = "start";

/// The step of what changes nothing.
const ANY: &str = "any";

/// On which side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// It is not made any more.
    Before,
    /// It is made, and its answer never arrives.
    After,
}

/// A place to be killed at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Point {
    pub(super) step: &'static str,
    pub(super) call: String,
    pub(super) side: Side,
}

/// All of them, and the controller that is killed.
pub(super) struct Points {
    state: Mutex<State>,
    killed: watch::Sender<u32>,
}

struct State {
    /// Of a hundred points, how many are taken; which ones is the seed's choice.
    share: u64,
    seed: u64,
    program: Option<Process>,
    /// Counts the controllers there were.
    run: u32,
    step: &'static str,
    /// How often it may still be killed in this life.
    left: u32,
    met: BTreeSet<Point>,
    done: BTreeSet<Point>,
    /// Where it was killed in this life.
    this_life: Vec<Point>,
}

impl Points {
    pub(super) fn new(seed: u64, share: u64) -> Self {
        let state = State {
            share,
            seed,
            program: None,
            run: 0,
            step: START,
            left: 0,
            met: BTreeSet::new(),
            done: BTreeSet::new(),
            this_life: Vec::new(),
        };
        Self { state: Mutex::new(state), killed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the controller was killed.
    pub(super) fn killed(&self) -> watch::Receiver<u32> {
        self.killed.subscribe()
    }

    /// A controller runs.
    pub(super) fn runs(&self, program: Process) {
        let mut state = self.lock();
        state.run += 1;
        state.program = Some(program);
    }

    /// The controller ends, and nobody is told.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        (state.program, state.step) = (None, START);
    }

    /// Which controller it is that calls now.
    pub(super) fn run(&self) -> u32 {
        self.lock().run
    }

    /// Asserts that the controller has not ended by itself.
    pub(super) fn still_runs(&self) -> Result<(), String> {
        self.lock().program.as_mut().map_or(Ok(()), Process::still_runs)
    }

    /// Another life begins, in which it may be killed so often.
    pub(super) fn begin(&self, kills: u32) {
        let mut state = self.lock();
        (state.left, state.this_life) = (kills, Vec::new());
    }

    /// Another step begins.
    pub(super) fn enter(&self, step: &'static str) {
        self.lock().step = step;
    }

    /// Whether a controller that is about to make a call, or has just made one, is dead: because it was killed
    /// meanwhile, or because it is killed here and now.
    pub(super) fn is_fatal(&self, run: u32, call: &str, side: Side) -> bool {
        let mut state = self.lock();
        if state.run != run || state.program.is_none() {
            return true;
        }
        let step = if state.step == START || changes_something(call) { state.step } else { ANY };
        let point = Point { step, call: call.to_owned(), side };
        state.met.insert(point.clone());
        if state.left == 0 || !state.is_chosen(&point) || !state.done.insert(point.clone()) {
            return false;
        }
        state.left -= 1;
        state.step = START;
        state.this_life.push(point);
        // Dropping it kills it and waits for its end.
        state.program = None;
        drop(state);
        self.killed.send_modify(|count| *count += 1);
        true
    }

    /// Where the controller was killed in this life.
    pub(super) fn this_life(&self) -> Vec<Point> {
        self.lock().this_life.clone()
    }

    /// Points that were met, points that were to be taken, and points that were.
    pub(super) fn counts(&self) -> [usize; 3] {
        let state = self.lock();
        let chosen = state.met.iter().filter(|point| state.is_chosen(point)).count();
        [state.met.len(), chosen, state.done.len()]
    }

    /// Points that were to be taken, and that were met only when the controller had died often enough.
    pub(super) fn left(&self) -> Vec<Point> {
        let state = self.lock();
        state.met.difference(&state.done).filter(|point| state.is_chosen(point)).cloned().collect()
    }

    /// Whether the controller was killed on this side of this call in whatever step.
    pub(super) fn is_taken(&self, point: &Point) -> bool {
        self.lock().done.iter().any(|done| done.call == point.call && done.side == point.side)
    }

    /// Calls, whatever the step and the side.
    pub(super) fn calls(&self) -> BTreeSet<String> {
        self.lock().met.iter().map(|point| point.call.clone()).collect()
    }
}

impl State {
    fn is_chosen(&self, point: &Point) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, point).hash(&mut hasher);
        hasher.finish() % 100 < self.share
    }
}

/// Whether a call leaves a trace by which one step differs from another.
fn changes_something(call: &str) -> bool {
    let asks = ["GET ", "/etcdserverpb.KV/Range", "/etcdserverpb.Watch/", "/etcdserverpb.Maintenance/"];
    // Who leads is written every other second, and parts are read in a transaction.
    let is_routine = call.contains("/leases/") || call == "/etcdserverpb.KV/Txn blobs";
    !is_routine && !asks.iter().any(|start| call.starts_with(start))
}
