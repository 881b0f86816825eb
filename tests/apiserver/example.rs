//! The example folder on a cluster: requests by one person, each approver's yes by another.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_crd::Kind;
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::manifest::{self, Document};
use tidegate_tests::tree::{File, files_below, root};
use tidegate_tests::wait;

/// How long the API server may take to know new rights.
const DEADLINE: Duration = Duration::from_secs(30);

/// Applies `examples/haikou` and finds all of its objects, approved, in the cluster.
pub(crate) fn apply(plane: &ControlPlane) {
    let files: Vec<File> =
        files_below("examples/haikou").into_iter().filter(|file| file.has_extension("yaml")).collect();
    let documents: Vec<Document> = files
        .iter()
        .flat_map(|file| manifest::documents(file).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let (approvals, requests): (Vec<&File>, Vec<&File>) =
        files.iter().partition(|file| file.path.contains("/approvals/"));
    assert!(!requests.is_empty() && !approvals.is_empty(), "the example is there");

    send(plane, &requests);
    bind_approvers(plane, &documents);
    // The API server's own view of new rights and policies lags behind by a moment; the script may be run again.
    wait::until("the approvals", DEADLINE, || plane.script("examples/haikou/approve.sh"))
        .unwrap_or_else(|error| panic!("{error}"));

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

/// Applies the files as they are, those with namespaces first.
fn send(plane: &ControlPlane, files: &[&File]) {
    let mut arguments = vec!["apply".to_owned(), "--server-side".into(), "--field-manager=applicant".into()];
    let (first, then): (Vec<&File>, Vec<&File>) =
        files.iter().partition(|file| file.text.lines().any(|line| line == "kind: Namespace"));
    let path = |file: &File| format!("--filename={}", root().join(&file.path).display());
    arguments.extend(first.into_iter().chain(then).map(path));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    plane.kubectl(&arguments, "").unwrap_or_else(|error| panic!("{error}"));
}

/// Binds the departments' groups of approvers to the chart's role, as the controller does.
fn bind_approvers(plane: &ControlPlane, documents: &[Document]) {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": "tidegate-approver"});
    let mut bindings = Vec::new();
    for department in documents.iter().filter(|document| document.text("/kind") == "Department") {
        let approvers = department.value.pointer("/spec/roles/approvers").and_then(Value::as_array);
        let subjects: Vec<Value> = approvers
            .into_iter()
            .flatten()
            .map(|name| json!({"kind": "Group", "name": name, "apiGroup": group}))
            .collect();
        let namespace = format!("dept-{}", department.text("/spec/code"));
        bindings.push(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "subjects": subjects, "roleRef": role,
            "metadata": {"name": "tidegate-approver", "namespace": namespace},
        }));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": bindings}).to_string();
    plane.kubectl(&["create", "--filename=-"], &list).unwrap_or_else(|error| panic!("{error}"));
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
