//! The embedded backend: one `redb` file and a channel, for one process.
//!
//! ```text
//!  any task --Job (bounded)--> "store" thread --transaction--> store.redb
//!                                   |
//!                                   +--View (watch)--> gateway control thread, controller
//! ```
//!
//! The thread alone touches the file, so no asynchronous task ever waits for the disk, and what it does is
//! in one order. What must survive a crash (publications, ended sessions, one-time facts, intents) is
//! synced before the call returns; logins and failure counters may lose their last seconds.

mod disk;
mod live;
mod publish;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadableDatabase as _;
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Generation, SessionId, Snapshot, Timestamp};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    CALL_DEADLINE, GatewayId, Intent, IntentId, Outcome, Publication, Report, Store, StoreError, StoreResult,
    View,
};
use disk::Disk;
use publish::Published;
use worker::{Job, Worker};

/// Calls that may wait for the thread.
const QUEUE: usize = 1_024;
/// Gateways that may report.
const REPORTS_MAX: usize = 64;
/// Sessions one gateway may report; the rest of a longer list is not kept.
const SESSIONS_PER_REPORT: usize = 100_000;

/// The clock of the backend; tests bring their own.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A store in one file. Clones share it; the file is closed by [`Embedded::close`] or with the last clone.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: std::sync::mpsc::SyncSender<Job>,
    places: Arc<Semaphore>,
    view: watch::Receiver<View>,
    offered: watch::Receiver<u64>,
    reports: Mutex<BTreeMap<GatewayId, Report>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens or makes the file and reads what was published. It blocks, so call it before serving.
    ///
    /// `term` is the boot counter kept in `STATE`: higher at every start.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the file has seen this term or a newer one, [`StoreError::Unavailable`] when
    /// another process has it open, [`StoreError::Medium`] or [`StoreError::Unreadable`] when it cannot be used.
    pub fn open(file: &Path, term: u64) -> StoreResult<Self> {
        Self::open_with(Disk::file(file), term, Arc::new(now))
    }

    /// What a file holds that nobody has open: the snapshot an earlier process left.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a process has it open; otherwise as [`Embedded::open`].
    pub fn peek(file: &Path) -> StoreResult<Option<Arc<Snapshot>>> {
        let database = redb::ReadOnlyDatabase::open(file).map_err(disk::failed)?;
        let transaction = database.begin_read().map_err(disk::failed)?;
        Ok(Published::read(&transaction)?.0.snapshot())
    }

    fn open_with(disk: Disk, term: u64, clock: Clock) -> StoreResult<Self> {
        let (jobs, queue) = std::sync::mpsc::sync_channel(QUEUE);
        let (worker, view, offered) = Worker::open(disk, term, clock)?;
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker.run(&queue))
            .map_err(|e| StoreError::Unavailable(format!("no thread for the store: {e}")))?;
        let reports = Mutex::default();
        let places = Arc::new(Semaphore::new(QUEUE));
        Ok(Self { shared: Arc::new(Shared { jobs, places, view, offered, reports }) })
    }

    /// Closes the file once every call before this one is done; later calls find no store.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.shared.jobs.try_send(Job::Close(done)).is_ok() {
            // An error means the thread is gone already.
            let _ = closed.await;
        }
    }

    /// Runs `work` on the store's thread. A call that misses its deadline may still take effect.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let gone = || StoreError::Unavailable("it is closed".into());
        let answer = async {
            let place = Arc::clone(&self.shared.places).acquire_owned().await.map_err(|_| gone())?;
            let (reply, answer) = oneshot::channel();
            let job = Job::Work(Box::new(move |worker| {
                // Nobody listens any more when the caller has given up.
                let _ = reply.send(work(worker));
                drop(place);
            }));
            self.shared.jobs.try_send(job).map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        tokio::time::timeout(CALL_DEADLINE, answer)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into())))
    }
}

impl Store for Embedded {
    async fn publish(&self, publication: Publication) -> StoreResult<Generation> {
        self.call(move |worker| worker.publish(&publication)).await
    }

    fn subscribe(&self) -> watch::Receiver<View> {
        self.shared.view.clone()
    }

    async fn report(&self, mut report: Report) -> StoreResult<()> {
        report.sessions.truncate(SESSIONS_PER_REPORT);
        let mut reports = self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= REPORTS_MAX && !reports.contains_key(&report.ack.gateway) {
            return Err(StoreError::Full { what: "gateways", most: REPORTS_MAX });
        }
        reports.insert(report.ack.gateway.clone(), report);
        Ok(())
    }

    async fn reports(&self) -> StoreResult<Vec<Report>> {
        let reports = self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reports.values().cloned().collect())
    }

    async fn offer(&self, intent: Intent) -> StoreResult<()> {
        self.call(move |worker| worker.offer(&intent)).await
    }

    async fn take(&self) -> StoreResult<Intent> {
        let mut offered = self.shared.offered.clone();
        loop {
            // Seen before asking, so that an offer between the two wakes us.
            offered.borrow_and_update();
            if let Some(intent) = self.call(Worker::oldest_intent).await? {
                return Ok(intent);
            }
            offered.changed().await.map_err(|_| StoreError::Unavailable("it is closed".into()))?;
        }
    }

    async fn settle(&self, id: IntentId, outcome: Outcome) -> StoreResult<()> {
        self.call(move |worker| worker.settle(id, outcome)).await
    }

    async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        self.call(move |worker| worker.outcome(id)).await
    }

    async fn end(&self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        self.call(move |worker| worker.end(session, reason, until)).await
    }

    async fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        let account = account.clone();
        self.call(move |worker| worker.login(&account, kind, session, until)).await
    }

    async fn claim_once(&self, key: &str, until: Timestamp) -> StoreResult<bool> {
        let key = live::key(key)?;
        self.call(move |worker| worker.claim_once(&key, until)).await
    }

    async fn failures(&self, key: &str) -> StoreResult<(u32, Timestamp)> {
        let key = live::key(key)?;
        self.call(move |worker| worker.failures(&key)).await
    }

    async fn count_failure(&self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        let key = live::key(key)?;
        self.call(move |worker| worker.count_failure(&key, at)).await
    }
}

fn now() -> Timestamp {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}
