//! The data part of the tables: every text, set and piece of code once.

use std::collections::{BTreeSet, HashMap};

use tidegate_policy_evaluator::hash::hash;
use tidegate_policy_evaluator::table::HEADER;

/// Grows behind the header, so that every offset is final when it is given out.
pub(crate) struct Data {
    bytes: Vec<u8>,
    seen: HashMap<Vec<u8>, u32>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), seen: HashMap::new() }
    }

    /// Offset of these bytes from the start of the tables, aligned to 8.
    pub(crate) fn intern(&mut self, bytes: Vec<u8>) -> u32 {
        if let Some(offset) = self.seen.get(&bytes) {
            return *offset;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let offset = (HEADER + self.bytes.len()) as u32;
        self.bytes.extend_from_slice(&bytes);
        self.seen.insert(bytes, offset);
        offset
    }

    /// Offset of a text's bytes.
    pub(crate) fn text(&mut self, text: &str) -> u32 {
        self.intern(text.as_bytes().to_vec())
    }

    /// A set's member: hash and place of the text.
    fn member_bytes(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = hash(text.as_bytes()).to_le_bytes().to_vec();
        bytes.extend(self.place(text));
        bytes
    }

    /// Offset and length of a text, as bytes.
    pub(crate) fn place(&mut self, text: &str) -> [u8; 8] {
        let place = u64::from(self.text(text)) | (text.len() as u64) << 32;
        place.to_le_bytes()
    }

    /// Offset of a single member.
    pub(crate) fn member(&mut self, text: &str) -> u32 {
        let bytes = self.member_bytes(text);
        self.intern(bytes)
    }

    /// Offset of a set: number, zero, members ascending by hash.
    pub(crate) fn set(&mut self, texts: &BTreeSet<&str>) -> u32 {
        let mut ordered: Vec<_> = texts.iter().map(|text| (hash(text.as_bytes()), *text)).collect();
        ordered.sort_unstable();
        let members: Vec<_> = ordered.iter().map(|(_, text)| self.member_bytes(text)).collect();
        self.list(members)
    }

    /// Offset of a list: number, zero, entries.
    pub(crate) fn list(&mut self, entries: impl IntoIterator<Item = Vec<u8>>) -> u32 {
        let mut count = 0_u64;
        let mut bytes = vec![0; 8];
        for entry in entries {
            bytes.extend(entry);
            count += 1;
        }
        bytes.splice(..8, count.to_le_bytes());
        self.intern(bytes)
    }

    /// Offset of a list of conditions, given as words.
    pub(crate) fn conditions(&mut self, words: &[u32]) -> u32 {
        let mut bytes = (words.len() as u32).to_le_bytes().to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.intern(bytes)
    }

    /// All of it, padded to 8.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes
    }
}
