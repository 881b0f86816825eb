//! The newest accepted spec of every object that keeps its last good form.
//!
//! An object that breaks keeps working as it last did; it is the part that is kept, never the whole
//! department. Accounts have no last good form: who may not be read is denied. Entries lie in
//! `STATE/last-good/<kind>-<namespace>-<name>.json` and are written before the publication that uses
//! them, so that a restart publishes the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Source, Uid};

use crate::cluster::keep::DOCUMENT_BYTES_MAX;
use crate::objects::{ObjectKey, ObjectKind, TenantName};
use crate::state::{self, State, StateError};

const DIRECTORY: &str = "last-good";

/// Bytes of a document beside its spec: names and a UID, each within the bounds of Kubernetes.
const ENVELOPE_BYTES_MAX: usize = 4 << 10;

/// Largest spec, as compact JSON, whose form a cluster can keep. A larger one is refused there: what cannot
/// be kept would be another after a restart.
pub const SPEC_BYTES_MAX: usize = DOCUMENT_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// The kinds whose objects keep their last good form.
pub const KINDS: [ObjectKind; 5] = [
    ObjectKind::Department,
    ObjectKind::Resource,
    ObjectKind::AccessPolicy,
    ObjectKind::ClusterAccessPolicy,
    ObjectKind::VpnGateway,
];

/// The last good form of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Good {
    /// The object and the generation this form had.
    pub source: Source,
    /// The spec as it was written then.
    pub spec: Arc<Value>,
}

/// The last good forms, in memory and on the disk.
#[derive(Debug, Default)]
pub struct LastGood {
    tenants: BTreeMap<TenantName, BTreeMap<ObjectKey, Good>>,
    /// Those that are not stored as they are, or stored and gone.
    unsaved: BTreeSet<ObjectKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    generation: i64,
    spec: Value,
}

impl LastGood {
    /// Reads what earlier runs kept. An unreadable entry is reported; its object has no last good form.
    pub fn load(state: &State) -> Result<(Self, Vec<StateError>), StateError> {
        let files = state.files(Path::new(DIRECTORY))?;
        Self::collect(state.root(), files, |path| state.read(path))
    }

    /// The same without holding the state: what a running process has stored so far.
    pub fn peek(root: &Path) -> Result<(Self, Vec<StateError>), StateError> {
        let files = state::files_below(root, Path::new(DIRECTORY))?;
        Self::collect(root, files, |path| state::read_below(root, path))
    }

    fn collect(
        root: &Path,
        files: Vec<PathBuf>,
        read: impl Fn(&Path) -> Result<Option<Vec<u8>>, StateError>,
    ) -> Result<(Self, Vec<StateError>), StateError> {
        let mut last_good = Self::default();
        let mut problems = Vec::new();
        for path in files {
            let bytes = read(&path)?.unwrap_or_default();
            match parse(&bytes) {
                Some((key, good)) => {
                    last_good.tenants.entry(Arc::clone(key.tenant())).or_default().insert(key, good);
                }
                None => problems.push(StateError::corrupt(
                    &root.join(&path),
                    "this last good form cannot be read, so its object has none",
                )),
            }
        }
        Ok((last_good, problems))
    }

    /// The last good form of the object with this UID.
    #[must_use]
    pub fn get(&self, key: &ObjectKey, uid: &Uid) -> Option<&Good> {
        self.find(key).filter(|good| good.source.uid == *uid)
    }

    fn find(&self, key: &ObjectKey) -> Option<&Good> {
        self.tenants.get(key.tenant())?.get(key)
    }

    /// All forms, by tenant and object.
    pub fn all(&self) -> impl Iterator<Item = (&ObjectKey, &Good)> {
        self.tenants.values().flatten()
    }

    /// The tenants it has forms of.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.keys()
    }

    /// Replaces the forms of a tenant by those of one build.
    pub fn replace(&mut self, tenant: &TenantName, forms: BTreeMap<ObjectKey, Good>) {
        let before = self.tenants.remove(tenant).unwrap_or_default();
        let gone = before.keys().filter(|key| !forms.contains_key(*key));
        let changed = forms.iter().filter(|(key, good)| before.get(*key) != Some(*good)).map(|(key, _)| key);
        self.unsaved.extend(gone.chain(changed).cloned());
        if !forms.is_empty() {
            self.tenants.insert(Arc::clone(tenant), forms);
        }
    }

    /// Stores what changed.
    pub fn save(&mut self, state: &State) -> Result<(), StateError> {
        let (mut there, mut files, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for key in &self.unsaved {
            match self.find(key) {
                Some(good) => {
                    files.push((path(key), encode(key, good)?));
                    there.push(key.clone());
                }
                None => gone.push(key.clone()),
            }
        }
        let written = state.write_many(files);
        let removed = state.remove_many(gone.iter().map(path).collect());
        let mut failure = None;
        for (key, outcome) in there.iter().zip(written).chain(gone.iter().zip(removed)) {
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

fn encode(key: &ObjectKey, good: &Good) -> Result<Vec<u8>, StateError> {
    let document = Document {
        kind: key.kind.as_str().to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: good.source.uid.to_string(),
        generation: good.source.generation,
        spec: Value::clone(&good.spec),
    };
    serde_json::to_vec(&document).map_err(|error| {
        StateError::corrupt(&path(key), format!("a last good form cannot be written: {error}"))
    })
}

fn path(key: &ObjectKey) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", key.file_stem()))
}

fn parse(bytes: &[u8]) -> Option<(ObjectKey, Good)> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == document.kind)?;
    let source = Source { uid: document.uid.parse().ok()?, generation: document.generation };
    let key = ObjectKey::new(kind, &document.namespace, &document.name);
    Some((key, Good { source, spec: Arc::new(document.spec) }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn forms_survive_a_restart_and_belong_to_one_uid() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let key = ObjectKey::new(ObjectKind::Resource, "dept-sbj", "portal");
        let uid: Uid = "u-1".parse().unwrap();
        let good = Good {
            source: Source { uid: uid.clone(), generation: 3 },
            spec: Arc::new(json!({"web": {"url": "x"}})),
        };
        let (mut forms, problems) = LastGood::load(&state).unwrap();
        assert!(problems.is_empty());
        forms.replace(key.tenant(), BTreeMap::from([(key.clone(), good.clone())]));
        forms.save(&state).unwrap();

        let (mut forms, _) = LastGood::load(&state).unwrap();
        assert_eq!(forms.get(&key, &uid), Some(&good));
        assert_eq!(forms.get(&key, &"u-2".parse().unwrap()), None);
        forms.replace(key.tenant(), BTreeMap::new());
        forms.save(&state).unwrap();
        assert!(state.files(Path::new(DIRECTORY)).unwrap().is_empty());
    }

    #[test]
    fn the_largest_spec_can_be_kept() {
        let spec = Arc::new(json!({"note": "\"".repeat(SPEC_BYTES_MAX / 2 - 16)}));
        let size = spec.to_string().len();
        assert!((SPEC_BYTES_MAX - 64..=SPEC_BYTES_MAX).contains(&size), "{size}");
        let long = "n".repeat(253);
        let key = ObjectKey::new(ObjectKind::ClusterAccessPolicy, &long, &long);
        let good =
            Good { source: Source { uid: "u".repeat(36).parse().unwrap(), generation: i64::MIN }, spec };
        assert!(encode(&key, &good).unwrap().len() <= DOCUMENT_BYTES_MAX);
    }

    #[test]
    fn a_damaged_form_is_reported_and_the_rest_goes_on() {
        let dir = tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.write(Path::new("last-good/resource-dept-sbj-x.json"), b"{").unwrap();
        let (forms, problems) = LastGood::load(&state).unwrap();
        assert!(forms.tenants.is_empty());
        assert_eq!(problems.len(), 1);
    }
}
