//! Fields whose feature does not exist yet are refused when set.

use serde_json::Value;
use tidegate_core::{CLUSTER_ONLY, Code, NOT_YET_SUPPORTED, NotYet};

use crate::kind::Kind;
use crate::violation::Violation;

pub(super) fn check(kind: Kind, value: &Value, violations: &mut Vec<Violation>) {
    refuse(NOT_YET_SUPPORTED, "is not built yet", kind, value, violations);
}

/// Fields of `value` that only a cluster has: whoever serves a folder by itself refuses them.
#[must_use]
pub fn cluster_only(kind: Kind, value: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    refuse(CLUSTER_ONLY, "counts on a cluster only", kind, value, &mut violations);
    violations
}

fn refuse(table: &[NotYet], why: &str, kind: Kind, value: &Value, violations: &mut Vec<Violation>) {
    for entry in table.iter().filter(|entry| entry.kind == kind.as_str()) {
        let mut found = Vec::new();
        let message = if entry.field.is_empty() {
            found.push("kind".to_owned());
            format!("{kind} {why}")
        } else {
            let steps: Vec<&str> = entry.field.split('.').collect();
            find(value, &steps, String::new(), &mut found);
            format!("{} {why}", entry.field)
        };
        violations.extend(
            found
                .into_iter()
                .map(|path| Violation::new(path, Code::NotYetSupported, message.as_str(), entry.instead)),
        );
    }
}

/// Every place the steps lead to; `name[]` goes through the entries of a list.
fn find(value: &Value, steps: &[&str], path: String, found: &mut Vec<String>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(path);
        return;
    };
    let name = step.trim_end_matches("[]");
    let Some(inner) = value.get(name) else { return };
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match inner.as_array().filter(|_| step.ends_with("[]")) {
        Some(list) => {
            for (index, entry) in list.iter().enumerate() {
                find(entry, rest, format!("{path}[{index}]"), found);
            }
        }
        None => find(inner, rest, path, found),
    }
}
