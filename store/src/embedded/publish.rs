//! Publications: compare, write in one transaction, read back from the bytes, show.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use redb::{Durability, ReadTransaction, ReadableTable as _, WriteTransaction};
use tidegate_core::{Department, DepartmentCode, Generation, Platform, Snapshot};

use super::disk::{BLOBS, MANIFESTS, NUMBERS, failed};
use super::worker::Worker;
use crate::wire::v1::{Manifest, Part, decode_manifest, encode_manifest};
use crate::wire::{self, Blobs, Digest, Packed, Previous, bounds, unreadable};
use crate::{Change, Publication, StoreError, StoreResult};

const PLATFORM: &str = "platform";

fn department_key(code: &DepartmentCode) -> String {
    format!("departments/{code}")
}

/// Something published: its manifest and its value, which is the manifest's bytes read back.
struct Entry<T> {
    manifest: Manifest,
    value: Arc<T>,
}

impl<T> Entry<T> {
    fn previous(&self) -> Previous<'_, T> {
        Previous { manifest: &self.manifest, value: &self.value }
    }
}

/// What the file holds, in memory.
pub(super) struct Published {
    head: Generation,
    platform: Option<Entry<Platform>>,
    departments: BTreeMap<DepartmentCode, Entry<Department>>,
    /// How many times each stored part is named.
    named: HashMap<Digest, usize>,
}

/// Departments that cannot be read, and why.
type Unreadable = BTreeMap<DepartmentCode, String>;

/// The newest generation the file holds.
pub(super) fn head(transaction: &ReadTransaction) -> StoreResult<Generation> {
    let numbers = transaction.open_table(NUMBERS).map_err(failed)?;
    let number = |key| Ok::<_, StoreError>(numbers.get(key).map_err(failed)?.map_or(0, |n| n.value()));
    Ok(Generation { term: number("head.term")?, sequence: number("head.sequence")? })
}

fn read_part(transaction: &ReadTransaction, part: Part) -> StoreResult<Arc<[u8]>> {
    let blobs = transaction.open_table(BLOBS).map_err(failed)?;
    let mut bytes = Vec::new();
    for chunk in chunks(part) {
        let stored = blobs.get((&part.digest, chunk)).map_err(failed)?;
        bytes.extend_from_slice(stored.ok_or_else(|| unreadable("a part is missing"))?.value());
    }
    Ok(bytes.into())
}

/// The numbers of a part's chunks.
fn chunks(part: Part) -> std::ops::Range<u32> {
    0..u32::try_from(part.len.div_ceil(bounds::CHUNK as u64)).unwrap_or(u32::MAX)
}

impl Published {
    /// Reads everything. A department that cannot be read is left out and named.
    pub(super) fn read(transaction: &ReadTransaction) -> StoreResult<(Self, Unreadable)> {
        let mut this = Self {
            head: head(transaction)?,
            platform: None,
            departments: BTreeMap::new(),
            named: HashMap::new(),
        };
        let mut lost = Unreadable::new();
        let source = |part| read_part(transaction, part);
        for stored in transaction.open_table(MANIFESTS).map_err(failed)?.iter().map_err(failed)? {
            let (key, bytes) = stored.map_err(failed)?;
            let manifest = decode_manifest(bytes.value());
            for part in manifest.iter().flat_map(Manifest::parts) {
                *this.named.entry(part.digest).or_default() += 1;
            }
            let Some(code) = key.value().strip_prefix("departments/") else {
                match manifest.and_then(|m| Ok((wire::unpack_platform(&m, &source, None)?, m))) {
                    Ok((value, manifest)) => {
                        this.platform = Some(Entry { manifest, value: Arc::new(value) });
                    }
                    Err(error) => tracing::error!(%error, "the platform part cannot be read"),
                }
                continue;
            };
            let code: DepartmentCode = code.parse().map_err(unreadable)?;
            match manifest.and_then(|m| Ok((wire::unpack_department(&code, &m, &source, None)?, m))) {
                Ok((value, manifest)) => {
                    this.departments.insert(code, Entry { manifest, value: Arc::new(value) });
                }
                Err(error) => {
                    tracing::error!(%code, %error, "a department cannot be read");
                    lost.insert(code, error.to_string());
                }
            }
        }
        Ok((this, lost))
    }

    /// The newest generation.
    pub(super) fn head(&self) -> Generation {
        self.head
    }

    /// What gateways decide from; nothing before the platform is known.
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let platform = Arc::clone(&self.platform.as_ref()?.value);
        let departments =
            self.departments.iter().map(|(code, entry)| (code.clone(), Arc::clone(&entry.value))).collect();
        Some(Arc::new(Snapshot { generation: self.head, platform, departments }))
    }
}

/// What a publication changes, worked out before anything is written.
#[derive(Default)]
struct Step {
    platform: Option<Entry<Platform>>,
    departments: BTreeMap<DepartmentCode, Option<Entry<Department>>>,
    blobs: Blobs,
    /// By how much each part is named more often, or less.
    naming: HashMap<Digest, (i64, Part)>,
}

impl Step {
    fn is_empty(&self) -> bool {
        self.platform.is_none() && self.departments.is_empty()
    }

    fn name(&mut self, old: Option<&Manifest>, new: Option<&Manifest>) {
        for (manifest, by) in [(old, -1), (new, 1)] {
            for part in manifest.into_iter().flat_map(Manifest::parts) {
                self.naming.entry(part.digest).or_insert((0, part)).0 += by;
            }
        }
    }
}

impl Worker {
    /// Publishes what differs; nothing is written when nothing does. A department that could not be read
    /// back is refused with the whole publication, and nothing changes.
    pub(super) fn publish(&mut self, publication: &Publication) -> StoreResult<Generation> {
        let head = self.published.head;
        let next = if head.term == self.term {
            Generation { sequence: head.sequence.saturating_add(1), ..head }
        } else {
            Generation { term: self.term, sequence: 1 }
        };
        let step = self.prepare(publication, next)?;
        if step.is_empty() {
            return Ok(head);
        }
        let term = self.term;
        let named = &self.published.named;
        self.disk
            .write(Durability::Immediate, |transaction| write_step(transaction, &step, named, term, next))?;
        self.show(step, next);
        Ok(next)
    }

    fn prepare(&self, publication: &Publication, next: Generation) -> StoreResult<Step> {
        let mut step = Step::default();
        if let Some(platform) = &publication.platform {
            let before = self.published.platform.as_ref();
            let mut packed = wire::pack_platform(platform)?;
            if before.is_none_or(|entry| !entry.manifest.same_parts(&packed.manifest)) {
                packed.manifest.generation = next;
                let value = wire::unpack_platform(
                    &packed.manifest,
                    &|part| from_packed(&packed, part),
                    before.map(Entry::previous),
                )
                .map_err(|error| about(PLATFORM, error))?;
                step.name(before.map(|entry| &entry.manifest), Some(&packed.manifest));
                step.platform = Some(Entry { manifest: packed.manifest, value: Arc::new(value) });
                step.blobs.extend(packed.blobs);
            }
        }
        let mut last = BTreeMap::new();
        for change in &publication.departments {
            match change {
                Change::Put(department) => last.insert(&department.code, Some(department)),
                Change::Remove(code) => last.insert(code, None),
            };
        }
        for (code, department) in last {
            let before = self.published.departments.get(code);
            let lost = self.view.borrow().unreadable.contains_key(code);
            let Some(department) = department else {
                if before.is_some() || lost {
                    step.name(before.map(|entry| &entry.manifest), None);
                    step.departments.insert(code.clone(), None);
                }
                continue;
            };
            let mut packed = wire::pack_department(department).map_err(|e| about(code.as_str(), e))?;
            if before.is_some_and(|entry| entry.manifest.same_parts(&packed.manifest)) {
                continue;
            }
            packed.manifest.generation = next;
            let value = wire::unpack_department(
                code,
                &packed.manifest,
                &|part| from_packed(&packed, part),
                before.map(Entry::previous),
            )
            .map_err(|error| about(code.as_str(), error))?;
            step.name(before.map(|entry| &entry.manifest), Some(&packed.manifest));
            let entry = Entry { manifest: packed.manifest, value: Arc::new(value) };
            step.departments.insert(code.clone(), Some(entry));
            step.blobs.extend(packed.blobs);
        }
        Ok(step)
    }

    /// Takes a written step over into memory and shows it.
    fn show(&mut self, step: Step, head: Generation) {
        let published = &mut self.published;
        published.head = head;
        for (digest, (by, _)) in step.naming {
            let count = published.named.get(&digest).copied().unwrap_or(0);
            match renamed(count, by) {
                0 => published.named.remove(&digest),
                count => published.named.insert(digest, count),
            };
        }
        if step.platform.is_some() {
            published.platform = step.platform;
        }
        let mut unreadable = Arc::clone(&self.view.borrow().unreadable);
        for (code, entry) in step.departments {
            if unreadable.contains_key(&code) {
                Arc::make_mut(&mut unreadable).remove(&code);
            }
            match entry {
                Some(entry) => published.departments.insert(code, entry),
                None => published.departments.remove(&code),
            };
        }
        let snapshot = published.snapshot();
        let now = self.now();
        self.view.send_modify(|view| {
            view.snapshot = snapshot;
            view.unreadable = unreadable;
            view.fresh_at = now;
        });
    }
}

fn write_step(
    transaction: &WriteTransaction,
    step: &Step,
    named: &HashMap<Digest, usize>,
    term: u64,
    next: Generation,
) -> StoreResult<()> {
    let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
    if numbers.get("term").map_err(failed)?.is_none_or(|stored| stored.value() != term) {
        return Err(StoreError::Fenced(term));
    }
    numbers.insert("head.term", next.term).map_err(failed)?;
    numbers.insert("head.sequence", next.sequence).map_err(failed)?;

    let mut blobs = transaction.open_table(BLOBS).map_err(failed)?;
    for (digest, (by, part)) in &step.naming {
        let before = named.get(digest).copied().unwrap_or(0);
        let after = renamed(before, *by);
        if before == 0 && after > 0 {
            let bytes = step.blobs.get(digest).ok_or_else(|| unreadable("a part is missing"))?;
            for (number, chunk) in chunks(*part).zip(bytes.chunks(bounds::CHUNK)) {
                blobs.insert((digest, number), chunk).map_err(failed)?;
            }
        } else if before > 0 && after == 0 {
            for number in chunks(*part) {
                blobs.remove((digest, number)).map_err(failed)?;
            }
        }
    }

    let mut manifests = transaction.open_table(MANIFESTS).map_err(failed)?;
    if let Some(entry) = &step.platform {
        let bytes = encode_manifest(&entry.manifest);
        manifests.insert(PLATFORM, bytes.as_slice()).map_err(failed)?;
    }
    for (code, entry) in &step.departments {
        let key = department_key(code);
        match entry {
            Some(entry) => {
                let bytes = encode_manifest(&entry.manifest);
                manifests.insert(key.as_str(), bytes.as_slice()).map_err(failed)?;
            }
            None => {
                manifests.remove(key.as_str()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

fn renamed(count: usize, by: i64) -> usize {
    count.saturating_add_signed(isize::try_from(by).unwrap_or(0))
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
