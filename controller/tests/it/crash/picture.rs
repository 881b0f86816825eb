//! What there is of a department, in the API server and in etcd, without what differs from life to life: UIDs, times,
//! and the terms of generations.

use std::cell::Cell;

use serde_json::{Map, Value, json};
use tidegate_controller::time::now;
use tidegate_core::{Account, PolicyState};
use tidegate_store::Store as _;
use tidegate_tests::base64;
use tidegate_tests::helm::NAMESPACE;

use super::stage::Stage;

/// Everything that has to be the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture(Value);

/// Where objects of a department are: name, path, and what is taken of each.
pub(super) fn paths(code: &str) -> Vec<(&'static str, String, Taken)> {
    let ours = |plural: &str| format!("/apis/tidegate.dev/v1alpha1/namespaces/dept-{code}/{plural}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces";
    vec![
        ("departments", "/apis/tidegate.dev/v1alpha1/departments".into(), Taken::Object),
        ("accounts", ours("vpnusers"), Taken::Object),
        ("resources", ours("resources"), Taken::Object),
        ("policies", ours("accesspolicies"), Taken::Object),
        ("bindings", format!("{rbac}/dept-{code}/rolebindings"), Taken::Binding),
        ("codes", format!("/api/v1/namespaces/dept-{code}/secrets"), Taken::Name),
        ("credentials", format!("/api/v1/namespaces/{NAMESPACE}/secrets"), Taken::Documents),
        ("kept", format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), Taken::Documents),
    ]
}

/// What is taken of the objects in a list.
#[derive(Clone, Copy)]
pub(super) enum Taken {
    /// What somebody wrote, and what is said about it.
    Object,
    /// Who is bound to what.
    Binding,
    /// That it is there.
    Name,
    /// The documents in it that are about the department.
    Documents,
}

impl Picture {
    /// Looks at everything.
    pub(super) async fn take(
        stage: &Stage,
        code: &str,
        paths: &[(&'static str, String, Taken)],
        first: &Cell<Option<u64>>,
    ) -> Result<Self, String> {
        let mut all = Map::new();
        for (name, path, taken) in paths {
            let mut found = Map::new();
            for object in stage.list(path).await? {
                take(&mut found, &object, *taken, code);
            }
            // UIDs decide on which shelf a document lies, and so their order.
            found
                .values_mut()
                .filter_map(Value::as_array_mut)
                .for_each(|list| list.sort_by_key(Value::to_string));
            all.insert((*name).to_owned(), found.into());
        }
        all.insert("published".into(), published(stage, code, first));
        // Codes and names that hold them are the only texts that differ.
        let text = Value::from(all).to_string().replace(code, "<code>");
        serde_json::from_str(&text).map(Self).map_err(|error| error.to_string())
    }

    /// Whether everything is said to be in force, and nothing else is published.
    pub(super) fn is_said(&self) -> Result<(), String> {
        for kind in ["departments", "accounts", "resources", "policies"] {
            for (name, object) in self.0[kind].as_object().into_iter().flatten() {
                if object["conditions"]["Propagated"][0] != "True" || object["current"] != true {
                    return Err(format!("{name}: {object}"));
                }
            }
        }
        let published = &self.0["published"];
        for kind in ["accounts", "resources"] {
            let there = self.0[kind].as_object().map_or(0, Map::len);
            let known = published[kind].as_object().map_or(0, Map::len);
            if there != known {
                return Err(format!("{there} {kind}, and {known} are published"));
            }
        }
        let rules = published["rules"].as_array().map_or(0, Vec::len);
        match self.0["policies"].as_object().map_or(0, Map::len) {
            policies if policies == rules => Ok(()),
            policies => Err(format!("{policies} policies, and {rules} rules are published")),
        }
    }

    /// Whether another one is the same, and if not, what differs.
    pub(super) fn compare(&self, other: &Self) -> Result<(), String> {
        let mut differences = Vec::new();
        compare("", &self.0, &other.0, &mut differences);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }
}

/// Numbers that only grow.
const COUNTED: [&str; 2] = ["/raised", "/version"];

fn compare(at: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                compare(&format!("{at}/{key}"), &of(expected), &of(found), differences);
            }
        }
        // Who dies between publishing a raised epoch and keeping it raises it once more: that takes nothing away, and
        // gives nothing back.
        (expected, found)
            if COUNTED.iter().any(|end| at.ends_with(end)) && found.as_u64() >= expected.as_u64() => {}
        (expected, found) if expected != found => {
            differences.push(format!("{at}: expected {expected}, found {found}"));
        }
        _ => {}
    }
}

fn take(found: &mut Map<String, Value>, object: &Value, taken: Taken, code: &str) {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    match taken {
        Taken::Object => {
            if metadata["namespace"].is_null() && name != code {
                return;
            }
            let status = &object["status"];
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let current = conditions.clone().all(|one| one["observedGeneration"] == metadata["generation"]);
            let said = conditions.map(|one| {
                (one["type"].as_str().unwrap_or_default().to_owned(), json!([one["status"], one["reason"]]))
            });
            let said: Map<String, Value> = said.collect();
            let one = json!({
                "spec": object["spec"], "finalizers": metadata["finalizers"], "conditions": said,
                "current": current && status["observedGeneration"] == metadata["generation"],
                "leaving": !metadata["deletionTimestamp"].is_null(),
            });
            found.insert(name.to_owned(), one);
        }
        Taken::Binding => {
            found.insert(name.to_owned(), json!([object["roleRef"], object["subjects"]]));
        }
        Taken::Name => {
            found.insert(name.to_owned(), Value::Null);
        }
        Taken::Documents => {
            let data = object["data"].as_object().into_iter().flatten();
            for (key, value) in data {
                let text = value.as_str().unwrap_or_default();
                let document = documents(name, key, text);
                if name.contains(code) || key.contains(code) || document.to_string().contains(code) {
                    let entry = found.entry(place(name)).or_insert_with(|| json!([]));
                    entry.as_array_mut().into_iter().for_each(|list| list.push(document.clone()));
                }
            }
        }
    }
}

/// The name of a shelf without the number of its shard, since UIDs decide which one it is.
fn place(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned()
}

/// A document of a Secret or ConfigMap, without UIDs and times.
fn documents(name: &str, key: &str, text: &str) -> Value {
    let bytes = if name.starts_with("tidegate-credentials") { base64::decode(text) } else { None };
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned());
    let mut document: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({"key": key}));
    scrub(&mut document);
    document
}

/// Removes UIDs, and replaces times and digests by the word that there are some.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("uid");
            // What is published says the same number.
            fields.remove("version");
            for (key, value) in fields.iter_mut() {
                let is_time = value.as_i64().is_some_and(|number| number > 1_000_000_000);
                let is_digest = ["digest", "id", "intent", "forms"].contains(&key.as_str());
                if is_time || is_digest { *value = "…".into() } else { scrub(value) }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(scrub),
        other if other.as_i64().is_some_and(|number| number > 1_000_000_000) => *other = "…".into(),
        _ => {}
    }
}

/// What gateways know of the department.
fn published(stage: &Stage, code: &str, first: &Cell<Option<u64>>) -> Value {
    let snapshot = stage.store.subscribe().borrow().snapshot.clone();
    let Some(department) = snapshot.and_then(|snapshot| snapshot.department(code).cloned()) else {
        return Value::Null;
    };
    let rules = match &department.policy {
        PolicyState::Module(module) => {
            let rules = module.rules.iter();
            rules.map(|rule| format!("{}/{} {:?}", rule.policy, rule.rule, rule.effect)).collect::<Value>()
        }
        other => format!("{other:?}").into(),
    };
    let accounts = department.accounts.iter();
    let accounts: Map<String, Value> =
        accounts.map(|(name, account)| (name.to_string(), published_account(account, first))).collect();
    let resources = department.resources.iter();
    let resources: Map<String, Value> =
        resources.map(|(name, resource)| (name.to_string(), resource.source.generation.into())).collect();
    json!({
        "title": format!("{:?}", department.title),
        "object": department.source.generation,
        "accounts": accounts,
        "resources": resources,
        "rules": rules,
    })
}

fn published_account(account: &Account, first: &Cell<Option<u64>>) -> Value {
    let credential = account.credential.as_ref();
    // Epochs begin with the time of day; how often one was raised is what counts.
    let raised = credential.map(|credential| {
        let first = first.get().unwrap_or_else(|| {
            first.set(Some(credential.epoch));
            credential.epoch
        });
        i128::from(credential.epoch) - i128::from(first)
    });
    json!({
        "state": format!("{:?}", account.state),
        "object": account.source.generation,
        "denied": format!("{:?}", account.standing(now()).denied),
        "approved by": account.approval.as_ref().map(|approval| approval.by.to_string()),
        "version": credential.map(|credential| credential.version),
        "raised": raised.and_then(|raised| i64::try_from(raised).ok()),
        "password": credential.and_then(|credential| credential.password.as_deref()),
        "code": credential.is_some_and(|credential| credential.activation.is_some()),
    })
}
