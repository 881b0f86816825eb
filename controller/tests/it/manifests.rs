//! Manifests of a small platform.

use serde_json::{Value, json};

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
}

pub(crate) fn department() -> Value {
    let spec = json!({
        "code": "sbj",
        "names": {"zh-CN": "社保局", "en": "Social Insurance"},
        "networks": ["10.20.0.0/16"],
        "timeZone": "Asia/Shanghai",
    });
    object("Department", None, "sbj", spec)
}

pub(crate) fn user(name: &str) -> Value {
    let spec = json!({
        "request": {"person": "李强", "unit": "窗口", "groups": ["sbj/staff"]},
        "requestedBy": "wang",
        "approval": {"by": "zhang"},
        "state": "Active",
    });
    object("VpnUser", Some("dept-sbj"), name, spec)
}

pub(crate) fn resource() -> Value {
    let spec = json!({
        "names": {"zh-CN": "缴费", "en": "Fees"},
        "web": {"url": "http://10.20.1.10:8080/"},
    });
    object("Resource", Some("dept-sbj"), "fees", spec)
}

pub(crate) fn policy(when: Option<&str>) -> Value {
    let mut rule = json!({"name": "staff", "effect": "Allow", "match": {"groups": ["staff"]}});
    if let Some(when) = when {
        rule["when"] = when.into();
    }
    let spec = json!({"target": {"resources": {}}, "rules": [rule]});
    object("AccessPolicy", Some("dept-sbj"), "office", spec)
}

/// A department with one account, one system and one rule.
pub(crate) fn small() -> Vec<Value> {
    vec![department(), user("li"), resource(), policy(None)]
}
