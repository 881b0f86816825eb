//! Manifests to start from.

use serde_json::{Value, json};
use tidegate_core::{Source, Timestamp};
use tidegate_crd::convert::Context;
use tidegate_crd::{Form, Kind, Violation, convert, validate};

/// 2026-11-25T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_564_800);

/// A valid object of each kind that is built.
pub(crate) fn valid(kind: Kind) -> Value {
    let (name, spec) = match kind {
        Kind::Department => (
            "sbj",
            json!({"code": "sbj", "names": {"zh-CN": "社保局"}, "timeZone": "Asia/Shanghai", "networks": ["10.20.0.0/16"]}),
        ),
        Kind::VpnUser => ("li", json!({"request": {"person": "李强"}, "requestedBy": "chen.jie"})),
        Kind::Resource => {
            ("records", json!({"names": {"en": "Records"}, "web": {"url": "http://10.20.1.10:8080"}}))
        }
        Kind::AccessPolicy => (
            "grants",
            json!({"target": {"resources": {}}, "rules": [{"name": "all", "effect": "Allow", "match": {}}]}),
        ),
        Kind::ClusterAccessPolicy => (
            "night",
            json!({"rules": [{"name": "none", "effect": "Deny", "match": {"labels": {"class": "secret"}}}]}),
        ),
        Kind::VpnGateway => ("main", json!({"names": {"en": "Gate"}, "timeZone": "Asia/Shanghai"})),
        Kind::Recertification => ("spring", json!({"reviewers": ["a"], "deadline": "2027-01-01T00:00:00Z"})),
    };
    object(kind, name, spec)
}

pub(crate) fn object(kind: Kind, name: &str, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if kind.namespaced() {
        metadata["namespace"] = json!("dept-sbj");
    }
    json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": kind.as_str(), "metadata": metadata, "spec": spec})
}

/// The valid object with one change: `value` at a JSON pointer below `spec`; `null` removes.
pub(crate) fn with(kind: Kind, pointer: &str, value: Value) -> Value {
    let mut object = valid(kind);
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(&format!("/spec{parent}")).unwrap();
    let parent = parent.as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(last);
    } else {
        parent.insert(last.to_owned(), value);
    }
    object
}

/// The one violation of an object.
#[track_caller]
pub(crate) fn only(violations: Vec<Violation>) -> Violation {
    assert_eq!(violations.len(), 1, "{violations:#?}");
    violations.into_iter().next().unwrap()
}

/// Validates, then converts.
pub(crate) fn accept(kind: Kind, value: &Value) -> Result<Form, Vec<Violation>> {
    let violations = validate(kind, value, None);
    if violations.is_empty() { form(kind, value) } else { Err(violations) }
}

/// Converts without validating.
pub(crate) fn form(kind: Kind, value: &Value) -> Result<Form, Vec<Violation>> {
    let source = Source { uid: "u-1".parse().unwrap(), generation: 1 };
    let pem = |namespace: &str, name: &str, key: &str| {
        (namespace == "dept-sbj" && name == "ca" && key == "ca.crt")
            .then(|| "-----BEGIN CERTIFICATE-----\n".to_owned())
    };
    convert(kind, value, &Context { source: &source, now: NOW, approved: NOW, config_maps: &pem })
}
