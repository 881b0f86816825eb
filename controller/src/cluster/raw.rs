//! An object as the API server gives it: whatever it is, it can be decoded.
//!
//! The schema of a kind changes over the years, and objects outlive their schemas. So a watch decodes
//! nothing but the metadata, and one odd object never stops the others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::{Deserialize, Deserializer};
use kube_client::Resource;
use kube_client::api::ApiResource;
use kube_client::core::DynamicResourceScope;
use serde_json::Value;
use serde_json::value::RawValue;

/// An object and what is needed of its metadata; the rest as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    metadata: ObjectMeta,
    pub(super) deleting: bool,
    pub(super) api_version: Option<Box<RawValue>>,
    pub(super) spec: Option<Box<RawValue>>,
    pub(super) status: Option<Box<RawValue>>,
    pub(super) data: Option<Box<RawValue>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    api_version: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
    data: Option<Box<RawValue>>,
}

/// Half of most objects is who wrote which field: that is not even read.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Value>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        let fields: Fields = serde_json::from_str(whole.get()).unwrap_or_default();
        let metadata = fields.metadata.as_deref().map(|text| metadata(text.get())).unwrap_or_default();
        Ok(Self {
            deleting: metadata.deletion_timestamp.is_some(),
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                generation: metadata.generation,
                finalizers: metadata.finalizers,
                labels: metadata.labels,
                annotations: metadata.annotations,
                ..ObjectMeta::default()
            },
            api_version: fields.api_version,
            spec: fields.spec,
            status: fields.status,
            data: fields.data,
        })
    }
}

fn metadata(text: &str) -> Metadata {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        Metadata {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..Metadata::default()
        }
    })
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_it_is_it_has_a_name() {
        let odd = json!({
            "metadata": {"name": "li", "namespace": "dept-sbj", "uid": "u-1", "generation": "many",
                "managedFields": [{}]},
            "spec": [1, 2],
        });
        let raw = Raw::deserialize(odd).unwrap();
        assert_eq!(raw.metadata.name.as_deref(), Some("li"));
        assert_eq!(raw.metadata.uid.as_deref(), Some("u-1"));
        assert_eq!(raw.spec.unwrap().get(), "[1,2]");
        assert!(Raw::deserialize(json!(7)).is_ok());
    }
}
