//! UIDs and generations for objects that come from files.
//!
//! A cluster gives every object a UID and counts the changes of its spec; in a folder we do. An
//! object is known by kind, namespace and name. When it vanishes its entry stays for
//! [`KEPT_DAYS`] days: if it returns it is the same object, with the credentials it had and a higher
//! epoch. Entries lie in `STATE/uids/<kind>.json`, written before anything that uses a new UID is
//! published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use tidegate_core::{Code, Source, Timestamp, Uid};

use crate::digest::{hex, sha256};
use crate::objects::{ObjectKey, ObjectKind};
use crate::state::{State, StateError};

/// Days an object that vanished keeps its UID and credentials.
pub const KEPT_DAYS: i64 = 30;

const DIRECTORY: &str = "uids";

/// The UIDs of every object in the folder, and of those that vanished lately.
#[derive(Debug, Default)]
pub struct Register {
    entries: BTreeMap<ObjectKey, Entry>,
    unsaved: BTreeSet<ObjectKind>,
}

/// One object as a round of reading saw it.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// Its spec in any deterministic form; a difference raises the generation. `None` when the object
    /// is there but could not be read: nothing is learnt about its spec.
    pub spec: Option<&'a [u8]>,
    /// Whether the spec says that the person left.
    pub left: bool,
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
    /// Whether it ever said that the person left: that is final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
}

impl Register {
    /// Reads the register. An unreadable one is refused: new UIDs would orphan every credential.
    pub fn load(state: &State) -> Result<Self, StateError> {
        let mut register = Self::default();
        for kind in ObjectKind::ALL {
            let path = path(kind);
            let Some(bytes) = state.read(&path)? else { continue };
            let corrupt = |what: String| StateError::corrupt(&state.root().join(&path), what);
            let entries: BTreeMap<String, Entry> = serde_json::from_slice(&bytes)
                .map_err(|error| corrupt(format!("this list of UIDs cannot be read: {error}")))?;
            for (name, entry) in entries {
                let (namespace, name) = name.split_once('/').unwrap_or(("", &name));
                if entry.uid.parse::<Uid>().is_err() {
                    return Err(corrupt(format!("the UID of {namespace}/{name} is not a UID")));
                }
                register.entries.insert(ObjectKey::new(kind, namespace, name), entry);
            }
        }
        Ok(register)
    }

    /// Takes note of everything that is in the folder at `now`; what is missing has vanished.
    pub fn observe<'a>(
        &mut self,
        seen: impl IntoIterator<Item = Sighting<'a>>,
        now: Timestamp,
    ) -> Result<Round, StateError> {
        let mut present = BTreeSet::new();
        for sighting in seen {
            self.sight(&sighting)?;
            present.insert(sighting.key);
        }
        let mut round = Round::default();
        let mut expired = Vec::new();
        for (key, entry) in &mut self.entries {
            if present.contains(key) {
                continue;
            }
            let Ok(uid) = entry.uid.parse::<Uid>() else { continue };
            match entry.vanished {
                None => {
                    entry.vanished = Some(now.0);
                    self.unsaved.insert(key.kind);
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
            self.unsaved.insert(key.kind);
        }
        Ok(round)
    }

    fn sight(&mut self, sighting: &Sighting<'_>) -> Result<(), StateError> {
        let digest = sighting.spec.map(|spec| hex(&sha256(spec)));
        let kind = sighting.key.kind;
        let Some(entry) = self.entries.get_mut(sighting.key) else {
            let entry = Entry {
                uid: new_uid()?,
                generation: 1,
                spec: digest.unwrap_or_default(),
                vanished: None,
                left: sighting.left,
            };
            self.entries.insert(sighting.key.clone(), entry);
            self.unsaved.insert(kind);
            return Ok(());
        };
        let before = entry.clone();
        entry.vanished = None;
        entry.left |= sighting.left;
        if let Some(digest) = digest.filter(|digest| *digest != entry.spec) {
            // The first readable form of an object that was unreadable so far is its first generation.
            entry.generation += i64::from(!entry.spec.is_empty());
            entry.spec = digest;
        }
        if *entry != before {
            self.unsaved.insert(kind);
        }
        Ok(())
    }

    /// The UID and generation of an object.
    #[must_use]
    pub fn source(&self, key: &ObjectKey) -> Option<Source> {
        let entry = self.entries.get(key)?;
        Some(Source { uid: entry.uid.parse().ok()?, generation: entry.generation })
    }

    /// Whether the object ever said that the person left.
    #[must_use]
    pub fn left(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.left)
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Stores what changed.
    pub fn save(&mut self, state: &State) -> Result<(), StateError> {
        while let Some(kind) = self.unsaved.first().copied() {
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
            self.unsaved.remove(&kind);
        }
        Ok(())
    }
}

fn path(kind: ObjectKind) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", kind.as_str().to_ascii_lowercase()))
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
    use tempfile::tempdir;

    use super::*;

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name)
    }

    fn round(register: &mut Register, seen: &[(&ObjectKey, Option<&str>, bool)], now: Timestamp) -> Round {
        let seen: Vec<_> = seen
            .iter()
            .map(|(key, spec, left)| Sighting { key, spec: spec.map(str::as_bytes), left: *left })
            .collect();
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
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut register = Register::load(&state).unwrap();
        let li = key("li");
        round(&mut register, &[(&li, Some("a"), false)], NOW);
        let first = register.source(&li).unwrap();
        assert_eq!(first.generation, 1);
        round(&mut register, &[(&li, Some("a"), false)], NOW);
        assert_eq!(register.source(&li).unwrap(), first);
        round(&mut register, &[(&li, None, false)], NOW);
        assert_eq!(register.source(&li).unwrap(), first, "an unreadable object teaches nothing");
        round(&mut register, &[(&li, Some("b"), false)], NOW);
        let second = register.source(&li).unwrap();
        assert_eq!((second.uid, second.generation), (first.uid, 2));
    }

    #[test]
    fn who_vanishes_is_told_once_kept_for_a_while_and_then_forgotten() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut register = Register::load(&state).unwrap();
        let li = key("li");
        round(&mut register, &[(&li, Some("a"), false)], NOW);
        let source = register.source(&li).unwrap();
        let gone = round(&mut register, &[], NOW.plus(1));
        assert_eq!(gone.vanished, [(li.clone(), source.uid.clone())]);
        assert_eq!(round(&mut register, &[], NOW.plus(2)), Round::default());
        round(&mut register, &[(&li, Some("a"), false)], NOW.plus(3));
        assert_eq!(register.source(&li).unwrap(), source);
        round(&mut register, &[], NOW.plus(4));
        let later = round(&mut register, &[], NOW.plus(4 + KEPT_DAYS * 86_400));
        assert_eq!(later.forgotten, [(li.clone(), source.uid.clone())]);
        round(&mut register, &[(&li, Some("a"), false)], NOW);
        assert_ne!(register.source(&li).unwrap().uid, source.uid);
    }

    #[test]
    fn having_left_is_never_unsaid() {
        let mut register = Register::default();
        let li = key("li");
        round(&mut register, &[(&li, Some("a"), true)], NOW);
        round(&mut register, &[], NOW);
        round(&mut register, &[(&li, Some("b"), false)], NOW);
        assert!(register.left(&li));
    }

    #[test]
    fn it_survives_a_restart_and_refuses_damage() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut register = Register::load(&state).unwrap();
        let (li, department) = (key("li"), ObjectKey::new(ObjectKind::Department, "", "sbj"));
        round(&mut register, &[(&li, Some("a"), true), (&department, Some("d"), false)], NOW);
        assert!(register.has_unsaved());
        register.save(&state).unwrap();
        assert!(!register.has_unsaved());
        let loaded = Register::load(&state).unwrap();
        assert_eq!(loaded.entries, register.entries);

        state.write(&path(ObjectKind::VpnUser), b"{").unwrap();
        assert_eq!(Register::load(&state).unwrap_err().code, Code::StateCorrupt);
    }
}
