//! YAML documents as JSON values, and where each of their fields was written.
//!
//! Plain words are read as kubectl reads them, so that a folder and a cluster agree. Aliases are
//! refused: a few bytes of them can stand for gigabytes.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::{Map, Number, Value};
use tidegate_core::Code;

use super::places::Mark;

/// Deepest nesting of lists and mappings.
const DEPTH_MAX: usize = 64;

/// Most values in one file.
const NODES_MAX: usize = 200_000;

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where each value was written, in the order of a walk through `value`, itself first.
    pub marks: Vec<Mark>,
}

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// Where.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: &'static str,
}

impl Fault {
    fn new(at: Mark, message: impl Into<String>, fix: &'static str) -> Self {
        Self { code: Code::NotYaml, mark: at, message: message.into(), fix }
    }
}

/// The documents of a file, empty ones left out. One fault refuses the file as a whole.
pub fn read_documents(bytes: &[u8]) -> Result<Vec<Document>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        let at = Mark::new(line.saturating_add(1), column.saturating_add(1));
        Fault::new(at, "the file is not UTF-8", "save it as UTF-8")
    })?;
    let mut reader =
        Reader { parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let (first, at) = reader.next()?;
                let mut node = reader.node(first, at, 0)?;
                if let Kind::Map(entries) = &node.kind
                    && let Some((_, key, _)) = entries.first()
                {
                    node.at = *key;
                }
                if !matches!(node.kind, Kind::Scalar(Value::Null)) {
                    let mut marks = Vec::new();
                    let value = node.flatten(&mut marks);
                    documents.push(Document { value, marks });
                }
            }
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            _ => return Err(Fault::new(at, "the file is not YAML", "correct it")),
        }
    }
}

/// A value while it is read, keys in the order of the file.
struct Node {
    at: Mark,
    kind: Kind,
}

enum Kind {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Mark, Node)>),
}

impl Node {
    /// The value, and its marks in the order a walk through it meets them: keys sorted.
    fn flatten(self, marks: &mut Vec<Mark>) -> Value {
        marks.push(self.at);
        match self.kind {
            Kind::Scalar(value) => value,
            Kind::List(nodes) => Value::Array(nodes.into_iter().map(|node| node.flatten(marks)).collect()),
            Kind::Map(mut entries) => {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                let mut map = Map::new();
                for (key, at, mut node) in entries {
                    // People look for a field by its name.
                    node.at = at;
                    let value = node.flatten(marks);
                    map.insert(key, value);
                }
                Value::Object(map)
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Mark), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, mark(&span.start))),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Mark::new(1, 1))),
        }
    }

    fn node(&mut self, event: Event<'a>, at: Mark, depth: usize) -> Result<Node, Fault> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values");
            return Err(Fault {
                code: Code::FileTooLarge,
                ..Fault::new(at, message, "divide it into several files")
            });
        }
        if depth > DEPTH_MAX {
            let message = format!("values are nested more than {DEPTH_MAX} deep");
            return Err(Fault::new(
                at,
                message,
                "no kind needs this; correct the indentation or the brackets",
            ));
        }
        let kind = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(Fault::new(at, "YAML tags are not read", "remove the word that begins with !"));
            }
            Event::Alias(_) => {
                return Err(Fault::new(at, "YAML aliases are not read", "write the value out"));
            }
            Event::Scalar(text, style, ..) => Kind::Scalar(scalar(&text, style)),
            Event::SequenceStart(..) => {
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Kind::List(nodes),
                        (event, at) => nodes.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => Kind::Map(self.entries(depth)?),
            _ => return Err(Fault::new(at, "the file ends too early", "finish it")),
        };
        Ok(Node { at, kind })
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Mark, Node)>, Fault> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => {
                    let fix = "write the value as text, with its braces or colons in quotes";
                    return Err(Fault::new(at, "a field's name is not a word", fix));
                }
            };
            if !seen.insert(key.clone()) {
                return Err(Fault::new(at, format!("{key:?} is there twice"), "remove one of them"));
            }
            let (event, value_at) = self.next()?;
            let node = self.node(event, value_at, depth + 1)?;
            entries.push((key, at, node));
        }
    }
}

fn mark(marker: &Marker) -> Mark {
    Mark::new(marker.line(), marker.col().saturating_add(1))
}

fn syntax(error: &ScanError) -> Fault {
    let fix = "look at indentation, colons and quotes here and in the line before";
    Fault::new(mark(error.marker()), format!("the file is not YAML: {}", error.info()), fix)
}

/// A plain word as YAML 1.2 and kubectl read it; anything in quotes is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::from(text), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::from(whole));
    }
    let float = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    text.chars().all(float).then(|| text.parse().ok()).flatten().and_then(Number::from_f64)
}
