//! Opcodes of `when`. A number is never used again for something else; the list only grows.
//!
//! An instruction is 8 bytes: opcode `u8`, `a` `u8`, `b` `u16`, `c` `u32`. Code is: number of
//! instructions `u32`, time bits `u32` ([`time`]), instructions. Jumps go forward only. Any value may
//! be an error; an operation on an error gives that error, except `AND`, `OR` and the jumps before
//! them, which absorb it as CEL does.

/// Length of an instruction.
pub const INSTRUCTION: usize = 8;

/// Pushes the boolean `a`.
pub const BOOL: u8 = 1;
/// Pushes the `i64` at `c`.
pub const INT: u8 = 2;
/// Pushes the text of length `b` at `c`.
pub const TEXT: u8 = 3;
/// Pushes the text field `a` ([`field`]).
pub const FIELD: u8 = 4;
/// Pushes the number field `a` ([`number`]).
pub const NUMBER: u8 = 5;
/// Pushes the person's attribute whose key has length `b` at `c`, an error when missing.
pub const ATTRIBUTE: u8 = 6;
/// Pushes the resource's label whose key has length `b` at `c`, an error when missing.
pub const LABEL: u8 = 7;
/// Pushes whether the person has the attribute.
pub const HAS_ATTRIBUTE: u8 = 8;
/// Pushes whether the resource has the label.
pub const HAS_LABEL: u8 = 9;
/// Pushes whether the person is in the group that is the member at `c`.
pub const IN_GROUP: u8 = 10;
/// Pops a text, pushes whether it is one of the person's groups.
pub const TEXT_IN_GROUPS: u8 = 11;
/// Pushes whether one of the factors in the set `a` was used.
pub const HAS_FACTOR: u8 = 12;
/// Pops two texts, pushes how they compare under relation `a` ([`relation`]).
pub const COMPARE_TEXT: u8 = 13;
/// Pops two integers, pushes how they compare.
pub const COMPARE_INT: u8 = 14;
/// Pops two booleans, pushes how they compare.
pub const COMPARE_BOOL: u8 = 15;
/// Pops a text, pushes whether it is in the list at `c` (number, zero, texts).
pub const TEXT_IN: u8 = 16;
/// Pops an integer, pushes whether it is in the list at `c` (number, zero, `i64`s).
pub const INT_IN: u8 = 17;
/// Negates the boolean on top.
pub const NOT: u8 = 18;
/// Pops two booleans, pushes their conjunction: false wins over error.
pub const AND: u8 = 19;
/// Pops two booleans, pushes their disjunction: true wins over error.
pub const OR: u8 = 20;
/// Goes to instruction `c` when false is on top, leaving it there.
pub const JUMP_FALSE: u8 = 21;
/// Goes to instruction `c` when true is on top, leaving it there.
pub const JUMP_TRUE: u8 = 22;
/// Pops a boolean: true goes on, false goes to `c`, an error is pushed back and goes to `b`.
pub const SELECT: u8 = 23;
/// Goes to instruction `c`.
pub const JUMP: u8 = 24;
/// Pops a text and its beginning, pushes whether it starts so.
pub const STARTS_WITH: u8 = 25;
/// Pops a text and its end, pushes whether it ends so.
pub const ENDS_WITH: u8 = 26;
/// Pops a text and a part, pushes whether it contains it.
pub const CONTAINS: u8 = 27;
/// Pops a text, pushes its number of Unicode characters.
pub const SIZE_TEXT: u8 = 28;
/// Pushes the size of list `a` ([`list`]).
pub const SIZE_LIST: u8 = 29;
/// Makes the ASCII letters of the text on top lower case.
pub const LOWER: u8 = 30;
/// One more than the highest opcode.
pub const COUNT: usize = 31;

/// Text fields.
pub mod field {
    /// `user.name`
    pub const USER_NAME: u8 = 0;
    /// `user.department`
    pub const USER_DEPARTMENT: u8 = 1;
    /// `user.unit`
    pub const USER_UNIT: u8 = 2;
    /// `resource.name`
    pub const RESOURCE_NAME: u8 = 3;
    /// `resource.department`
    pub const RESOURCE_DEPARTMENT: u8 = 4;
    /// `resource.host`
    pub const RESOURCE_HOST: u8 = 5;
    /// `request.method`
    pub const REQUEST_METHOD: u8 = 6;
    /// `request.path`
    pub const REQUEST_PATH: u8 = 7;
}

/// Number fields.
pub mod number {
    /// `resource.port`
    pub const PORT: u8 = 0;
    /// `device`, as its number
    pub const DEVICE: u8 = 1;
    /// `time.minuteOfDay`
    pub const MINUTE_OF_DAY: u8 = 2;
    /// `time.hour`
    pub const HOUR: u8 = 3;
    /// `time.weekday`, 0 = Monday
    pub const WEEKDAY: u8 = 4;
}

/// Lists whose size can be asked.
pub mod list {
    /// `user.groups`
    pub const GROUPS: u8 = 0;
    /// `user.attributes`
    pub const ATTRIBUTES: u8 = 1;
    /// `resource.labels`
    pub const LABELS: u8 = 2;
}

/// Relations of the comparing opcodes.
pub mod relation {
    /// `==`
    pub const EQUAL: u8 = 0;
    /// `!=`
    pub const NOT_EQUAL: u8 = 1;
    /// `<`
    pub const LESS: u8 = 2;
    /// `<=`
    pub const LESS_OR_EQUAL: u8 = 3;
    /// `>`
    pub const GREATER: u8 = 4;
    /// `>=`
    pub const GREATER_OR_EQUAL: u8 = 5;
}

/// What of the time a piece of code looks at.
pub mod time {
    /// `time.minuteOfDay`
    pub const MINUTE: u32 = 1;
    /// `time.hour`
    pub const HOUR: u32 = 2;
    /// `time.weekday`
    pub const WEEKDAY: u32 = 4;
}
