//! An object as the API server gives it: whatever it is, it can be decoded.
//!
//! The schema of a kind changes over the years, and objects outlive their schemas. So a watch decodes
//! nothing but the metadata, and one odd object never stops the others.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::{Deserialize, Deserializer};
use kube_client::Resource;
use kube_client::api::ApiResource;
use kube_client::core::DynamicResourceScope;
use serde_json::Value;

/// An object and its metadata.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    metadata: ObjectMeta,
    pub(super) value: Value,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        // Half of every object is who wrote which field.
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(Self { metadata: metadata(&value), value })
    }
}

fn metadata(value: &Value) -> ObjectMeta {
    let Some(metadata) = value.get("metadata") else { return ObjectMeta::default() };
    ObjectMeta::deserialize(metadata).unwrap_or_else(|_| {
        let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
        ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
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
        assert_eq!(raw.value["metadata"].get("managedFields"), None);
        assert!(Raw::deserialize(json!(7)).is_ok());
    }
}
