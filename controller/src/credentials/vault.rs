//! All credential records, in memory and in `STATE/credentials/<department>/<uid>.json`.
//!
//! A record is changed in memory at once, so that a loss of standing can be published without
//! waiting for the disk, and stored before anything that gives access is published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate_core::{Code, Credential, DepartmentCode, Timestamp, Uid};
use tidegate_store::Intent;

use super::{Effect, Observed, Record, Step};
use crate::activation::ActivationCode;
use crate::state::{Document, State, StateError};

const DIRECTORY: &str = "credentials";

/// The credential records of every account ever seen, less those forgotten.
#[derive(Debug, Default)]
pub struct Vault {
    slots: BTreeMap<Uid, Box<Slot>>,
    /// Those that had standing when they were last observed, by department.
    standing: BTreeMap<DepartmentCode, BTreeSet<Uid>>,
    /// Those whose file does not say everything yet.
    unsaved: BTreeSet<Uid>,
    /// Accounts whose file cannot be read: they stay without credential, and the file stays as it is.
    unreadable: BTreeSet<Uid>,
}

#[derive(Debug)]
struct Slot {
    department: DepartmentCode,
    record: Record,
    /// Standing was given back, and the file does not say so yet.
    held_back: bool,
}

impl Vault {
    /// Reads every record. An unreadable one is reported and its account has no credential.
    pub fn load(state: &State) -> Result<(Self, Vec<StateError>), StateError> {
        let mut vault = Self::default();
        let mut problems = Vec::new();
        for path in state.files(Path::new(DIRECTORY))? {
            let Some((department, uid)) = owner(&path) else {
                problems.push(StateError::corrupt(
                    &state.root().join(&path),
                    "its name is not <department>/<uid>.json",
                ));
                continue;
            };
            let bytes = state.read(&path)?.unwrap_or_default();
            match serde_json::from_slice(&bytes) {
                Ok(record) => {
                    let slot = Slot { department, record, held_back: false };
                    vault.note_standing(&uid, &slot);
                    vault.slots.insert(uid, Box::new(slot));
                }
                Err(error) => {
                    vault.unreadable.insert(uid);
                    // The parser quotes what it did not expect, and that may be a hash.
                    let (line, column) = (error.line(), error.column());
                    problems.push(StateError::corrupt(
                        &state.root().join(&path),
                        format!("this credential record cannot be read at line {line}, column {column}"),
                    ));
                }
            }
        }
        Ok((vault, problems))
    }

    /// Takes note of what an account's object says; returns what became different.
    pub fn observe(
        &mut self,
        state: &State,
        department: &DepartmentCode,
        uid: &Uid,
        seen: &Observed,
    ) -> Vec<Effect> {
        if self.unreadable.contains(uid) {
            return Vec::new();
        }
        let code = |issue| ActivationCode::derive(state.root_key(), uid, issue).digest();
        let step = match self.slots.get(uid) {
            Some(slot) => slot.record.observe(seen, code),
            None => Record::first(seen, code),
        };
        self.take(department, uid, step)
    }

    /// Departments of which accounts have standing.
    pub fn departments(&self) -> impl Iterator<Item = &DepartmentCode> {
        self.standing.keys()
    }

    /// Accounts of a department that are not there any more lose their standing.
    pub fn miss(&mut self, department: &DepartmentCode, present: impl Fn(&Uid) -> bool, now: Timestamp) {
        let standing = self.standing.get(department).into_iter().flatten();
        let missing: Vec<Uid> = standing.filter(|uid| !present(uid)).cloned().collect();
        for uid in missing {
            let Some(slot) = self.slots.get(&uid) else { continue };
            let gone = Observed {
                at: now,
                standing: false,
                session_generation: 0,
                reissue: 0,
                password_max_age_days: 0,
            };
            // Without standing no code is made.
            let (department, step) = (slot.department.clone(), slot.record.observe(&gone, |_| [0; 32]));
            self.take(&department, &uid, step);
        }
    }

    /// Catches up with what was published before a crash.
    pub fn at_least_epoch(&mut self, uid: &Uid, published: u64) {
        if let Some(slot) = self.slots.get(uid) {
            let (department, step) = (slot.department.clone(), slot.record.at_least_epoch(published));
            self.take(&department, uid, step);
        }
    }

    /// Does what a gateway asked for and stores it; on a failed write nothing has changed.
    pub fn intend(
        &mut self,
        state: &State,
        intent: &Intent,
        now: Timestamp,
    ) -> Result<Result<(u64, Vec<Effect>), Code>, StateError> {
        let Some(slot) = self.slots.get_mut(&intent.uid) else {
            return Ok(Err(Code::AccountUnknown));
        };
        if slot.department != intent.account.department {
            return Ok(Err(Code::AccountUnknown));
        }
        let step = match slot.record.intend(intent, now) {
            Ok(step) => step,
            Err(code) => return Ok(Err(code)),
        };
        if step.record != slot.record {
            state.write(&path(&slot.department, &intent.uid), &encode(&step.record))?;
            slot.record = step.record;
            slot.held_back = false;
            self.unsaved.remove(&intent.uid);
        }
        let version = slot.record.settled(intent).unwrap_or(slot.record.version);
        Ok(Ok((version, step.effects)))
    }

    /// Stores what is not stored yet. Returns the failures; they are tried again at the next call.
    pub fn save(&mut self, state: &State) -> Vec<StateError> {
        let outcomes = state.change_many(self.documents());
        self.stored(outcomes)
    }

    /// The documents that have to be stored. [`Self::stored`] has to follow.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Document> + '_ {
        let slots = self.unsaved.iter().filter_map(|uid| Some((uid, self.slots.get(uid)?)));
        slots.map(|(uid, slot)| (path(&slot.department, uid), Some(encode(&slot.record))))
    }

    /// Takes note of what became of the documents; returns the failures.
    pub(crate) fn stored(&mut self, outcomes: Vec<Result<(), StateError>>) -> Vec<StateError> {
        let mut failures = Vec::new();
        let unsaved: Vec<Uid> = self.unsaved.iter().cloned().collect();
        for (uid, outcome) in unsaved.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.unsaved.remove(&uid);
                    if let Some(slot) = self.slots.get_mut(&uid) {
                        slot.held_back = false;
                    }
                }
                Err(error) => failures.push(error),
            }
        }
        failures
    }

    /// Whether any record waits to be stored.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// The departments of accounts whose records wait to be stored.
    pub fn unsaved(&self) -> impl Iterator<Item = &DepartmentCode> {
        self.unsaved.iter().filter_map(|uid| self.slots.get(uid)).map(|slot| &slot.department)
    }

    /// The version of what [`Self::published`] gives: whoever has it need not ask again.
    #[must_use]
    pub fn version(&self, uid: &Uid) -> Option<u64> {
        self.slots.get(uid).filter(|slot| !slot.held_back).map(|slot| slot.record.version)
    }

    /// What gateways are told about an account; `None`, which denies, while its record cannot be read
    /// or while standing was given back and that is not stored.
    ///
    /// A raised epoch is told even before it is stored: it only takes away, and after a crash
    /// [`Self::at_least_epoch`] finds it in the store.
    #[must_use]
    pub fn published(&self, uid: &Uid) -> Option<Credential> {
        self.slots.get(uid).filter(|slot| !slot.held_back).map(|slot| slot.record.published())
    }

    /// The account's record, stored or not.
    #[must_use]
    pub fn record(&self, uid: &Uid) -> Option<&Record> {
        self.slots.get(uid).map(|slot| &slot.record)
    }

    /// Removes the record of an account that is not coming back.
    pub fn forget(&mut self, state: &State, uid: &Uid) -> Result<(), StateError> {
        match self.slots.get(uid) {
            Some(slot) => state.remove(&path(&slot.department, uid))?,
            None => return Ok(()),
        }
        self.slots.remove(uid);
        self.unsaved.remove(uid);
        Ok(())
    }

    fn take(&mut self, department: &DepartmentCode, uid: &Uid, step: Step) -> Vec<Effect> {
        let known = self.slots.get(uid);
        if known.is_some_and(|slot| slot.record == step.record) {
            return step.effects;
        }
        let regained = step.effects.contains(&Effect::StandingRegained);
        let slot = Slot {
            department: known.map_or(department, |slot| &slot.department).clone(),
            held_back: known.is_none_or(|slot| slot.held_back || regained),
            record: step.record,
        };
        self.unsaved.insert(uid.clone());
        self.note_standing(uid, &slot);
        self.slots.insert(uid.clone(), Box::new(slot));
        step.effects
    }

    fn note_standing(&mut self, uid: &Uid, slot: &Slot) {
        if slot.record.has_standing() {
            self.standing.entry(slot.department.clone()).or_default().insert(uid.clone());
        } else if let Some(standing) = self.standing.get_mut(&slot.department) {
            standing.remove(uid);
            if standing.is_empty() {
                self.standing.remove(&slot.department);
            }
        }
    }
}

fn encode(record: &Record) -> Vec<u8> {
    // Texts and numbers can always be written as JSON; an empty record would be refused when it is read.
    serde_json::to_vec(record).unwrap_or_default()
}

fn path(department: &DepartmentCode, uid: &Uid) -> PathBuf {
    Path::new(DIRECTORY).join(department.as_str()).join(format!("{uid}.json"))
}

fn owner(path: &Path) -> Option<(DepartmentCode, Uid)> {
    let department = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    let uid = path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()?;
    Some((department, uid))
}
