//! Places: the memory map of a module, and every offset of the record and the verdict.
//!
//! The record is `abi` 1 and frozen. Integers are little-endian. A *text* field is a pair of `u32`
//! (offset from the start of its half, length in bytes) followed, where noted, by the `u64`
//! [`crate::hash`] of its bytes.

/// Version of the record layout.
pub const ABI: u32 = 1;

/// End of the shadow stack, where it starts growing down.
pub const STACK_END: u32 = 0x1_0000;
/// Most bytes of the shadow stack one call may write.
pub const STACK_USED: u32 = 384;
/// Start of the request window, and of the subject half.
pub const REQUEST_BASE: u32 = 0x1_0000;
/// Size of the request window.
pub const REQUEST_SIZE: u32 = 0x4000;
/// Size of each half of the request window; the request half starts this far into it.
pub const HALF_SIZE: u32 = 0x2000;
/// Start of scratch, and of the verdict.
pub const SCRATCH_BASE: u32 = 0x1_4000;
/// Size of scratch.
pub const SCRATCH_SIZE: u32 = 0x4000;
/// Start of the evaluator's own constants.
pub const OWN_DATA_BASE: u32 = 0x1_8000;
/// Start of the tables.
pub const TABLE_BASE: u32 = 0x2_0000;

/// Most groups of one subject.
pub const MAX_GROUPS: usize = 128;
/// Most attributes of one subject.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most labels of one resource.
pub const MAX_LABELS: usize = 64;

/// The subject half: who asks.
pub mod subject {
    /// `u32`: [`super::ABI`].
    pub const ABI: usize = 0;
    /// `u32`: length of the half.
    pub const LENGTH: usize = 4;
    /// Text and hash: the person's own department.
    pub const DEPARTMENT: usize = 8;
    /// Text and hash: the account's name.
    pub const NAME: usize = 24;
    /// Text and hash: the unit.
    pub const UNIT: usize = 40;
    /// `u32` offset, `u32` count: group entries.
    pub const GROUPS: usize = 56;
    /// `u32` offset, `u32` count: attribute entries.
    pub const ATTRIBUTES: usize = 64;
    /// `u8`: kind of client.
    pub const DEVICE: usize = 72;
    /// `u8`: set of factors.
    pub const FACTORS: usize = 73;
    /// 16 bytes: source address, IPv4 as IPv4-mapped IPv6, in network order.
    pub const SOURCE: usize = 80;
    /// 64 bytes: filter over the group hashes; bit `hash >> 55` is set for each group.
    pub const FILTER: usize = 96;
    /// Length of the fixed part.
    pub const HEADER: usize = 160;
    /// Size of a group entry: `u64` hash, text. Entries ascend by (hash, text).
    pub const GROUP: usize = 16;
    /// Size of an attribute entry: `u64` hash of the pair, text of the pair (key, NUL, value),
    /// `u32` length of the key, `u32` zero. Entries ascend by key.
    pub const PAIR: usize = 24;
}

/// The request half: what is asked for, when, for which side.
pub mod request {
    /// `u32`: [`super::ABI`].
    pub const ABI: usize = 0;
    /// `u32`: length of the half.
    pub const LENGTH: usize = 4;
    /// `u8`: 0 platform, 1 member, 2 owner.
    pub const SIDE: usize = 8;
    /// `u8`: local day, 0 = Monday.
    pub const WEEKDAY: usize = 9;
    /// `u16`: minutes since local midnight.
    pub const MINUTE_OF_DAY: usize = 10;
    /// `u16`: port.
    pub const PORT: usize = 12;
    /// `i64`: minutes since 1970 in UTC.
    pub const UTC_MINUTE: usize = 16;
    /// Text and hash: the department that owns the resource.
    pub const OWNER: usize = 24;
    /// Text and hash: the resource's name.
    pub const RESOURCE: usize = 40;
    /// Text and hash: the upstream host.
    pub const HOST: usize = 56;
    /// Text and hash: the method.
    pub const METHOD: usize = 72;
    /// Text: the path.
    pub const PATH: usize = 88;
    /// `u32` offset, `u32` count: label entries, shaped like attribute entries.
    pub const LABELS: usize = 96;
    /// Length of the fixed part.
    pub const HEADER: usize = 104;
}

/// The verdict at the start of scratch.
pub mod verdict {
    /// `u8`: 0 nothing matched, 1 allow, 2 deny.
    pub const EFFECT: usize = 0;
    /// `u8`: `HintKind` of core.
    pub const HINT: usize = 1;
    /// `u8`: 1 when the `when` of a rule that mattered failed.
    pub const RULE_ERROR: usize = 2;
    /// `u32`: rule index, 0 when nothing matched.
    pub const RULE: usize = 4;
    /// `i64`: first UTC minute at which the answer may differ; `i64::MAX` for never.
    pub const VALID_UNTIL: usize = 8;
    /// `i64`: UTC minute the hinted schedule opens; `i64::MAX` for unknown.
    pub const NEXT_MINUTE: usize = 16;
    /// Length; what is not named above is zero.
    pub const LENGTH: usize = 32;
}
