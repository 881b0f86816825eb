//! What became of each object: conditions, and their place in `STATE/status`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_core::{Source, Timestamp};

use crate::events::Problem;
use crate::objects::ObjectKey;
use crate::state::{State, StateError};
use crate::time::rfc3339;

const DIRECTORY: &str = "status";

/// Everything that is not in force as written, objects and files, in one list.
const PROBLEMS: &str = "status/problems.json";

/// Longest message of a condition, as the schema of conditions allows.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// What a condition speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The object is valid as written.
    Accepted,
    /// The account is approved by somebody who did not ask for it.
    Approved,
    /// The account is confirmed for this year.
    ReviewCurrent,
    /// The rules are compiled and in the snapshot.
    Compiled,
    /// What the object says is in force on every gateway.
    Propagated,
    /// All of the above.
    Ready,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be said.
    Unknown,
}

/// One condition, in the form Kubernetes gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it speaks about.
    pub r#type: ConditionType,
    /// Whether it holds.
    pub status: Truth,
    /// One CamelCase word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The generation it was judged from.
    pub observed_generation: i64,
    /// When `status` last changed, RFC 3339; filled in by [`Ledger::update`].
    pub last_transition_time: String,
}

/// An object and its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// Which object.
    pub key: ObjectKey,
    /// Its UID and generation.
    pub source: Source,
    /// Its conditions, in the order of [`ConditionType`].
    pub conditions: Vec<Condition>,
    /// Reason and message of an object that is in force and says no, such as a suspended account.
    pub says_no: Option<(String, String)>,
}

impl ObjectStatus {
    /// A status without conditions.
    #[must_use]
    pub fn new(key: ObjectKey, source: Source) -> Self {
        Self { key, source, conditions: Vec::new(), says_no: None }
    }

    /// Sets a condition.
    pub fn set(&mut self, r#type: ConditionType, status: Truth, reason: &str, message: impl Into<String>) {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        }
        let condition = Condition {
            r#type,
            status,
            reason: reason.to_owned(),
            message,
            observed_generation: self.source.generation,
            last_transition_time: String::new(),
        };
        match self.conditions.binary_search_by_key(&r#type, |condition| condition.r#type) {
            Ok(index) => {
                if let Some(place) = self.conditions.get_mut(index) {
                    *place = condition;
                }
            }
            Err(index) => self.conditions.insert(index, condition),
        }
    }

    /// A condition that was set.
    #[must_use]
    pub fn get(&self, r#type: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == r#type)
    }

    /// Whether a condition was set and holds.
    #[must_use]
    pub fn is(&self, r#type: ConditionType) -> bool {
        self.get(r#type).is_some_and(|condition| condition.status == Truth::True)
    }

    /// Sums up: ready when every other condition holds, else the first that does not says why.
    /// An object that is in force and says no is not ready either.
    pub fn sum_up(&mut self) {
        let first = self
            .conditions
            .iter()
            .find(|condition| condition.r#type != ConditionType::Ready && condition.status != Truth::True);
        let (status, reason, message) = match first {
            None => match self.says_no.clone() {
                None => (Truth::True, "Ready".to_owned(), "in force".to_owned()),
                Some((reason, message)) => (Truth::False, reason, message),
            },
            Some(condition) => (condition.status, condition.reason.clone(), condition.message.clone()),
        };
        self.set(ConditionType::Ready, status, &reason, message);
    }
}

/// The statuses as they lie on the disk; a file is written only when it says something else.
#[derive(Debug, Default)]
pub struct Ledger {
    written: BTreeMap<PathBuf, Document>,
    problems: Option<BTreeSet<Problem>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    uid: String,
    generation: i64,
    conditions: Vec<Condition>,
}

impl Ledger {
    /// Reads what earlier runs wrote, so that times of change survive. An unreadable file is written anew.
    pub fn load(state: &State) -> Result<Self, StateError> {
        let mut ledger = Self::default();
        for path in state.files(Path::new(DIRECTORY))? {
            if path == Path::new(PROBLEMS) {
                continue;
            }
            let document = state.read(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(document) = document {
                ledger.written.insert(path, document);
            } else {
                state.remove(&path)?;
            }
        }
        Ok(ledger)
    }

    /// What was said last about an object: the generation, and whether and why it was accepted.
    #[must_use]
    pub fn last(&self, key: &ObjectKey) -> Option<(i64, &Condition)> {
        let document = self.written.get(&path(key))?;
        let accepted =
            document.conditions.iter().find(|condition| condition.r#type == ConditionType::Accepted)?;
        Some((document.generation, accepted))
    }

    /// Writes the list of problems, if it changed.
    pub fn update_problems(&mut self, state: &State, problems: &BTreeSet<Problem>) -> Result<(), StateError> {
        if self.problems.as_ref() == Some(problems) {
            return Ok(());
        }
        let path = Path::new(PROBLEMS);
        let bytes = serde_json::to_vec_pretty(problems)
            .map_err(|error| StateError::corrupt(path, format!("the problems cannot be written: {error}")))?;
        state.write_output(path, &bytes)?;
        self.problems = Some(problems.clone());
        Ok(())
    }

    /// Writes the statuses that changed and removes those of objects that are gone.
    /// Returns how many files changed; what failed is tried again at the next call.
    pub fn update(
        &mut self,
        state: &State,
        statuses: &[ObjectStatus],
        now: Timestamp,
    ) -> Result<usize, StateError> {
        let mut changed = 0;
        let mut wanted = BTreeMap::new();
        for status in statuses {
            let path = path(&status.key);
            let document = Document::of(status, self.written.get(&path), now);
            wanted.insert(path, document);
        }
        let gone: Vec<PathBuf> =
            self.written.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in gone {
            state.remove(&path)?;
            self.written.remove(&path);
            changed += 1;
        }
        for (path, document) in wanted {
            if self.written.get(&path) == Some(&document) {
                continue;
            }
            let bytes = serde_json::to_vec_pretty(&document).map_err(|error| {
                StateError::corrupt(&path, format!("a status cannot be written: {error}"))
            })?;
            state.write_output(&path, &bytes)?;
            self.written.insert(path, document);
            changed += 1;
        }
        Ok(changed)
    }
}

impl Document {
    fn of(status: &ObjectStatus, before: Option<&Self>, now: Timestamp) -> Self {
        let conditions = status.conditions.iter().map(|condition| {
            let since = before
                .and_then(|before| before.conditions.iter().find(|old| old.r#type == condition.r#type))
                .filter(|old| old.status == condition.status)
                .map_or_else(|| rfc3339(now), |old| old.last_transition_time.clone());
            Condition { last_transition_time: since, ..condition.clone() }
        });
        Self {
            kind: status.key.kind.as_str().to_owned(),
            namespace: status.key.namespace.to_string(),
            name: status.key.name.to_string(),
            uid: status.source.uid.to_string(),
            generation: status.source.generation,
            conditions: conditions.collect(),
        }
    }
}

fn path(key: &ObjectKey) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", key.file_stem()))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::objects::ObjectKind;

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn status(generation: i64, accepted: Truth) -> ObjectStatus {
        let key = ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li");
        let mut status = ObjectStatus::new(key, Source { uid: "u-1".parse().unwrap(), generation });
        status.set(ConditionType::Propagated, Truth::True, "Propagated", "");
        status.set(ConditionType::Accepted, accepted, "Because", "of this");
        status.sum_up();
        status
    }

    #[test]
    fn the_first_condition_that_fails_is_the_summary() {
        let mut good = status(1, Truth::True);
        assert!(good.is(ConditionType::Ready));
        good.says_no = Some(("Suspended".into(), String::new()));
        good.sum_up();
        assert_eq!(good.get(ConditionType::Ready).unwrap().reason, "Suspended");
        let bad = status(1, Truth::False);
        assert_eq!(bad.get(ConditionType::Ready).unwrap().reason, "Because");
        let order: Vec<_> = bad.conditions.iter().map(|c| c.r#type).collect();
        assert_eq!(order, [ConditionType::Accepted, ConditionType::Propagated, ConditionType::Ready]);
    }

    #[test]
    fn a_file_is_written_only_when_it_says_something_else() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut ledger = Ledger::load(&state).unwrap();
        assert_eq!(ledger.update(&state, &[status(1, Truth::True)], NOW).unwrap(), 1);
        assert_eq!(ledger.update(&state, &[status(1, Truth::True)], NOW.plus(9)).unwrap(), 0);
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("\"lastTransitionTime\": \"2025-10-09T08:53:20Z\""), "{text}");

        let mut ledger = Ledger::load(&state).unwrap();
        assert_eq!(ledger.update(&state, &[status(2, Truth::True)], NOW.plus(9)).unwrap(), 1);
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("\"observedGeneration\": 2") && text.contains("08:53:20Z"), "{text}");
        assert_eq!(ledger.update(&state, &[status(2, Truth::False)], NOW.plus(9)).unwrap(), 1);
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("08:53:29Z"), "{text}");
        assert_eq!(ledger.update(&state, &[], NOW).unwrap(), 1);
        assert!(!dir.path().join("status/vpnuser-dept-sbj-li.json").exists());
    }

    #[test]
    fn long_messages_are_cut_at_a_letter() {
        let mut long = status(1, Truth::True);
        long.set(ConditionType::Accepted, Truth::False, "Long", "海".repeat(2_000));
        assert!(long.get(ConditionType::Accepted).unwrap().message.len() <= MESSAGE_BYTES_MAX);
    }
}
