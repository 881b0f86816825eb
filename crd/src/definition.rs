//! The CustomResourceDefinitions: what the derive makes, tidied into what an API server likes.

use std::sync::OnceLock;

use kube::CustomResourceExt as _;
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::{types, yaml};

/// Written above every generated file.
const NOTICE: &str = "# Generated from crd/src/types by `UPDATE_EXPECT=1 cargo test -p tidegate-crd`.\n";

/// The CustomResourceDefinition of a kind.
#[must_use]
pub fn definition(kind: Kind) -> &'static Value {
    static ALL: OnceLock<Vec<Value>> = OnceLock::new();
    let all = ALL.get_or_init(|| Kind::ALL.map(derived).into());
    all.get(kind as usize).unwrap_or(&Value::Null)
}

/// The structural schema of a kind, from the object's root.
#[must_use]
pub fn schema(kind: Kind) -> &'static Value {
    definition(kind).pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap_or(&Value::Null)
}

/// The file of the chart that holds a kind, and its name. Without its lines that begin with `{{`
/// it is plain YAML.
#[must_use]
pub fn chart_file(kind: Kind) -> (String, String) {
    let plural = definition(kind).pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
    let body = yaml::write(definition(kind));
    // `metadata` begins with `annotations`, which exists only to take this line.
    let body = body.replacen(
        "  annotations:\n",
        "  annotations:\n{{- if .Values.crds.keep }}\n{{ \"    helm.sh/resource-policy: keep\" }}\n{{- end }}\n",
        1,
    );
    (format!("{plural}.yaml"), format!("{NOTICE}{{{{- if .Values.crds.enabled }}}}\n{body}{{{{- end }}}}\n"))
}

fn derived(kind: Kind) -> Value {
    let definition = match kind {
        Kind::Department => types::Department::crd(),
        Kind::VpnUser => types::VpnUser::crd(),
        Kind::Resource => types::Resource::crd(),
        Kind::AccessPolicy => types::AccessPolicy::crd(),
        Kind::ClusterAccessPolicy => types::ClusterAccessPolicy::crd(),
        Kind::VpnGateway => types::VpnGateway::crd(),
        Kind::Recertification => types::Recertification::crd(),
    };
    let mut definition = serde_json::to_value(definition).unwrap_or_default();
    if let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut) {
        let note = serde_json::json!({"tidegate.dev/reference": "docs/reference/kinds.md"});
        metadata.insert("annotations".to_owned(), note);
    }
    if let Some(schema) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
    }
    definition
}

/// Takes away what serde's defaults and Rust's integers leave behind: a field is there or not there,
/// never null; an absent list is not an empty one, an absent
/// object has its defaults inside; and Kubernetes knows no unsigned integers.
fn tidy(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("nullable");
    let idle = |default: &Value| match default {
        Value::Null | Value::Object(_) => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if schema.get("default").is_some_and(idle) {
        schema.remove("default");
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
    for key in ["minimum", "maximum"] {
        whole(schema, key);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(key) {
            tidy(inner);
        }
    }
}

/// Writes a bound that is a whole number as one.
fn whole(schema: &mut Map<String, Value>, key: &str) {
    let Some(bound) = schema.get(key).filter(|bound| bound.as_i64().is_none()).and_then(Value::as_f64) else {
        return;
    };
    if bound.fract() == 0.0 && bound.abs() < 9.1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 54 bits")]
        schema.insert(key.to_owned(), Value::from(bound as i64));
    }
}
