//! The example folder on a cluster: requests by one person, each approver's yes by another.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_crd::{GROUP, Kind};
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::manifest::{self, Document};
use tidegate_tests::tree::files_below;
use tidegate_tests::wait;

/// How long the API server may take to know a new right.
const DEADLINE: Duration = Duration::from_secs(30);

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

    send(plane, &namespaces);
    send(plane, &requests);
    approve(plane, &approvals);

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

fn send(plane: &ControlPlane, documents: &[Document]) {
    let stream: Vec<String> = documents.iter().map(|document| document.value.to_string()).collect();
    plane
        .kubectl(
            &["apply", "--server-side", "--field-manager=applicant", "--filename=-"],
            &stream.join("\n---\n"),
        )
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Runs the example's own script, in which each approver applies under the own name, with the right to do so.
fn approve(plane: &ControlPlane, approvals: &[Document]) {
    let approvers: BTreeSet<&str> =
        approvals.iter().map(|document| document.text("/spec/approval/by")).collect();
    let subjects: Vec<Value> = approvers
        .iter()
        .map(|name| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}))
        .collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "approvers"},
        "rules": [{"apiGroups": [GROUP], "resources": ["vpnusers"], "verbs": ["get", "patch"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "approvers"}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approvers"},
    });
    plane
        .kubectl(&["create", "--filename=-"], &format!("{role}\n---\n{binding}"))
        .unwrap_or_else(|error| panic!("{error}"));
    // The API server's own view of a new binding lags behind by a moment.
    let first = approvers.first().expect("an approver");
    wait::until("approvers may approve", DEADLINE, || {
        let asked = ["auth", "can-i", "patch", "vpnusers.tidegate.dev", "--all-namespaces", "--as", first];
        plane.kubectl(&asked, "").map(drop)
    })
    .unwrap_or_else(|error| panic!("{error}"));
    plane.script("examples/haikou/approve.sh").unwrap_or_else(|error| panic!("{error}"));
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
