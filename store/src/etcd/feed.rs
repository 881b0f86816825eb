//! The resumable watch: connect, read everything once, then follow, for as long as the store is open.
//!
//! It has a connection of its own to one member at a time and moves on to the next when that one fails.
//! Whatever goes wrong is an outage: what is in force stays, and only its freshness ages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{EventType, TxnOp, WatchOptions, WatchResponse, WatchStream};
use tidegate_core::Timestamp;
use tokio::sync::watch as channel;

use super::delivered::{Delivered, chunks_of};
use super::disk::Disk;
use super::keys::{Keys, end_of};
use super::link::{Link, Stored, failed};
use super::mirror::Mirror;
use super::publish::blocking;
use super::seal::Purpose;
use super::watch::{Event, Message, Questions, Resume, Step, Tracker};
use super::{EtcdRole, Shared};
use crate::wire::v1::{Part, decode_timed};
use crate::wire::{Blobs, bounds};
use crate::{CALL_DEADLINE, StoreError, StoreResult};

/// How often proof of freshness is asked for.
const PROOF: Duration = Duration::from_secs(1);
/// A stream that says nothing at all for this long is dead.
const SILENCE: Duration = Duration::from_secs(5);
/// Pauses between two connections: from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Bytes of one message. etcd does not split what one revision changed.
const MESSAGE: usize = 256 * 1024 * 1024;
/// Chunks and bytes fetched by one transaction.
const FETCH: (usize, u64) = (64, 8 * 1024 * 1024);
/// How often a changed snapshot is written to disk, and how often its proof.
const SAVE: Duration = Duration::from_secs(5);

/// Parts, the controller's time, manifests and head, which are delivered together; the platform; ended sessions; and for
/// the controller intents.
const CONFIGURATION: usize = 0;
const PLATFORM: usize = 1;
const ENDED: usize = 2;
const INTENTS: usize = 3;

/// What the feed has.
pub(super) struct Feed {
    shared: Arc<Shared>,
    tracker: Tracker,
    pub(super) mirror: Mirror,
    delivered: Delivered,
    spans: Vec<(String, Vec<u8>)>,
    /// Told of every new ring, also of one that comes while there is no connection.
    rings: channel::Receiver<u64>,
    member: usize,
    disk: Option<Arc<Mutex<Disk>>>,
    saved: Instant,
    changed: bool,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, mirror: Mirror, disk: Option<Disk>) -> Self {
        let spans = spans(&shared.keys, matches!(shared.role, EtcdRole::Controller { .. }));
        let tracker = Tracker::new(spans.len());
        let disk = disk.map(|disk| Arc::new(Mutex::new(disk)));
        let (rings, saved) = (shared.rings.subscribe(), Instant::now());
        let delivered = Delivered::default();
        Self { shared, tracker, mirror, delivered, spans, rings, member: 0, disk, saved, changed: false }
    }

    /// Reads everything for the first time.
    pub(super) async fn start(&mut self) -> StoreResult<()> {
        let link = self.shared.link.clone();
        self.catch_up(&link).await
    }

    /// Follows the store until it is closed; then the snapshot on disk is the newest.
    pub(super) async fn run(mut self) {
        let mut closing = self.shared.closing.subscribe();
        let closed = closing.wait_for(|closing| *closing);
        tokio::select! {
            () = self.follow() => {}
            _ = closed => {}
        }
        self.save().await;
    }

    async fn follow(&mut self) {
        let mut pause = PAUSES.0;
        loop {
            let connected = Instant::now();
            if let Err(error) = self.session().await {
                tracing::warn!(%error, "etcd is away; what is in force stays");
            }
            self.member = self.member.wrapping_add(1);
            if connected.elapsed() > SILENCE * 2 {
                pause = PAUSES.0;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            self.housekeeping().await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self) -> StoreResult<()> {
        let members = &self.shared.endpoints;
        let member = members.get(self.member % members.len().max(1)).cloned();
        let link = Link::new(&member.into_iter().collect::<Vec<_>>(), self.shared.tls.as_ref()).await?;
        self.catch_up(&link).await?;
        let mut stream = self.watch(&link).await?;
        let mut tick = tokio::time::interval(PROOF);
        let mut heard = Instant::now();
        let mut questions = Questions::default();
        // Before the first answer, what is delivered may have happened long ago.
        let mut live = false;
        loop {
            tokio::select! {
                message = stream.message() => {
                    let Some(response) = message.map_err(|error| failed(&error))? else {
                        return Err(StoreError::Unavailable("the watch ended".into()));
                    };
                    heard = Instant::now();
                    match self.tracker.take(message_of(&response)) {
                        Step::Wait => {}
                        Step::Apply(events) => {
                            self.apply(&link, events, live).await?;
                            // How long that took is no silence of theirs.
                            heard = Instant::now();
                        }
                        Step::Fresh => {
                            if let Some(at) = questions.answered() {
                                self.fresh(at);
                                live = true;
                            }
                        }
                        Step::Relist => return Err(StoreError::Unavailable("history was compacted".into())),
                        Step::Lost(why) => return Err(StoreError::Unavailable(why.into())),
                    }
                }
                _ = self.rings.changed() => {
                    // What another key sealed may be readable now.
                    self.tracker.forget();
                    self.catch_up(&link).await?;
                    return Ok(());
                }
                _ = tick.tick() => {
                    if heard.elapsed() >= SILENCE {
                        return Err(StoreError::Unavailable("the watch is silent".into()));
                    }
                    if !questions.ask(self.shared.now()) {
                        return Err(StoreError::Unavailable("the watch leaves questions unanswered".into()));
                    }
                    let asking = stream.request_progress();
                    tokio::time::timeout(CALL_DEADLINE, asking)
                        .await
                        .map_err(|_| StoreError::Unavailable("the watch takes no question".into()))?
                        .map_err(|error| failed(&error))?;
                    let housekeeping = Instant::now();
                    self.housekeeping().await;
                    heard += housekeeping.elapsed();
                }
            }
        }
    }

    /// Finds out which store this is, and reads everything if following it is not possible.
    async fn catch_up(&mut self, link: &Link) -> StoreResult<()> {
        if self.rings.has_changed().unwrap_or(false) {
            self.rings.mark_unchanged();
            self.tracker.forget();
        }
        let keys = self.shared.keys.clone();
        let at = self.shared.now();
        let (identity, head) = link.look(&keys.head()).await?;
        let head = head.map_or(0, |stored| stored.revision);
        let resume = self.tracker.resume(identity, head, self.mirror.head_revision());
        if resume == Resume::Watch {
            return self.settle(link).await;
        }
        if resume == Resume::NewStore {
            tracing::warn!(cluster = identity.cluster, "this is another store, or an older state of it");
        }
        let mut listed = Vec::with_capacity(self.spans.len());
        for (span, (from, end)) in self.spans.iter().enumerate() {
            // Only those parts are read that manifests name.
            let from = if span == CONFIGURATION { &keys.departments() } else { from };
            listed.push(link.list(from, end.clone(), identity.revision, false).await?);
        }
        self.mirror.restart();
        self.delivered.clear();
        for stored in listed.iter().take(ENDED).flatten() {
            self.stage(&stored.key, Some(&stored.value), stored.revision);
        }
        self.end(listed.get(ENDED).map(Vec::as_slice).unwrap_or_default()).await;
        self.tracker.listed(identity);
        if resume == Resume::NewStore {
            self.shared.leases.forget().await;
            self.shared.identity_changed();
        }
        self.shared.offered.send_modify(|count| *count = count.wrapping_add(1));
        self.settle(link).await?;
        self.fresh(at);
        Ok(())
    }

    async fn watch(&self, link: &Link) -> StoreResult<WatchStream> {
        let options = |span: usize, end: &[u8]| {
            WatchOptions::new()
                .with_range(end)
                .with_start_revision(self.tracker.start(span))
                .with_watch_id(Tracker::watch_id(span))
        };
        let mut client = link.client.watch_client().max_decoding_message_size(MESSAGE);
        let opening = async {
            let mut spans = self.spans.iter().enumerate();
            let Some((span, (from, end))) = spans.next() else {
                return Err(StoreError::Unavailable("nothing to watch".into()));
            };
            let mut stream = client
                .watch(from.as_str(), Some(options(span, end)))
                .await
                .map_err(|error| failed(&error))?;
            for (span, (from, end)) in spans {
                stream
                    .watch(from.as_str(), Some(options(span, end)))
                    .await
                    .map_err(|error| failed(&error))?;
            }
            Ok(stream)
        };
        tokio::time::timeout(CALL_DEADLINE, opening)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the watch does not open in time".into())))
    }

    fn stage(&mut self, key: &str, value: Option<&[u8]>, revision: i64) {
        self.mirror.stage(&self.shared.keys, &self.shared.sealer(), key, value, revision);
    }

    /// Takes over what changed; `live` when it was delivered as it happened.
    async fn apply(&mut self, link: &Link, events: Vec<Event>, live: bool) -> StoreResult<()> {
        let (mut configuration, mut ended) = (false, Vec::new());
        let clock = self.shared.keys.clock();
        for Event { key, value, revision } in events {
            if let Some((digest, number)) = self.shared.keys.chunk(&key) {
                if let Some(value) = value {
                    self.delivered.note(digest, number, value);
                }
                continue;
            }
            if key == clock {
                // What was written while nobody listened does not say what time it is now.
                if let Some(value) = value.filter(|_| live) {
                    self.hear_time(&key, &value);
                }
                continue;
            }
            let within = |span: usize| {
                self.spans.get(span).is_some_and(|(from, end)| {
                    key.as_bytes() >= from.as_bytes() && key.as_bytes() < end.as_slice()
                })
            };
            if within(CONFIGURATION) || within(PLATFORM) {
                self.stage(&key, value.as_deref(), revision);
                configuration = true;
            } else if within(ENDED) {
                // A key that goes has expired; our own clock says when a session is forgotten.
                if let Some(value) = value {
                    ended.push(Stored { key, value, revision });
                }
            } else if within(INTENTS) && value.is_some() {
                self.shared.offered.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
        self.end(&ended).await;
        if configuration { self.settle(link).await } else { Ok(()) }
    }

    /// Ends sessions here.
    async fn end(&mut self, ended: &[Stored]) {
        if !ended.is_empty() {
            self.outdate_disk().await;
            self.shared.note_ended(ended);
        }
    }

    /// Compares the controller's time with our own.
    fn hear_time(&self, key: &str, value: &[u8]) {
        let opened = self.shared.sealer().open(Purpose::Configuration, key, value);
        match opened.and_then(|bytes| decode_timed(&bytes)) {
            Ok(told) => {
                let skew = Some(self.shared.now().since(told.at));
                self.shared.view.send_if_modified(|view| std::mem::replace(&mut view.skew_s, skew) != skew);
            }
            Err(error) => tracing::warn!(%error, "the controller's time cannot be read"),
        }
    }

    /// Fetches what the newest publication needs, and shows it.
    async fn settle(&mut self, link: &Link) -> StoreResult<()> {
        if !self.mirror.ready() {
            return Ok(());
        }
        let blobs = self.parts(link).await?;
        self.delivered.clear();
        let mut mirror = self.mirror.clone();
        self.mirror = blocking(move || {
            mirror.settle(&blobs);
            mirror
        })
        .await?;
        self.outdate_disk().await;
        self.shared.show(&self.mirror);
        Ok(())
    }

    /// The parts the newest publication needs and we do not have; most came with it.
    async fn parts(&self, link: &Link) -> StoreResult<Blobs> {
        let (shared, sealer) = (&self.shared, self.shared.sealer());
        let mut blobs = Blobs::new();
        let mut missing = Vec::new();
        for part in self.mirror.needed() {
            match self.delivered.part(&shared.keys, &sealer, &part) {
                Some(bytes) => drop(blobs.insert(part.digest, bytes.into())),
                None => missing.push(part),
            }
        }
        if !missing.is_empty() {
            blobs.extend(Box::pin(fetch(link, shared, missing)).await?);
        }
        Ok(blobs)
    }

    /// Sees to it that a process which is killed now does not start from what lies on the disk, since something newer
    /// is about to be in force.
    async fn outdate_disk(&mut self) {
        if std::mem::replace(&mut self.changed, true) {
            return;
        }
        let Some(disk) = self.disk.clone() else { return };
        let outdating = blocking(move || disk.lock().unwrap_or_else(PoisonError::into_inner).outdate());
        if let Err(error) = outdating.await.and_then(|done| done) {
            tracing::warn!(%error, "the snapshot on disk is older than what is in force, and stays");
        }
    }

    /// Notes a proof, if what is in force is the newest there is.
    fn fresh(&self, at: Timestamp) {
        if self.mirror.proves() {
            self.shared.view.send_if_modified(|view| {
                let newer = view.fresh_at < at;
                view.fresh_at = view.fresh_at.max(at);
                newer
            });
        }
    }

    /// Forgets expired sessions and keeps the snapshot on disk.
    async fn housekeeping(&mut self) {
        self.shared.expire();
        if self.saved.elapsed() < SAVE {
            return;
        }
        self.save().await;
    }

    async fn save(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        self.saved = Instant::now();
        let (shared, shown) = (Arc::clone(&self.shared), Arc::clone(&self.mirror.shown));
        self.changed |= self.shared.take_ended_news();
        let changed = self.changed;
        let (fresh_at, ended) = (shared.view.borrow().fresh_at, shared.ended_list());
        let saving = blocking(move || {
            let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
            let sealer = shared.sealer();
            if changed {
                disk.write(&sealer, &shown, &ended, fresh_at)
            } else {
                disk.prove(&sealer, fresh_at)
            }
        });
        match saving.await.and_then(|done| done) {
            Ok(()) => self.changed = false,
            Err(error) => tracing::warn!(%error, "the snapshot on disk could not be written"),
        }
    }
}

/// The spans of keys that are followed.
fn spans(keys: &Keys, controller: bool) -> Vec<(String, Vec<u8>)> {
    let live = keys.live().into_bytes();
    let platform = keys.platform();
    let ended = keys.kind("ended");
    let intents = keys.kind("intents");
    let mut spans =
        vec![(keys.blobs(), live), (platform.clone(), after(&platform)), (ended.clone(), end_of(&ended))];
    if controller {
        spans.push((intents.clone(), end_of(&intents)));
    }
    spans
}

/// The end of the span of one key.
fn after(key: &str) -> Vec<u8> {
    [key.as_bytes(), b"\0"].concat()
}

/// Fetches parts, some at a time. One that is missing is left out: whoever needs it says so.
async fn fetch(link: &Link, shared: &Shared, parts: Vec<Part>) -> StoreResult<Blobs> {
    let mut blobs = Blobs::new();
    let mut chunks = Vec::new();
    for part in &parts {
        chunks.extend((0..chunks_of(part)).map(|number| (*part, number, part.len.min(bounds::CHUNK as u64))));
    }
    let mut whole: std::collections::BTreeMap<_, Vec<u8>> =
        parts.iter().map(|part| (part.digest, Vec::new())).collect();
    let mut left = chunks.as_slice();
    while !left.is_empty() {
        let mut bytes = 0;
        let fits = left
            .iter()
            .take(FETCH.0)
            .take_while(|(_, _, len)| {
                bytes += len;
                bytes <= FETCH.1
            })
            .count()
            .max(1);
        let (now, rest) = left.split_at(fits.min(left.len()));
        left = rest;
        let gets =
            now.iter().map(|(part, number, _)| TxnOp::get(shared.keys.blob(&part.digest, *number), None));
        let answer = link.step(Vec::new(), gets.collect(), Vec::new()).await?;
        for ((part, _, _), found) in now.iter().zip(answer.found) {
            let Some(stored) = found.first() else { continue };
            match shared.sealer().open(Purpose::Configuration, &stored.key, &stored.value) {
                Ok(bytes) => whole.entry(part.digest).or_default().extend(bytes),
                Err(error) => tracing::error!(key = stored.key, %error, "a part cannot be read"),
            }
        }
    }
    for part in parts {
        if let Some(bytes) = whole.remove(&part.digest).filter(|bytes| bytes.len() as u64 == part.len) {
            blobs.insert(part.digest, bytes.into());
        }
    }
    Ok(blobs)
}

fn message_of(response: &WatchResponse) -> Message {
    let events = response.events().iter().filter_map(|event| {
        let kv = event.kv()?;
        let key = std::str::from_utf8(kv.key()).ok()?.to_owned();
        let value = (event.event_type() == EventType::Put).then(|| kv.value().to_vec());
        Some(Event { key, value, revision: kv.mod_revision() })
    });
    let header = response.header();
    Message {
        cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
        revision: header.map_or(0, etcd_client::ResponseHeader::revision),
        watch: response.watch_id(),
        created: response.created(),
        canceled: response.canceled(),
        compacted: response.compact_revision(),
        events: events.collect(),
    }
}
