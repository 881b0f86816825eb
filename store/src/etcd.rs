//! The etcd backend: one pool's store, shared by a controller and many gateways.
//!
//! ```text
//!  controller: pen --parts, then manifests + head in one fenced transaction--> etcd
//!  everyone:   feed <--resumable watch, own connection-- etcd --> mirror --> View (watch channel)
//!  gateways:   live facts, presence on one lease --> etcd
//! ```
//!
//! Every value of a pool is sealed with the pool's keys; the place it lies at is sealed in. Facts that
//! expire hang on shared leases. Unknown errors are outages: what is in force stays and ages.

mod access;
mod delivered;
mod disk;
mod ended;
mod feed;
mod keys;
mod leases;
mod link;
mod live;
mod mirror;
mod presence;
mod publish;
mod seal;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::TxnOp;
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Generation, SessionId, Timestamp};
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use crate::wire::v1::encode_timed;
use crate::{
    Ack, CALL_DEADLINE, Change, GatewayId, Intent, IntentId, Outcome, Publication, Report, Store, StoreError,
    StoreResult, View,
};
use disk::Disk;
use ended::EndedTable;
use feed::Feed;
use keys::Keys;
use leases::Leases;
use link::Link;
use mirror::{Mirror, Shown};
use presence::Presence;
use publish::Pen;
use seal::{Purpose, Sealer};

pub use access::ensure_access;

/// How often the lease of a gateway is renewed.
const BEAT: Duration = Duration::from_secs(3);
/// How often the controller says what time it is.
const CLOCK: Duration = Duration::from_secs(15);

/// The certificates for etcd, as PEM bytes.
#[derive(Clone)]
pub struct EtcdTls {
    /// Whose servers are trusted.
    pub ca: Vec<u8>,
    /// The client's certificate; its common name is the user in etcd.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdTls").finish_non_exhaustive()
    }
}

/// On whose behalf the store is opened.
#[derive(Clone, Debug)]
pub enum EtcdRole {
    /// The controller: it publishes, settles, forgets.
    Controller {
        /// Its term, raised at every takeover.
        term: u64,
    },
    /// A gateway: it follows and reports.
    Gateway {
        /// Its name.
        id: GatewayId,
    },
}

/// How to reach a pool's store.
#[derive(Clone)]
pub struct EtcdConfig {
    /// The members, as URLs.
    pub endpoints: Vec<String>,
    /// The certificates; without them the connection is plain.
    pub tls: Option<EtcdTls>,
    /// The pool's name.
    pub pool: String,
    /// The pool's keys by kid; the last one seals.
    pub ring: Vec<(u32, [u8; 32])>,
    /// On whose behalf.
    pub role: EtcdRole,
    /// Where a gateway keeps the sealed snapshot it can start from.
    pub snapshot_file: Option<PathBuf>,
}

impl std::fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("pool", &self.pool)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Which store answers, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtcdIdentity {
    /// The cluster's id; a wiped store has another.
    pub cluster: u64,
    /// Its revision; a restored store has a lower one.
    pub revision: i64,
}

/// Asks which store answers at these addresses.
///
/// # Errors
/// When none answers in time.
pub async fn identity(endpoints: &[String], tls: Option<&EtcdTls>) -> StoreResult<EtcdIdentity> {
    let link = Link::new(endpoints, tls).await?;
    Ok(link.look(keys::TERM).await?.0)
}

/// One pool's store in etcd. Clones share it; end it with [`Etcd::close`].
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("role", &self.shared.role).finish_non_exhaustive()
    }
}

/// Ends the tasks with the last clone.
struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Tasks {
    fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.take() {
            task.abort();
        }
    }
}

/// What calls and tasks share.
struct Shared {
    link: Link,
    endpoints: Vec<String>,
    tls: Option<EtcdTls>,
    keys: Keys,
    sealer: Mutex<Arc<Sealer>>,
    /// How often the ring was replaced.
    rings: channel::Sender<u64>,
    role: EtcdRole,
    /// Whether no member answered when it was opened.
    from_disk: AtomicBool,
    view: channel::Sender<View>,
    shown: Mutex<Arc<Shown>>,
    ended: Mutex<EndedTable>,
    ended_news: AtomicBool,
    /// The revision of the head that is shown.
    applied: channel::Sender<i64>,
    offered: channel::Sender<u64>,
    /// How often the store turned out to be another one.
    resets: channel::Sender<u64>,
    leases: Leases,
    counts: live::Counts,
    presence: Presence,
    pen: tokio::sync::Mutex<Option<Pen>>,
    closing: channel::Sender<bool>,
}

impl Shared {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
    }

    fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self) -> StoreResult<()> {
        if *self.closing.borrow() {
            return Err(StoreError::Unavailable("it is closed".into()));
        }
        Ok(())
    }

    /// The term, if this is the controller.
    fn term(&self) -> StoreResult<u64> {
        match self.role {
            EtcdRole::Controller { term } => Ok(term),
            EtcdRole::Gateway { .. } => Err(StoreError::Refused("a gateway does not publish".into())),
        }
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows what the mirror has in force.
    fn show(&self, mirror: &Mirror) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&mirror.shown);
        let snapshot = mirror.shown.snapshot();
        self.view.send_modify(|view| {
            view.snapshot = snapshot;
            view.unreadable = Arc::new(mirror.shown.unreadable.clone());
        });
        self.applied.send_replace(mirror.head_revision());
    }

    /// Waits until a publication is shown here too; it is published in any case.
    async fn applied(&self, revision: i64) {
        let mut applied = self.applied.subscribe();
        let shown = applied.wait_for(|shown| *shown >= revision);
        if tokio::time::timeout(CALL_DEADLINE, shown).await.is_err() {
            tracing::warn!(revision, "the own publication is not seen yet");
        }
    }

    /// Shows sessions that ended, all at once: each showing copies the list.
    fn show_ended(&self, sessions: impl IntoIterator<Item = (SessionId, EndReason, Timestamp)>) {
        let now = self.now();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = false;
        for (session, reason, until) in sessions {
            news |= ended.note(session, reason, until, now);
        }
        if news {
            self.ended_news.store(true, Ordering::Release);
            // Under the lock, so that an older list never comes after a newer one.
            self.view.send_modify(|view| view.ended = ended.shown());
        }
    }

    fn expire(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.expire(self.now()) {
            self.view.send_modify(|view| view.ended = ended.shown());
        }
    }

    fn ended_list(&self) -> disk::EndedList {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).entries().collect()
    }

    fn take_ended_news(&self) -> bool {
        self.ended_news.swap(false, Ordering::AcqRel)
    }

    fn identity_changed(&self) {
        self.resets.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A pool's name: it is part of every key and of a user's name.
fn pool_name(pool: &str) -> StoreResult<&str> {
    let valid = (1..=63).contains(&pool.len())
        && pool.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    if valid { Ok(pool) } else { Err(StoreError::Refused(format!("{pool:?} is no pool's name"))) }
}

impl Etcd {
    /// Opens a pool's store and reads what is published.
    ///
    /// A gateway whose etcd is away starts from its snapshot on disk, as old as that is; without one it
    /// does not start. A controller writes its term first.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when there is a newer term, [`StoreError::Refused`] when the members are too old
    /// or do not let us in, [`StoreError::Unavailable`] when none answers and there is no snapshot.
    pub async fn connect(config: EtcdConfig) -> StoreResult<Self> {
        let keys = Keys::new(pool_name(&config.pool)?);
        let sealer = Sealer::new(&config.ring)?;
        let link = Link::new(&config.endpoints, config.tls.as_ref()).await?;
        let mut disk = config.snapshot_file.map(Disk::new);
        let stored = disk.as_mut().and_then(|disk| read_disk(disk, &sealer));
        let shared = Arc::new(Shared {
            link,
            endpoints: config.endpoints,
            tls: config.tls,
            keys,
            sealer: Mutex::new(Arc::new(sealer)),
            rings: channel::Sender::new(0),
            role: config.role,
            from_disk: AtomicBool::new(false),
            view: channel::Sender::new(View {
                snapshot: None,
                ended: Arc::default(),
                fresh_at: Timestamp(0),
                skew_s: None,
                unreadable: Arc::default(),
            }),
            shown: Mutex::default(),
            ended: Mutex::default(),
            ended_news: AtomicBool::new(false),
            applied: channel::Sender::new(0),
            offered: channel::Sender::new(0),
            resets: channel::Sender::new(0),
            leases: Leases::default(),
            counts: live::Counts::default(),
            presence: Presence::default(),
            pen: tokio::sync::Mutex::new(None),
            closing: channel::Sender::new(false),
        });
        let mut mirror = Mirror::default();
        let is_stored = stored.is_some();
        if let Some(stored) = stored {
            mirror = stored.mirror;
            shared.show(&mirror);
            shared.show_ended(stored.ended);
            shared.view.send_modify(|view| view.fresh_at = stored.fresh_at);
        }
        let mut feed = Feed::new(Arc::clone(&shared), mirror, disk);
        match begin(&shared, &mut feed).await {
            Ok(()) => {}
            Err(error @ StoreError::Unavailable(_)) if is_stored => {
                shared.from_disk.store(true, Ordering::Release);
                tracing::warn!(%error, "etcd is away; this gateway starts from its snapshot on disk");
            }
            Err(error) => return Err(error),
        }
        let tasks = vec![
            tokio::spawn(feed.run()),
            tokio::spawn(until_closed(Arc::clone(&shared), beat(Arc::clone(&shared)))),
            tokio::spawn(until_closed(Arc::clone(&shared), restore(Arc::clone(&shared)))),
            tokio::spawn(until_closed(Arc::clone(&shared), tell_time(Arc::clone(&shared)))),
            tokio::spawn(until_closed(Arc::clone(&shared), reseal(Arc::clone(&shared)))),
        ];
        Ok(Self { shared, tasks: Arc::new(Tasks(Mutex::new(tasks))) })
    }

    /// Whether no member answered when it was opened, so that it began with what lay on the disk.
    #[must_use]
    pub fn is_from_disk(&self) -> bool {
        self.shared.from_disk.load(Ordering::Acquire)
    }

    /// Which store this is, and how far it has come.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn identity(&self) -> StoreResult<EtcdIdentity> {
        Ok(self.shared.link.look(&self.shared.keys.head()).await?.0)
    }

    /// The version of the member that answers.
    ///
    /// # Errors
    /// When none answers in time.
    pub async fn version(&self) -> StoreResult<String> {
        let ask = |client: etcd_client::Client| async move { client.maintenance_client().status().await };
        Ok(self.shared.link.ask(ask).await?.version().to_owned())
    }

    /// How often the store turned out to be another one since it was opened: wiped, or restored to an older
    /// state. The controller raises `not_before` then; what was published comes back by itself.
    #[must_use]
    pub fn resets(&self) -> channel::Receiver<u64> {
        self.shared.resets.subscribe()
    }

    /// Replaces the pool's keys without interruption; everything is read again. Values keep the key they
    /// were sealed with until they are published the next time.
    ///
    /// # Errors
    /// When the ring is empty or a key cannot be used; the previous ring stays.
    pub fn set_ring(&self, ring: &[(u32, [u8; 32])]) -> StoreResult<()> {
        let sealer = Arc::new(Sealer::new(ring)?);
        *self.shared.sealer.lock().unwrap_or_else(PoisonError::into_inner) = sealer;
        self.shared.rings.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Ends what runs in the background; a gateway leaves the list of those alive. Later calls find no store.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        // Whoever waits for an intent learns of it.
        self.shared.offered.send_modify(|count| *count = count.wrapping_add(1));
        for mut task in self.tasks.take() {
            if tokio::time::timeout(CALL_DEADLINE, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.shared.disappear().await;
    }
}

/// A snapshot that cannot be read is as good as none; a newer one will replace it.
fn read_disk(disk: &mut Disk, sealer: &Sealer) -> Option<disk::Read> {
    disk.read(sealer).unwrap_or_else(|error| {
        tracing::error!(%error, "the snapshot on disk cannot be used");
        None
    })
}

/// The first contact.
async fn begin(shared: &Shared, feed: &mut Feed) -> StoreResult<()> {
    link::check_versions(&shared.endpoints, shared.tls.as_ref()).await?;
    match &shared.role {
        EtcdRole::Controller { term } => publish::claim_term(&shared.link, *term).await?,
        EtcdRole::Gateway { id } => {
            live::key(&id.0)?;
            shared.appear(id).await;
        }
    }
    feed.start().await
}

/// Does something for as long as the store is open.
async fn until_closed(shared: Arc<Shared>, work: impl Future<Output = ()>) {
    let mut closing = shared.closing.subscribe();
    tokio::select! {
        () = work => {}
        // An error means that the store is gone altogether.
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// Renews the lease, for as long as the store is open.
async fn beat(shared: Arc<Shared>) {
    if let EtcdRole::Gateway { id } = &shared.role {
        shared.appear(id).await;
    }
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = shared.beat().await {
            tracing::warn!(%error, "the lease of this gateway could not be renewed");
        }
    }
}

/// Says what time it is to the controller, for gateways to compare with their own.
async fn tell_time(shared: Arc<Shared>) {
    let EtcdRole::Controller { term } = shared.role else { return };
    let mut tick = tokio::time::interval(CLOCK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (key, now) = (shared.keys.clock(), shared.now());
        let told = match shared.sealer().seal(Purpose::Configuration, &key, &encode_timed(now, &[])) {
            Ok(value) => publish::write(&shared, term, vec![TxnOp::put(key, value, None)]).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(%error, "gateways are not told the time");
        }
    }
}

/// Publishes once more what another key sealed: that key is going to be thrown away. What cannot be read stays, until
/// whoever has it publishes it.
async fn reseal(shared: Arc<Shared>) {
    let EtcdRole::Controller { term } = shared.role else { return };
    loop {
        match publish::is_sealed(&shared).await {
            Ok(true) => return,
            Ok(false) if shared.shown().platform.is_none() => return,
            Ok(false) => match publish_again(&shared, term, Others::Stay).await {
                Ok(generation) => return tracing::info!(%generation, "sealed with the pool's newest key"),
                Err(error @ StoreError::Fenced(_)) => {
                    return tracing::warn!(%error, "another controller seals it");
                }
                Err(error) => tracing::warn!(%error, "what an older key sealed could not be sealed anew"),
            },
            Err(error) => tracing::warn!(%error, "what is published could not be read"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Puts back what was published when the store was wiped or restored.
async fn restore(shared: Arc<Shared>) {
    let EtcdRole::Controller { term } = shared.role else { return };
    let mut resets = shared.resets.subscribe();
    while resets.changed().await.is_ok() {
        loop {
            match publish_again(&shared, term, Others::Go).await {
                Ok(generation) => {
                    tracing::warn!(%generation, "what was published is in the store again");
                    break;
                }
                Err(error @ StoreError::Fenced(_)) => {
                    tracing::warn!(%error, "another controller puts it back");
                    break;
                }
                Err(error) => tracing::warn!(%error, "what was published is not in the store yet"),
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}

/// What becomes of departments in the store that are not in force here.
enum Others {
    /// They could not be read.
    Stay,
    /// They are of an earlier state of the store.
    Go,
}

/// Publishes what is in force.
async fn publish_again(shared: &Arc<Shared>, term: u64, others: Others) -> StoreResult<Generation> {
    let mut pen = shared.pen.lock().await;
    publish::claim_term(&shared.link, term).await?;
    let mut read = Pen::read(shared).await?;
    let shown = shared.shown();
    let put = shown.departments.values().map(|entry| Change::Put(Arc::clone(&entry.value)));
    let mut departments: Vec<Change> = put.collect();
    if matches!(others, Others::Go) {
        let extra = read.departments().filter(|code| !shown.departments.contains_key(*code));
        departments.extend(extra.map(|code| Change::Remove(code.clone())));
    }
    let platform = shown.platform.as_ref().map(|entry| Arc::clone(&entry.value));
    let generation = read.publish(shared, term, Publication { platform, departments }, true).await?;
    *pen = Some(read);
    Ok(generation)
}

/// Holds a call to the deadline every call has, also while it waits for others.
async fn timely<T>(shared: &Shared, call: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    shared.open()?;
    tokio::time::timeout(CALL_DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into())))
}

impl Store for Etcd {
    async fn publish(&self, publication: Publication) -> StoreResult<Generation> {
        self.shared.open()?;
        let term = self.shared.term()?;
        let mut held = self.shared.pen.lock().await;
        // Taken out: whatever fails on the way leaves doubt about what lies in the store.
        let mut pen = match held.take() {
            Some(pen) => pen,
            None => Pen::read(&self.shared).await?,
        };
        let published = pen.publish(&self.shared, term, publication, false).await;
        if published.is_ok() {
            *held = Some(pen);
        }
        published
    }

    fn subscribe(&self) -> channel::Receiver<View> {
        self.shared.view.subscribe()
    }

    async fn report(&self, report: Report) -> StoreResult<()> {
        // It is the largest of all calls.
        Box::pin(timely(&self.shared, self.shared.report(report))).await
    }

    async fn reports(&self) -> StoreResult<Vec<Report>> {
        timely(&self.shared, self.shared.reports()).await
    }

    async fn gone(&self) -> StoreResult<Vec<GatewayId>> {
        timely(&self.shared, self.shared.gone()).await
    }

    async fn forget(&self, ack: &Ack) -> StoreResult<()> {
        timely(&self.shared, self.shared.forget(ack)).await
    }

    async fn offer(&self, intent: Intent) -> StoreResult<()> {
        timely(&self.shared, self.shared.offer(&intent)).await
    }

    async fn take(&self) -> StoreResult<Intent> {
        let mut offered = self.shared.offered.subscribe();
        loop {
            // Seen before asking, so that an offer between the two wakes us.
            offered.borrow_and_update();
            if let Some(intent) = timely(&self.shared, self.shared.oldest_intent()).await? {
                return Ok(intent);
            }
            offered.changed().await.map_err(|_| StoreError::Unavailable("it is closed".into()))?;
        }
    }

    async fn settle(&self, id: IntentId, outcome: Outcome) -> StoreResult<()> {
        timely(&self.shared, self.shared.settle(id, outcome)).await
    }

    async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        timely(&self.shared, self.shared.outcome(id)).await
    }

    async fn end(&self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        timely(&self.shared, self.shared.end(session, reason, until)).await
    }

    async fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        timely(&self.shared, self.shared.login(account, kind, session, until)).await
    }

    async fn login_late(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<()> {
        timely(&self.shared, self.shared.login_late(account, kind, session, until)).await
    }

    async fn claim_once(&self, key: &str, until: Timestamp) -> StoreResult<bool> {
        timely(&self.shared, self.shared.claim_once(live::key(key)?, until)).await
    }

    async fn failures(&self, key: &str) -> StoreResult<(u32, Timestamp)> {
        timely(&self.shared, self.shared.failures(live::key(key)?)).await
    }

    async fn count_failure(&self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        timely(&self.shared, self.shared.count_failure(live::key(key)?, at)).await
    }
}
