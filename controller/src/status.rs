//! What became of each object: conditions, and which of them have to be said anew.
//!
//! Conditions lie in `STATE/status`, in a cluster on the object. Of what was said only a digest is kept
//! in memory, and since when each condition is as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tidegate_core::{Source, Timestamp, Uid};

use crate::events::Problem;
use crate::objects::{ObjectKey, ObjectKind, TenantName, pack};
use crate::state::{State, StateError};
use crate::time::{parse_rfc3339, rfc3339};

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

impl ConditionType {
    /// Its name, as objects carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Approved => "Approved",
            Self::ReviewCurrent => "ReviewCurrent",
            Self::Compiled => "Compiled",
            Self::Propagated => "Propagated",
            Self::Ready => "Ready",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be said.
    Unknown,
}

impl Truth {
    /// Its name, as objects carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
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
    /// When `status` last changed, RFC 3339; filled in by [`Ledger::say`].
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

/// What was said, handed from one controller of this process to the next.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// How many objects of a kind have a condition in which truth.
pub type Counts = BTreeMap<(ObjectKind, ConditionType, Truth), i64>;

/// What was said about every object; it is said again only when it is something else.
#[derive(Debug, Default)]
pub struct Ledger {
    tenants: BTreeMap<TenantName, BTreeMap<ObjectKey, Said>>,
    counts: Counts,
    problems: Option<BTreeSet<Problem>>,
}

/// What was said about one object, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of the object's UID: another object may have its name and its generation by now.
    object: u64,
    generation: i64,
    /// Of everything but the times.
    digest: u64,
    /// Since when each condition is as it is.
    since: Box<[(ConditionType, Truth, Timestamp)]>,
    /// Why it is not accepted.
    refused: Option<Box<str>>,
}

/// An object's conditions in the form in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) conditions: Vec<Condition>,
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
            let known =
                document.and_then(|document: Document| Some((document.key()?, document.source()?, document)));
            match known {
                Some((key, source, document)) => {
                    let said = Said::of(&source, &document.conditions, |condition| {
                        parse_rfc3339(&condition.last_transition_time)
                    });
                    ledger.note(&key, Some(said));
                }
                None => state.remove(&path)?,
            }
        }
        Ok(ledger)
    }

    /// What objects say that an earlier controller said about them.
    #[must_use]
    pub fn recalled(said: impl IntoIterator<Item = (ObjectKey, Said)>) -> Self {
        let mut ledger = Self::default();
        said.into_iter().for_each(|(key, said)| ledger.note(&key, Some(said)));
        ledger.tenants.values_mut().for_each(pack);
        ledger
    }

    fn said(&self, key: &ObjectKey) -> Option<&Said> {
        self.tenants.get(key.tenant())?.get(key)
    }

    /// The objects of a tenant about which something was said.
    pub fn of(&self, tenant: &TenantName) -> impl Iterator<Item = &ObjectKey> {
        self.tenants.get(tenant).into_iter().flat_map(BTreeMap::keys)
    }

    /// The tenants about whose objects something was said.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.keys()
    }

    /// How many objects of a kind have a condition in which truth.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes note of what was said of an object, or that nothing is.
    fn note(&mut self, key: &ObjectKey, said: Option<Said>) {
        for (r#type, truth, _) in said.iter().flat_map(|said| &said.since) {
            *self.counts.entry((key.kind, *r#type, *truth)).or_default() += 1;
        }
        let objects = self.tenants.entry(Arc::clone(key.tenant())).or_default();
        let before = match said {
            Some(said) => objects.insert(key.clone(), said),
            None => objects.remove(key),
        };
        if objects.is_empty() {
            self.tenants.remove(key.tenant());
        }
        for (r#type, truth, _) in before.iter().flat_map(|said| &said.since) {
            *self.counts.entry((key.kind, *r#type, *truth)).or_default() -= 1;
        }
    }

    /// Whether it was already said of this object and generation that it is accepted, or refused for this reason.
    #[must_use]
    pub fn knows(&self, key: &ObjectKey, source: &Source, refusal: Option<&str>) -> bool {
        self.said(key).is_some_and(|said| {
            let same = match (said.refused.as_deref(), refusal) {
                (None, None) => true,
                (Some(said), Some(refusal)) => said.starts_with(refusal),
                _ => false,
            };
            said.is_about(&source.uid) && said.generation == source.generation && same
        })
    }

    /// Writes the list of problems, if it changed.
    pub fn update_problems(&mut self, state: &State, problems: BTreeSet<Problem>) -> Result<(), StateError> {
        if self.problems.as_ref() == Some(&problems) {
            return Ok(());
        }
        let path = Path::new(PROBLEMS);
        let bytes = serde_json::to_vec_pretty(&problems)
            .map_err(|error| StateError::corrupt(path, format!("the problems cannot be written: {error}")))?;
        state.write_output(path, &bytes)?;
        self.problems = Some(problems);
        Ok(())
    }

    /// Says what became of an object, if it is anything else than before; whether it was.
    pub fn say(&mut self, state: &State, status: &ObjectStatus, now: Timestamp) -> Result<bool, StateError> {
        let before = self.said(&status.key).filter(|said| said.is_about(&status.source.uid));
        if before.is_some_and(|said| said.digest == digest(&status.conditions)) {
            return Ok(false);
        }
        let said = Said::of(&status.source, &status.conditions, |condition| {
            let since = before.and_then(|said| said.since(condition.r#type, condition.status));
            Some(since.unwrap_or(now))
        });
        state.say(&status.key, &Document::of(status, &said))?;
        self.note(&status.key, Some(said));
        Ok(true)
    }

    /// What was said of an object may not have come to it, so it is said again.
    pub fn doubt(&mut self, key: &ObjectKey) {
        let said = self.tenants.get_mut(key.tenant()).and_then(|objects| objects.get_mut(key));
        if let Some(said) = said {
            said.digest = !said.digest;
        }
    }

    /// Takes back what was said of an object that is gone.
    pub fn unsay(&mut self, state: &State, key: &ObjectKey) -> Result<(), StateError> {
        if self.said(key).is_some() {
            state.unsay(key)?;
            self.note(key, None);
        }
        Ok(())
    }
}

impl Said {
    /// A summary of conditions. A condition without a time is as good as never said.
    pub(crate) fn of(
        source: &Source,
        conditions: &[Condition],
        since: impl Fn(&Condition) -> Option<Timestamp>,
    ) -> Self {
        let times = conditions
            .iter()
            .filter_map(|condition| Some((condition.r#type, condition.status, since(condition)?)));
        let refused = conditions
            .iter()
            .find(|condition| condition.r#type == ConditionType::Accepted && condition.status != Truth::True)
            .map(|condition| condition.message.as_str().into());
        Self {
            object: digest_of(&source.uid),
            generation: source.generation,
            digest: digest(conditions),
            since: times.collect(),
            refused,
        }
    }

    /// Whether it was said about the object with this UID.
    fn is_about(&self, uid: &Uid) -> bool {
        self.object == digest_of(uid)
    }

    fn since(&self, r#type: ConditionType, status: Truth) -> Option<Timestamp> {
        let found = self.since.iter().find(|(known, truth, _)| *known == r#type && *truth == status);
        found.map(|(_, _, since)| *since)
    }
}

fn digest_of(uid: &Uid) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    hasher.finish()
}

/// Of everything but the times.
fn digest(conditions: &[Condition]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for condition in conditions {
        (condition.r#type, condition.status, condition.observed_generation).hash(&mut hasher);
        (&condition.reason, &condition.message).hash(&mut hasher);
    }
    hasher.finish()
}

impl Document {
    pub(crate) fn of(status: &ObjectStatus, said: &Said) -> Self {
        let conditions = status.conditions.iter().map(|condition| {
            let since = said.since(condition.r#type, condition.status).unwrap_or(Timestamp(0));
            Condition { last_transition_time: rfc3339(since), ..condition.clone() }
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

    fn key(&self) -> Option<ObjectKey> {
        Some(ObjectKey::new(ObjectKind::named(&self.kind)?, &self.namespace, &self.name))
    }

    fn source(&self) -> Option<Source> {
        Some(Source { uid: self.uid.parse().ok()?, generation: self.generation })
    }
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
        assert!(ledger.say(&state, &status(1, Truth::True), NOW).unwrap());
        assert!(!ledger.say(&state, &status(1, Truth::True), NOW.plus(9)).unwrap());
        let accepted = (ObjectKind::VpnUser, ConditionType::Accepted, Truth::True);
        assert_eq!(ledger.counts()[&accepted], 1);
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("\"lastTransitionTime\": \"2025-10-09T08:53:20Z\""), "{text}");

        let mut ledger = Ledger::load(&state).unwrap();
        assert!(ledger.say(&state, &status(2, Truth::True), NOW.plus(9)).unwrap());
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("\"observedGeneration\": 2") && text.contains("08:53:20Z"), "{text}");
        assert!(ledger.say(&state, &status(2, Truth::False), NOW.plus(9)).unwrap());
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("08:53:29Z"), "{text}");
        assert_eq!(ledger.counts()[&accepted], 0);
        let key = status(2, Truth::True).key;
        ledger.unsay(&state, &key).unwrap();
        assert_eq!(ledger.of(key.tenant()).count(), 0);
        assert!(!dir.path().join("status/vpnuser-dept-sbj-li.json").exists());
    }

    #[test]
    fn another_object_of_the_same_name_is_spoken_of_anew() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut ledger = Ledger::load(&state).unwrap();
        let (one, mut other) = (status(1, Truth::True), status(1, Truth::True));
        other.source.uid = "u-2".parse().unwrap();
        ledger.say(&state, &one, NOW).unwrap();
        assert!(ledger.knows(&one.key, &one.source, None));
        assert!(!ledger.knows(&one.key, &other.source, None));
        assert!(ledger.say(&state, &other, NOW.plus(9)).unwrap());
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("\"u-2\"") && text.contains("08:53:29Z"), "{text}");
    }

    #[test]
    fn what_may_not_have_come_is_said_again_with_its_times() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut ledger = Ledger::load(&state).unwrap();
        let one = status(1, Truth::True);
        ledger.say(&state, &one, NOW).unwrap();
        ledger.doubt(&one.key);
        assert!(ledger.say(&state, &one, NOW.plus(9)).unwrap());
        let text = std::fs::read_to_string(dir.path().join("status/vpnuser-dept-sbj-li.json")).unwrap();
        assert!(text.contains("08:53:20Z") && !text.contains("08:53:29Z"), "{text}");
        assert!(!ledger.say(&state, &one, NOW.plus(9)).unwrap());
    }

    #[test]
    fn long_messages_are_cut_at_a_letter() {
        let mut long = status(1, Truth::True);
        long.set(ConditionType::Accepted, Truth::False, "Long", "海".repeat(2_000));
        assert!(long.get(ConditionType::Accepted).unwrap().message.len() <= MESSAGE_BYTES_MAX);
    }
}
