//! The verdict as the program writes it.

use crate::layout::verdict as at;

/// Nothing matched.
pub const NOTHING: u8 = 0;
/// An allow rule matched and no deny rule did.
pub const ALLOW: u8 = 1;
/// A deny rule matched.
pub const DENY: u8 = 2;

/// What `evaluate` answers; see [`crate::layout::verdict`] for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// [`NOTHING`], [`ALLOW`] or [`DENY`].
    pub effect: u8,
    /// `HintKind` of core.
    pub hint: u8,
    /// Whether the `when` of a rule that mattered failed.
    pub rule_error: bool,
    /// Index of the rule that decided.
    pub rule: u32,
    /// First UTC minute at which the answer may differ by time alone.
    pub valid_until: i64,
    /// UTC minute the hinted schedule opens.
    pub next_minute: i64,
}

impl Verdict {
    /// The verdict's bytes.
    #[must_use]
    #[inline]
    pub fn to_words(self) -> [u64; at::LENGTH / 8] {
        let first = u64::from(self.effect)
            | u64::from(self.hint) << (8 * at::HINT)
            | u64::from(self.rule_error) << (8 * at::RULE_ERROR)
            | u64::from(self.rule) << (8 * at::RULE);
        [first, self.valid_until as u64, self.next_minute as u64, 0]
    }

    /// Reads a verdict; `None` when the bytes are none the program writes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; at::LENGTH]) -> Option<Self> {
        let word = |from: usize| Some(u64::from_le_bytes(*bytes.get(from..)?.first_chunk::<8>()?));
        let first = word(0)?;
        let [effect, hint, rule_error, zero, ..] = first.to_le_bytes();
        let verdict = Self {
            effect,
            hint,
            rule_error: rule_error == 1,
            rule: (first >> (8 * at::RULE)) as u32,
            valid_until: word(at::VALID_UNTIL)? as i64,
            next_minute: word(at::NEXT_MINUTE)? as i64,
        };
        let known = effect <= DENY && hint <= 5 && rule_error <= 1 && zero == 0 && word(24)? == 0;
        known.then_some(verdict)
    }
}
