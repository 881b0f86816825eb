//! The CustomResourceDefinitions of the chart, as an API server sees them.

use serde_json::Value;
use tidegate_crd::Kind;
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::manifest;
use tidegate_tests::tree::files_below;

/// Applies them all and waits until they are served.
pub(crate) fn install(plane: &ControlPlane) {
    let files = files_below("charts/tidegate/templates/crds");
    let definitions: Vec<_> =
        files.iter().flat_map(|file| manifest::documents(file).unwrap_or_else(|e| panic!("{e}"))).collect();
    assert_eq!(definitions.len(), Kind::ALL.len(), "the chart has one definition per kind");
    for definition in definitions {
        plane
            .kubectl(&["apply", "--server-side", "--filename=-"], &definition.value.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", definition.path));
    }
    plane
        .kubectl(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"], "")
        .unwrap_or_else(|error| panic!("{error}"));

    let all = plane.kubectl(&["get", "crd", "--output=json"], "").unwrap_or_else(|error| panic!("{error}"));
    let all: Value = serde_json::from_str(&all).expect("kubectl prints JSON");
    let conditions = |item: &Value| item.pointer("/status/conditions").and_then(Value::as_array).cloned();
    for item in all["items"].as_array().expect("a list") {
        for condition in conditions(item).unwrap_or_default() {
            assert_ne!(condition["type"], "NonStructuralSchema", "{}", condition["message"]);
        }
    }
}
