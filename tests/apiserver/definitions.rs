//! The chart, as Helm renders it, on an API server: definitions, admission policies, rights and all the rest.

use serde_json::{Value, json};
use tidegate_crd::Kind;
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::helm::{self, Helm};

/// Applies it and waits until its kinds are served.
pub(crate) fn install(plane: &ControlPlane, helm: &Helm) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": helm::NAMESPACE}});
    let chart = helm.template(&[], &[]).unwrap_or_else(|error| panic!("{error}"));
    for objects in [namespace.to_string(), chart] {
        plane
            .kubectl(&["apply", "--server-side", "--filename=-"], &objects)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    plane
        .kubectl(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"], "")
        .unwrap_or_else(|error| panic!("{error}"));

    let all = plane.kubectl(&["get", "crd", "--output=json"], "").unwrap_or_else(|error| panic!("{error}"));
    let all: Value = serde_json::from_str(&all).expect("kubectl prints JSON");
    let conditions = |item: &Value| item.pointer("/status/conditions").and_then(Value::as_array).cloned();
    let items = all["items"].as_array().expect("a list");
    assert_eq!(items.len(), Kind::ALL.len(), "the chart has one definition per kind");
    for item in items {
        for condition in conditions(item).unwrap_or_default() {
            assert_ne!(condition["type"], "NonStructuralSchema", "{}", condition["message"]);
        }
    }
}
