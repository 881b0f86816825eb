//! The loop: objects, intents and the clock in; publications, credentials and status out.
//!
//! ```text
//!  objects (watch) --+
//!  intents (store) --+--> round: identify, observe, publish losses, store, build, publish, status
//!  dates (timer)   --+
//! ```
//!
//! The controller has a thread of its own, so that it may compile and wait for the disk without
//! holding up anybody. A round does again whatever is due, and what was missed or failed stays due: the
//! next one puts it right.

mod intents;
mod look;
mod round;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::{Code, Timestamp};
use tidegate_store::audit::AuditLog;
use tidegate_store::{Intent, Store, StoreResult};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::build::Settings;
use crate::events::{ControllerEvent, Teller};
use crate::fleet::Fleet;
use crate::intake::Reading;
use crate::metrics::Metrics;
use crate::state::{State, StateError};
use crate::status::{Ledger, SharedLedger};
use round::Controller;

/// After a failed write of state or store, the next round comes this much later.
const RETRY: Duration = Duration::from_secs(2);

/// After a round for objects or for activation codes, others have their turn: intents, and what is said. So neither
/// waits for as long as there is more of the former.
const TURN: Duration = Duration::from_millis(25);

/// While something is not in force everywhere, gateways' reports are read this often.
const PROPAGATION_POLL: Duration = Duration::from_millis(100);

/// Between a publication and the first look at who has it: most gateways are faster.
const LOOK: Duration = Duration::from_millis(25);

/// While no gateway has reported, this often.
const FIRST_GATEWAY_POLL: Duration = Duration::from_millis(500);

/// Otherwise this often, to notice gateways that went away.
const REPORTS_POLL: Duration = Duration::from_secs(5);

/// The timer looks at the clock at least this often, since clocks jump.
const CLOCK_POLL: Duration = Duration::from_secs(30);

/// What the process tells the controller about itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings of the platform; `not_before` is raised when the store turns out to be new.
    pub settings: Settings,
    /// Metrics, registered by the caller.
    pub metrics: Metrics,
    /// The audit trail for objects and intents, if there is one.
    pub audit: Option<AuditLog>,
    /// The pods of the pool, where gateways are pods.
    pub fleet: Option<watch::Receiver<Fleet>>,
    /// What an earlier controller said about objects, where they carry it; it is given back at the end. Otherwise
    /// it lies in the state directory.
    pub ledger: Option<SharedLedger>,
}

/// Why the controller cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The operating system refuses a thread.
    #[error("cannot start the controller's thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::State(error) => error.code,
            Self::Thread(_) => Code::StateUnusable,
        }
    }
}

/// A running controller. Dropping it stops it, too, without waiting.
#[derive(Debug)]
pub struct Handle {
    /// What happens, for the terminal. [`ControllerEvent::Ready`] comes once the newest objects are
    /// published; a gateway started before it would serve what an earlier run left.
    pub events: mpsc::Receiver<ControllerEvent>,
    stop: Option<oneshot::Sender<()>>,
    stopped: oneshot::Receiver<Arc<State>>,
}

impl Handle {
    /// Stops after the round under way and waits for it; the state comes back unlocked when the last
    /// holder drops it.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that it has stopped already.
            let _ = stop.send(());
        }
        let _ = (&mut self.stopped).await;
    }
}

/// Starts the controller on the newest reading of `objects` and every later one.
pub fn start<S: Store>(
    config: Config,
    state: Arc<State>,
    store: S,
    objects: watch::Receiver<Arc<Reading>>,
) -> Result<Handle, StartError> {
    let (teller, events) = Teller::new(config.metrics.clone());
    let ledger = config.ledger.clone();
    let controller = Controller::load(config, Arc::clone(&state), store, teller)?;
    let (stop, stopping) = oneshot::channel();
    let (done, stopped) = oneshot::channel();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(StartError::Thread)?;
    std::thread::Builder::new()
        .name("controller".into())
        .spawn(move || {
            let said = runtime.block_on(run(controller, objects, stopping));
            if let Some(ledger) = ledger {
                *ledger.lock().unwrap_or_else(PoisonError::into_inner) = said;
            }
            // Nobody may be waiting.
            let _ = done.send(state);
        })
        .map_err(StartError::Thread)?;
    Ok(Handle { events, stop: Some(stop), stopped })
}

async fn run<S: Store>(
    mut controller: Controller<S>,
    mut objects: watch::Receiver<Arc<Reading>>,
    mut stopping: oneshot::Receiver<()>,
) -> Ledger {
    let mut reading = objects.borrow_and_update().clone();
    let mut next = controller.round(&reading).await;
    let mut source_gone = false;
    let mut fleet = controller.fleet.clone();
    loop {
        let event = tokio::select! {
            biased;
            _ = &mut stopping => return controller.handed_on(),
            more = another(&mut objects, next.objects_from), if !source_gone => Event::Objects(more),
            intent = take(&controller, next.intents_from) => Event::Intent(intent),
            () = tokio::time::sleep(until(next.holds_until)) => Event::Time,
            () = tokio::time::sleep_until(next.retry_at()) => Event::Time,
            () = tokio::time::sleep_until(next.reports_at) => Event::Reports,
            () = changed(&mut fleet) => Event::Reports,
        };
        next = match event {
            Event::Objects(true) => {
                reading = objects.borrow_and_update().clone();
                controller.round(&reading).await
            }
            Event::Objects(false) => {
                // The reader ended: what it read last stays in force until we are stopped.
                source_gone = true;
                next
            }
            Event::Intent(Ok(intent)) => controller.settle(&intent, &reading, next).await,
            Event::Intent(Err(error)) => {
                let _told = controller.store_failed(&error);
                Next { intents_from: Instant::now() + RETRY, ..next }
            }
            Event::Time if next.is_due() => controller.round(&reading).await,
            Event::Time => next,
            Event::Reports => Next { reports_at: controller.look().await, ..next },
        };
    }
}

enum Event {
    Objects(bool),
    Intent(StoreResult<Intent>),
    Time,
    Reports,
}

/// When the loop has to do something by itself.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// When time alone changes a condition.
    holds_until: Timestamp,
    /// When a failed round is tried again.
    retry: Option<Instant>,
    /// When gateways' reports are read again.
    reports_at: Instant,
    /// No newer objects are taken up before.
    objects_from: Instant,
    /// No intent is taken before.
    intents_from: Instant,
    /// Whether everything that was read and asked for is published, whatever else has to be tried again.
    published: bool,
}

impl Next {
    fn retry_at(&self) -> Instant {
        self.retry.unwrap_or_else(|| Instant::now() + CLOCK_POLL)
    }

    fn is_due(&self) -> bool {
        crate::time::now() >= self.holds_until || self.retry.is_some_and(|at| Instant::now() >= at)
    }
}

/// Waits for newer objects; false when none come any more.
async fn another(objects: &mut watch::Receiver<Arc<Reading>>, from: Instant) -> bool {
    tokio::time::sleep_until(from).await;
    objects.changed().await.is_ok()
}

async fn take<S: Store>(controller: &Controller<S>, from: Instant) -> StoreResult<Intent> {
    tokio::time::sleep_until(from).await;
    controller.store().take().await
}

/// Waits until other pods are ready, for ever where there are none.
async fn changed(fleet: &mut Option<watch::Receiver<Fleet>>) {
    if let Some(fleet) = fleet
        && fleet.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// How long until the wall clock shows `at`, but never longer than a look at the clock is due.
fn until(at: Timestamp) -> Duration {
    let target = Duration::from_secs(u64::try_from(at.0).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    target.saturating_sub(now).min(CLOCK_POLL)
}
