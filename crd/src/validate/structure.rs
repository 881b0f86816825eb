//! The structural schema: types, required fields, enumerations, patterns, bounds, unknown fields.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};
use tidegate_core::Code;

use super::VIOLATIONS_MAX;
use super::suggest::nearest;
use crate::definition::schema as schema_of;
use crate::kind::Kind;
use crate::violation::Violation;

/// Letters of a value that a message repeats.
const QUOTED_MAX: usize = 60;

/// Fields of every object that its schema does not list.
const ROOT_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

pub(super) fn check(schema: &Value, object: &Map<String, Value>, violations: &mut Vec<Violation>) {
    let mut walk = Walk { root: schema, violations };
    walk.fields(schema, object, "", "", &ROOT_FIELDS);
}

struct Walk<'a> {
    root: &'a Value,
    violations: &'a mut Vec<Violation>,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, code: Code, message: impl Into<String>, fix: impl Into<String>) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation::new(path, code, message, fix));
        }
    }

    /// `purpose` is the description of the nearest field that has one.
    fn value(&mut self, schema: &Value, value: &Value, path: &str, purpose: &str) {
        let purpose = schema.get("description").and_then(Value::as_str).unwrap_or(purpose);
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        let int_or_string = schema.get("x-kubernetes-int-or-string").is_some();
        match value {
            Value::Object(object) if kind == "object" => self.object(schema, object, path, purpose),
            Value::Array(list) if kind == "array" => self.list(schema, list, path, purpose),
            Value::String(text) if kind == "string" || int_or_string => {
                self.text(schema, text, path, purpose)
            }
            Value::Number(number) if kind == "integer" || int_or_string => match number.as_i64() {
                Some(number) => self.number(schema, number, path),
                None => self.refuse(
                    path,
                    Code::SchemaViolation,
                    format!("{number} is not a whole number"),
                    "round it",
                ),
            },
            Value::Bool(_) if kind == "boolean" => {}
            Value::Null => {
                let message = "the field has no value";
                self.refuse(
                    path,
                    Code::SchemaViolation,
                    message,
                    format!("remove it, or write {}", article(kind)),
                );
            }
            other => {
                let message = format!("{} is {}, not {}", quoted(other), describe(other), article(kind));
                self.refuse(path, Code::SchemaViolation, message, remedy(schema, kind, other, purpose));
            }
        }
    }

    fn object(&mut self, schema: &Value, object: &Map<String, Value>, path: &str, purpose: &str) {
        self.size(schema, ("minProperties", "maxProperties"), object.len(), path, "entries");
        if let Some(values) = schema.get("additionalProperties") {
            for (key, value) in object {
                self.value(values, value, &join(path, key), purpose);
            }
            return;
        }
        self.fields(schema, object, path, purpose, &[]);
    }

    fn fields(
        &mut self,
        schema: &Value,
        object: &Map<String, Value>,
        path: &str,
        purpose: &str,
        also: &[&str],
    ) {
        static NONE: OnceLock<Map<String, Value>> = OnceLock::new();
        let properties =
            schema.get("properties").and_then(Value::as_object).unwrap_or_else(|| NONE.get_or_init(Map::new));
        for (key, value) in object {
            if also.contains(&key.as_str()) {
                continue;
            }
            match properties.get(key) {
                Some(schema) => self.value(schema, value, &join(path, key), purpose),
                None => self.unknown(properties, key, path, also),
            }
        }
        let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for key in required.iter().filter_map(Value::as_str) {
            if !object.contains_key(key) {
                let purpose = properties.get(key).and_then(|schema| schema.get("description"));
                let purpose = purpose.and_then(Value::as_str).unwrap_or_default();
                let fix = format!("add {key}: {}", lower(purpose));
                self.refuse(path, Code::SchemaViolation, format!("{key} is missing"), fix);
            }
        }
    }

    fn unknown(&mut self, properties: &Map<String, Value>, key: &str, path: &str, also: &[&str]) {
        let names = properties.keys().map(String::as_str).chain(also.iter().copied());
        let fix = if let Some(known) = nearest(key, names) {
            format!("did you mean {known}?")
        } else if let Some(elsewhere) = find(self.root, key, String::new()) {
            format!("did you mean {elsewhere}?")
        } else {
            let names: Vec<&str> = properties.keys().map(String::as_str).collect();
            format!("remove it; there are {}", names.join(", "))
        };
        let message = format!("{key} is not a field");
        self.refuse(&join(path, key), Code::UnknownField, message, fix);
    }

    fn list(&mut self, schema: &Value, list: &[Value], path: &str, purpose: &str) {
        self.size(schema, ("minItems", "maxItems"), list.len(), path, "entries");
        let Some(items) = schema.get("items") else { return };
        for (index, value) in list.iter().enumerate() {
            self.value(items, value, &format!("{path}[{index}]"), purpose);
        }
        let identity = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => |value: &Value, _: &Value| Some(value.to_string()),
            Some("map") => |value: &Value, schema: &Value| {
                let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
                Some(keys.iter().map(|key| value.get(key.as_str()?)).map(|key| format!("{key:?}")).collect())
            },
            _ => return,
        };
        let mut seen = BTreeSet::new();
        for (index, value) in list.iter().enumerate() {
            if identity(value, schema).is_some_and(|identity| !seen.insert(identity)) {
                let shown = value.get("name").unwrap_or(value);
                let message = format!("{} is there twice", quoted(shown));
                self.refuse(
                    &format!("{path}[{index}]"),
                    Code::SchemaViolation,
                    message,
                    "remove or rename one of them",
                );
            }
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str, purpose: &str) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                let fix = nearest(text, names.iter().copied()).map_or_else(
                    || format!("write {}", names.join(" or ")),
                    |name| format!("did you mean {name}?"),
                );
                let message = format!("{text:.QUOTED_MAX$?} is not one of {}", names.join(", "));
                self.refuse(path, Code::SchemaViolation, message, fix);
            }
            return;
        }
        let length = text.chars().count();
        let before = self.violations.len();
        self.size(schema, ("minLength", "maxLength"), length, path, "letters");
        if self.violations.len() > before {
            return;
        }
        let fits = |pattern: &str| patterns().get(pattern).is_some_and(|pattern| pattern.is_match(text));
        let pattern = schema.get("pattern").and_then(Value::as_str);
        let instant = schema.get("format").and_then(Value::as_str) == Some("date-time");
        if pattern.is_some_and(|pattern| !fits(pattern))
            || (instant && text.parse::<jiff::Timestamp>().is_err())
        {
            let message = format!("{} cannot be used here", quoted(&Value::from(text)));
            self.refuse(path, Code::SchemaViolation, message, like(schema, purpose));
        }
    }

    fn number(&mut self, schema: &Value, number: i64, path: &str) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            self.refuse(
                path,
                Code::SchemaViolation,
                format!("{number} is too small"),
                format!("write at least {least}"),
            );
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            self.refuse(
                path,
                Code::SchemaViolation,
                format!("{number} is too large"),
                format!("write at most {most}"),
            );
        }
    }

    fn size(&mut self, schema: &Value, (least, most): (&str, &str), size: usize, path: &str, unit: &str) {
        let bound =
            |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        if bound(least).is_some_and(|least| size < least) {
            self.refuse(path, Code::SchemaViolation, "the field is empty", "fill it, or remove it");
        }
        if let Some(most) = bound(most).filter(|most| size > *most) {
            let message = format!("the field has {size} {unit}");
            self.refuse(path, Code::SchemaViolation, message, format!("write at most {most}"));
        }
    }
}

/// Where else in the schema a field of this name is, unless in more than one place.
fn find(schema: &Value, wanted: &str, path: String) -> Option<String> {
    let mut found = None;
    let properties = schema.get("properties").and_then(Value::as_object)?;
    for (key, inner) in properties.iter().filter(|(key, _)| !path.is_empty() || *key == "spec") {
        let here = join(&path, key);
        let hit = if key == wanted { Some(here) } else { find(inner, wanted, here) };
        if hit.is_some() && found.is_some() {
            return None;
        }
        found = found.or(hit);
    }
    found
}

fn patterns() -> &'static HashMap<String, Regex> {
    static ALL: OnceLock<HashMap<String, Regex>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = HashMap::new();
        Kind::ALL.iter().for_each(|kind| collect(schema_of(*kind), &mut all));
        all
    })
}

/// A pattern that does not compile is missing here, so nothing fits it.
fn collect(schema: &Value, all: &mut HashMap<String, Regex>) {
    match schema {
        Value::Object(map) => {
            if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
                && let Ok(regex) = Regex::new(pattern)
            {
                all.insert(pattern.to_owned(), regex);
            }
            map.values().for_each(|inner| collect(inner, all));
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, all)),
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn quoted(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn like(schema: &Value, purpose: &str) -> String {
    match schema.get("example") {
        Some(example) => format!("write it like {}: {}", quoted(example).trim_matches('"'), lower(purpose)),
        None => lower(purpose),
    }
}

fn remedy(schema: &Value, kind: &str, value: &Value, purpose: &str) -> String {
    match (kind, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => "put it in quotes".to_owned(),
        ("integer" | "boolean", Value::String(_)) => "remove the quotes, or correct it".to_owned(),
        ("array", _) => "write a list, each entry on a line that begins with a hyphen".to_owned(),
        _ => like(schema, purpose),
    }
}

fn lower(purpose: &str) -> String {
    let mut letters = purpose.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect::<String>().trim_end_matches('.').to_owned()
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "an object with fields",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        _ => "a number or a text",
    }
}
