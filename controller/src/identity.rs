//! UIDs and generations for objects that come from files.
//!
//! A cluster gives every object a UID and counts the changes of its spec; in a folder we do. An
//! object is known by kind, namespace and name. When it vanishes its entry stays for
//! [`KEPT_DAYS`] days: if it returns it is the same object, with the credentials it had and a higher
//! epoch. Under another UID, which only a cluster gives, it is another object: the earlier one is
//! forgotten. Entries lie in `STATE/uids/<kind>.json`, in a cluster each by itself and only those that
//! say what the object itself does not; they are written before anything that uses a new UID is
//! published.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_core::{Code, Source, Timestamp, Uid};

use crate::digest::{Digest, hex, parse_hex, sha256};
use crate::objects::{ObjectKey, ObjectKind, TenantName, pack};
use crate::state::{Document, State, StateError};

/// Days an object that vanished keeps its UID and credentials.
pub const KEPT_DAYS: i64 = 30;

const DIRECTORY: &str = "uids";

/// The UIDs of every object there is, and of those that vanished lately.
#[derive(Debug, Default)]
pub struct Register {
    tenants: BTreeMap<TenantName, BTreeMap<ObjectKey, Entry>>,
    /// Those that vanished, and when.
    vanished: BTreeSet<(i64, ObjectKey)>,
    unsaved: BTreeSet<ObjectKey>,
}

/// One object that is new or changed.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// Its spec; a difference raises the generation. `None` when the object is there but could not be
    /// read: nothing is learnt about its spec.
    pub spec: Option<&'a Value>,
    /// Whether the spec is valid: only then it is a promise that later specs have to keep.
    pub valid: bool,
    /// The UID and generation it came with, where objects have them.
    pub identity: Option<&'a Source>,
}

/// What a look at a tenant's objects changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Objects that are not there any more, since this round.
    pub vanished: Vec<(ObjectKey, Uid)>,
    /// Objects that are others now: the credentials of the earlier ones go.
    pub forgotten: Vec<(ObjectKey, Uid)>,
}

/// An entry in memory, where there may be very many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    uid: Uid,
    generation: i64,
    /// SHA-256 of the newest readable spec, where nobody else counts generations.
    spec: Option<Box<Digest>>,
    /// Seconds since 1970 at which it was missed.
    vanished: Option<i64>,
    /// The fields later specs are held against, as the newest valid spec had them: JSON.
    held: Option<Box<str>>,
    /// Whether they say that the person left.
    left: bool,
    /// The approval as it stands, JSON, and since when, in seconds since 1970.
    approval: Option<(Box<str>, i64)>,
}

/// An entry as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    uid: String,
    generation: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    spec: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vanished: Option<i64>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    held: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<(Value, i64)>,
}

/// An entry that is a document of its own.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    kind: String,
    namespace: String,
    name: String,
    entry: Stored,
}

/// The fields of a spec that may not change, or only in one direction.
fn held_fields(kind: ObjectKind) -> &'static [&'static str] {
    match kind {
        ObjectKind::Department => &["code"],
        ObjectKind::VpnUser => &["requestedBy", "state", "sessionGeneration"],
        _ => &[],
    }
}

impl Register {
    /// Reads the register. An unreadable one is refused: new UIDs would orphan every credential.
    pub fn load(state: &State) -> Result<Self, StateError> {
        let mut register = Self::default();
        if state.one_by_one() {
            for path in state.files(Path::new(DIRECTORY))? {
                let bytes = state.read(&path)?.unwrap_or_default();
                let corrupt = |what: String| StateError::corrupt(&state.root().join(&path), what);
                let document: StoredEntry = serde_json::from_slice(&bytes).map_err(|error| {
                    corrupt(format!("this entry of the register cannot be read: {error}"))
                })?;
                let kind = ObjectKind::named(&document.kind)
                    .ok_or_else(|| corrupt(format!("there is no kind {:?}", document.kind)))?;
                let key = ObjectKey::new(kind, &document.namespace, &document.name);
                register.enter(key, document.entry, corrupt)?;
            }
            return Ok(register);
        }
        for kind in ObjectKind::ALL {
            let path = path(kind);
            let Some(bytes) = state.read(&path)? else { continue };
            let corrupt = |what: String| StateError::corrupt(&state.root().join(&path), what);
            let entries: BTreeMap<String, Stored> = serde_json::from_slice(&bytes)
                .map_err(|error| corrupt(format!("this list of UIDs cannot be read: {error}")))?;
            for (name, entry) in entries {
                let (namespace, name) = name.split_once('/').unwrap_or(("", &name));
                register.enter(ObjectKey::new(kind, namespace, name), entry, corrupt)?;
            }
        }
        Ok(register)
    }

    fn enter(
        &mut self,
        key: ObjectKey,
        stored: Stored,
        corrupt: impl Fn(String) -> StateError,
    ) -> Result<(), StateError> {
        let Ok(uid) = stored.uid.parse() else {
            return Err(corrupt(format!("the UID of {key} is not a UID")));
        };
        let entry = Entry::restored(uid, &stored);
        if let Some(since) = entry.vanished {
            self.vanished.insert((since, key.clone()));
        }
        self.tenants.entry(Arc::clone(key.tenant())).or_default().insert(key, entry);
        Ok(())
    }

    /// The tenants it has entries of.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.keys()
    }

    /// Takes note of what is new or changed of a tenant at `now`. Whatever else is not `present` has vanished.
    pub fn observe<'a>(
        &mut self,
        tenant: &TenantName,
        present: impl Fn(&ObjectKey) -> bool,
        seen: impl IntoIterator<Item = Sighting<'a>>,
        now: Timestamp,
    ) -> Result<Round, StateError> {
        let mut round = Round::default();
        for sighting in seen {
            if let Some(uid) = self.sight(&sighting, now)? {
                round.vanished.push((sighting.key.clone(), uid.clone()));
                round.forgotten.push((sighting.key.clone(), uid));
            }
        }
        for (key, entry) in self.tenants.get_mut(tenant).into_iter().flatten() {
            if entry.vanished.is_none() && !present(key) {
                entry.vanished = Some(now.0);
                self.vanished.insert((now.0, key.clone()));
                self.unsaved.insert(key.clone());
                round.vanished.push((key.clone(), entry.uid.clone()));
            }
        }
        Ok(round)
    }

    /// Forgets those that vanished so long ago that they are not coming back.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(ObjectKey, Uid)> {
        let mut expired = Vec::new();
        while let Some((since, _)) = self.vanished.first()
            && now >= expiry(*since)
            && let Some((_, key)) = self.vanished.pop_first()
        {
            if let Some(entry) = self.remove(&key) {
                expired.push((key.clone(), entry.uid));
                self.unsaved.insert(key);
            }
        }
        expired
    }

    /// When the next one is forgotten.
    #[must_use]
    pub fn holds_until(&self) -> Timestamp {
        self.vanished.first().map_or(Timestamp::NEVER, |(since, _)| expiry(*since))
    }

    /// Takes no more room than it needs.
    pub fn pack(&mut self) {
        self.tenants.values_mut().for_each(pack);
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Entry> {
        let entries = self.tenants.get_mut(key.tenant())?;
        let entry = entries.remove(key);
        if entries.is_empty() {
            self.tenants.remove(key.tenant());
        }
        entry
    }

    fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.tenants.get(key.tenant())?.get(key)
    }

    /// Takes note of one object. Returns the UID of the one that had its name before, if it was another.
    fn sight(&mut self, sighting: &Sighting<'_>, now: Timestamp) -> Result<Option<Uid>, StateError> {
        let kind = sighting.key.kind;
        let replaced = self.make_room(sighting);
        let entries = self.tenants.entry(Arc::clone(sighting.key.tenant())).or_default();
        let entry = match entries.entry(sighting.key.clone()) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let uid = sighting.identity.map_or_else(new_uid, |source| Ok(source.uid.clone()))?;
                self.unsaved.insert(sighting.key.clone());
                place.insert(Entry::new(uid))
            }
        };
        let vanished = entry.vanished.take();
        let mut changed = vanished.is_some();
        if let Some(since) = vanished {
            self.vanished.remove(&(since, sighting.key.clone()));
        }
        if let Some(source) = sighting.identity {
            // Told by the object itself, so it needs not be stored.
            entry.generation = source.generation;
        }
        if let Some(spec) = sighting.spec {
            if sighting.identity.is_none() {
                changed |= entry.count(digest_of(spec));
            }
            if sighting.valid {
                changed |= entry.learn(kind, spec, now);
            }
        }
        if changed {
            self.unsaved.insert(sighting.key.clone());
        }
        Ok(replaced)
    }

    /// Removes the entry of another object that had this name.
    fn make_room(&mut self, sighting: &Sighting<'_>) -> Option<Uid> {
        let source = sighting.identity?;
        if self.entry(sighting.key)?.uid == source.uid {
            return None;
        }
        let entry = self.remove(sighting.key)?;
        if let Some(since) = entry.vanished {
            self.vanished.remove(&(since, sighting.key.clone()));
        }
        Some(entry.uid)
    }

    /// The UID and generation of an object.
    #[must_use]
    pub fn source(&self, key: &ObjectKey) -> Option<Source> {
        let entry = self.entry(key)?;
        Some(Source { uid: entry.uid.clone(), generation: entry.generation })
    }

    /// The fields an object's next spec is held against, in the shape of a spec; `None` for a new object.
    #[must_use]
    pub fn held(&self, key: &ObjectKey) -> Option<Value> {
        serde_json::from_str(self.entry(key)?.held.as_deref()?).ok()
    }

    /// Whether the object ever said that the person left: that is final.
    #[must_use]
    pub fn left(&self, key: &ObjectKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.left)
    }

    /// Since when the account's approval is as it is.
    #[must_use]
    pub fn approved_since(&self, key: &ObjectKey) -> Option<Timestamp> {
        self.entry(key)?.approval.as_ref().map(|(_, since)| Timestamp(*since))
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Stores what changed.
    pub fn save(&mut self, state: &State) -> Result<(), StateError> {
        let outcomes = state.change_many(self.documents(state));
        self.stored(state, outcomes)
    }

    /// The documents that have to be stored; those without bytes have to go. [`Self::stored`] has to follow.
    pub(crate) fn documents(&mut self, state: &State) -> Box<dyn Iterator<Item = Document> + '_> {
        if !state.one_by_one() {
            return Box::new(self.unsaved_kinds().map(|kind| self.list(kind)));
        }
        // What an object says at every sighting needs no entry that outlives us.
        self.unsaved.retain(|key| !held_fields(key.kind).is_empty());
        Box::new(self.unsaved.iter().map(|key| self.document(key)))
    }

    /// Takes note of what became of the documents.
    pub(crate) fn stored(
        &mut self,
        state: &State,
        outcomes: Vec<Result<(), StateError>>,
    ) -> Result<(), StateError> {
        let mut failure = None;
        let kinds: Vec<ObjectKind> = self.unsaved_kinds().collect();
        let keys: Vec<ObjectKey> = self.unsaved.iter().cloned().collect();
        for (number, outcome) in outcomes.into_iter().enumerate() {
            match (outcome, state.one_by_one()) {
                (Ok(()), true) => drop(keys.get(number).map(|key| self.unsaved.remove(key))),
                (Ok(()), false) => self.unsaved.retain(|key| kinds.get(number) != Some(&key.kind)),
                (Err(error), _) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn unsaved_kinds(&self) -> impl Iterator<Item = ObjectKind> {
        ObjectKind::ALL.into_iter().filter(|kind| self.unsaved.iter().any(|key| key.kind == *kind))
    }

    /// All entries of a kind as one document.
    fn list(&self, kind: ObjectKind) -> Document {
        let entries = self.tenants.values().flatten().filter(|(key, _)| key.kind == kind);
        let entries: BTreeMap<String, Stored> =
            entries.map(|(key, entry)| (format!("{}/{}", key.namespace, key.name), entry.stored())).collect();
        (path(kind), Some(written(serde_json::to_vec_pretty(&entries))))
    }

    fn document(&self, key: &ObjectKey) -> Document {
        let entry = self.entry(key).map(|entry| StoredEntry {
            kind: key.kind.as_str().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            entry: entry.stored(),
        });
        (path_of(key), entry.map(|entry| written(serde_json::to_vec(&entry))))
    }
}

/// Texts and numbers can always be written as JSON; an empty document would be refused when it is read.
fn written(bytes: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    bytes.unwrap_or_default()
}

impl Entry {
    fn new(uid: Uid) -> Self {
        Self { uid, generation: 1, spec: None, vanished: None, held: None, left: false, approval: None }
    }

    fn restored(uid: Uid, stored: &Stored) -> Self {
        let mut entry = Self::new(uid);
        entry.generation = stored.generation;
        entry.spec = parse_hex(&stored.spec).map(Box::new);
        entry.vanished = stored.vanished;
        entry.hold(&stored.held);
        entry.approval = stored.approval.as_ref().map(|(value, since)| (value.to_string().into(), *since));
        entry
    }

    fn stored(&self) -> Stored {
        // It was made from a value, so it is one.
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let held = self.held.as_deref().map(value);
        Stored {
            uid: self.uid.to_string(),
            generation: self.generation,
            spec: self.spec.as_deref().map(|digest| hex(digest)).unwrap_or_default(),
            vanished: self.vanished,
            held: held.and_then(|held| held.as_object().cloned()).unwrap_or_default(),
            approval: self.approval.as_ref().map(|(text, since)| (value(text), *since)),
        }
    }

    fn hold(&mut self, held: &Map<String, Value>) {
        self.left = held.get("state").is_some_and(|state| *state == "Left");
        self.held = (!held.is_empty()).then(|| text_of(held).into());
    }

    /// Takes note of a spec's digest, and whether that is a new generation.
    fn count(&mut self, digest: Digest) -> bool {
        if self.spec.as_deref() == Some(&digest) {
            return false;
        }
        // The first readable form of an object that was unreadable so far is its first generation.
        self.generation += i64::from(self.spec.is_some());
        self.spec = Some(Box::new(digest));
        true
    }

    /// Takes note of what a valid spec promises, and whether that is anything new. What left stays so.
    fn learn(&mut self, kind: ObjectKind, spec: &Value, now: Timestamp) -> bool {
        let fields = held_fields(kind).iter();
        let mut held: Map<String, Value> =
            fields.filter_map(|field| Some(((*field).to_owned(), spec.get(field)?.clone()))).collect();
        if self.left {
            held.insert("state".to_owned(), "Left".into());
        }
        let before = self.held.take();
        self.hold(&held);
        let mut changed = before != self.held;
        if kind == ObjectKind::VpnUser {
            let approval = spec.get("approval").map(Value::to_string);
            if self.approval.as_ref().map(|(approval, _)| &**approval) != approval.as_deref() {
                self.approval = approval.map(|approval| (approval.into(), now.0));
                changed = true;
            }
        }
        changed
    }
}

/// JSON with the fields in order, so that equal ones have equal texts.
fn text_of(map: &Map<String, Value>) -> String {
    Value::Object(map.clone()).to_string()
}

/// When somebody who vanished is forgotten.
fn expiry(since: i64) -> Timestamp {
    Timestamp(since).plus(KEPT_DAYS * 86_400)
}

/// The digest of a spec; equal specs have equal ones, since their fields are in order.
fn digest_of(spec: &Value) -> Digest {
    sha256(spec.to_string().as_bytes())
}

fn path(kind: ObjectKind) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", kind.as_str().to_ascii_lowercase()))
}

fn path_of(key: &ObjectKey) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", key.file_stem()))
}

/// A random UUID of version 4.
fn new_uid() -> Result<Uid, StateError> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes).map_err(|_| {
        StateError::new(
            Code::StateUnusable,
            Path::new(DIRECTORY),
            "the operating system gives no random numbers",
            "look at the system's log",
        )
    })?;
    let bits = u128::from_be_bytes(bytes);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{bits:032x}");
    let mut uid = String::with_capacity(36);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            uid.push('-');
        }
        uid.push(digit);
    }
    uid.parse().map_err(|error| StateError::corrupt(Path::new(DIRECTORY), format!("{uid:?} is {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::tempdir;

    use super::*;

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name)
    }

    fn round(register: &mut Register, seen: &[(&ObjectKey, Option<Value>)], now: Timestamp) -> Round {
        let sightings =
            seen.iter().map(|(key, spec)| Sighting { key, spec: spec.as_ref(), valid: true, identity: None });
        let there = |key: &ObjectKey| seen.iter().any(|(seen, _)| *seen == key);
        let tenant = seen.first().map_or(key("li").namespace, |(key, _)| Arc::clone(key.tenant()));
        register.observe(&tenant, there, sightings, now).unwrap()
    }

    #[test]
    fn uids_are_random_uuids() {
        let (one, two) = (new_uid().unwrap(), new_uid().unwrap());
        assert_ne!(one, two);
        let bytes = one.as_str().as_bytes();
        assert_eq!((bytes.len(), bytes[14]), (36, b'4'));
        assert!(matches!(bytes[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn a_change_of_spec_raises_the_generation_and_keeps_the_uid() {
        let mut register = Register::default();
        let li = key("li");
        round(&mut register, &[(&li, None)], NOW);
        assert_eq!(register.source(&li).unwrap().generation, 1);
        round(&mut register, &[(&li, Some(json!({"a": 1})))], NOW);
        let first = register.source(&li).unwrap();
        assert_eq!(first.generation, 1);
        round(&mut register, &[(&li, None)], NOW);
        assert_eq!(register.source(&li).unwrap(), first, "an unreadable object teaches nothing");
        round(&mut register, &[(&li, Some(json!({"a": 2})))], NOW);
        let second = register.source(&li).unwrap();
        assert_eq!((second.uid, second.generation), (first.uid, 2));
    }

    #[test]
    fn who_vanishes_is_told_once_kept_for_a_while_and_then_forgotten() {
        let mut register = Register::default();
        let li = key("li");
        let there = [(&li, Some(json!({"a": 1})))];
        round(&mut register, &there, NOW);
        let source = register.source(&li).unwrap();
        let gone = round(&mut register, &[], NOW.plus(1));
        assert_eq!(gone.vanished, [(li.clone(), source.uid.clone())]);
        assert_eq!(round(&mut register, &[], NOW.plus(2)), Round::default());
        round(&mut register, &there, NOW.plus(3));
        assert_eq!(register.source(&li).unwrap(), source);
        round(&mut register, &[], NOW.plus(4));
        let later = NOW.plus(4 + KEPT_DAYS * 86_400);
        assert_eq!(register.holds_until(), later);
        assert!(register.expire(later.plus(-1)).is_empty());
        assert_eq!(register.expire(later), [(li.clone(), source.uid.clone())]);
        round(&mut register, &there, NOW);
        assert_ne!(register.source(&li).unwrap().uid, source.uid);
    }

    #[test]
    fn a_cluster_says_who_is_who() {
        let mut register = Register::default();
        let li = key("li");
        let spec = json!({"state": "Left", "requestedBy": "wang"});
        let mut see = |uid: &str, generation| {
            let source = Source { uid: uid.parse().unwrap(), generation };
            let seen = Sighting { key: &li, spec: Some(&spec), valid: true, identity: Some(&source) };
            let round = register.observe(li.tenant(), |_| true, [seen], NOW).unwrap();
            assert_eq!(register.source(&li), Some(source));
            (round, register.left(&li))
        };
        assert_eq!(see("u-1", 7), (Round::default(), true));
        assert_eq!(see("u-1", 9), (Round::default(), true));
        let (round, _) = see("u-2", 1);
        assert_eq!(round.forgotten, [(li.clone(), "u-1".parse().unwrap())]);
        assert_eq!(round.vanished, round.forgotten);
    }

    #[test]
    fn having_left_is_never_unsaid() {
        let mut register = Register::default();
        let li = key("li");
        round(&mut register, &[(&li, Some(json!({"state": "Left"})))], NOW);
        round(&mut register, &[], NOW);
        round(&mut register, &[(&li, Some(json!({"state": "Active"})))], NOW);
        assert!(register.left(&li));
    }

    #[test]
    fn only_valid_specs_are_promises() {
        let mut register = Register::default();
        let li = key("li");
        let spec = json!({"requestedBy": "wang", "sessionGeneration": 3, "request": {}});
        round(&mut register, &[(&li, Some(spec))], NOW);
        let held = json!({"requestedBy": "wang", "sessionGeneration": 3});
        assert_eq!(register.held(&li), Some(held.clone()));
        let invalid = json!({"requestedBy": "somebody else"});
        let seen = Sighting { key: &li, spec: Some(&invalid), valid: false, identity: None };
        register.observe(li.tenant(), |_| true, [seen], NOW).unwrap();
        assert_eq!(register.held(&li), Some(held));
        assert_eq!(register.source(&li).unwrap().generation, 2);
        assert_eq!(register.held(&key("new")), None);
    }

    #[test]
    fn an_approval_counts_from_when_it_was_first_seen_as_it_is() {
        let mut register = Register::default();
        let li = key("li");
        let approved = |by: &str, unit: &str| Some(json!({"approval": {"by": by}, "unit": unit}));
        round(&mut register, &[(&li, Some(json!({})))], NOW);
        assert_eq!(register.approved_since(&li), None);
        round(&mut register, &[(&li, approved("zhang", "a"))], NOW.plus(1));
        round(&mut register, &[(&li, approved("zhang", "b"))], NOW.plus(2));
        assert_eq!(register.approved_since(&li), Some(NOW.plus(1)));
        round(&mut register, &[(&li, approved("sun", "b"))], NOW.plus(3));
        assert_eq!(register.approved_since(&li), Some(NOW.plus(3)));
    }

    #[test]
    fn it_survives_a_restart_and_refuses_damage() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut register = Register::load(&state).unwrap();
        let (li, department) = (key("li"), ObjectKey::new(ObjectKind::Department, "", "sbj"));
        let spec = json!({"state": "Left", "approval": {"by": "zhang"}});
        round(&mut register, &[(&li, Some(spec))], NOW);
        round(&mut register, &[(&department, Some(json!({"code": "sbj"})))], NOW);
        assert!(register.has_unsaved());
        register.save(&state).unwrap();
        assert!(!register.has_unsaved());
        let loaded = Register::load(&state).unwrap();
        assert_eq!(loaded.tenants, register.tenants);

        state.write(&path(ObjectKind::VpnUser), b"{").unwrap();
        assert_eq!(Register::load(&state).unwrap_err().code, Code::StateCorrupt);
    }
}
