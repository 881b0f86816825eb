//! Documents in one piece of memory: most of them lie still, and there may be hundreds of thousands.

use std::sync::Arc;

use super::shelf::Documents;

/// Documents by name, in order.
#[derive(Default)]
pub(super) struct Packed {
    /// Names and documents, one after the other.
    bytes: Box<[u8]>,
    /// Where each name and each document ends.
    ends: Box<[(u32, u32)]>,
}

impl Packed {
    /// Packs documents. Shards are far smaller than what a number of 32 bits counts.
    pub(super) fn of(documents: &Documents) -> Self {
        let end = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(documents.len());
        for (name, document) in documents {
            bytes.extend_from_slice(name.as_bytes());
            let name = end(&bytes);
            bytes.extend_from_slice(document);
            ends.push((name, end(&bytes)));
        }
        Self { bytes: bytes.into(), ends: ends.into() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).filter_map(|(start, (name, end))| {
            let range =
                |from: u32, to: u32| self.bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
            Some((std::str::from_utf8(range(start, *name)?).ok()?, range(*name, *end)?))
        })
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, document)| document)
    }

    /// All of them, to be changed.
    pub(super) fn unpacked(&self) -> Documents {
        self.iter().map(|(name, document)| (name.to_owned(), Arc::from(document))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let documents: Documents = [("a", "{}"), ("b", ""), ("", "x")]
            .map(|(name, text)| (name.to_owned(), text.as_bytes().into()))
            .into();
        let packed = Packed::of(&documents);
        assert_eq!(packed.unpacked(), documents);
        assert_eq!((packed.len(), packed.get("a"), packed.get("c")), (3, Some(&b"{}"[..]), None));
        assert_eq!(Packed::default().iter().count(), 0);
    }
}
