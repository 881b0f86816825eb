//! The example folder on a cluster: requests by one field manager, each approver's yes by another.

use serde_json::{Value, json};
use tidegate_crd::Kind;
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::manifest::{self, Document};
use tidegate_tests::tree::files_below;

/// Applies `examples/haikou` and finds all of its objects, approved, in the cluster.
pub(crate) fn apply(plane: &ControlPlane) {
    let files = files_below("examples/haikou");
    let documents: Vec<Document> = files
        .iter()
        .filter(|file| file.has_extension("yaml"))
        .flat_map(|file| manifest::documents(file).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let (approvals, requests): (Vec<Document>, Vec<Document>) =
        documents.iter().cloned().partition(|document| document.path.contains("/approvals/"));
    let (namespaces, requests): (Vec<Document>, Vec<Document>) =
        requests.into_iter().partition(|document| document.text("/kind") == "Namespace");
    assert!(!namespaces.is_empty() && !requests.is_empty() && !approvals.is_empty(), "the example is there");

    send(plane, "applicant", &namespaces);
    send(plane, "applicant", &requests);
    send(plane, "approver", &approvals);

    for object in manifest::merged(&documents).unwrap_or_else(|error| panic!("{error}")) {
        let [kind, namespace, name] = object.key();
        if Kind::named(&kind).is_none() {
            continue;
        }
        let kind = kind.to_lowercase();
        let mut arguments = vec!["get", &kind, &name, "--output=json"];
        if !namespace.is_empty() {
            arguments.extend(["--namespace", &namespace]);
        }
        let stored = plane.kubectl(&arguments, "").unwrap_or_else(|error| panic!("{error}"));
        let stored: Value = serde_json::from_str(&stored).expect("kubectl prints JSON");
        let lost = lost(&object.value["spec"], &stored["spec"], "spec");
        assert!(lost.is_empty(), "{kind} {namespace}/{name}: the API server pruned or changed {lost:?}");
    }
}

fn send(plane: &ControlPlane, manager: &str, documents: &[Document]) {
    let items: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let manager = format!("--field-manager={manager}");
    plane
        .kubectl(
            &["apply", "--server-side", "--validate=strict", &manager, "--filename=-"],
            &list.to_string(),
        )
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The fields of `wanted` that `stored` does not have.
fn lost(wanted: &Value, stored: &Value, path: &str) -> Vec<String> {
    match (wanted, stored) {
        (Value::Object(wanted), Value::Object(stored)) => wanted
            .iter()
            .flat_map(|(name, value)| {
                lost(value, stored.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"))
            })
            .collect(),
        (Value::Array(wanted), Value::Array(stored)) if wanted.len() == stored.len() => wanted
            .iter()
            .zip(stored)
            .enumerate()
            .flat_map(|(index, (wanted, stored))| lost(wanted, stored, &format!("{path}[{index}]")))
            .collect(),
        (wanted, stored) if wanted == stored => Vec::new(),
        _ => vec![path.to_owned()],
    }
}
