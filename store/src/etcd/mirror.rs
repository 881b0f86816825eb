//! What etcd says, as values: manifests come in, parts are named that are needed, a snapshot comes out.
//!
//! A publication is visible when its head is: manifests may arrive before it, and nothing is shown until
//! the platform's manifest it names is there too. A department that cannot be read keeps its previous value and
//! is named; behind a head that cannot be read everything stays, and ages, as does everything beside a platform
//! part that cannot be read. A snapshot never goes back to an older
//! generation: a store that was wiped or restored is followed again once it says something newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::{Department, DepartmentCode, Generation, Platform, Snapshot};

use super::keys::Keys;
use super::seal::{Purpose, Sealer};
use crate::wire::v1::{Head, Manifest, Part, decode_head, decode_manifest};
use crate::wire::{self, Blobs, Previous, unreadable};
use crate::{StoreError, StoreResult};

/// A manifest as it lies in the store, or why it cannot be read.
type Staged = Result<Manifest, String>;

/// Something read: its manifest and its value.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) manifest: Manifest,
    pub(super) value: Arc<T>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { manifest: self.manifest.clone(), value: Arc::clone(&self.value) }
    }
}

impl<T> Entry<T> {
    pub(super) fn previous(&self) -> Previous<'_, T> {
        Previous { manifest: &self.manifest, value: &self.value }
    }
}

/// Values that are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) generation: Generation,
    pub(super) platform: Option<Entry<Platform>>,
    pub(super) departments: BTreeMap<DepartmentCode, Entry<Department>>,
    pub(super) unreadable: BTreeMap<DepartmentCode, String>,
}

impl Shown {
    /// What gateways decide from; nothing before the platform is known.
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let platform = Arc::clone(&self.platform.as_ref()?.value);
        let departments =
            self.departments.iter().map(|(code, entry)| (code.clone(), Arc::clone(&entry.value))).collect();
        Some(Arc::new(Snapshot { generation: self.generation, platform, departments }))
    }
}

/// What the store says and what of it is in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    head: Option<Head>,
    /// When the head was written.
    head_revision: i64,
    /// Whether there is a head that cannot be read, newer than any that could.
    unread: bool,
    platform: Option<Staged>,
    departments: BTreeMap<DepartmentCode, Staged>,
    pub(super) shown: Arc<Shown>,
    dirty: bool,
}

impl Mirror {
    /// When the head was written; 0 without one.
    pub(super) fn head_revision(&self) -> i64 {
        self.head_revision
    }

    /// Forgets what the store said, not what is in force: a list follows.
    pub(super) fn restart(&mut self) {
        self.head = None;
        self.head_revision = 0;
        self.unread = false;
        self.platform = None;
        self.departments.clear();
        self.dirty = true;
    }

    /// Takes over a key of the configuration; `None` when it was deleted.
    pub(super) fn stage(
        &mut self,
        keys: &Keys,
        sealer: &Sealer,
        key: &str,
        value: Option<&[u8]>,
        revision: i64,
    ) {
        let opened = value.map(|value| sealer.open(Purpose::Configuration, key, value));
        if key == keys.head() {
            self.head_revision = if opened.is_some() { revision } else { 0 };
            let read = opened.map(|opened| decode_head(&opened?)).transpose();
            self.unread = read.is_err();
            match read {
                Ok(head) => self.head = head,
                Err(error) => tracing::error!(%error, "the head cannot be read; the previous stays"),
            }
            self.dirty = true;
        } else {
            let staged = opened.map(|opened| {
                opened.and_then(|bytes| decode_manifest(&bytes)).map_err(|error| error.to_string())
            });
            self.stage_manifest(keys, key, staged);
        }
    }

    fn stage_manifest(&mut self, keys: &Keys, key: &str, staged: Option<Staged>) {
        if key == keys.platform() {
            // The head did not wait for one that could not be read, so what is shown is looked at once more.
            self.dirty |= matches!(self.platform, Some(Err(_)));
            self.platform = staged;
        } else if let Some(code) = keys.department(key) {
            match staged {
                Some(staged) => self.departments.insert(code, staged),
                None => self.departments.remove(&code),
            };
        }
    }

    /// Puts a whole configuration in place, as a snapshot on disk has it.
    pub(super) fn stage_all(
        &mut self,
        head: Head,
        platform: Option<Manifest>,
        departments: impl Iterator<Item = (DepartmentCode, Manifest)>,
    ) {
        self.head = Some(head);
        self.platform = platform.map(Ok);
        self.departments = departments.map(|(code, manifest)| (code, Ok(manifest))).collect();
        self.dirty = true;
    }

    /// The head, when everything that belongs to it has arrived.
    fn complete(&self) -> Option<Head> {
        let head = self.head?;
        let there = match (&self.platform, head.platform) {
            (Some(Ok(manifest)), Some(wanted)) => manifest.generation == wanted,
            (Some(Err(_)), _) | (None, None) => true,
            _ => false,
        };
        there.then_some(head)
    }

    /// Whether the store says less than what is in force, or something newer whose head cannot be read: nothing
    /// of it is shown then.
    fn behind(&self) -> bool {
        self.unread || self.shown.generation > self.head.map_or(Generation::default(), |head| head.generation)
    }

    /// Whether what is in force is the newest the store says. A platform part that is not, since it cannot be
    /// read, leaves departments in force as they are told, and ages with everything else.
    pub(super) fn proves(&self) -> bool {
        let platform = match (&self.platform, &self.shown.platform) {
            (Some(Ok(staged)), Some(shown)) => shown.manifest == *staged,
            (Some(_), _) => false,
            (None, _) => true,
        };
        platform && !self.behind()
    }

    /// Whether there may be something to show, and it is all there.
    pub(super) fn ready(&self) -> bool {
        self.dirty && !self.behind() && self.complete().is_some()
    }

    /// The parts that showing it needs.
    pub(super) fn needed(&self) -> Vec<Part> {
        let mut parts = BTreeMap::new();
        let mut add = |staged: &Staged, before: Option<&Manifest>| {
            let Ok(manifest) = staged else { return };
            if before != Some(manifest) {
                parts.extend(manifest.unshared(before).map(|part| (part.digest, part)));
            }
        };
        if let Some(staged) = &self.platform {
            add(staged, self.shown.platform.as_ref().map(|entry| &entry.manifest));
        }
        for (code, staged) in &self.departments {
            add(staged, self.shown.departments.get(code).map(|entry| &entry.manifest));
        }
        parts.into_values().collect()
    }

    /// Puts what is staged in force, with the parts that were fetched. Call it only when [`Mirror::ready`].
    pub(super) fn settle(&mut self, blobs: &Blobs) {
        let Some(head) = self.complete() else { return };
        self.dirty = false;
        let source =
            |part: Part| blobs.get(&part.digest).cloned().ok_or_else(|| unreadable("a part is missing"));
        let mut next = Shown { generation: head.generation, ..Shown::default() };
        next.platform = self.settle_platform(&source);
        for (code, staged) in &self.departments {
            let before = self.shown.departments.get(code);
            let read = |manifest: &Manifest| {
                let previous = before.map(Entry::previous);
                wire::unpack_department(code, manifest, &source, previous)
            };
            match settle_one(staged, before, read) {
                Ok(entry) => {
                    next.departments.insert(code.clone(), entry);
                }
                Err(why) => {
                    tracing::error!(%code, error = %why, "a department cannot be read; the previous stays");
                    next.unreadable.insert(code.clone(), why);
                    if let Some(before) = before {
                        next.departments.insert(code.clone(), before.clone());
                    }
                }
            }
        }
        self.shown = Arc::new(next);
    }

    fn settle_platform(&self, source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>) -> Option<Entry<Platform>> {
        let before = self.shown.platform.as_ref();
        let read = |manifest: &Manifest| wire::unpack_platform(manifest, source, before.map(Entry::previous));
        match settle_one(self.platform.as_ref()?, before, read) {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::error!(%error, "the platform part cannot be read; the previous stays");
                before.cloned()
            }
        }
    }
}

fn settle_one<T>(
    staged: &Staged,
    before: Option<&Entry<T>>,
    read: impl Fn(&Manifest) -> Result<T, StoreError>,
) -> Result<Entry<T>, String> {
    let manifest = staged.as_ref().map_err(Clone::clone)?;
    if let Some(before) = before.filter(|before| before.manifest == *manifest) {
        return Ok(before.clone());
    }
    let value = read(manifest).map_err(|error| error.to_string())?;
    Ok(Entry { manifest: manifest.clone(), value: Arc::new(value) })
}

#[cfg(test)]
mod tests {
    use tidegate_core::{PolicyModule, PolicyState};

    use super::*;
    use crate::wire::v1::encode_head;

    #[test]
    fn behind_a_head_that_cannot_be_read_nothing_is_shown_or_proved() {
        let keys = Keys::new("main");
        let old = Sealer::new(&[(1, [1; 32])]).expect("a ring");
        let new = Sealer::new(&[(1, [1; 32]), (2, [2; 32])]).expect("a ring");
        let head = |sequence| Head { generation: Generation { term: 1, sequence }, platform: None };
        let sealed = |sealer: &Sealer, sequence| {
            let plain = encode_head(head(sequence));
            sealer.seal(Purpose::Configuration, &keys.head(), &plain).expect("sealed")
        };
        let mut mirror = Mirror::default();
        mirror.stage(&keys, &old, &keys.head(), Some(&sealed(&old, 1)), 10);
        assert!(mirror.ready() && !mirror.behind());
        mirror.settle(&Blobs::new());
        mirror.stage(&keys, &old, &keys.head(), Some(&sealed(&new, 2)), 11);
        assert!(mirror.behind() && !mirror.ready());
        assert_eq!((mirror.shown.generation, mirror.head_revision()), (head(1).generation, 11));
        mirror.stage(&keys, &new, &keys.head(), Some(&sealed(&new, 2)), 11);
        assert!(mirror.ready() && !mirror.behind());
        mirror.stage(&keys, &old, &keys.head(), Some(&sealed(&new, 3)), 12);
        mirror.restart();
        assert!(mirror.behind(), "a store that says nothing is behind what is in force");
        mirror.stage(&keys, &old, &keys.head(), Some(&sealed(&old, 4)), 13);
        assert!(mirror.ready() && !mirror.behind());
    }

    #[test]
    fn beside_a_platform_part_that_cannot_be_read_nothing_is_proved() {
        let keys = Keys::new("main");
        let sealer = Sealer::new(&[(1, [1; 32])]).expect("a ring");
        let head = |sequence| Head { generation: Generation { term: 1, sequence }, platform: None };
        let mut mirror = Mirror::default();
        mirror.stage_all(head(1), None, std::iter::empty());
        mirror.settle(&Blobs::new());
        assert!(mirror.proves());
        let sealed =
            sealer.seal(Purpose::Configuration, &keys.head(), &encode_head(head(2))).expect("sealed");
        mirror.stage(&keys, &sealer, &keys.platform(), Some(b"not sealed"), 11);
        mirror.stage(&keys, &sealer, &keys.head(), Some(&sealed), 11);
        assert!(mirror.ready(), "what departments say is still put in force");
        mirror.settle(&Blobs::new());
        assert_eq!(mirror.shown.generation, head(2).generation);
        assert!(!mirror.proves(), "but it ages");
        mirror.stage(&keys, &sealer, &keys.platform(), None, 12);
        assert!(mirror.ready(), "it is looked at once more when the part has changed");
        mirror.settle(&Blobs::new());
        assert!(mirror.proves());
    }

    /// Follows a department from one form to the next, each time with nothing but the parts that are said to be needed.
    fn follow(forms: &[Department]) {
        let mut mirror = Mirror::default();
        for (sequence, form) in (1..).zip(forms) {
            let generation = Generation { term: 1, sequence };
            let mut packed = wire::pack_department(form).expect("it fits");
            packed.manifest.generation = generation;
            let head = Head { generation, platform: None };
            mirror.stage_all(head, None, std::iter::once((form.code.clone(), packed.manifest)));
            let needed = mirror.needed();
            packed.blobs.retain(|digest, _| needed.iter().any(|part| part.digest == *digest));
            mirror.settle(&packed.blobs);
            assert!(mirror.shown.unreadable.is_empty(), "{sequence}: {:?}", mirror.shown.unreadable);
            let shown = &mirror.shown.departments[&form.code].value;
            let form = Department { generation, ..form.clone() };
            assert_eq!(**shown, form, "{sequence}");
        }
    }

    #[test]
    fn a_part_that_has_the_bytes_of_another_one_is_read_in_its_own_place() {
        let with = |people: &[&str]| crate::conformance::sample::department("sbj", people);
        let bare = |people: &[&str]| Department { resources: BTreeMap::new(), ..with(people) };
        let renamed = |mut department: Department| {
            if let PolicyState::Module(module) = &department.policy {
                let mut module = PolicyModule::clone(module);
                module.rules.iter_mut().for_each(|rule| rule.rule = "another-name".into());
                department.policy = PolicyState::Module(Arc::new(module));
            }
            department
        };
        // No accounts, and then no resources either; the other way round; rules that only have other names.
        follow(&[with(&["a"]), with(&[]), bare(&[]), with(&[]), with(&["a"]), bare(&["a"]), bare(&[])]);
        follow(&[with(&["a"]), renamed(with(&["a"])), with(&["a"])]);
    }
}
