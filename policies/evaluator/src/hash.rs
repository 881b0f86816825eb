//! The hash of texts in records and tables: keyless, cheap, the same everywhere.
//!
//! It only finds candidates: texts are always compared after their hashes agreed.

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FIRST: u64 = 0xd6e8_feb8_6659_fd93;
const SECOND: u64 = 0xa076_1d64_78bd_642f;

/// Hashes a text.
#[must_use]
#[inline(always)]
pub const fn hash(bytes: &[u8]) -> u64 {
    let mut state = SEED ^ (bytes.len() as u64).wrapping_mul(FIRST);
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*word), FIRST);
        rest = after;
    }
    let tail = match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
        }
        _ => match *rest {
            [] => 0,
            [a] => a as u64,
            [a, b] => a as u64 | (b as u64) << 8,
            [a, b, c, ..] => a as u64 | (b as u64) << 8 | (c as u64) << 16,
        },
    };
    fold(state ^ tail, SECOND)
}

/// Multiplies to 128 bits and folds the halves together.
const fn fold(left: u64, right: u64) -> u64 {
    let product = (left as u128).wrapping_mul(right as u128);
    (product as u64) ^ (product >> 64) as u64
}

/// Whether two texts are the same, a word at a time (`core` compares byte by byte on wasm32).
#[must_use]
#[inline(always)]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (mut left, mut right) = (left, right);
    while let (Some((a, after_a)), Some((b, after_b))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        if u64::from_le_bytes(*a) != u64::from_le_bytes(*b) {
            return false;
        }
        (left, right) = (after_a, after_b);
    }
    if let (Some((a, after_a)), Some((b, after_b))) =
        (left.split_first_chunk::<4>(), right.split_first_chunk::<4>())
    {
        if u32::from_le_bytes(*a) != u32::from_le_bytes(*b) {
            return false;
        }
        (left, right) = (after_a, after_b);
    }
    while let (Some((a, after_a)), Some((b, after_b))) = (left.split_first(), right.split_first()) {
        if a != b {
            return false;
        }
        (left, right) = (after_a, after_b);
    }
    true
}
