//! Where the fields of an object were written.

use std::sync::Arc;

use serde_json::Value;

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The line.
    pub line: u32,
    /// The column, in letters.
    pub column: u32,
    /// Which of the object's files, from 0.
    pub(super) file: u16,
}

impl Mark {
    pub(super) fn new(line: usize, column: usize) -> Self {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: narrow(line), column: narrow(column), file: 0 }
    }
}

/// Where the fields of an object were written: one mark for each value of the object, in the order a
/// walk through it meets them.
///
/// A path for every field would be several times the object; a mark is twelve bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    value: Arc<Value>,
    marks: Arc<[Mark]>,
    files: Arc<[Arc<str>]>,
}

impl Places {
    /// The marks of a value, in files with these names.
    #[must_use]
    pub fn new(value: Arc<Value>, marks: Arc<[Mark]>, files: Arc<[Arc<str>]>) -> Self {
        Self { value, marks, files }
    }

    /// `file:line:column` of a field, else of the nearest field around it; the empty path is the object.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        let Some(first) = self.marks.first() else { return String::new() };
        let mut mark = first;
        let mut value = &*self.value;
        let mut index = 0;
        let mut rest = path;
        while !rest.is_empty() {
            let Some((child, before, after)) = step(value, rest) else { break };
            index += 1 + before;
            let Some(found) = self.marks.get(index) else { break };
            (value, mark, rest) = (child, found, after);
        }
        self.show(*mark)
    }

    pub(super) fn show(&self, mark: Mark) -> String {
        let file = self.files.get(usize::from(mark.file)).map_or("", |file| &**file);
        format!("{file}:{}:{}", mark.line, mark.column)
    }

    pub(super) fn value(&self) -> &Arc<Value> {
        &self.value
    }

    pub(super) fn marks(&self) -> &Arc<[Mark]> {
        &self.marks
    }

    pub(super) fn files(&self) -> &Arc<[Arc<str>]> {
        &self.files
    }
}

/// The child the path leads to next, how many values come before it, and the rest of the path. A name
/// may have dots in it, so the longest one that fits is taken.
fn step<'v, 'p>(value: &'v Value, path: &'p str) -> Option<(&'v Value, usize, &'p str)> {
    match value {
        Value::Object(map) => {
            let path = path.strip_prefix('.').unwrap_or(path);
            let fits = |key: &str| {
                path.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let key = map.keys().filter(|key| fits(key).is_some()).max_by_key(|key| key.len())?;
            let before =
                map.iter().take_while(|(other, _)| *other != key).map(|(_, value)| size(value)).sum();
            Some((map.get(key)?, before, fits(key)?))
        }
        Value::Array(list) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let index: usize = index.parse().ok()?;
            let before = list.iter().take(index).map(size).sum();
            Some((list.get(index)?, before, rest))
        }
        _ => None,
    }
}

/// How many values there are in a value, itself included.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(size).sum::<usize>() + 1,
        Value::Array(list) => list.iter().map(size).sum::<usize>() + 1,
        _ => 1,
    }
}
