//! YAML documents as JSON values, and folders of manifests as the objects they make together.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::tree::File;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, from the root of the repository.
    pub path: String,
    /// What is in it.
    pub value: Value,
}

impl Document {
    /// The text of a field by JSON pointer, or nothing.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// What makes the object one of its own: kind, namespace and name.
    #[must_use]
    pub fn key(&self) -> [String; 3] {
        ["/kind", "/metadata/namespace", "/metadata/name"].map(|pointer| self.text(pointer).to_owned())
    }
}

/// The documents of a file; lines of a chart's template language are left out.
///
/// # Errors
///
/// When it is not YAML, with file and line.
pub fn documents(file: &File) -> Result<Vec<Document>, String> {
    let plain: Vec<&str> =
        file.text.lines().map(|line| if line.starts_with("{{") { "" } else { line }).collect();
    let values = parse(&plain.join("\n")).map_err(|error| format!("{}: {error}", file.path))?;
    Ok(values.into_iter().map(|value| Document { path: file.path.clone(), value }).collect())
}

/// Documents of one object put together, as server-side apply does with fields of different owners.
///
/// # Errors
///
/// When two documents give one field different values.
pub fn merged(documents: &[Document]) -> Result<Vec<Document>, String> {
    let mut objects: BTreeMap<[String; 3], Document> = BTreeMap::new();
    for document in documents {
        if let Some(object) = objects.get_mut(&document.key()) {
            merge(&mut object.value, &document.value)
                .map_err(|field| format!("{} and {} both set {field}", object.path, document.path))?;
        } else {
            objects.insert(document.key(), document.clone());
        }
    }
    Ok(objects.into_values().collect())
}

fn merge(into: &mut Value, from: &Value) -> Result<(), String> {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                match into.get_mut(name) {
                    Some(own) => merge(own, value).map_err(|field| format!("{name}.{field}"))?,
                    None => _ = into.insert(name.clone(), value.clone()),
                }
            }
            Ok(())
        }
        (into, from) if into == from => Ok(()),
        (into, from) => Err(format!(" ({into} and {from})")),
    }
}

/// All documents of a YAML text that are not empty.
///
/// # Errors
///
/// When it is not YAML, uses anchors, or has a key twice; with the line.
pub fn parse(text: &str) -> Result<Vec<Value>, String> {
    let mut documents = Vec::new();
    // What is open: a list, or a map with the key that waits for its value.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let done = match event {
            Event::SequenceStart(..) => {
                open.push((Value::Array(Vec::new()), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Value::Object(Map::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((value, _)) => value,
                None => continue,
            },
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::Alias(_) => return Err(format!("line {}: manifests have no aliases", span.start.line())),
            _ => continue,
        };
        match open.last_mut() {
            None if done.is_null() => {}
            None => documents.push(done),
            Some((Value::Array(list), _)) => list.push(done),
            Some((Value::Object(map), key)) => match key.take() {
                None => *key = Some(done.as_str().map_or_else(|| done.to_string(), str::to_owned)),
                Some(name) if map.contains_key(&name) => {
                    return Err(format!("line {}: {name} is there twice", span.start.line()));
                }
                Some(name) => _ = map.insert(name, done),
            },
            Some(_) => {}
        }
    }
    Ok(documents)
}

/// What a scalar means in YAML 1.2's core schema, as far as manifests use it.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| match text.parse::<f64>() {
                Ok(number) if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
                    Ok(Value::from(number))
                }
                _ => Err(()),
            })
            .unwrap_or_else(|()| Value::from(text)),
    }
}
