//! The reference of all kinds as one Markdown page, written from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::definition::{definition, schema};
use crate::kind::{API_VERSION, Kind};

const HEAD: &str = "\
<!-- Generated from crd/src/types by `UPDATE_EXPECT=1 cargo test -p tidegate-crd`. -->

# Kinds

The manifests Tidegate reads, in a folder (`tidegate up`) or from a Kubernetes API server. A field in **bold** must be
written. Texts for people are written by language (`zh-CN`, `en`); one of them is enough. Instants are RFC 3339 and are
best written in UTC. A field marked *not yet* is refused with `TG-6006` until its feature exists.

An object of a namespaced kind lies in `dept-<code>`, the namespace of its department.
";

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for kind in Kind::ALL {
        section(&mut page, kind);
    }
    page
}

fn section(page: &mut String, kind: Kind) {
    let names = definition(kind).pointer("/spec/names");
    let name =
        |pointer| names.and_then(|names| names.pointer(pointer)).and_then(Value::as_str).unwrap_or_default();
    let purpose = schema(kind).get("description").and_then(Value::as_str).unwrap_or_default();
    let scope = if kind.namespaced() { "namespaced" } else { "one for the whole platform" };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## {kind}\n\n{}\n\n`apiVersion: {API_VERSION}`, `kind: {kind}`, {scope}; `kubectl get {}`, for short \
         `{}`.\n\n| Field | Value | Meaning |\n|---|---|---|\n",
        prose(purpose),
        name("/plural"),
        name("/shortNames/0"),
    );
    let mut rules = Vec::new();
    collect_rules(schema(kind), "", &mut rules);
    if let Some(spec) = schema(kind).pointer("/properties/spec") {
        fields(page, kind, spec, "spec");
    }
    if !rules.is_empty() {
        page.push_str("\nRules beyond single fields:\n\n");
        for rule in rules {
            let _ = writeln!(page, "- {rule}");
        }
    }
}

fn fields(page: &mut String, kind: Kind, schema: &Value, path: &str) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    for (name, field) in properties {
        let path = format!("{path}.{name}");
        let must = required.is_some_and(|required| required.iter().any(|entry| entry == name));
        let shown = path.trim_start_matches("spec.");
        let mark = if must { format!("**`{shown}`**") } else { format!("`{shown}`") };
        let purpose = field.get("description").and_then(Value::as_str).unwrap_or_default();
        let later = tidegate_core::NOT_YET_SUPPORTED.iter().any(|entry| {
            entry.kind == kind.as_str() && (entry.field.is_empty() || entry.field.replace("[]", "") == path)
        });
        let later = if later { " *Not yet.*" } else { "" };
        let _ = writeln!(page, "| {mark} | {} | {}{later} |", value(field), prose(purpose));
        if is_text(field) {
            continue;
        }
        fields(page, kind, field, &path);
        if let Some(items) = field.get("items") {
            fields(page, kind, items, &format!("{path}[]"));
        }
    }
}

/// A description as Markdown: in it `<code>` is a placeholder, not a tag.
fn prose(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|")
}

/// A text by language needs no line per language.
fn is_text(schema: &Value) -> bool {
    schema.pointer("/properties/zh-CN").is_some()
}

fn value(schema: &Value) -> String {
    let mut out = if is_text(schema) {
        let most = schema.pointer("/properties/en/maxLength").and_then(Value::as_u64).unwrap_or_default();
        format!("text by language, {most} letters")
    } else if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ")
    } else if schema.get("x-kubernetes-int-or-string").is_some() {
        "number or text".to_owned()
    } else {
        typed(schema)
    };
    if let Some(example) = schema.get("example").and_then(Value::as_str) {
        let _ = write!(out, ", like `{example}`");
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_array()) {
        let _ = write!(out, "; `{}` if absent", default.to_string().trim_matches('"'));
    }
    out
}

fn typed(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        "array" => {
            let items = schema.get("items").map(value).unwrap_or_default();
            format!("list of up to {}: {items}", bound("maxItems").unwrap_or_default())
        }
        "object" => match schema.get("additionalProperties") {
            Some(values) => {
                format!("up to {} keys: {}", bound("maxProperties").unwrap_or_default(), value(values))
            }
            None => "object".to_owned(),
        },
        "string" if schema.get("format").is_some() => "instant".to_owned(),
        "string" => format!("text, {} letters", bound("maxLength").unwrap_or_default()),
        "integer" => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) if most < i64::from(u32::MAX) => format!("{least} to {most}"),
            _ => "whole number".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// The messages of all rules, each once.
fn collect_rules(schema: &Value, path: &str, rules: &mut Vec<String>) {
    let Some(map) = schema.as_object() else { return };
    for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
        let message = rule.get("message").and_then(Value::as_str).unwrap_or_default();
        let (code, text) = message.split_once(' ').unwrap_or(("", message));
        let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
        let line = format!("{place}{} (`{code}`)", prose(text));
        if !rules.contains(&line) {
            rules.push(line);
        }
    }
    let empty = Map::new();
    for (name, inner) in map.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_rules(inner, path.trim_start_matches("spec."), rules);
    }
    if let Some(items) = map.get("items") {
        collect_rules(items, &format!("{path}[]"), rules);
    }
}
