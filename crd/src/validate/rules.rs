//! The CEL rules of the definitions, evaluated here as an API server evaluates them there.

use std::sync::OnceLock;

use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, compile_schema, validate_compiled};
use serde_json::Value;
use tidegate_core::Code;

use crate::definition::schema;
use crate::kind::Kind;
use crate::violation::Violation;

fn compiled(kind: Kind) -> Option<&'static CompiledSchema> {
    static ALL: OnceLock<Vec<CompiledSchema>> = OnceLock::new();
    ALL.get_or_init(|| Kind::ALL.iter().map(|kind| compile_schema(schema(*kind))).collect())
        .get(kind as usize)
}

/// Adds what the rules refuse. The schema must hold already.
pub(super) fn check(kind: Kind, value: &Value, old: Option<&Value>, violations: &mut Vec<Violation>) {
    let Some(compiled) = compiled(kind) else { return };
    if let Err(errors) = validate_compiled(compiled, value, old) {
        violations.extend(errors.into_iter().map(violation));
    }
}

/// A message is `TG-nnnn what is wrong; what to do`.
fn violation(error: ValidationError) -> Violation {
    if error.kind != ErrorKind::ValidationFailure {
        // Fail closed: a rule nobody could evaluate is a rule that was broken.
        let message = format!("the rule {} cannot be evaluated: {}", error.rule, error.message);
        return Violation::new(
            error.field_path,
            Code::SchemaViolation,
            message,
            "report this as a fault of Tidegate",
        );
    }
    let (code, text) = take_code(&error.message).unwrap_or((Code::SchemaViolation, &error.message));
    let (message, fix) = text.split_once("; ").unwrap_or((text, ""));
    Violation::new(error.field_path, code, message, fix)
}

/// The code a message begins with, and the rest of it.
fn take_code(message: &str) -> Option<(Code, &str)> {
    let (id, text) = message.split_once(' ')?;
    let number: u16 = id.strip_prefix("TG-")?.parse().ok()?;
    let code = Code::ALL.iter().find(|code| **code as u16 == number)?;
    Some((*code, text))
}
