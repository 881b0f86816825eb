//! The store of a gateway: etcd, from when it can be reached, opened again when its certificates change.
//!
//! ```text
//!  Opened {keys, certificates} -- Etcd::connect, again until it is there --> current
//!                              -- changed --> new keys: set_ring; new certificates: Etcd::connect
//!  current -- View --> gateway           calls --> current; etcd away: the gateway's own facts (`alone`)
//! ```
//!
//! A gateway starts, answers its probes and says what is missing before etcd has answered for the first time.
//! What was in force stays in force while etcd is opened again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Generation, SessionId, Timestamp};
use tidegate_store::{
    Ack, Etcd, EtcdConfig, EtcdRole, GatewayId, Intent, IntentId, Outcome, Publication, Report, Store,
    StoreError, StoreResult, View,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::alone::Alone;
use super::secrets::EtcdCertificates;
use crate::clock::Clock;
use crate::config::file::File;
use crate::health::Note;
use crate::keys::KEY_BYTES;
use crate::shared::AWAY_S;

/// Pause before etcd is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often facts that etcd has not yet are handed over.
const HAND_OVER: Duration = Duration::from_secs(1);

/// With what the store is opened.
#[derive(Clone)]
pub(super) struct Opened {
    /// The pool's keys, the sealing one last.
    pub(super) keys: Vec<(u32, [u8; KEY_BYTES])>,
    /// The certificates; without them the connection is plain.
    pub(super) tls: Option<EtcdCertificates>,
}

/// Etcd, opened again when it must be. Clones share it.
#[derive(Clone)]
pub(super) struct Reopening {
    shared: Arc<Shared>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Shared {
    current: Mutex<Option<Etcd>>,
    view: watch::Sender<View>,
    alone: Mutex<Alone>,
    clock: Clock,
    note: Note,
}

impl Reopening {
    /// Begins to open the store that `file` names, with whatever `with` holds.
    pub(super) fn start(file: &File, id: GatewayId, with: watch::Receiver<Opened>, note: Note) -> Self {
        let nothing = View {
            snapshot: None,
            ended: Arc::default(),
            fresh_at: Timestamp(0),
            skew_s: None,
            unreadable: Arc::default(),
        };
        let shared = Arc::new(Shared {
            current: Mutex::default(),
            view: watch::Sender::new(nothing),
            alone: Mutex::default(),
            clock: Clock::system(),
            note,
        });
        let config = EtcdConfig {
            endpoints: file.etcd.endpoints.clone(),
            tls: None,
            pool: file.pool.clone(),
            ring: Vec::new(),
            role: EtcdRole::Gateway { id },
            snapshot_file: file.snapshot_file.clone(),
        };
        let for_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Beside each other: news must not wait for what is handed over.
            tokio::join!(keep_open(&for_task, config, with), keep_handing_over(&for_task));
        });
        Self { shared, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Signs off.
    pub(super) async fn close(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // An aborted task ends with that word.
            let _ = task.await;
        }
        let current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(etcd) = current {
            etcd.close().await;
        }
    }

    fn current(&self) -> StoreResult<Etcd> {
        let current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.ok_or_else(|| StoreError::Unavailable("etcd has not answered yet".into()))
    }

    /// Asks etcd, and `alone` when it is away.
    async fn ask<T, F: Future<Output = StoreResult<T>>>(
        &self,
        ask: impl FnOnce(Etcd) -> F,
        alone: impl FnOnce(&mut Alone, Timestamp) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let now = self.shared.clock.now();
        let away = now.since(self.shared.view.borrow().fresh_at) >= AWAY_S;
        if !away {
            match ask(self.current()?).await {
                Err(StoreError::Unavailable(why)) => tracing::warn!(why, "etcd did not answer in time"),
                answer => return answer,
            }
        }
        self.alone(|facts| alone(facts, now))
    }

    /// Does something with the gateway's own facts, and shows what they have ended.
    fn alone<T>(&self, act: impl FnOnce(&mut Alone) -> T) -> T {
        let done = act(&mut self.shared.alone());
        self.shared.show_own_ends();
        done
    }
}

impl Shared {
    fn alone(&self) -> std::sync::MutexGuard<'_, Alone> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what etcd shows, and sessions that only this gateway knows to be ended.
    fn show(&self, view: View) {
        let ended = self.alone().with_own_ends(&view.ended);
        self.view.send_replace(View { ended, ..view });
    }

    fn show_own_ends(&self) {
        self.view.send_if_modified(|view| {
            let ended = self.alone().with_own_ends(&view.ended);
            let news = !Arc::ptr_eq(&ended, &view.ended);
            view.ended = ended;
            news
        });
    }

    /// Takes a store that was opened, unless it is behind what is in force. How old its proof is does not say
    /// so: the one that is open is told every second, also while another is opened.
    fn take(&self, etcd: Etcd) -> Result<watch::Receiver<View>, StoreError> {
        let mut views = etcd.subscribe();
        let view = views.borrow_and_update().clone();
        let generation = |view: &View| view.snapshot.as_ref().map(|snapshot| snapshot.generation);
        let known = generation(&self.view.borrow());
        if known.is_some() && (etcd.is_from_disk() || generation(&view) < known) {
            return Err(StoreError::Unavailable("it has not answered with the new certificates yet".into()));
        }
        self.show(view);
        // The one before is dropped, not closed: its name is the new one's, which must not be signed off.
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(etcd);
        Ok(views)
    }

    /// Gives the open store other keys; false when it has to be opened with them.
    fn set_ring(&self, with: &Opened) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(etcd) = &*current else { return false };
        match etcd.set_ring(&with.keys) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the open store does not take the new keys");
                false
            }
        }
    }

    /// Hands over what happened while etcd was away.
    async fn hand_over(&self, etcd: &Etcd) {
        loop {
            let Some(fact) = self.alone().first() else { return };
            if fact.tell(etcd).await.is_err() {
                return;
            }
            self.alone().handed_over(&fact);
        }
    }
}

/// Keeps the store open.
async fn keep_open(shared: &Shared, config: EtcdConfig, mut with: watch::Receiver<Opened>) {
    let open = |with: &Opened, pause: Duration| {
        let config = EtcdConfig {
            ring: with.keys.clone(),
            tls: with.tls.as_ref().map(EtcdCertificates::tls),
            ..config.clone()
        };
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            Etcd::connect(config).await
        })
    };
    let mut opened_with = with.borrow_and_update().clone();
    let mut opening = Some(open(&opened_with, Duration::ZERO));
    let mut views: Option<watch::Receiver<View>> = None;
    let mut followed = true;
    loop {
        tokio::select! {
            biased;
            opened = async { match opening.as_mut() {
                Some(opening) => opening.await,
                None => std::future::pending().await,
            }} => match opened.and_then(|etcd| shared.take(etcd)) {
                Ok(newest) => {
                    tracing::info!("etcd is open");
                    shared.note.leave(String::new());
                    views = Some(newest);
                    opening = None;
                }
                Err(error) => {
                    tracing::warn!(code = %error.code(), %error, "etcd cannot be opened yet");
                    shared.note.leave(format!("{}: {error}", error.code()));
                    opening = Some(open(&opened_with, AGAIN));
                }
            },
            changed = with.changed(), if followed => {
                if changed.is_err() {
                    // Nobody follows the files any more: what is open stays so, and is shown, until the end.
                    followed = false;
                    continue;
                }
                let wanted = with.borrow_and_update().clone();
                let same_link = wanted.tls == opened_with.tls && opening.is_none();
                if !(same_link && shared.set_ring(&wanted)) {
                    opening = Some(open(&wanted, Duration::ZERO));
                }
                opened_with = wanted;
            }
            changed = async { match views.as_mut() {
                Some(views) => views.changed().await,
                None => std::future::pending().await,
            }} => match (changed, views.as_mut()) {
                (Ok(()), Some(newest)) => {
                    let view = newest.borrow_and_update().clone();
                    shared.show(view);
                }
                _ => views = None,
            },
        }
    }
}

/// Hands over what happened while etcd was away, whenever it is there.
async fn keep_handing_over(shared: &Shared) {
    let mut tick = tokio::time::interval(HAND_OVER);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let etcd = shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = shared.clock.now().since(shared.view.borrow().fresh_at) < AWAY_S;
        if let (Some(etcd), true) = (etcd, fresh) {
            shared.hand_over(&etcd).await;
        }
    }
}

impl Store for Reopening {
    async fn publish(&self, publication: Publication) -> StoreResult<Generation> {
        self.current()?.publish(publication).await
    }

    fn subscribe(&self) -> watch::Receiver<View> {
        self.shared.view.subscribe()
    }

    async fn report(&self, report: Report) -> StoreResult<()> {
        self.current()?.report(report).await
    }

    async fn reports(&self) -> StoreResult<Vec<Report>> {
        self.current()?.reports().await
    }

    async fn gone(&self) -> StoreResult<Vec<GatewayId>> {
        self.current()?.gone().await
    }

    async fn forget(&self, ack: &Ack) -> StoreResult<()> {
        self.current()?.forget(ack).await
    }

    async fn offer(&self, intent: Intent) -> StoreResult<()> {
        self.current()?.offer(intent).await
    }

    async fn take(&self) -> StoreResult<Intent> {
        self.current()?.take().await
    }

    async fn settle(&self, id: IntentId, outcome: Outcome) -> StoreResult<()> {
        self.current()?.settle(id, outcome).await
    }

    async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        self.current()?.outcome(id).await
    }

    async fn end(&self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        let ended = self.ask(
            |etcd| async move { etcd.end(session, reason, until).await },
            |alone, _| alone.end(session, reason, until),
        );
        match ended.await {
            // Whoever logs out of a store that takes nothing more has left this gateway at least. The others hear of it
            // when there is room again.
            Err(error @ (StoreError::Medium(_) | StoreError::Full { .. })) => {
                tracing::error!(%error, "etcd does not take the end of a session; it is over on this gateway");
                self.alone(|alone| alone.end(session, reason, until))
            }
            answer => answer,
        }
    }

    async fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        self.ask(
            |etcd| async move { etcd.login(account, kind, session, until).await },
            |alone, now| alone.login(account, kind, session, (until, now)),
        )
        .await
    }

    async fn claim_once(&self, key: &str, until: Timestamp) -> StoreResult<bool> {
        self.ask(
            |etcd| async move { etcd.claim_once(key, until).await },
            |alone, now| alone.claim_once(key, until, now),
        )
        .await
    }

    async fn failures(&self, key: &str) -> StoreResult<(u32, Timestamp)> {
        self.ask(|etcd| async move { etcd.failures(key).await }, |alone, _| Ok(alone.failures(key))).await
    }

    async fn count_failure(&self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        self.ask(
            |etcd| async move { etcd.count_failure(key, at).await },
            |alone, now| alone.count_failure(key, at, now),
        )
        .await
    }
}
