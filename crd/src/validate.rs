//! Judges a manifest as an API server would, and says what to write instead.
//!
//! The order is an API server's: the structural schema first, and only if that holds the rules, which
//! may then rely on every type. Two things are stricter than in a cluster: an unknown field is an
//! error instead of being pruned, and a field whose feature is not built yet is refused.

mod metadata;
mod not_yet;
mod rules;
mod structure;
mod suggest;

pub use not_yet::cluster_only;
use serde_json::Value;
use tidegate_core::Code;

use crate::definition::schema;
use crate::kind::{API_VERSION, Kind};
use crate::violation::Violation;

/// Most violations reported of one object.
const VIOLATIONS_MAX: usize = 32;

/// Everything that is wrong with `value` as an object of `kind`. `old` is the object's last accepted
/// form, for rules about changes.
#[must_use]
pub fn validate(kind: Kind, value: &Value, old: Option<&Value>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some(object) = value.as_object() else {
        let fix = format!("write apiVersion: {API_VERSION}, kind: {kind}, metadata and spec");
        return vec![Violation::new("", Code::SchemaViolation, "the document is not an object", fix)];
    };
    if object.get("apiVersion").and_then(Value::as_str) != Some(API_VERSION) {
        let message = format!("this is not a {kind} of a known version");
        violations.push(Violation::new(
            "apiVersion",
            Code::SchemaViolation,
            message,
            format!("write apiVersion: {API_VERSION}"),
        ));
    }
    metadata::check(kind, object, &mut violations);
    structure::check(schema(kind), object, &mut violations);
    if violations.is_empty() {
        rules::check(kind, value, old, &mut violations);
    }
    not_yet::check(kind, value, &mut violations);
    violations.truncate(VIOLATIONS_MAX);
    violations
}
