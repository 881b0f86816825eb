//! Parts that came with the watch: a small publication is in force without another question to etcd.

use std::collections::HashMap;

use super::keys::Keys;
use super::seal::{Purpose, Sealer};
use crate::wire::v1::Part;
use crate::wire::{Digest, bounds};

/// Bytes kept until a head makes them visible; what comes beyond is fetched when it is needed.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Chunks as they lie in etcd, of publications that are not shown yet.
#[derive(Default)]
pub(super) struct Delivered {
    chunks: HashMap<(Digest, u32), Vec<u8>>,
    bytes: usize,
}

impl Delivered {
    /// Keeps a chunk. A publication that is too large to be kept is not kept in part either.
    pub(super) fn note(&mut self, digest: Digest, number: u32, sealed: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(sealed.len());
        if self.bytes > BYTES_MAX {
            self.chunks.clear();
        } else if let Some(before) = self.chunks.insert((digest, number), sealed) {
            self.bytes = self.bytes.saturating_sub(before.len());
        }
    }

    /// A part, if all of it came and can be read.
    pub(super) fn part(&self, keys: &Keys, sealer: &Sealer, part: &Part) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for number in 0..chunks_of(part) {
            let sealed = self.chunks.get(&(part.digest, number))?;
            whole.extend(sealer.open(Purpose::Configuration, &keys.blob(&part.digest, number), sealed).ok()?);
        }
        (whole.len() as u64 == part.len).then_some(whole)
    }

    /// Forgets what came: it is shown, or will be fetched.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How many chunks a part lies in.
pub(super) fn chunks_of(part: &Part) -> u32 {
    u32::try_from(part.len.div_ceil(bounds::CHUNK as u64)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (Keys, Sealer) {
        (Keys::new("main"), Sealer::new(&[(1, [1; 32])]).expect("a ring"))
    }

    fn put(
        delivered: &mut Delivered,
        (keys, sealer): &(Keys, Sealer),
        digest: Digest,
        number: u32,
        plain: &[u8],
    ) {
        let key = keys.blob(&digest, number);
        let sealed = sealer.seal(Purpose::Configuration, &key, plain).expect("sealed");
        delivered.note(digest, number, sealed);
    }

    #[test]
    fn only_a_whole_part_is_given() {
        let world = world();
        let mut delivered = Delivered::default();
        let (first, rest) = (vec![7; bounds::CHUNK], vec![8; 10]);
        let part = Part { digest: [3; 32], len: (first.len() + rest.len()) as u64 };
        put(&mut delivered, &world, part.digest, 0, &first);
        assert_eq!(delivered.part(&world.0, &world.1, &part), None);
        put(&mut delivered, &world, part.digest, 1, &rest);
        assert_eq!(delivered.part(&world.0, &world.1, &part), Some([first, rest].concat()));
        let other = Sealer::new(&[(2, [2; 32])]).expect("a ring");
        assert_eq!(delivered.part(&world.0, &other, &part), None, "another key sealed it");
        delivered.clear();
        assert_eq!(delivered.part(&world.0, &world.1, &part), None);
    }

    #[test]
    fn it_is_bounded() {
        let world = world();
        let mut delivered = Delivered::default();
        let chunk = vec![1; bounds::CHUNK];
        for number in 0..100 {
            put(&mut delivered, &world, [1; 32], number, &chunk);
            assert!(delivered.chunks.values().map(Vec::len).sum::<usize>() <= BYTES_MAX);
        }
        let small = Part { digest: [2; 32], len: 3 };
        put(&mut delivered, &world, small.digest, 0, b"new");
        assert_eq!(delivered.part(&world.0, &world.1, &small), None, "until the publication is shown");
        delivered.clear();
        put(&mut delivered, &world, small.digest, 0, b"new");
        assert!(delivered.part(&world.0, &world.1, &small).is_some());
    }
}
