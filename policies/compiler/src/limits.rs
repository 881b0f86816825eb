//! Bounds on what one rule and one department may ask of a gateway.

/// Most rules of one module.
pub const MAX_RULES: usize = 20_000;
/// Most entries of one list in `match`.
pub const MAX_LIST: usize = 256;
/// Most bytes of one text in `match`, and of one text literal in `when`.
pub const MAX_TEXT: usize = 1_024;
/// Most bytes of one `when`.
pub const MAX_WHEN: usize = 4_096;
/// Deepest nesting inside `when`.
pub const MAX_NESTING: usize = 24;
/// Most parts (names, literals, operators) of one `when`.
pub const MAX_PARTS: usize = 1_000;
/// Most cost units of one rule; a unit is about 50 ns.
pub const MAX_RULE_COST: u32 = 10_000;
/// Most cost units of all rules one request can lead to.
pub const MAX_REQUEST_COST: u32 = 20_000;
/// Most bytes of one module; what a gateway loads.
pub const MAX_MODULE: usize = 4 << 20;
