//! Checks the chain of every stream in a folder.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde_json::Value;

use super::AuditError;
use super::line::{GENESIS, LINE_MAX, hex, link};
use super::writer::{files_of, parse_name};

/// What was found out about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// How many files it has.
    pub files: usize,
    /// The sequence number of its oldest record; above 1 when older files were rotated away.
    pub first: u64,
    /// Records in the chain, up to a break.
    pub records: u64,
    /// SHA-256 of the last record, in hexadecimal digits: note it elsewhere, and nobody can cut the end off.
    pub head: String,
    /// Records the trail itself says were lost.
    pub lost: u64,
    /// Whether the newest file ends inside a line: it is being written now, or the process died at it.
    pub unfinished: bool,
    /// Where the chain is broken.
    pub broken: Option<Break>,
}

/// A place where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong there.
    pub why: String,
}

/// Checks every stream in `dir`, in the order of their names.
///
/// # Errors
/// When the folder or a file cannot be read; a broken chain is a finding, not an error.
pub fn verify(dir: &Path) -> Result<Vec<Stream>, AuditError> {
    let io = |path: &Path| {
        let file = path.display().to_string();
        move |error| AuditError::Io { file, error }
    };
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let name = entry.map_err(io(dir))?.file_name();
        if let Some((stream, _)) = name.to_str().and_then(parse_name) {
            names.insert(stream.to_owned());
        }
    }
    let mut streams = Vec::new();
    for name in names {
        let files = files_of(dir, &name).map_err(io(dir))?;
        let first = files.first().map_or(1, |(first, _)| *first);
        let mut chain = Chain {
            stream: Stream {
                name,
                files: files.len(),
                first,
                records: 0,
                head: hex(&GENESIS),
                lost: 0,
                unfinished: false,
                broken: None,
            },
            next: first,
            // What came before the oldest file is gone, so its first link cannot be checked.
            prev: (first == 1).then(|| hex(&GENESIS)),
        };
        for (number, path) in files {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let found = if chain.stream.unfinished {
                Some((1, "the file before it ends inside a line".into()))
            } else if number == chain.next {
                chain.check(BufReader::new(File::open(&path).map_err(io(&path))?)).map_err(io(&path))?
            } else {
                Some((
                    1,
                    format!("records {} to {} are missing before it", chain.next, number.saturating_sub(1)),
                ))
            };
            if let Some((line, why)) = found {
                chain.stream.broken = Some(Break { file, line, why });
                break;
            }
        }
        streams.push(chain.stream);
    }
    Ok(streams)
}

struct Chain {
    stream: Stream,
    next: u64,
    prev: Option<String>,
}

impl Chain {
    /// Follows the chain through one file; says at which line it breaks.
    fn check(&mut self, mut file: BufReader<File>) -> std::io::Result<Option<(u64, String)>> {
        for number in 1.. {
            let mut bytes = Vec::new();
            file.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            self.stream.unfinished = bytes.last() != Some(&b'\n') && bytes.len() <= LINE_MAX;
            if self.stream.unfinished {
                break;
            }
            if let Err(why) = self.link(&bytes) {
                return Ok(Some((number, why)));
            }
        }
        Ok(None)
    }

    fn link(&mut self, bytes: &[u8]) -> Result<(), String> {
        let line = bytes.strip_suffix(b"\n").ok_or("the line is not finished")?;
        let line = std::str::from_utf8(line).map_err(|_| "the line is not text")?;
        let value: Value = serde_json::from_str(line).map_err(|_| "the line is not JSON")?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let seq = value.get("seq").and_then(Value::as_u64).ok_or("the record has no number")?;
        if seq != self.next {
            return Err(format!("record {seq} stands where {} belongs", self.next));
        }
        if text("stream") != Some(&self.stream.name) {
            return Err("the record is of another stream".into());
        }
        let prev = text("prev").ok_or("the record has no link")?;
        if self.prev.as_deref().is_some_and(|expected| expected != prev) {
            return Err("the record before it was changed".into());
        }
        if text("event") == Some("records_lost") {
            let lost = value.get("count").and_then(Value::as_u64).unwrap_or(0);
            self.stream.lost = self.stream.lost.saturating_add(lost);
        }
        self.stream.head = hex(&link(line));
        self.prev = Some(self.stream.head.clone());
        self.next = seq.saturating_add(1);
        self.stream.records = self.stream.records.saturating_add(1);
        Ok(())
    }
}
