//! The control thread: the only one that speaks with the store.
//!
//! ```text
//!  store.subscribe -- View --> modules loaded --> Told --> shards --> Applied --> ack
//!  shards -- Call --> store          shards -- sessions --> report
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidegate_core::{DepartmentCode, Generation};
use tidegate_store::{Ack, GatewayId, Report, SessionReport, Store, View};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use super::modules::Modules;
use super::{CALLS_MAX, Call, Notice};
use crate::gateway::Phase;
use crate::health::Health;
use crate::metrics_endpoint;
use crate::shard::Told;
use crate::shared::Shared;

/// Pause before a report that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the loop shows that it goes round.
const BEAT: Duration = Duration::from_secs(1);
/// Sessions one report holds.
const SESSIONS_MAX: usize = 100_000;

/// What the control thread is made of.
pub(crate) struct Control<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: S,
    pub(crate) id: GatewayId,
    pub(crate) views: watch::Receiver<View>,
    pub(crate) told: watch::Sender<Told>,
    pub(crate) modules: Modules,
    pub(crate) broken: Arc<BTreeMap<DepartmentCode, String>>,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) shards: usize,
    pub(crate) metrics: std::net::TcpListener,
    pub(crate) registry: Registry,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// What is in force, shard by shard.
struct Progress {
    id: GatewayId,
    broken: Arc<BTreeMap<DepartmentCode, String>>,
    applied: Vec<Generation>,
    sessions: Vec<Vec<SessionReport>>,
    /// The keys that were reported last.
    kids: Vec<u32>,
    reports: watch::Sender<Option<Report>>,
}

impl<S: Store> Control<S> {
    /// Works until it is told to stop; for a thread of its own.
    pub(crate) fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the control thread has no runtime");
                return;
            }
        };
        LocalSet::new().block_on(&runtime, self.serve());
    }

    async fn serve(self) {
        let Self { shared, store, id, mut views, told, mut modules, broken, mut calls, mut notices, .. } =
            self;
        let (mut stop, shards) = (self.stop, self.shards);
        let health = Rc::new(Health::new(Arc::clone(&shared), Arc::clone(&told.borrow().view), self.phase));
        match TcpListener::from_std(self.metrics) {
            Ok(listener) => {
                let serving = metrics_endpoint::serve(listener, self.registry, Rc::clone(&health));
                tokio::task::spawn_local(serving);
            }
            Err(error) => tracing::error!(%error, "there will be no metrics"),
        }
        let (reports, to_report) = watch::channel(None);
        tokio::task::spawn_local(report(store.clone(), to_report));
        let mut progress = Progress {
            id,
            broken,
            applied: vec![Generation::default(); shards],
            sessions: vec![Vec::new(); shards],
            kids: Vec::new(),
            reports,
        };
        let mut under_way = JoinSet::new();
        let mut open = true;
        let mut alive = tokio::time::interval(BEAT);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                changed = views.changed(), if open => {
                    if changed.is_err() {
                        // Its last view gets staler until sessions end; whoever asks it anything is refused.
                        tracing::error!("the store has closed");
                        open = false;
                        continue;
                    }
                    let view = views.borrow_and_update().clone();
                    let (newest, broken) = modules.take(view);
                    health.sees(Arc::clone(&newest.view));
                    progress.broken = broken;
                    told.send_replace(newest);
                }
                Some(notice) = notices.recv() => {
                    progress.hear(notice);
                    let view = Arc::clone(&told.borrow().view);
                    if progress.report(&shared, &view, &health) {
                        modules.retain();
                    }
                }
                Some(_) = under_way.join_next() => {}
                Some(call) = calls.recv(), if under_way.len() < CALLS_MAX => {
                    under_way.spawn_local(super::make(store.clone(), call));
                }
                _ = alive.tick() => {
                    shared.heartbeats.beat(shards);
                    // The controller waits for a new key to be everywhere.
                    if progress.kids != shared.ring.kids() {
                        let view = Arc::clone(&told.borrow().view);
                        progress.report(&shared, &view, &health);
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        shared.heartbeats.end(shards);
        while under_way.join_next().await.is_some() {}
        shared.recorder.synced().await;
    }
}

impl Progress {
    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Applied { shard, generation } => {
                if let Some(applied) = self.applied.get_mut(shard) {
                    *applied = generation;
                }
            }
            Notice::Sessions { shard, sessions } => {
                if let Some(known) = self.sessions.get_mut(shard) {
                    *known = sessions;
                }
            }
        }
    }

    /// Reports, once the newest snapshot is in force everywhere; true when that is news.
    fn report(&mut self, shared: &Shared, view: &View, health: &Health) -> bool {
        let Some(generation) = view.snapshot.as_ref().map(|snapshot| snapshot.generation) else {
            return false;
        };
        if !self.applied.iter().all(|applied| *applied == generation) {
            return false;
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let sessions = newest(&self.sessions);
        let metrics = &shared.metrics;
        metrics.applied.set(i64::try_from(generation.sequence).unwrap_or(i64::MAX));
        metrics.broken.set(count(self.broken.len()));
        metrics.sessions.set(count(sessions.len()));
        let mut broken = BTreeMap::clone(&self.broken);
        for (code, why) in view.unreadable.iter() {
            broken.entry(code.clone()).or_insert_with(|| why.clone());
        }
        self.kids = shared.ring.kids();
        let ack = Ack {
            gateway: self.id.clone(),
            generation,
            broken,
            evaluators: tidegate_policy_engine::evaluator_digests(),
            kids: self.kids.clone(),
            at: shared.clock.now(),
        };
        self.reports.send_replace(Some(Report { ack, sessions }));
        let news = health.applied(generation);
        if news {
            // The one instant that can be compared between processes of a machine; benches do.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let monotonic_ns = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
            tracing::debug!(%generation, monotonic_ns, "in force on every shard");
        }
        news
    }
}

/// Sessions by the shard that saw each last.
fn newest(shards: &[Vec<SessionReport>]) -> Vec<SessionReport> {
    let mut sessions: BTreeMap<_, &SessionReport> = BTreeMap::new();
    for report in shards.iter().flatten().take(SESSIONS_MAX) {
        let known = sessions.entry(report.session).or_insert(report);
        if report.seen > known.seen {
            *known = report;
        }
    }
    sessions.into_values().cloned().collect()
}

/// Hands the newest report to the store, again until it is taken.
async fn report<S: Store>(store: S, mut reports: watch::Receiver<Option<Report>>) {
    while reports.changed().await.is_ok() {
        let Some(report) = reports.borrow_and_update().clone() else { continue };
        if let Err(error) = store.report(report).await {
            tracing::warn!(%error, "the store did not take a report");
            tokio::time::sleep(AGAIN).await;
            reports.mark_changed();
        }
    }
}
