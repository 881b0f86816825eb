//! What Kubernetes itself checks about every object.

use serde_json::{Map, Value};
use tidegate_core::Code;

use super::suggest::nearest;
use crate::kind::Kind;
use crate::violation::Violation;

const KNOWN: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "managedFields",
    "ownerReferences",
    "selfLink",
];

/// Longest name of an object.
const NAME_MAX: usize = 253;

pub(super) fn check(kind: Kind, object: &Map<String, Value>, violations: &mut Vec<Violation>) {
    let mut refuse = |path: &str, code, message: String, fix: String| {
        violations.push(Violation::new(path, code, message, fix));
    };
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else {
        let fix = "write metadata: with a name below it".to_owned();
        refuse("metadata", Code::SchemaViolation, "the object has no metadata".to_owned(), fix);
        return;
    };
    for key in metadata.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        let fix = nearest(key, KNOWN.iter().copied())
            .map_or_else(|| "remove it".to_owned(), |known| format!("did you mean {known}?"));
        refuse(&format!("metadata.{key}"), Code::UnknownField, format!("{key} is not a field"), fix);
    }
    match metadata.get("name").and_then(Value::as_str) {
        None => {
            let fix = "add a name of lower-case letters, digits, hyphens or dots".to_owned();
            refuse("metadata.name", Code::SchemaViolation, "the object has no name".to_owned(), fix);
        }
        Some(name) if !is_subdomain(name) => {
            let fix = "use lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit";
            refuse("metadata.name", Code::SchemaViolation, format!("{name:?} is not a name"), fix.to_owned());
        }
        Some(_) => {}
    }
    match (kind.namespaced(), metadata.get("namespace")) {
        (true, Some(Value::String(namespace))) if is_subdomain(namespace) => {}
        (true, _) => {
            let fix = "write the namespace of its department, dept-<code>".to_owned();
            refuse("metadata.namespace", Code::WrongNamespace, format!("a {kind} lies in a namespace"), fix);
        }
        (false, Some(_)) => {
            let message = format!("a {kind} lies in no namespace");
            refuse("metadata.namespace", Code::WrongNamespace, message, "remove the namespace".to_owned());
        }
        (false, None) => {}
    }
    for field in ["labels", "annotations"] {
        let texts = |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_string));
        if metadata.get(field).is_some_and(|value| !texts(value)) {
            let fix = "write a text, in quotes if it looks like a number, for every key".to_owned();
            let message = format!("{field} are not all texts");
            refuse(&format!("metadata.{field}"), Code::SchemaViolation, message, fix);
        }
    }
}

fn is_subdomain(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let label = |label: &str| {
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    name.len() <= NAME_MAX && name.split('.').all(label)
}
