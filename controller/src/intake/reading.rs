//! What a reader found, tenant by tenant: readings share the tenants in which nothing changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_core::{Source, Uid};
use tidegate_crd::{API_VERSION, Violation};

use crate::events::Problem;
use crate::folder::Places;
use crate::objects::{ObjectKey, PLATFORM, TenantName};

/// Values of ConfigMaps by namespace, name and key.
pub type ConfigMaps = BTreeMap<(String, String, String), String>;

/// Objects that are there, usable or not.
pub type Objects = BTreeMap<ObjectKey, Arc<Found>>;

/// One complete reading of wherever objects come from.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What there is, by tenant.
    pub tenants: BTreeMap<TenantName, Arc<Tenant>>,
    /// Documents and files that are no objects.
    pub problems: Vec<Problem>,
    /// Accounts among the objects that are missing and not believed to be gone.
    pub held_back: usize,
}

/// What there is of one tenant. Whether it is another than before is seen by the pointers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    /// Every object that is there.
    pub found: Arc<Objects>,
    /// ConfigMaps that objects may refer to.
    pub config_maps: Arc<ConfigMaps>,
    /// Objects that are being deleted: they count for nothing any more, and their deletion waits until
    /// that is in force. Only a cluster has them.
    pub leaving: BTreeMap<ObjectKey, Uid>,
    /// Objects whose deletion would not wait yet, though it should.
    pub unheld: BTreeMap<ObjectKey, Uid>,
}

/// One object as it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The object itself.
    pub written: Written,
    /// What the reader found wrong with it, such as fragments that overlap; it is refused then.
    pub violations: Vec<Violation>,
    /// Where its fields were written, if somewhere.
    pub places: Option<Arc<Places>>,
    /// The UID and generation it came with; in a folder there are none, and the register gives them.
    pub identity: Option<Source>,
}

/// An object as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// As a tree, which a folder's places refer to.
    Tree(Arc<Value>),
    /// As text, a tenth of the memory: JSON with `spec`, and with `apiVersion` and `annotations` where
    /// they say something.
    Text(Arc<str>),
}

impl Default for Written {
    fn default() -> Self {
        Self::Tree(Arc::default())
    }
}

impl Written {
    /// The whole object.
    #[must_use]
    pub fn value(&self, key: &ObjectKey) -> Arc<Value> {
        match self {
            Self::Tree(value) => Arc::clone(value),
            Self::Text(text) => Arc::new(whole(key, text)),
        }
    }
}

fn whole(key: &ObjectKey, text: &str) -> Value {
    let mut written: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let mut metadata = Map::new();
    metadata.insert("name".into(), Value::from(&*key.name));
    if key.kind.namespaced() {
        metadata.insert("namespace".into(), Value::from(&*key.namespace));
    }
    if let Some(annotations) = written.remove("annotations") {
        metadata.insert("annotations".into(), annotations);
    }
    let mut whole = Map::new();
    whole.insert("apiVersion".into(), written.remove("apiVersion").unwrap_or_else(|| API_VERSION.into()));
    whole.insert("kind".into(), Value::from(key.kind.as_str()));
    whole.insert("metadata".into(), Value::Object(metadata));
    if let Some(spec) = written.remove("spec") {
        whole.insert("spec".into(), spec);
    }
    Value::Object(whole)
}

impl Found {
    /// An object that nothing is known of but what it says.
    #[must_use]
    pub fn of(value: Value) -> Self {
        Self { written: Written::Tree(Arc::new(value)), ..Self::default() }
    }

    /// Whether a judgement of the one is a judgement of the other, identities apart.
    pub(super) fn is_as_written_in(&self, other: &Self) -> bool {
        self.identity == other.identity
            && self.written == other.written
            && self.violations == other.violations
    }
}

impl Tenant {
    /// Whether everything that is judged is the very same as in `other`.
    #[must_use]
    pub fn is_judged_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.found, &other.found) && Arc::ptr_eq(&self.config_maps, &other.config_maps)
    }
}

impl Reading {
    /// A reading of these objects and ConfigMaps.
    #[must_use]
    pub fn of(found: impl IntoIterator<Item = (ObjectKey, Found)>, config_maps: ConfigMaps) -> Self {
        let mut objects: BTreeMap<TenantName, Objects> = BTreeMap::new();
        for (key, found) in found {
            objects.entry(Arc::clone(key.tenant())).or_default().insert(key, Arc::new(found));
        }
        let mut maps: BTreeMap<TenantName, ConfigMaps> = BTreeMap::new();
        for (entry, value) in config_maps {
            maps.entry(entry.0.as_str().into()).or_default().insert(entry, value);
        }
        let mut tenants: BTreeMap<TenantName, Arc<Tenant>> = BTreeMap::new();
        for (name, found) in objects {
            let config_maps = maps.remove(&name).unwrap_or_default().into();
            tenants.insert(name, Arc::new(Tenant { found: found.into(), config_maps, ..Tenant::default() }));
        }
        for (name, config_maps) in maps {
            tenants.insert(name, Arc::new(Tenant { config_maps: config_maps.into(), ..Tenant::default() }));
        }
        Self { tenants, ..Self::default() }
    }

    /// Takes tenants that are equal from `before`, so that they are seen to be the same.
    pub fn share_with(&mut self, before: &Self) {
        for (name, tenant) in &mut self.tenants {
            if let Some(known) = before.tenants.get(name).filter(|known| **known == *tenant) {
                *tenant = Arc::clone(known);
            }
        }
    }

    /// The objects that are about all departments.
    #[must_use]
    pub fn platform(&self) -> Arc<Objects> {
        self.tenants.get(&*PLATFORM).map(|tenant| Arc::clone(&tenant.found)).unwrap_or_default()
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Found>)> {
        self.tenants.values().flat_map(|tenant| tenant.found.iter())
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Found>> {
        self.tenants.get(key.tenant())?.found.get(key)
    }

    /// Where a field of an object was written.
    #[must_use]
    pub fn place(&self, key: &ObjectKey, path: &str) -> String {
        let places = self.get(key).and_then(|found| found.places.as_ref());
        places.map_or_else(String::new, |places| places.at(path))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::ObjectKind;

    #[test]
    fn text_gives_the_whole_object() {
        let key = ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li");
        let written =
            Written::Text(r#"{"annotations":{"tidegate.dev/x":"1"},"spec":{"state":"Left"}}"#.into());
        let whole = json!({
            "apiVersion": API_VERSION,
            "kind": "VpnUser",
            "metadata": {"name": "li", "namespace": "dept-sbj", "annotations": {"tidegate.dev/x": "1"}},
            "spec": {"state": "Left"},
        });
        assert_eq!(*written.value(&key), whole);
        let guardrail = ObjectKey::new(ObjectKind::ClusterAccessPolicy, "", "all");
        let value = Written::Text(r#"{"apiVersion":"tidegate.dev/v9"}"#.into()).value(&guardrail);
        assert_eq!(value["apiVersion"], "tidegate.dev/v9");
        assert_eq!((value.get("spec"), value["metadata"].get("namespace")), (None, None));
    }

    #[test]
    fn what_is_equal_is_shared() {
        let key = |name: &str| ObjectKey::new(ObjectKind::VpnUser, &format!("dept-{name}"), name);
        let reading = |second: i64| {
            let found = [(key("aa"), Found::of(json!(1))), (key("bb"), Found::of(json!(second)))];
            Reading::of(found, ConfigMaps::new())
        };
        let before = reading(1);
        let mut after = reading(2);
        after.share_with(&before);
        let same = |name: &str| after.tenants[name].is_judged_as(&before.tenants[name]);
        assert!(same("dept-aa") && !same("dept-bb"));
    }
}
