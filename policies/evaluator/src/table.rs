//! The container of a department's tables, and how it is read.
//!
//! All offsets are from the start of the tables, all integers little-endian. A reader that meets an
//! offset outside gets `None`, and the evaluation ends as malformed.
//!
//! ```text
//! header 64 B   magic, version, length, offset of slots, slot mask, offset of nodes, of entries, of
//!               data, root node of each side (3), number of rules
//! nodes  16 B   dimension, child for rules without it, first entry, number of entries
//! slots  24 B   key u64, child, text offset, text length, 0; open addressing, linear probing
//! entries 24 B  rule index, flags, offsets of: selecting conditions, levels, `when`, timed `when`
//! data          conditions, sets, ranges, windows, code, texts; all aligned to 8
//! ```
//!
//! A list of conditions is their number, then one word for each: kind in the upper 5 bits, below it
//! the argument, which is a set of bits or an offset divided by 8.

/// First word of the tables.
pub const MAGIC: u32 = u32::from_le_bytes(*b"TGpt");
/// Version of this format; belongs to the evaluator it travels with.
pub const VERSION: u32 = 1;
/// Length of the header.
pub const HEADER: usize = 64;
/// No node.
pub const NONE: u32 = u32::MAX;
/// Length of a node.
pub const NODE: usize = 16;
/// Length of a slot.
pub const SLOT: usize = 24;
/// Length of an entry.
pub const ENTRY: usize = 24;
/// Bits of a condition's argument.
pub const ARGUMENT_BITS: u32 = 27;
/// Length of a set member: hash, text.
pub const MEMBER: usize = 16;
/// Entry flag: the rule denies.
pub const FLAG_DENY: u32 = 1;

/// What an index node looks at. Texts only; equality only.
pub mod dimension {
    /// No further split: entries.
    pub const LEAF: u32 = 0;
    /// The resource's name.
    pub const RESOURCE: u32 = 1;
    /// The upstream host.
    pub const HOST: u32 = 2;
    /// A label of the resource (key, NUL, value).
    pub const LABEL: u32 = 3;
    /// The department that owns the resource.
    pub const OWNER: u32 = 4;
    /// A group of the person.
    pub const GROUP: u32 = 5;
    /// The person's department.
    pub const DEPARTMENT: u32 = 6;
    /// The account's name.
    pub const USER: u32 = 7;
    /// An attribute of the person (key, NUL, value).
    pub const ATTRIBUTE: u32 = 8;
    /// How many there are, the leaf included.
    pub const COUNT: usize = 9;
}

/// Kinds of condition, in the order they stand in a list. Those up to `HOST` select; the others are
/// the levels hints speak of.
pub mod condition {
    /// Set: resource names.
    pub const RESOURCE: u32 = 1;
    /// Set: owners.
    pub const OWNER: u32 = 2;
    /// Set: departments of the person.
    pub const DEPARTMENT: u32 = 3;
    /// Set: account names.
    pub const USER: u32 = 4;
    /// Set: groups.
    pub const GROUP: u32 = 5;
    /// Member: one label pair.
    pub const LABEL: u32 = 6;
    /// Member: one attribute pair.
    pub const ATTRIBUTE: u32 = 7;
    /// Set of exact hosts, or 0; number of suffixes; their texts.
    pub const HOST: u32 = 8;
    /// Number; pairs of `u16`.
    pub const PORT: u32 = 9;
    /// Set: methods.
    pub const METHOD: u32 = 10;
    /// Number; texts.
    pub const PATH: u32 = 11;
    /// Number; address and mask, each two big-endian-valued `u64`, family 4 or 6 as `u64`.
    pub const NETWORK: u32 = 12;
    /// The argument is a set of devices.
    pub const DEVICE: u32 = 13;
    /// The argument is a set of factors.
    pub const FACTOR: u32 = 14;
    /// Number; windows (`u16` days, `u16` from, `u16` to, `u16` zero).
    pub const SCHEDULE: u32 = 15;
    /// How many numbers there are.
    pub const COUNT: usize = 16;
}

/// Opened tables.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    bytes: &'a [u8],
    slots: usize,
    mask: usize,
    nodes: usize,
    entries: usize,
    roots: [u32; 3],
}

/// An index node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// What it looks at, one of [`dimension`].
    pub dimension: u32,
    /// The node for rules that do not restrict this dimension.
    pub any: u32,
    /// First entry of a leaf.
    pub first: u32,
    /// Number of entries of a leaf.
    pub count: u32,
}

/// One rule in one leaf, with what the way to the leaf has not settled; offset 0 is "nothing".
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Index of the rule.
    pub rule: u32,
    /// [`FLAG_DENY`].
    pub flags: u32,
    /// List of selecting conditions.
    pub select: u32,
    /// List of the other conditions.
    pub levels: u32,
    /// Code: the part of `when` the time does not touch.
    pub when: u32,
    /// Code: the part of `when` that looks at the time.
    pub when_time: u32,
}

/// Reads `N` consecutive `u32`.
#[inline(always)]
pub(crate) fn words<const N: usize>(bytes: &[u8], at: usize) -> Option<[u32; N]> {
    let (chunks, _) = bytes.get(at..)?.as_chunks::<4>();
    Some(chunks.first_chunk::<N>()?.map(u32::from_le_bytes))
}

/// Reads a `u64`.
#[inline(always)]
pub(crate) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?))
}

/// Reads a text.
#[inline(always)]
pub(crate) fn text(bytes: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    bytes.get(offset as usize..)?.get(..length as usize)
}

/// The slot key of a value under a node.
#[must_use]
#[inline(always)]
pub fn key(node: u32, hash: u64) -> u64 {
    hash ^ u64::from(node).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where the search for a key starts.
#[must_use]
#[inline(always)]
pub fn home(key: u64) -> usize {
    (key ^ key >> 32) as usize
}

impl<'a> Table<'a> {
    /// Opens tables; `None` when they are not of this format.
    #[must_use]
    #[inline(always)]
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let [magic, version, length, slots, mask, nodes, entries, _data, platform, member, owner] =
            words::<11>(bytes, 0)?;
        if magic != MAGIC || version != VERSION {
            return None;
        }
        Some(Self {
            bytes: bytes.get(..length as usize)?,
            slots: slots as usize,
            mask: mask as usize,
            nodes: nodes as usize,
            entries: entries as usize,
            roots: [platform, member, owner],
        })
    }

    /// The bytes offsets count in.
    #[must_use]
    #[inline(always)]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The root node of a side, [`NONE`] when it has no rules; `None` for an unknown side.
    #[must_use]
    #[inline(always)]
    pub fn root(&self, side: u8) -> Option<u32> {
        self.roots.get(usize::from(side)).copied()
    }

    /// A node.
    #[must_use]
    #[inline(always)]
    pub fn node(&self, node: u32) -> Option<Node> {
        let [dimension, any, first, count] = words::<4>(self.bytes, self.nodes + node as usize * NODE)?;
        Some(Node { dimension, any, first, count })
    }

    /// An entry.
    #[must_use]
    #[inline(always)]
    pub fn entry(&self, entry: u32) -> Option<Entry> {
        let [rule, flags, select, levels, when, when_time] =
            words::<6>(self.bytes, self.entries + entry as usize * ENTRY)?;
        Some(Entry { rule, flags, select, levels, when, when_time })
    }

    /// Number of conditions in the list at `list`.
    #[inline(always)]
    pub(crate) fn conditions(&self, list: u32) -> Option<usize> {
        words::<1>(self.bytes, list as usize).map(|[count]| count as usize)
    }

    /// Kind and argument of a condition of the list at `list`.
    #[inline(always)]
    pub(crate) fn condition(&self, list: u32, index: usize) -> Option<(u32, u32)> {
        let [word] = words::<1>(self.bytes, list as usize + 4 + index * 4)?;
        Some((word >> ARGUMENT_BITS, word & ((1 << ARGUMENT_BITS) - 1)))
    }

    /// The child of a node for a value; [`NONE`] when no rule names it.
    #[must_use]
    #[inline(always)]
    pub fn child(&self, node: u32, hash: u64, value: &[u8]) -> Option<u32> {
        let key = key(node, hash);
        let mut slot = home(key) & self.mask;
        // The compiler leaves at least half of the slots empty; the bound is for malformed tables.
        for _ in 0..=self.mask {
            let at = self.slots + slot * SLOT;
            let [low, high, child, offset, length] = words::<5>(self.bytes, at)?;
            if child == NONE {
                return Some(NONE);
            }
            if u64::from(low) | u64::from(high) << 32 == key
                && crate::hash::same(text(self.bytes, offset, length)?, value)
            {
                return Some(child);
            }
            slot = (slot + 1) & self.mask;
        }
        Some(NONE)
    }

    /// A set's member by number: hash and text.
    #[inline(always)]
    pub(crate) fn member(&self, at: usize) -> Option<(u64, &'a [u8])> {
        let [low, high, offset, length] = words::<4>(self.bytes, at)?;
        Some((u64::from(low) | u64::from(high) << 32, text(self.bytes, offset, length)?))
    }

    /// Whether the set at `at` (number, zero, members ascending by hash) holds a text.
    #[inline(always)]
    pub(crate) fn set_holds(&self, at: usize, hash: u64, value: &[u8]) -> Option<bool> {
        let [count] = words::<1>(self.bytes, at)?;
        let first = at + 8;
        // Small sets are walked; in large ones the first member whose hash is not smaller is found
        // by halving. Equal hashes may stand side by side.
        let (mut low, mut high) = (0, if count > 6 { count as usize } else { 0 });
        while low < high {
            let middle = low + (high - low) / 2;
            if long(self.bytes, first + middle * MEMBER)? < hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < count as usize {
            let at = first + low * MEMBER;
            let found = long(self.bytes, at)?;
            if found > hash {
                return Some(false);
            }
            if found == hash && crate::hash::same(self.member(at)?.1, value) {
                return Some(true);
            }
            low += 1;
        }
        Some(false)
    }
}
