//! The documents of one collection, distributed over shards that grow by splitting.
//!
//! A shard has all documents whose hash begins with its prefix. One that grows too large is split by
//! the next bit. Nothing here talks to anybody: it says what has to be written and what has to go, and
//! is told what was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::packed::Packed;
use crate::digest::sha256;

/// Largest document; an object of a cluster holds 1 MiB, its envelope included.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 700 << 10;

/// A shard with more bytes is split.
const SHARD_BYTES_MAX: usize = 384 << 10;

/// Longest prefix.
const BITS_MAX: u8 = 24;

/// Documents by name.
pub(super) type Documents = BTreeMap<String, Arc<[u8]>>;

/// The first bits of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    bits: u8,
    value: u32,
}

impl Prefix {
    fn of(hash: u32, bits: u8) -> Self {
        Self { bits, value: u64::from(hash).checked_shr(u32::from(32 - bits)).map_or(0, truncated) }
    }

    /// The prefix that is printed so.
    pub(super) fn parse(bits: &str, value: &str) -> Option<Self> {
        let parsed = Self { bits: bits.parse().ok()?, value: value.parse().ok()? };
        let fits = parsed.bits <= BITS_MAX && u64::from(parsed.value) < 1 << parsed.bits;
        // A number has one form only, so that no two names mean one shard.
        (fits && parsed.to_string() == format!("{bits}-{value}")).then_some(parsed)
    }

    fn covers(self, other: Self) -> bool {
        other.bits >= self.bits && other.value >> (other.bits - self.bits) == self.value
    }
}

fn truncated(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.bits, self.value)
    }
}

/// One collection.
#[derive(Debug)]
pub(super) struct Shelf {
    shards: BTreeMap<Prefix, Shard>,
    /// Objects that have to go, each with its version, if known.
    doomed: BTreeMap<Prefix, Option<String>>,
    /// Documents above which a shard is split.
    limit: usize,
}

#[derive(Default)]
struct Shard {
    content: Content,
    /// The version of the object in the cluster, if known.
    version: Option<String>,
    unwritten: bool,
}

/// What a shard has.
enum Content {
    /// As it is changed and written; shared with whoever writes it.
    Open(Arc<Documents>),
    /// As it lies still.
    Still(Packed),
}

impl Default for Content {
    fn default() -> Self {
        Self::Still(Packed::default())
    }
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Self::Open(documents) => documents.len(),
            Self::Still(packed) => packed.len(),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = (&str, &[u8])> + '_> {
        match self {
            Self::Open(documents) => {
                Box::new(documents.iter().map(|(name, bytes)| (name.as_str(), &**bytes)))
            }
            Self::Still(packed) => Box::new(packed.iter()),
        }
    }

    fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        match self {
            Self::Open(documents) => documents.get(name).cloned(),
            Self::Still(packed) => packed.get(name).map(Arc::from),
        }
    }

    fn documents(&self) -> Arc<Documents> {
        match self {
            Self::Open(documents) => Arc::clone(documents),
            Self::Still(packed) => packed.unpacked().into(),
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Documents) -> T) -> T {
        let mut documents = match std::mem::take(self) {
            Self::Open(documents) => documents,
            Self::Still(packed) => packed.unpacked().into(),
        };
        let outcome = change(Arc::make_mut(&mut documents));
        *self = Self::Open(documents);
        outcome
    }
}

/// Without what the documents say: some hold password hashes.
impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("documents", &self.content.len())
            .field("version", &self.version)
            .field("unwritten", &self.unwritten)
            .finish()
    }
}

impl Shelf {
    pub(super) fn new(limit: usize) -> Self {
        Self { shards: BTreeMap::new(), doomed: BTreeMap::new(), limit }
    }

    /// Takes up a shard as it was found in the cluster; [`Self::settle`] comes after the last.
    pub(super) fn restore(&mut self, prefix: Prefix, documents: Documents, version: Option<String>) {
        let content = Content::Still(Packed::of(&documents));
        self.shards.insert(prefix, Shard { content, version, unwritten: false });
    }

    /// Ends a split that was broken off: what is left in a shard that has descendants moves down to
    /// them, unless they have it, and the shard goes.
    pub(super) fn settle(&mut self) {
        let inner: Vec<Prefix> =
            self.shards.keys().copied().filter(|prefix| self.has_descendants(*prefix)).collect();
        for prefix in inner {
            let Some(shard) = self.shards.remove(&prefix) else { continue };
            self.doomed.insert(prefix, shard.version);
            for (name, bytes) in Arc::unwrap_or_clone(shard.content.documents()) {
                if self.get(&name).is_none() {
                    self.put(&name, bytes);
                }
            }
        }
    }

    fn has_descendants(&self, prefix: Prefix) -> bool {
        self.shards.keys().any(|other| *other != prefix && prefix.covers(*other))
    }

    /// The shard that has, or would have, a document of this hash.
    fn find(&self, hash: u32) -> Option<Prefix> {
        (0..=BITS_MAX).map(|bits| Prefix::of(hash, bits)).find(|prefix| self.shards.contains_key(prefix))
    }

    /// The shard a document is in, or would be.
    pub(super) fn place_of(&self, name: &str) -> Option<Prefix> {
        self.find(hash(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        self.shards.get(&self.place_of(name)?)?.content.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shards.values().flat_map(|shard| shard.content.iter().map(|(name, _)| name))
    }

    pub(super) fn put(&mut self, name: &str, bytes: Arc<[u8]>) {
        let hash = hash(name);
        // A part of the range that has no shard yet gets the largest one that overlaps no other.
        let prefix = self.find(hash).or_else(|| {
            (0..=BITS_MAX).map(|bits| Prefix::of(hash, bits)).find(|prefix| !self.has_descendants(*prefix))
        });
        let Some(prefix) = prefix else { return };
        self.add(prefix, name.to_owned(), bytes);
        self.split(prefix);
    }

    /// Adds a document to a shard, which there is from now on.
    fn add(&mut self, prefix: Prefix, name: String, bytes: Arc<[u8]>) {
        let doomed = self.doomed.remove(&prefix).flatten();
        let shard =
            self.shards.entry(prefix).or_insert_with(|| Shard { version: doomed, ..Shard::default() });
        shard.unwritten = true;
        shard.content.change(|documents| documents.insert(name, bytes));
    }

    /// Removes a document; returns the shard it was in.
    pub(super) fn take(&mut self, name: &str) -> Option<Prefix> {
        let prefix = self.place_of(name)?;
        let shard = self.shards.get_mut(&prefix)?;
        shard.content.get(name)?;
        shard.content.change(|documents| documents.remove(name));
        shard.unwritten = true;
        if shard.content.len() == 0 {
            let version = shard.version.take();
            self.shards.remove(&prefix);
            self.doomed.insert(prefix, version);
        }
        Some(prefix)
    }

    fn split(&mut self, prefix: Prefix) {
        let Some(shard) = self.shards.get(&prefix) else { return };
        let bytes: usize = shard.content.iter().map(|(_, bytes)| bytes.len()).sum();
        let large = shard.content.len() > self.limit || bytes > SHARD_BYTES_MAX;
        if !large || shard.content.len() < 2 || prefix.bits >= BITS_MAX {
            return;
        }
        let Some(shard) = self.shards.remove(&prefix) else { return };
        self.doomed.insert(prefix, shard.version);
        let mut children = BTreeSet::new();
        for (name, bytes) in Arc::unwrap_or_clone(shard.content.documents()) {
            let child = Prefix::of(hash(&name), prefix.bits + 1);
            children.insert(child);
            self.add(child, name, bytes);
        }
        children.into_iter().for_each(|child| self.split(child));
    }

    /// Shards the cluster does not have as they are, each with the version it replaces.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = (Prefix, Arc<Documents>, Option<&str>)> {
        let unwritten = self.shards.iter().filter(|(_, shard)| shard.unwritten);
        unwritten.map(|(prefix, shard)| (*prefix, shard.content.documents(), shard.version.as_deref()))
    }

    /// Objects that have to go once nothing is unwritten, each with the version it has.
    pub(super) fn doomed(&self) -> impl Iterator<Item = (Prefix, Option<&str>)> {
        self.doomed.iter().map(|(prefix, version)| (*prefix, version.as_deref()))
    }

    /// The cluster has the shard now.
    pub(super) fn written(&mut self, prefix: Prefix, version: String) {
        if let Some(shard) = self.shards.get_mut(&prefix) {
            shard.version = Some(version);
            shard.unwritten = false;
            shard.content = Content::Still(Packed::of(&shard.content.documents()));
        }
    }

    /// The object is gone.
    pub(super) fn removed(&mut self, prefix: Prefix) {
        self.doomed.remove(&prefix);
    }

    /// What the cluster has of the shard is not known any more.
    pub(super) fn doubt(&mut self, prefix: Prefix) {
        if let Some(shard) = self.shards.get_mut(&prefix) {
            shard.version = None;
            shard.unwritten = true;
        }
        if let Some(version) = self.doomed.get_mut(&prefix) {
            *version = None;
        }
    }

    /// The same, unless the object has the version we wrote.
    pub(super) fn doubt_unless(&mut self, prefix: Prefix, version: Option<&str>) {
        let shard = self.shards.get(&prefix).map(|shard| &shard.version);
        let known = shard.or_else(|| self.doomed.get(&prefix)).and_then(Option::as_deref);
        if version.is_none() || version != known {
            self.doubt(prefix);
        }
    }
}

/// What decides where a document lies: for credentials, the UID of the account.
fn hash(name: &str) -> u32 {
    let digest = sha256(name.strip_suffix(".json").unwrap_or(name).as_bytes());
    let [first, second, third, fourth, ..] = digest;
    u32::from_be_bytes([first, second, third, fourth])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Arc<[u8]> {
        Arc::from(*b"{}")
    }

    fn write_all(shelf: &mut Shelf) {
        let prefixes: Vec<Prefix> = shelf.unwritten().map(|(prefix, ..)| prefix).collect();
        prefixes.into_iter().for_each(|prefix| shelf.written(prefix, "1".into()));
        let doomed: Vec<Prefix> = shelf.doomed().map(|(prefix, _)| prefix).collect();
        doomed.into_iter().for_each(|prefix| shelf.removed(prefix));
    }

    #[test]
    fn shards_split_when_they_grow_and_one_change_is_one_shard() {
        let mut shelf = Shelf::new(64);
        (0..1_000).for_each(|number| shelf.put(&format!("{number}.json"), bytes()));
        assert!(shelf.shards.values().all(|shard| shard.content.len() <= 64));
        assert_eq!(shelf.names().count(), 1_000);
        assert!(shelf.shards.len() < 48, "{}", shelf.shards.len());
        write_all(&mut shelf);
        assert_eq!((shelf.unwritten().count(), shelf.doomed().count()), (0, 0));
        shelf.put("7.json", Arc::from(*b"[]"));
        assert_eq!(shelf.unwritten().count(), 1);
        assert_eq!(shelf.get("7.json").unwrap().as_ref(), b"[]");
        let before = shelf.place_of("7.json");
        assert_eq!(shelf.take("7.json"), before);
        assert_eq!(shelf.get("7.json"), None);
        assert_eq!(shelf.take("7.json"), None);
    }

    #[test]
    fn bytes_count_too() {
        let mut shelf = Shelf::new(64);
        (0..4).for_each(|number| shelf.put(&number.to_string(), Arc::from(vec![0; 300 << 10])));
        assert_eq!(shelf.shards.len(), 4);
    }

    #[test]
    fn a_split_that_was_broken_off_is_ended() {
        let mut whole = Shelf::new(64);
        (0..64).for_each(|number| whole.put(&number.to_string(), bytes()));
        let (root, _, _) = whole.unwritten().next().unwrap();
        let parent = Documents::clone(&whole.shards[&root].content.documents());
        let old = parent.clone();
        whole.put("64", bytes());
        let (child, documents, _) = whole.unwritten().next().unwrap();

        // Only one of the children was written, and since then changed.
        let mut documents = Documents::clone(&documents);
        let changed = documents.keys().next().unwrap().clone();
        documents.insert(changed.clone(), Arc::from(*b"[]"));
        let mut shelf = Shelf::new(64);
        shelf.restore(root, parent, Some("1".into()));
        shelf.restore(child, documents, Some("2".into()));
        shelf.settle();
        assert_eq!(shelf.get(&changed).unwrap().as_ref(), b"[]");
        assert!(old.keys().all(|name| shelf.get(name).is_some()));
        assert_eq!(shelf.doomed().collect::<Vec<_>>(), [(root, Some("1"))]);
        assert_eq!(shelf.unwritten().count(), 1, "the other child");
    }

    #[test]
    fn what_is_emptied_goes_and_may_come_back() {
        let mut shelf = Shelf::new(64);
        shelf.put("a", bytes());
        write_all(&mut shelf);
        let root = shelf.take("a").unwrap();
        // Nothing is removed or replaced but the version that is known.
        assert_eq!(shelf.doomed().collect::<Vec<_>>(), [(root, Some("1"))]);
        shelf.put("a", bytes());
        assert_eq!(shelf.doomed().count(), 0);
        let unwritten: Vec<_> = shelf.unwritten().map(|(prefix, _, version)| (prefix, version)).collect();
        assert_eq!(unwritten, [(root, Some("1"))]);
        shelf.take("a");
        shelf.doubt(root);
        assert_eq!(shelf.doomed().collect::<Vec<_>>(), [(root, None)]);
    }

    #[test]
    fn documents_are_never_printed() {
        let mut shelf = Shelf::new(64);
        shelf.put("a", Arc::from(*b"AAAA"));
        let printed = format!("{shelf:?}");
        assert!(!printed.contains("65, 65") && printed.contains("documents: 1"), "{printed}");
    }

    #[test]
    fn prefixes_have_one_printed_form() {
        assert_eq!(Prefix::of(u32::MAX, 0), Prefix { bits: 0, value: 0 });
        assert_eq!(Prefix::of(0xA000_0000, 3).to_string(), "3-5");
        assert_eq!(Prefix::parse("3", "5"), Some(Prefix::of(0xA000_0000, 3)));
        for (bits, value) in [("3", "8"), ("03", "5"), ("25", "0"), ("+3", "5"), ("", "")] {
            assert_eq!(Prefix::parse(bits, value), None);
        }
    }
}
