//! What is there, from what the watches say; a pure fold over their events.
//!
//! **The shrink guard.** An account that is deleted is first seen with a deletion timestamp, since our
//! finalizer holds it. Accounts that are simply missing from a new listing, more than
//! [`MISSING_MAX`] of them, are a sign of an API server restored from an old backup or of a wiped one.
//! Then the missing ones stay as they last were, and an alarm is raised. Deletions that were seen, and
//! every change of an account that is there, are in force as always.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube_runtime::watcher::Event;
use serde_json::{Map, Value};
use tidegate_core::{Code, Source as Identity, Uid};
use tidegate_crd::{API_VERSION, Violation};

use super::super::gateways::served;
use super::super::raw::Raw;
use super::super::{finalizers, labels, status};
use crate::folder::OBJECTS_MAX;
use crate::form::department_of;
use crate::intake::{ConfigMaps, Found, Reading};
use crate::last_good::{self, SPEC_BYTES_MAX};
use crate::objects::{ObjectKey, ObjectKind};
use kube_client::Resource as _;

/// Accounts that may be missing from a new listing and be believed to be gone.
const MISSING_MAX: usize = 50;

/// Bytes of ConfigMaps that are kept of one namespace, so that none takes the others' room. A system's authorities
/// have 64 KiB at most.
const CONFIG_MAPS_BYTES_MAX: usize = 4 << 20;

/// Annotations that mean something to us begin so; the others are not kept.
const OURS: &str = "tidegate.dev/";

/// One watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The objects of one kind.
    Kind(ObjectKind),
    /// ConfigMaps, of which those in departments' namespaces count.
    ConfigMaps,
    /// Namespaces, for their labels.
    Namespaces,
}

/// Everything that is there.
#[derive(Debug)]
pub(super) struct Inventory {
    /// The controller's namespace.
    home: Box<str>,
    objects: BTreeMap<ObjectKind, Listing<ObjectKey, Seen>>,
    config_maps: Listing<(String, String), BTreeMap<String, String>>,
    /// The department that each namespace is labelled with.
    namespaces: Listing<String, Box<str>>,
    /// The ConfigMaps of the last reading, shared while they are the same.
    last_config_maps: Arc<ConfigMaps>,
    /// Most objects.
    room: usize,
    changed: bool,
}

/// What one watch has said.
#[derive(Debug)]
struct Listing<K, V> {
    there: BTreeMap<K, V>,
    /// A listing under way.
    coming: BTreeMap<K, V>,
    /// Entries that the last listing had not, and that are not believed to be gone.
    missing: BTreeSet<K>,
    listed: bool,
}

impl<K, V> Default for Listing<K, V> {
    fn default() -> Self {
        Self { there: BTreeMap::new(), coming: BTreeMap::new(), missing: BTreeSet::new(), listed: false }
    }
}

/// One object.
#[derive(Clone, Debug)]
struct Seen {
    found: Found,
    uid: Option<Uid>,
    deleting: bool,
    held: bool,
}

impl Seen {
    /// Whether a round would notice the difference; our own conditions make none.
    fn same(&self, other: &Self) -> bool {
        self.found.value == other.found.value
            && self.found.identity == other.found.identity
            && self.deleting == other.deleting
            && self.held == other.held
    }
}

impl Inventory {
    pub(super) fn new(home: &str) -> Self {
        Self {
            home: home.into(),
            objects: ObjectKind::ALL.into_iter().map(|kind| (kind, Listing::default())).collect(),
            config_maps: Listing::default(),
            namespaces: Listing::default(),
            last_config_maps: Arc::default(),
            room: OBJECTS_MAX,
            changed: false,
        }
    }

    /// Takes note of what a watch said.
    pub(super) fn take(&mut self, source: Source, mut event: Event<Raw>) {
        let changed = match source {
            Source::Kind(kind) => self.take_object(kind, event),
            Source::ConfigMaps => {
                self.limit_config_maps(&mut event);
                self.config_maps.take(event, config_map, |one, other| one == other, |_| false)
            }
            Source::Namespaces => {
                self.namespaces.take(event, namespace, |one, other| one == other, |_| false)
            }
        };
        self.changed |= changed;
    }

    /// Empties a ConfigMap that its namespace has no room for.
    fn limit_config_maps(&self, event: &mut Event<Raw>) {
        let (kept, raw) = match event {
            Event::Apply(raw) => (&self.config_maps.there, raw),
            Event::InitApply(raw) => (&self.config_maps.coming, raw),
            Event::Init | Event::InitDone | Event::Delete(_) => return,
        };
        let meta = raw.meta();
        let (Some(namespace), Some(name)) = (meta.namespace.clone(), meta.name.clone()) else { return };
        let first = (namespace.clone(), String::new());
        let neighbours = kept.range(first..).take_while(|((place, _), _)| *place == namespace);
        let others = neighbours.filter(|((_, other), _)| *other != name).flat_map(|(_, data)| data.values());
        let others: usize = others.map(String::len).sum();
        let data = raw.value.get("data").and_then(Value::as_object);
        let own: usize = data.into_iter().flatten().filter_map(|(_, text)| Some(text.as_str()?.len())).sum();
        if others.saturating_add(own) > CONFIG_MAPS_BYTES_MAX
            && let Some(object) = raw.value.as_object_mut()
        {
            tracing::error!(
                namespace,
                name,
                "the namespace's ConfigMaps are too large; this one is left empty"
            );
            object.remove("data");
        }
    }

    fn take_object(&mut self, kind: ObjectKind, event: Event<Raw>) -> bool {
        let others = self.objects.iter().filter(|(other, _)| **other != kind);
        let others: usize = others.map(|(_, listing)| listing.len()).sum();
        let room = self.room.saturating_sub(others);
        let Some(listing) = self.objects.get_mut(&kind) else { return false };
        // An object that is known may always change: nothing that is taken away is missed.
        let left_out = match &event {
            Event::Apply(raw) if listing.there.len() >= room => {
                key(kind, raw).filter(|key| !listing.there.contains_key(key))
            }
            Event::InitApply(raw) if listing.coming.len() >= room => key(kind, raw),
            _ => None,
        };
        if let Some(key) = left_out {
            tracing::error!(object = %key, "there are {} objects already; it is left out", self.room);
            return false;
        }
        let listed = matches!(event, Event::InitDone);
        // A deletion that was seen begins with its timestamp.
        let doubted = |seen: &Seen| kind == ObjectKind::VpnUser && !seen.deleting;
        let changed = listing.take(event, |raw| seen(kind, raw), Seen::same, doubted);
        if listed && !listing.missing.is_empty() {
            tracing::error!(
                accounts = listing.missing.len(),
                "these accounts are gone without having been deleted; they stay in force until they come \
                 back or the controller is started anew"
            );
        }
        changed
    }

    /// The reading, once everything is listed and whenever it is another than before.
    pub(super) fn reading(&mut self) -> Option<Reading> {
        let listed = self.config_maps.listed
            && self.namespaces.listed
            && self.objects.values().all(|listing| listing.listed);
        if !listed || !self.changed {
            return None;
        }
        self.changed = false;
        self.share_config_maps();
        let mut reading = Reading {
            config_maps: Arc::clone(&self.last_config_maps),
            held_back: self.objects.values().map(|listing| listing.missing.len()).sum(),
            ..Reading::default()
        };
        for (key, seen) in self.objects.values().flat_map(|listing| &listing.there) {
            if seen.deleting {
                if let Some(uid) = seen.uid.clone().filter(|_| seen.held) {
                    reading.leaving.insert(key.clone(), uid);
                }
                continue;
            }
            let mut found = seen.found.clone();
            found.violations.extend(self.misplaced(key));
            reading.found.insert(key.clone(), found);
            if let Some(uid) =
                seen.uid.clone().filter(|_| !seen.held && finalizers::KINDS.contains(&key.kind))
            {
                reading.unheld.insert(key.clone(), uid);
            }
        }
        Some(reading)
    }

    fn share_config_maps(&mut self) {
        let mut values = ConfigMaps::new();
        for ((namespace, name), data) in &self.config_maps.there {
            if self.adopted(namespace) {
                for (key, value) in data {
                    values.insert((namespace.clone(), name.clone(), key.clone()), value.clone());
                }
            }
        }
        if *self.last_config_maps != values {
            self.last_config_maps = Arc::new(values);
        }
    }

    /// Whether a namespace is labelled as the one of the department that its name names.
    fn adopted(&self, namespace: &str) -> bool {
        let label = self.namespaces.there.get(namespace);
        department_of(namespace).zip(label).is_some_and(|(code, label)| code.as_str() == &**label)
    }

    /// The pool that is published to.
    fn served_pool(&self) -> Option<&str> {
        let listing = self.objects.get(&ObjectKind::VpnGateway)?;
        let ours = listing.there.iter().filter(|(key, seen)| *key.namespace == *self.home && !seen.deleting);
        served(ours.map(|(key, _)| &*key.name))
    }

    /// Why an object counts for nothing where it lies.
    fn misplaced(&self, key: &ObjectKey) -> Option<Violation> {
        let namespace = &*key.namespace;
        match key.kind {
            ObjectKind::Department | ObjectKind::ClusterAccessPolicy => None,
            ObjectKind::VpnGateway if *namespace != *self.home => {
                let message =
                    format!("a VpnGateway counts only in the controller's namespace, not in {namespace}");
                let fix = format!("write {}", self.home);
                Some(Violation::new("metadata.namespace", Code::WrongNamespace, message, fix))
            }
            ObjectKind::VpnGateway => {
                let served = self.served_pool().filter(|served| **served != *key.name)?;
                let message = format!("there is one pool so far, and it is {served}");
                let fix = format!("remove this VpnGateway, or put what it says into {served}");
                Some(Violation::new("metadata.name", Code::NotYetSupported, message, fix))
            }
            ObjectKind::VpnUser
            | ObjectKind::Resource
            | ObjectKind::AccessPolicy
            | ObjectKind::Recertification => {
                // What lies in no department's namespace at all is refused for that.
                let code = department_of(namespace).filter(|_| !self.adopted(namespace))?;
                let message = format!("the namespace {namespace} is not labelled as the department's");
                let fix = format!("have the platform team label it {}: {code}", labels::DEPARTMENT);
                Some(Violation::new("metadata.namespace", Code::WrongNamespace, message, fix))
            }
        }
    }
}

impl<K: Ord + Clone, V> Listing<K, V> {
    fn len(&self) -> usize {
        self.there.len().max(self.coming.len())
    }

    /// Takes note of an event; returns whether anything is another than before.
    fn take(
        &mut self,
        event: Event<Raw>,
        read: impl Fn(Raw) -> Option<(K, V)>,
        same: impl Fn(&V, &V) -> bool,
        doubted: impl Fn(&V) -> bool,
    ) -> bool {
        match event {
            Event::Init => {
                self.coming.clear();
                false
            }
            Event::InitApply(raw) => {
                self.coming.extend(read(raw));
                false
            }
            Event::InitDone => self.replace(same, doubted),
            Event::Apply(raw) => {
                let Some((key, value)) = read(raw) else { return false };
                let came_back = self.missing.remove(&key);
                let before = self.there.insert(key.clone(), value);
                let unchanged = before.zip(self.there.get(&key)).is_some_and(|(old, new)| same(&old, new));
                came_back || !unchanged
            }
            Event::Delete(raw) => {
                let Some((key, _)) = read(raw) else { return false };
                self.missing.remove(&key);
                self.there.remove(&key).is_some()
            }
        }
    }

    /// What was listed is what is there, but for too many that are missing at once.
    fn replace(&mut self, same: impl Fn(&V, &V) -> bool, doubted: impl Fn(&V) -> bool) -> bool {
        let mut now = std::mem::take(&mut self.coming);
        let absent = self.there.iter().filter(|(key, value)| !now.contains_key(*key) && doubted(value));
        let mut missing: BTreeSet<K> = absent.map(|(key, _)| key.clone()).collect();
        if missing.difference(&self.missing).count() <= MISSING_MAX {
            // Those that were doubted before are no less doubtful since some others came back.
            missing.retain(|key| self.missing.contains(key));
        }
        let mut before = std::mem::take(&mut self.there);
        for key in &missing {
            if let Some(value) = before.remove(key) {
                now.insert(key.clone(), value);
            }
        }
        let changed = !self.listed
            || missing != self.missing
            || before.keys().any(|key| !now.contains_key(key))
            || now.iter().any(|(key, value)| {
                !missing.contains(key) && before.get(key).is_none_or(|before| !same(before, value))
            });
        self.there = now;
        self.missing = missing;
        self.listed = true;
        changed
    }
}

fn key(kind: ObjectKind, raw: &Raw) -> Option<ObjectKey> {
    let metadata = raw.meta();
    Some(ObjectKey::new(kind, metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref()?))
}

fn seen(kind: ObjectKind, raw: Raw) -> Option<(ObjectKey, Seen)> {
    let key = key(kind, &raw)?;
    let metadata = raw.meta();
    let uid: Option<Uid> = metadata.uid.as_deref().and_then(|uid| uid.parse().ok());
    let identity = uid.clone().zip(metadata.generation);
    let deleting = metadata.deletion_timestamp.is_some();
    let held = metadata.finalizers.iter().flatten().any(|one| one == finalizers::IN_FORCE);
    let said = raw.value.get("status").and_then(status::said).map(Arc::new);
    let value = slim(&key, raw.value);
    let found = Found {
        violations: oversized(kind, &value).into_iter().collect(),
        value: Arc::new(value),
        identity: identity.map(|(uid, generation)| Identity { uid, generation }),
        said,
        ..Found::default()
    };
    Some((key, Seen { found, uid, deleting, held }))
}

/// Whether the last good form of an object could not be kept, since it is too large.
fn oversized(kind: ObjectKind, value: &Value) -> Option<Violation> {
    let spec = value.get("spec").filter(|_| last_good::KINDS.contains(&kind))?;
    let bytes = spec.to_string().len();
    (bytes > SPEC_BYTES_MAX).then(|| {
        let message = format!("it has {bytes} bytes, more than the {SPEC_BYTES_MAX} that can be kept");
        Violation::new("spec", Code::SchemaViolation, message, "split the object into smaller ones")
    })
}

/// The object without what nothing is decided by.
fn slim(key: &ObjectKey, mut value: Value) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".into(), Value::from(&*key.name));
    if key.kind.namespaced() {
        metadata.insert("namespace".into(), Value::from(&*key.namespace));
    }
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        let mut annotations = std::mem::take(annotations);
        annotations.retain(|name, _| name.starts_with(OURS));
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), Value::Object(annotations));
        }
    }
    let mut slim = Map::new();
    slim.insert("apiVersion".into(), value.get("apiVersion").cloned().unwrap_or_else(|| API_VERSION.into()));
    slim.insert("kind".into(), Value::from(key.kind.as_str()));
    slim.insert("metadata".into(), Value::Object(metadata));
    if let Some(spec) = value.get_mut("spec") {
        slim.insert("spec".into(), spec.take());
    }
    Value::Object(slim)
}

fn config_map(raw: Raw) -> Option<((String, String), BTreeMap<String, String>)> {
    let (namespace, name) = (raw.meta().namespace.clone()?, raw.meta().name.clone()?);
    department_of(&namespace)?;
    let data = raw.value.get("data").and_then(Value::as_object);
    let data =
        data.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(((namespace, name), data.collect()))
}

fn namespace(raw: Raw) -> Option<(String, Box<str>)> {
    let name = raw.meta().name.clone()?;
    let label = raw.meta().labels.as_ref().and_then(|all| all.get(labels::DEPARTMENT));
    Some((name, label.map(String::as_str).unwrap_or_default().into()))
}

#[cfg(test)]
mod tests;
