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

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_core::{Code, Source, Timestamp, Uid};

use crate::digest::{Digest, hex, sha256};
use crate::objects::{ObjectKey, ObjectKind};
use crate::state::{State, StateError};

/// Days an object that vanished keeps its UID and credentials.
pub const KEPT_DAYS: i64 = 30;

const DIRECTORY: &str = "uids";

/// The UIDs of every object in the folder, and of those that vanished lately.
#[derive(Debug, Default)]
pub struct Register {
    entries: BTreeMap<ObjectKey, Entry>,
    unsaved: BTreeSet<ObjectKey>,
}

/// One object as a round of reading saw it.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// Its spec and the digest of it; a difference raises the generation. `None` when the object is
    /// there but could not be read: nothing is learnt about its spec.
    pub spec: Option<(&'a Value, Digest)>,
    /// Whether the spec is valid: only then it is a promise that later specs have to keep.
    pub valid: bool,
    /// The UID and generation it came with, where objects have them.
    pub identity: Option<&'a Source>,
}

/// What a round of reading changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Objects that are not there any more, since this round.
    pub vanished: Vec<(ObjectKey, Uid)>,
    /// Objects whose time ran out: their credentials go too.
    pub forgotten: Vec<(ObjectKey, Uid)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    uid: String,
    generation: i64,
    /// SHA-256 of the newest readable spec; empty before the first.
    spec: String,
    /// Seconds since 1970 at which it was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vanished: Option<i64>,
    /// The fields later specs are held against, as the newest valid spec had them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    held: Map<String, Value>,
    /// The approval as it stands, and since when, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<(Value, i64)>,
}

/// An entry that is a document of its own.
#[derive(Serialize, Deserialize)]
struct Document {
    kind: String,
    namespace: String,
    name: String,
    entry: Entry,
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
                let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
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
            let entries: BTreeMap<String, Entry> = serde_json::from_slice(&bytes)
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
        entry: Entry,
        corrupt: impl Fn(String) -> StateError,
    ) -> Result<(), StateError> {
        if entry.uid.parse::<Uid>().is_err() {
            return Err(corrupt(format!("the UID of {key} is not a UID")));
        }
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Takes note of everything that is there at `now`; what is missing has vanished.
    pub fn observe<'a>(
        &mut self,
        seen: impl IntoIterator<Item = Sighting<'a>>,
        now: Timestamp,
    ) -> Result<Round, StateError> {
        let mut present = BTreeSet::new();
        let mut round = Round::default();
        for sighting in seen {
            if let Some(uid) = self.sight(&sighting, now)? {
                round.vanished.push((sighting.key.clone(), uid.clone()));
                round.forgotten.push((sighting.key.clone(), uid));
            }
            present.insert(sighting.key);
        }
        let mut expired = Vec::new();
        for (key, entry) in &mut self.entries {
            if present.contains(key) {
                continue;
            }
            let Ok(uid) = entry.uid.parse::<Uid>() else { continue };
            match entry.vanished {
                None => {
                    entry.vanished = Some(now.0);
                    self.unsaved.insert(key.clone());
                    round.vanished.push((key.clone(), uid));
                }
                Some(since) if now.since(Timestamp(since)) >= KEPT_DAYS * 86_400 => {
                    expired.push(key.clone());
                    round.forgotten.push((key.clone(), uid));
                }
                Some(_) => {}
            }
        }
        for key in expired {
            self.entries.remove(&key);
            self.unsaved.insert(key);
        }
        Ok(round)
    }

    /// Takes note of one object. Returns the UID of the one that had its name before, if it was another.
    fn sight(&mut self, sighting: &Sighting<'_>, now: Timestamp) -> Result<Option<Uid>, StateError> {
        let kind = sighting.key.kind;
        let replaced = self.make_room(sighting);
        let entry = match self.entries.entry(sighting.key.clone()) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let uid = sighting.identity.map_or_else(new_uid, |source| Ok(source.uid.to_string()))?;
                self.unsaved.insert(sighting.key.clone());
                place.insert(Entry::new(uid))
            }
        };
        let mut changed = entry.vanished.take().is_some();
        if let Some(source) = sighting.identity {
            // Told by the object at every sighting, so it needs not be stored.
            entry.generation = source.generation;
        }
        if let Some((spec, digest)) = sighting.spec {
            if sighting.identity.is_none() {
                changed |= entry.count(digest);
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
        if self.entries.get(sighting.key)?.uid == source.uid.as_str() {
            return None;
        }
        self.entries.remove(sighting.key)?.uid.parse().ok()
    }

    /// The UID and generation of an object.
    #[must_use]
    pub fn source(&self, key: &ObjectKey) -> Option<Source> {
        let entry = self.entries.get(key)?;
        Some(Source { uid: entry.uid.parse().ok()?, generation: entry.generation })
    }

    /// The fields an object's next spec is held against, in the shape of a spec; `None` for a new object.
    #[must_use]
    pub fn held(&self, key: &ObjectKey) -> Option<Value> {
        let entry = self.entries.get(key)?;
        (!entry.held.is_empty()).then(|| Value::Object(entry.held.clone()))
    }

    /// Whether the object ever said that the person left: that is final.
    #[must_use]
    pub fn left(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.held.get("state") == Some(&Value::from("Left")))
    }

    /// Since when the account's approval is as it is.
    #[must_use]
    pub fn approved_since(&self, key: &ObjectKey) -> Option<Timestamp> {
        self.entries.get(key)?.approval.as_ref().map(|(_, since)| Timestamp(*since))
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Stores what changed.
    pub fn save(&mut self, state: &State) -> Result<(), StateError> {
        if state.one_by_one() { self.save_each(state) } else { self.save_lists(state) }
    }

    fn save_lists(&mut self, state: &State) -> Result<(), StateError> {
        while let Some(kind) = self.unsaved.first().map(|key| key.kind) {
            let entries: BTreeMap<String, &Entry> = self
                .entries
                .iter()
                .filter(|(key, _)| key.kind == kind)
                .map(|(key, entry)| (format!("{}/{}", key.namespace, key.name), entry))
                .collect();
            let path = path(kind);
            let bytes = serde_json::to_vec_pretty(&entries).map_err(|error| {
                StateError::corrupt(&path, format!("this list of UIDs cannot be written: {error}"))
            })?;
            state.write(&path, &bytes)?;
            self.unsaved.retain(|key| key.kind != kind);
        }
        Ok(())
    }

    fn save_each(&mut self, state: &State) -> Result<(), StateError> {
        // What an object says at every sighting needs no entry that outlives us.
        self.unsaved.retain(|key| !held_fields(key.kind).is_empty());
        let (there, gone): (Vec<ObjectKey>, Vec<ObjectKey>) =
            self.unsaved.iter().cloned().partition(|key| self.entries.contains_key(key));
        let mut files = Vec::with_capacity(there.len());
        for key in &there {
            let Some(entry) = self.entries.get(key) else { continue };
            let document = Document {
                kind: key.kind.as_str().to_owned(),
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
                entry: entry.clone(),
            };
            let path = path_of(key);
            let bytes = serde_json::to_vec(&document).map_err(|error| {
                StateError::corrupt(&path, format!("this entry of the register cannot be written: {error}"))
            })?;
            files.push((path, bytes));
        }
        let mut failure = None;
        for (key, outcome) in there.iter().zip(state.write_many(files)) {
            match outcome {
                Ok(()) => {
                    self.unsaved.remove(key);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for (key, outcome) in gone.iter().zip(state.remove_many(gone.iter().map(path_of).collect())) {
            match outcome {
                Ok(()) => {
                    self.unsaved.remove(key);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Entry {
    fn new(uid: String) -> Self {
        Self { uid, generation: 1, spec: String::new(), vanished: None, held: Map::new(), approval: None }
    }

    /// Takes note of a spec's digest, and whether that is a new generation.
    fn count(&mut self, digest: Digest) -> bool {
        let digest = hex(&digest);
        if digest == self.spec {
            return false;
        }
        // The first readable form of an object that was unreadable so far is its first generation.
        self.generation += i64::from(!self.spec.is_empty());
        self.spec = digest;
        true
    }

    /// Takes note of what a valid spec promises, and whether that is anything new. What left stays so.
    fn learn(&mut self, kind: ObjectKind, spec: &Value, now: Timestamp) -> bool {
        let left = self.held.get("state") == Some(&Value::from("Left"));
        let mut changed = false;
        for field in held_fields(kind) {
            if left && *field == "state" || self.held.get(*field) == spec.get(field) {
                continue;
            }
            changed = true;
            match spec.get(field) {
                Some(value) => self.held.insert((*field).to_owned(), value.clone()),
                None => self.held.remove(*field),
            };
        }
        if kind == ObjectKind::VpnUser {
            let approval = spec.get("approval");
            if self.approval.as_ref().map(|(approval, _)| approval) != approval {
                self.approval = approval.map(|approval| (approval.clone(), now.0));
                changed = true;
            }
        }
        changed
    }
}

/// The digest of a spec; equal specs have equal ones, since their fields are in order.
pub(crate) fn digest_of(spec: &Value) -> Digest {
    sha256(spec.to_string().as_bytes())
}

fn path(kind: ObjectKind) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", kind.as_str().to_ascii_lowercase()))
}

fn path_of(key: &ObjectKey) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", key.file_stem()))
}

/// A random UUID of version 4.
fn new_uid() -> Result<String, StateError> {
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
    Ok(uid)
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
        let seen = seen.iter().map(|(key, spec)| Sighting {
            key,
            spec: spec.as_ref().map(|spec| (spec, digest_of(spec))),
            valid: true,
            identity: None,
        });
        register.observe(seen, now).unwrap()
    }

    #[test]
    fn uids_are_random_uuids() {
        let (one, two) = (new_uid().unwrap(), new_uid().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert!(one.parse::<Uid>().is_ok());
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
        let later = round(&mut register, &[], NOW.plus(4 + KEPT_DAYS * 86_400));
        assert_eq!(later.forgotten, [(li.clone(), source.uid.clone())]);
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
            let spec = Some((&spec, digest_of(&spec)));
            let seen = Sighting { key: &li, spec, valid: true, identity: Some(&source) };
            let round = register.observe([seen], NOW).unwrap();
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
        let spec = Some((&invalid, digest_of(&invalid)));
        let seen = Sighting { key: &li, spec, valid: false, identity: None };
        register.observe([seen], NOW).unwrap();
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
        round(&mut register, &[(&li, Some(spec)), (&department, Some(json!({"code": "sbj"})))], NOW);
        assert!(register.has_unsaved());
        register.save(&state).unwrap();
        assert!(!register.has_unsaved());
        let loaded = Register::load(&state).unwrap();
        assert_eq!(loaded.entries, register.entries);

        state.write(&path(ObjectKind::VpnUser), b"{").unwrap();
        assert_eq!(Register::load(&state).unwrap_err().code, Code::StateCorrupt);
    }
}
