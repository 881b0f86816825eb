//! The controller's pen: compare, then parts, manifests and last the head, in one fenced transaction or, when it
//! would be too large, in several.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, TxnOp};
use tidegate_core::{DepartmentCode, Generation};

use super::Shared;
use super::keys::{TERM, end_of};
use super::link::Answer;
use super::mirror::{Entry, Shown};
use super::seal::{Purpose, Sealer, kid_of};
use crate::wire::v1::{Head, Manifest, Part, decode_head, decode_manifest, encode_head, encode_manifest};
use crate::wire::{self, Blobs, Digest, Packed, bounds, unreadable};
use crate::{Change, Publication, StoreError, StoreResult};

/// Operations of one transaction; etcd takes 128.
const OPERATIONS: usize = 120;
/// Bytes of one transaction.
const BATCH: usize = 1024 * 1024;
/// A part nobody names stays for this long and this many publications, for readers that are behind.
const KEEP: Duration = Duration::from_secs(600);
const KEEP_PUBLICATIONS: u64 = 3;
/// Parts removed by one sweep.
const SWEEP: usize = 32;

/// A manifest that lies in the store.
struct Written {
    manifest: Manifest,
    kid: u32,
}

/// What lies in the store, as far as the controller knows; read again when in doubt.
pub(super) struct Pen {
    head: Generation,
    platform: Option<Written>,
    /// `None` for a manifest that cannot be read: it is written over.
    departments: BTreeMap<DepartmentCode, Option<Written>>,
    /// Parts nobody names, since when and since which publication.
    garbage: HashMap<Digest, (Instant, u64)>,
    publications: u64,
}

/// Operations on their way, in order: one transaction, or as many as it takes.
struct Batch<'a> {
    shared: &'a Shared,
    term: u64,
    operations: Vec<TxnOp>,
    bytes: usize,
}

impl Batch<'_> {
    async fn add(&mut self, (size, operation): (usize, TxnOp)) -> StoreResult<()> {
        self.make_room(1, size).await?;
        self.bytes += size;
        self.operations.push(operation);
        Ok(())
    }

    /// Writes what was added, unless so much more fits beside it.
    async fn make_room(&mut self, operations: usize, bytes: usize) -> StoreResult<()> {
        let fits = self.operations.len() + operations <= OPERATIONS && self.bytes + bytes <= BATCH;
        if !fits && !self.operations.is_empty() {
            self.send().await?;
        }
        Ok(())
    }

    /// Writes what was added; the revision it has then.
    async fn send(&mut self) -> StoreResult<i64> {
        self.bytes = 0;
        write(self.shared, self.term, std::mem::take(&mut self.operations)).await
    }
}

/// A write of the configuration, and its size.
fn put(sealer: &Sealer, key: String, plain: &[u8]) -> StoreResult<(usize, TxnOp)> {
    let sealed = sealer.seal(Purpose::Configuration, &key, plain)?;
    Ok((sealed.len(), TxnOp::put(key, sealed, None)))
}

/// A publication, compared and packed.
#[derive(Default)]
struct Plan {
    platform: Option<Packed>,
    departments: BTreeMap<DepartmentCode, Option<Packed>>,
}

/// The comparison every write of the controller makes.
pub(super) fn fence(term: u64) -> Compare {
    Compare::value(TERM, CompareOp::Equal, term.to_string())
}

/// Takes the store over for `term`.
pub(super) async fn claim_term(link: &super::link::Link, term: u64) -> StoreResult<()> {
    let held = link.get(TERM).await?;
    let revision = held.as_ref().map_or(0, |stored| stored.revision);
    if let Some(stored) = held {
        let newest = std::str::from_utf8(&stored.value).ok().and_then(|text| text.parse::<u64>().ok());
        match newest.ok_or_else(|| unreadable("the term in the store is no number"))? {
            newest if newest > term => return Err(StoreError::Fenced(term)),
            newest if newest == term => return Ok(()),
            _ => {}
        }
    }
    let mine = TxnOp::put(TERM, term.to_string(), None);
    let unchanged = Compare::mod_revision(TERM, CompareOp::Equal, revision);
    let answer = link.step(vec![unchanged], vec![mine], vec![TxnOp::get(TERM, None)]).await?;
    let now = answer.found.first().and_then(|found| found.first());
    if answer.succeeded || now.is_some_and(|stored| stored.value == term.to_string().as_bytes()) {
        Ok(())
    } else {
        Err(StoreError::Fenced(term))
    }
}

/// Whether everything that is published was sealed with the key that seals now.
pub(super) async fn is_sealed(shared: &Shared) -> StoreResult<bool> {
    let (keys, kid) = (&shared.keys, shared.sealer().kid());
    let (identity, head) = shared.link.look(&keys.head()).await?;
    let platform = shared.link.get(&keys.platform()).await?;
    let departments =
        shared.link.list(&keys.departments(), end_of(&keys.departments()), identity.revision, false).await?;
    let mut all = departments.iter().chain(&head).chain(&platform);
    Ok(all.all(|stored| kid_of(&stored.value).is_ok_and(|sealed| sealed == kid)))
}

impl Pen {
    /// Reads what lies in the store.
    pub(super) async fn read(shared: &Shared) -> StoreResult<Self> {
        let (link, keys, sealer) = (&shared.link, &shared.keys, shared.sealer());
        let (identity, head) = link.look(&keys.head()).await?;
        let at = identity.revision;
        let mut head = match head {
            None => Generation::default(),
            Some(stored) => sealer
                .open(Purpose::Configuration, &stored.key, &stored.value)
                .and_then(|bytes| decode_head(&bytes))
                .map(|head| head.generation)
                .unwrap_or_default(),
        };
        let read = |stored: &super::link::Stored| {
            let bytes = sealer.open(Purpose::Configuration, &stored.key, &stored.value)?;
            Ok::<_, StoreError>(Written { manifest: decode_manifest(&bytes)?, kid: kid_of(&stored.value)? })
        };
        let platform = link.get(&keys.platform()).await?.and_then(|stored| read(&stored).ok());
        let mut departments = BTreeMap::new();
        for stored in link.list(&keys.departments(), end_of(&keys.departments()), at, false).await? {
            if let Some(code) = keys.department(&stored.key) {
                departments.insert(code, read(&stored).ok());
            }
        }
        let written = departments.values().flatten().chain(&platform);
        head = written.map(|written| written.manifest.generation).fold(head, Generation::max);
        let mut pen = Self { head, platform, departments, garbage: HashMap::new(), publications: 0 };
        let named = pen.named(None);
        let blobs = link.list(&keys.blobs(), end_of(&keys.blobs()), at, true).await?;
        let unnamed = blobs.iter().filter_map(|stored| keys.digest(&stored.key));
        pen.garbage =
            unnamed.filter(|digest| !named.contains(digest)).map(|d| (d, (Instant::now(), 0))).collect();
        Ok(pen)
    }

    /// Departments that have a manifest.
    pub(super) fn departments(&self) -> impl Iterator<Item = &DepartmentCode> {
        self.departments.keys()
    }

    /// Parts that manifests name; with a kid, only those that manifests under that kid name.
    fn named(&self, kid: Option<u32>) -> HashSet<Digest> {
        self.departments
            .values()
            .flatten()
            .chain(&self.platform)
            .filter(|written| kid.is_none_or(|kid| written.kid == kid))
            .flat_map(|written| written.manifest.parts().map(|part| part.digest))
            .collect()
    }

    /// Publishes what differs; with `force` a new generation comes even when nothing does.
    pub(super) async fn publish(
        &mut self,
        shared: &Arc<Shared>,
        term: u64,
        publication: Publication,
        force: bool,
    ) -> StoreResult<Generation> {
        // No generation we have shown comes a second time, whatever a restored store says.
        let head = self.head.max(shared.shown().generation);
        let next = if head.term >= term {
            Generation { sequence: head.sequence.saturating_add(1), ..head }
        } else {
            Generation { term, sequence: 1 }
        };
        // One ring from beginning to end, whatever replaces it meanwhile: what was written is noted under the
        // key that sealed it.
        let sealer = shared.sealer();
        let plan = self.plan(shared, &sealer, publication, next).await?;
        if plan.platform.is_none() && plan.departments.is_empty() && !force {
            return Ok(self.head);
        }
        let mut batch = Batch { shared, term, operations: Vec::new(), bytes: 0 };
        self.add_parts(&mut batch, &sealer, &plan).await?;
        self.add_manifests(&mut batch, &sealer, &plan, next).await?;
        let revision = batch.send().await?;
        self.note(sealer.kid(), plan, next);
        shared.applied(revision).await;
        if let Err(error) = self.sweep(shared, term).await {
            tracing::warn!(%error, "parts nobody needs could not be removed");
        }
        Ok(next)
    }

    /// Packs what differs. A part no reader could read refuses the whole publication.
    async fn plan(
        &self,
        shared: &Shared,
        sealer: &Sealer,
        publication: Publication,
        next: Generation,
    ) -> StoreResult<Plan> {
        let kid = sealer.kid();
        let same = |written: Option<&Written>, packed: &Packed| {
            written.is_some_and(|w| w.kid == kid && w.manifest.same_parts(&packed.manifest))
        };
        let shown = shared.shown();
        let (packed, shown) = blocking(move || (pack(&publication), shown)).await?;
        let mut plan = packed?;
        plan.platform = plan.platform.filter(|packed| !same(self.platform.as_ref(), packed));
        plan.departments.retain(|code, packed| {
            let written = self.departments.get(code);
            match packed {
                Some(packed) => !same(written.and_then(Option::as_ref), packed),
                None => written.is_some(),
            }
        });
        blocking(move || verify(plan, &shown, next)).await?
    }

    /// The parts that are not there under the key that seals.
    async fn add_parts(&mut self, batch: &mut Batch<'_>, sealer: &Sealer, plan: &Plan) -> StoreResult<()> {
        let there = self.named(Some(sealer.kid()));
        let mut parts: Blobs = Blobs::new();
        for packed in plan.departments.values().flatten().chain(&plan.platform) {
            parts.extend(
                packed.blobs.iter().filter(|(d, _)| !there.contains(*d)).map(|(d, b)| (*d, b.clone())),
            );
        }
        for (digest, part) in &parts {
            // Until a manifest names it, it is garbage.
            self.garbage.insert(*digest, (Instant::now(), self.publications));
            for (number, chunk) in (0..).zip(part.chunks(bounds::CHUNK)) {
                batch.add(put(sealer, batch.shared.keys.blob(digest, number), chunk)?).await?;
            }
        }
        Ok(())
    }

    /// The manifests, and last the head, which makes all of it visible: no follower shows anything before. Whoever reads
    /// everything in between would see some of it, so they are written at once as far as they fit.
    async fn add_manifests(
        &self,
        batch: &mut Batch<'_>,
        sealer: &Sealer,
        plan: &Plan,
        next: Generation,
    ) -> StoreResult<()> {
        let keys = &batch.shared.keys;
        let mut operations = Vec::new();
        let platform = match &plan.platform {
            Some(packed) => {
                operations.push(put(sealer, keys.platform(), &encode_manifest(&packed.manifest))?);
                Some(next)
            }
            None => self.platform.as_ref().map(|written| written.manifest.generation),
        };
        for (code, packed) in &plan.departments {
            let key = keys.manifest(code);
            operations.push(match packed {
                Some(packed) => put(sealer, key, &encode_manifest(&packed.manifest))?,
                None => (0, TxnOp::delete(key, None)),
            });
        }
        operations.push(put(sealer, keys.head(), &encode_head(Head { generation: next, platform }))?);
        batch.make_room(operations.len(), operations.iter().map(|(size, _)| size).sum()).await?;
        for operation in operations {
            batch.add(operation).await?;
        }
        Ok(())
    }

    fn note(&mut self, kid: u32, plan: Plan, next: Generation) {
        let before = self.named(None);
        self.head = next;
        self.publications = self.publications.saturating_add(1);
        if let Some(packed) = plan.platform {
            self.platform = Some(Written { manifest: packed.manifest, kid });
        }
        for (code, packed) in plan.departments {
            match packed {
                Some(packed) => {
                    self.departments.insert(code, Some(Written { manifest: packed.manifest, kid }));
                }
                None => drop(self.departments.remove(&code)),
            }
        }
        let now = self.named(None);
        self.garbage.retain(|digest, _| !now.contains(digest));
        for digest in before.difference(&now) {
            self.garbage.insert(*digest, (Instant::now(), self.publications));
        }
    }

    /// A few parts that nobody has named for long enough.
    fn due(&self, now: Instant) -> Vec<Digest> {
        let due = self.garbage.iter().filter(|(_, (since, at))| {
            now.saturating_duration_since(*since) >= KEEP
                && self.publications.saturating_sub(*at) >= KEEP_PUBLICATIONS
        });
        due.map(|(digest, _)| *digest).take(SWEEP).collect()
    }

    /// Removes parts that are due.
    async fn sweep(&mut self, shared: &Shared, term: u64) -> StoreResult<()> {
        let old = self.due(Instant::now());
        if old.is_empty() {
            return Ok(());
        }
        let operations = old.iter().map(|digest| {
            let chunks = shared.keys.chunks(digest);
            let end = end_of(&chunks);
            TxnOp::delete(chunks, Some(etcd_client::DeleteOptions::new().with_range(end)))
        });
        write(shared, term, operations.collect()).await?;
        for digest in old {
            self.garbage.remove(&digest);
        }
        Ok(())
    }
}

/// Does `operations` if this controller still is the one; gives the revision.
pub(super) async fn write(shared: &Shared, term: u64, operations: Vec<TxnOp>) -> StoreResult<i64> {
    let answer = shared.link.step(vec![fence(term)], operations, vec![TxnOp::get(TERM, None)]).await?;
    if answer.succeeded {
        return Ok(answer.revision);
    }
    fenced_off(term, &answer)?;
    Err(StoreError::Fenced(term))
}

/// Whether it was the fence that held a step off, by the term the answer found. `Ok`: it was something else.
pub(super) fn fenced_off(term: u64, answer: &Answer) -> StoreResult<()> {
    match answer.found.iter().flatten().next() {
        // A wiped store knows no term; the feed will notice and claim it again.
        None => Err(StoreError::Unavailable("the store was wiped".into())),
        Some(stored) if stored.value == term.to_string().as_bytes() => Ok(()),
        Some(_) => Err(StoreError::Fenced(term)),
    }
}

fn pack(publication: &Publication) -> StoreResult<Plan> {
    let mut plan = Plan {
        platform: publication.platform.as_ref().map(|platform| wire::pack_platform(platform)).transpose()?,
        departments: BTreeMap::new(),
    };
    for change in &publication.departments {
        match change {
            Change::Put(department) => {
                let packed =
                    wire::pack_department(department).map_err(|e| about(department.code.as_str(), e))?;
                plan.departments.insert(department.code.clone(), Some(packed));
            }
            Change::Remove(code) => drop(plan.departments.insert(code.clone(), None)),
        }
    }
    Ok(plan)
}

/// Fills in the generation and reads everything back as a gateway will.
fn verify(mut plan: Plan, shown: &Shown, next: Generation) -> StoreResult<Plan> {
    if let Some(packed) = &mut plan.platform {
        packed.manifest.generation = next;
        let before = shown.platform.as_ref().map(Entry::previous);
        wire::unpack_platform(&packed.manifest, &|part| from_packed(packed, part), before)
            .map_err(|error| about("platform", error))?;
    }
    for (code, packed) in &mut plan.departments {
        let Some(packed) = packed else { continue };
        packed.manifest.generation = next;
        let before = shown.departments.get(code).map(Entry::previous);
        wire::unpack_department(code, &packed.manifest, &|part| from_packed(packed, part), before)
            .map_err(|error| about(code.as_str(), error))?;
    }
    Ok(plan)
}

fn from_packed(packed: &Packed, part: Part) -> StoreResult<Arc<[u8]>> {
    packed.blobs.get(&part.digest).cloned().ok_or_else(|| unreadable("a part is missing"))
}

/// Says whose bytes an error is about.
fn about(whose: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unreadable(why) => StoreError::Unreadable(format!("{whose}: {why}")),
        other => other,
    }
}

/// Runs what takes long away from the asynchronous tasks.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> StoreResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::Department;

    /// What publishing a department of these people comes to.
    fn plan(people: &[&str]) -> Plan {
        let department: Department = crate::conformance::sample::department("sbj", people);
        let change = Change::Put(Arc::new(department));
        pack(&Publication { platform: None, departments: vec![change] }).expect("it fits")
    }

    #[test]
    fn a_part_goes_when_nobody_has_named_it_for_long_and_through_some_publications() {
        let mut pen = Pen {
            head: Generation::default(),
            platform: None,
            departments: BTreeMap::new(),
            garbage: HashMap::new(),
            publications: 0,
        };
        let publish = |pen: &mut Pen, people: &[&str]| {
            let next = Generation { term: 1, sequence: pen.head.sequence + 1 };
            pen.note(1, plan(people), next);
        };
        publish(&mut pen, &["a"]);
        let first = pen.named(None);
        publish(&mut pen, &["b"]);
        let left: HashSet<Digest> = pen.garbage.keys().copied().collect();
        assert!(!left.is_empty() && left.is_subset(&first) && left.is_disjoint(&pen.named(None)));
        let later = Instant::now() + KEEP;
        assert!(pen.due(later).is_empty(), "too few publications");
        for people in [["c"], ["d"], ["e"]] {
            publish(&mut pen, &people);
        }
        assert!(pen.due(Instant::now()).is_empty(), "too early");
        let due: HashSet<Digest> = pen.due(later).into_iter().collect();
        assert_eq!(due, left, "what was dropped since is not due yet");
        publish(&mut pen, &["a"]);
        assert!(left.is_disjoint(&pen.garbage.keys().copied().collect()), "it is named again");
    }

    #[test]
    fn a_sweep_is_small() {
        let garbage = (0..=u8::MAX).map(|n| ([n; 32], (Instant::now(), 0))).collect();
        let (head, publications) = (Generation::default(), KEEP_PUBLICATIONS);
        let pen = Pen { head, platform: None, departments: BTreeMap::new(), garbage, publications };
        assert_eq!(pen.due(Instant::now() + KEEP).len(), SWEEP);
    }
}
