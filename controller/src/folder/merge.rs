//! Documents of one object, merged as server-side apply would: each sets fields of its own.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_core::Code;
use tidegate_crd::Violation;

use super::places::{Mark, Places, size};

/// Fields every document of an object repeats.
const IDENTITY: [&str; 4] = ["apiVersion", "kind", "metadata.name", "metadata.namespace"];

/// Most documents of one object.
const FRAGMENTS_MAX: usize = 64;

/// One object from its documents, at least one, in the order of their files; and every field that more
/// than one of them sets.
pub(super) fn merge(fragments: &[Arc<Places>]) -> (Arc<Places>, Vec<Violation>) {
    if let [one] = fragments {
        return (Arc::clone(one), Vec::new());
    }
    let mut violations = Vec::new();
    if fragments.len() > FRAGMENTS_MAX {
        let message = format!("the object has {} documents", fragments.len());
        let fix = format!("write at most {FRAGMENTS_MAX}");
        violations.push(Violation::new("", Code::FragmentsOverlap, message, fix));
    }
    let mut files: Vec<Arc<str>> = Vec::new();
    let mut merged: Option<(Value, Vec<Mark>)> = None;
    for fragment in fragments.iter().take(FRAGMENTS_MAX) {
        // Fragments come from one file each; within the merged object files are counted anew.
        let file = u16::try_from(files.len()).unwrap_or(u16::MAX);
        files.extend(fragment.files().iter().cloned());
        let marks: Vec<Mark> = fragment.marks().iter().map(|mark| Mark { file, ..*mark }).collect();
        merged = Some(match merged {
            None => (Value::clone(fragment.value()), marks),
            Some((value, before)) => {
                let mut out = Merger { files: &files, marks: Vec::new(), violations: &mut violations };
                let mut left = Side { marks: &before, at: 0 };
                let mut right = Side { marks: &marks, at: 0 };
                let value = out.merge(value, Value::clone(fragment.value()), &mut left, &mut right, "");
                (value, out.marks)
            }
        });
    }
    let (value, marks) = merged.unwrap_or_default();
    (Arc::new(Places::new(Arc::new(value), marks.into(), files.into())), violations)
}

/// One of the two values being walked: how many of its marks were passed.
struct Side<'a> {
    marks: &'a [Mark],
    at: usize,
}

impl Side<'_> {
    fn take(&mut self) -> Mark {
        let mark = self.marks.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        mark
    }
}

struct Merger<'a> {
    files: &'a [Arc<str>],
    marks: Vec<Mark>,
    violations: &'a mut Vec<Violation>,
}

impl Merger<'_> {
    /// Merges two values of the same field.
    fn merge(&mut self, left: Value, right: Value, l: &mut Side<'_>, r: &mut Side<'_>, path: &str) -> Value {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => {
                self.marks.push(l.take());
                r.take();
                self.fields(left, right, l, r, path)
            }
            (left, right) => {
                let (first, second) = (l.marks.get(l.at).copied(), r.marks.get(r.at).copied());
                if !(IDENTITY.contains(&path) && left == right) {
                    let place = |mark: Option<Mark>| mark.map(|mark| self.place(mark)).unwrap_or_default();
                    let message =
                        format!("two documents set the field, {} and {}", place(first), place(second));
                    self.violations.push(Violation::new(
                        path,
                        Code::FragmentsOverlap,
                        message,
                        "write it in one of them only",
                    ));
                }
                self.pass(&left, l);
                r.at += size(&right);
                left
            }
        }
    }

    fn fields(
        &mut self,
        left: Map<String, Value>,
        right: Map<String, Value>,
        l: &mut Side<'_>,
        r: &mut Side<'_>,
        path: &str,
    ) -> Value {
        let mut fields = Map::new();
        let mut left = left.into_iter().peekable();
        let mut right = right.into_iter().peekable();
        // Both are sorted, and so is what comes out.
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return Value::Object(fields),
            };
            let (key, value) = match order {
                std::cmp::Ordering::Less => {
                    let Some((key, value)) = left.next() else { continue };
                    self.pass(&value, l);
                    (key, value)
                }
                std::cmp::Ordering::Greater => {
                    let Some((key, value)) = right.next() else { continue };
                    self.pass(&value, r);
                    (key, value)
                }
                std::cmp::Ordering::Equal => {
                    let (Some((key, a)), Some((_, b))) = (left.next(), right.next()) else { continue };
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let value = self.merge(a, b, l, r, &path);
                    (key, value)
                }
            };
            fields.insert(key, value);
        }
    }

    /// Copies the marks of a value that only one side has.
    fn pass(&mut self, value: &Value, side: &mut Side<'_>) {
        for _ in 0..size(value) {
            self.marks.push(side.take());
        }
    }

    fn place(&self, mark: Mark) -> String {
        let file = self.files.get(usize::from(mark.file)).map_or("", |file| &**file);
        format!("{file}:{}:{}", mark.line, mark.column)
    }
}
