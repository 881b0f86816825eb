//! What is there, from what the watches say; a pure fold over their events.
//!
//! **The shrink guard.** An account that is deleted is first seen with a deletion timestamp, since our
//! finalizer holds it. Accounts that are simply missing from a new listing, more than
//! [`MISSING_MAX`] of them, are a sign of an API server restored from an old backup or of a wiped one.
//! Then the missing ones stay as they last were, and an alarm is raised. Deletions that were seen, and
//! every change of an account that is there, are in force as always.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube_client::Resource as _;
use kube_runtime::watcher::Event;
use serde_json::Value;
use tidegate_core::{Code, Source as Identity, Uid};
use tidegate_crd::{API_VERSION, Violation};

use super::super::gateways::served;
use super::super::raw::Raw;
use super::super::{finalizers, labels, status};
use crate::folder::OBJECTS_MAX;
use crate::form::department_of;
use crate::intake::{ConfigMaps, Found, Reading, Tenant, Written};
use crate::last_good::{self, SPEC_BYTES_MAX};
use crate::objects::{ObjectKey, ObjectKind, TenantName, pack};
use crate::status::Said;

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
    /// The same as readings have it, once everything was listed.
    tenants: Option<BTreeMap<TenantName, Arc<Tenant>>>,
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

/// What a watch can say of one thing.
trait Entry {
    /// Whether a round would notice the difference.
    fn same(&self, other: &Self) -> bool;

    /// Whether it is doubted that this is gone when a listing does not have it.
    fn is_doubted(&self) -> bool {
        false
    }
}

impl Entry for BTreeMap<String, String> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Entry for Box<str> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

/// One object.
#[derive(Clone, Debug)]
struct Seen {
    found: Arc<Found>,
    /// Our own conditions, which make no difference; kept until [`Inventory::take_said`].
    said: Option<Box<Said>>,
    uid: Option<Uid>,
    is_account: bool,
    deleting: bool,
    held: bool,
}

impl Entry for Seen {
    fn same(&self, other: &Self) -> bool {
        self.found == other.found && self.deleting == other.deleting && self.held == other.held
    }

    fn is_doubted(&self) -> bool {
        // A deletion that was seen begins with its timestamp.
        self.is_account && !self.deleting
    }
}

/// A ConfigMap: its namespace and name, and its data.
type ConfigMapEntry = ((String, String), BTreeMap<String, String>);

/// What an event was about.
#[derive(Debug)]
struct Noted<K> {
    key: K,
    /// Whether a round would notice.
    changed: bool,
}

impl Inventory {
    pub(super) fn new(home: &str) -> Self {
        Self {
            home: home.into(),
            objects: ObjectKind::ALL.into_iter().map(|kind| (kind, Listing::default())).collect(),
            config_maps: Listing::default(),
            namespaces: Listing::default(),
            tenants: None,
            room: OBJECTS_MAX,
            changed: false,
        }
    }

    /// Takes note of what a watch said.
    pub(super) fn take(&mut self, source: Source, event: Event<Raw>) {
        match source {
            Source::Kind(kind) => self.take_object(kind, event),
            Source::ConfigMaps => {
                let Some(mut event) = read(event, config_map) else { return };
                self.limit_config_maps(&mut event);
                let noted = self.config_maps.take(event);
                let changed = noted.into_iter().filter(|noted| noted.changed);
                let namespaces: BTreeSet<String> = changed.map(|noted| noted.key.0).collect();
                namespaces.iter().for_each(|namespace| self.note_config_maps(namespace));
            }
            Source::Namespaces => {
                let Some(event) = read(event, namespace) else { return };
                let noted = self.namespaces.take(event);
                for noted in noted.into_iter().filter(|noted| noted.changed) {
                    self.note_namespace(&noted.key);
                }
            }
        }
    }

    /// Empties a ConfigMap that its namespace has no room for.
    fn limit_config_maps(&self, event: &mut Event<ConfigMapEntry>) {
        let (kept, ((namespace, name), data)) = match event {
            Event::Apply(entry) => (&self.config_maps.there, entry),
            Event::InitApply(entry) => (&self.config_maps.coming, entry),
            Event::Init | Event::InitDone | Event::Delete(_) => return,
        };
        let first = (namespace.clone(), String::new());
        let neighbours = kept.range(first..).take_while(|((place, _), _)| place == namespace);
        let others = neighbours.filter(|((_, other), _)| other != name).flat_map(|(_, data)| data.values());
        let others: usize = others.map(String::len).sum();
        let own: usize = data.values().map(String::len).sum();
        if others.saturating_add(own) > CONFIG_MAPS_BYTES_MAX {
            tracing::error!(
                namespace,
                name,
                "the namespace's ConfigMaps are too large; this one is left empty"
            );
            data.clear();
        }
    }

    fn take_object(&mut self, kind: ObjectKind, event: Event<Raw>) {
        let others = self.objects.iter().filter(|(other, _)| **other != kind);
        let others: usize = others.map(|(_, listing)| listing.len()).sum();
        let room = self.room.saturating_sub(others);
        let Some(listing) = self.objects.get_mut(&kind) else { return };
        let first = self.tenants.is_none();
        let Some(event) = read(event, |raw| seen(kind, raw, first)) else { return };
        // An object that is known may always change: nothing that is taken away is missed.
        let left_out = match &event {
            Event::Apply((key, _)) if listing.there.len() >= room => {
                Some(key).filter(|key| !listing.there.contains_key(*key))
            }
            Event::InitApply((key, _)) if listing.coming.len() >= room => Some(key),
            _ => None,
        };
        if let Some(key) = left_out {
            tracing::error!(object = %key, "there are {} objects already; it is left out", self.room);
            return;
        }
        let listed = matches!(event, Event::InitDone);
        let (was_listed, missing) = (listing.listed, listing.missing.len());
        let noted = listing.take(event);
        self.changed |= !was_listed && listing.listed || missing != listing.missing.len();
        if listed && !listing.missing.is_empty() {
            tracing::error!(
                accounts = listing.missing.len(),
                "these accounts are gone without having been deleted; they stay in force until they come \
                 back or the controller is started anew"
            );
        }
        for noted in noted.iter().filter(|noted| noted.changed) {
            self.note_object(&noted.key);
        }
        if kind == ObjectKind::VpnGateway {
            // Which one is served may be another now.
            let gateways = self.objects.get(&kind).into_iter().flat_map(|listing| listing.there.keys());
            for key in gateways.cloned().collect::<Vec<_>>() {
                self.note_object(&key);
            }
        }
    }

    /// The reading, once everything is listed and whenever it is another than before.
    pub(super) fn reading(&mut self) -> Option<Reading> {
        if self.tenants.is_none() {
            self.begin()?;
        }
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let held_back = self.objects.values().map(|listing| listing.missing.len()).sum();
        Some(Reading { tenants: self.tenants.clone()?, held_back, ..Reading::default() })
    }

    /// What the objects said at first that an earlier controller had said about them.
    pub(super) fn take_said(&mut self) -> impl Iterator<Item = (ObjectKey, Said)> {
        let all = self.objects.values_mut().flat_map(|listing| &mut listing.there);
        all.filter_map(|(key, seen)| Some((key.clone(), *seen.said.take()?)))
    }

    /// Makes the first reading, once everything is listed.
    fn begin(&mut self) -> Option<()> {
        let listed = self.config_maps.listed
            && self.namespaces.listed
            && self.objects.values().all(|listing| listing.listed);
        if !listed {
            return None;
        }
        self.tenants = Some(BTreeMap::new());
        self.changed = true;
        let keys = self.objects.values().flat_map(|listing| listing.there.keys());
        for key in keys.cloned().collect::<Vec<_>>() {
            self.note_object(&key);
        }
        let namespaces: BTreeSet<String> =
            self.config_maps.there.keys().map(|(namespace, _)| namespace.clone()).collect();
        namespaces.iter().for_each(|namespace| self.note_config_maps(namespace));
        self.objects.values_mut().for_each(|listing| pack(&mut listing.there));
        for tenant in self.tenants.iter_mut().flat_map(BTreeMap::values_mut) {
            pack(Arc::make_mut(&mut Arc::make_mut(tenant).found));
        }
        Some(())
    }

    /// Changes a tenant; one of which nothing is left goes.
    fn change(&mut self, name: &TenantName, change: impl FnOnce(&mut Tenant)) {
        let Some(tenants) = &mut self.tenants else { return };
        let tenant = tenants.entry(Arc::clone(name)).or_default();
        change(Arc::make_mut(tenant));
        if **tenant == Tenant::default() {
            tenants.remove(name);
        }
    }

    /// Puts what is known of an object into its tenant.
    fn note_object(&mut self, key: &ObjectKey) {
        if self.tenants.is_none() {
            return;
        }
        let seen = self.objects.get(&key.kind).and_then(|listing| listing.there.get(key)).cloned();
        let (leaving, there) = match seen {
            Some(seen) if seen.deleting => (seen.uid.filter(|_| seen.held), None),
            seen => (None, seen),
        };
        let unheld = there.as_ref().filter(|seen| !seen.held && finalizers::KINDS.contains(&key.kind));
        let unheld = unheld.and_then(|seen| seen.uid.clone());
        let found = there.map(|seen| match self.misplaced(key) {
            None => seen.found,
            Some(violation) => {
                let mut found = Found::clone(&seen.found);
                found.violations.push(violation);
                Arc::new(found)
            }
        });
        let mut news = false;
        self.change(key.tenant(), |tenant| {
            if tenant.found.get(key) != found.as_ref() {
                set(Arc::make_mut(&mut tenant.found), key, found);
                news = true;
            }
            news |= set(&mut tenant.leaving, key, leaving);
            news |= set(&mut tenant.unheld, key, unheld);
        });
        self.changed |= news;
    }

    fn note_config_maps(&mut self, namespace: &str) {
        let mut values = ConfigMaps::new();
        if self.adopted(namespace) {
            let first = (namespace.to_owned(), String::new());
            let maps = self.config_maps.there.range(first..).take_while(|((place, _), _)| place == namespace);
            for ((_, name), data) in maps {
                let entry = |key: &String| (namespace.to_owned(), name.clone(), key.clone());
                values.extend(data.iter().map(|(key, value)| (entry(key), value.clone())));
            }
        }
        let mut news = false;
        self.change(&namespace.into(), |tenant| {
            if *tenant.config_maps != values {
                tenant.config_maps = Arc::new(values);
                news = true;
            }
        });
        self.changed |= news;
    }

    /// The label of a namespace is another: that decides about everything in it.
    fn note_namespace(&mut self, namespace: &str) {
        let found = self.tenants.as_ref().and_then(|tenants| tenants.get(namespace));
        let keys: Vec<ObjectKey> =
            found.into_iter().flat_map(|tenant| tenant.found.keys()).cloned().collect();
        keys.iter().for_each(|key| self.note_object(key));
        self.note_config_maps(namespace);
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

impl<K: Ord + Clone, V: Entry> Listing<K, V> {
    fn len(&self) -> usize {
        self.there.len().max(self.coming.len())
    }

    /// Takes note of an event; returns what it was about.
    fn take(&mut self, event: Event<(K, V)>) -> Vec<Noted<K>> {
        match event {
            Event::Init => {
                self.coming.clear();
                Vec::new()
            }
            Event::InitApply((key, value)) => {
                self.coming.insert(key, value);
                Vec::new()
            }
            Event::InitDone => self.replace(),
            Event::Apply((key, value)) => {
                let came_back = self.missing.remove(&key);
                let changed = self.put(&key, value);
                vec![Noted { key, changed: came_back || changed }]
            }
            Event::Delete((key, _)) => {
                self.missing.remove(&key);
                let changed = self.there.remove(&key).is_some();
                vec![Noted { key, changed }]
            }
        }
    }

    /// Puts an entry in place; whether it is another than before.
    fn put(&mut self, key: &K, value: V) -> bool {
        match self.there.get(key) {
            Some(before) if before.same(&value) => false,
            _ => {
                self.there.insert(key.clone(), value);
                true
            }
        }
    }

    /// What was listed is what is there, but for too many that are missing at once.
    fn replace(&mut self) -> Vec<Noted<K>> {
        let now = std::mem::take(&mut self.coming);
        let absent: Vec<K> = self.there.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        let doubted = absent.iter().filter(|key| self.there.get(*key).is_some_and(V::is_doubted));
        let mut missing: BTreeSet<K> = doubted.cloned().collect();
        if missing.difference(&self.missing).count() <= MISSING_MAX {
            // Those that were doubted before are no less doubtful since some others came back.
            missing.retain(|key| self.missing.contains(key));
        }
        let gone = absent.into_iter().filter(|key| !missing.contains(key));
        let mut noted: Vec<Noted<K>> = gone.map(|key| Noted { key, changed: true }).collect();
        noted.iter().for_each(|noted| drop(self.there.remove(&noted.key)));
        for (key, value) in now {
            let changed = self.put(&key, value);
            noted.push(Noted { key, changed });
        }
        self.missing = missing;
        self.listed = true;
        noted
    }
}

/// An event about entries instead of objects; nothing when its object is none of ours.
fn read<K, V>(event: Event<Raw>, read: impl Fn(Raw) -> Option<(K, V)>) -> Option<Event<(K, V)>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitApply(raw) => Event::InitApply(read(raw)?),
        Event::InitDone => Event::InitDone,
        Event::Apply(raw) => Event::Apply(read(raw)?),
        Event::Delete(raw) => Event::Delete(read(raw)?),
    })
}

/// Puts a value in its place, or takes it away; whether that is a difference.
fn set<V: PartialEq>(map: &mut BTreeMap<ObjectKey, V>, key: &ObjectKey, value: Option<V>) -> bool {
    if map.get(key) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    };
    true
}

fn seen(kind: ObjectKind, raw: Raw, first: bool) -> Option<(ObjectKey, Seen)> {
    let metadata = raw.meta();
    let key =
        ObjectKey::new(kind, metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref()?);
    let uid: Option<Uid> = metadata.uid.as_deref().and_then(|uid| uid.parse().ok());
    let identity = uid.clone().zip(metadata.generation);
    let held = metadata.finalizers.iter().flatten().any(|one| one == finalizers::IN_FORCE);
    let found = Found {
        violations: oversized(kind, &raw).into_iter().collect(),
        written: Written::Text(text(&raw).into()),
        identity: identity.map(|(uid, generation)| Identity { uid, generation }),
        places: None,
    };
    // Later only we speak, and know what we said.
    let said = raw.status.as_deref().filter(|_| first).zip(uid.clone());
    let said = said.and_then(|(status, uid)| status::said(uid, status.get()).map(Box::new));
    let is_account = kind == ObjectKind::VpnUser;
    Some((key, Seen { found: Arc::new(found), said, uid, is_account, deleting: raw.deleting, held }))
}

/// Whether the last good form of an object could not be kept, since it is too large.
fn oversized(kind: ObjectKind, raw: &Raw) -> Option<Violation> {
    let spec = raw.spec.as_deref().filter(|_| last_good::KINDS.contains(&kind))?;
    // As it comes it is never shorter than we would write it.
    if spec.get().len() <= SPEC_BYTES_MAX {
        return None;
    }
    let bytes = serde_json::from_str::<Value>(spec.get()).map_or(usize::MAX, |spec| spec.to_string().len());
    (bytes > SPEC_BYTES_MAX).then(|| {
        let message = format!("it has {bytes} bytes, more than the {SPEC_BYTES_MAX} that can be kept");
        Violation::new("spec", Code::SchemaViolation, message, "split the object into smaller ones")
    })
}

/// The object without what nothing is decided by, as [`Written::Text`] has it.
fn text(raw: &Raw) -> String {
    let mut fields = Vec::new();
    let usual = serde_json::to_string(API_VERSION).unwrap_or_default();
    if let Some(version) = raw.api_version.as_deref().filter(|version| version.get() != usual) {
        fields.push(format!("\"apiVersion\":{}", version.get()));
    }
    let annotations = raw.meta().annotations.iter().flatten().filter(|(name, _)| name.starts_with(OURS));
    let annotations: BTreeMap<_, _> = annotations.collect();
    if !annotations.is_empty() {
        // Texts can always be written.
        let written = serde_json::to_string(&annotations).unwrap_or_default();
        fields.push(format!("\"annotations\":{written}"));
    }
    if let Some(spec) = &raw.spec {
        fields.push(format!("\"spec\":{}", spec.get()));
    }
    format!("{{{}}}", fields.join(","))
}

fn config_map(raw: Raw) -> Option<ConfigMapEntry> {
    let (namespace, name) = (raw.meta().namespace.clone()?, raw.meta().name.clone()?);
    department_of(&namespace)?;
    let data = raw.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data.get()).ok());
    let data = data.as_ref().and_then(Value::as_object).into_iter().flatten();
    let data = data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(((namespace, name), data.collect()))
}

fn namespace(raw: Raw) -> Option<(String, Box<str>)> {
    let name = raw.meta().name.clone()?;
    let label = raw.meta().labels.as_ref().and_then(|all| all.get(labels::DEPARTMENT));
    Some((name, label.map(String::as_str).unwrap_or_default().into()))
}

#[cfg(test)]
mod tests;
