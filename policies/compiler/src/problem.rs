//! What is wrong with a rule, said so that its author can repair it.

use std::fmt;
use std::ops::Range;

use tidegate_core::Code;

/// One thing wrong with one rule (or with a whole policy, when `rule` is empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The policy object's name.
    pub policy: Box<str>,
    /// The rule's name; empty when the policy itself is meant.
    pub rule: Box<str>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do instead, one sentence without a full stop.
    pub fix: String,
    /// Where in `when`, as bytes; `None` when `match` or `target` is meant.
    pub span: Option<Range<usize>>,
}

/// A place in a text as editors count it, both from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Fault {
    /// A fault in `when`.
    pub(crate) fn at(
        code: Code,
        span: Range<usize>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { code, message: message.into(), fix: fix.into(), span: Some(span) }
    }

    /// A fault outside `when`.
    pub(crate) fn whole(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: fix.into(), span: None }
    }

    /// Where in `when` it is.
    #[must_use]
    pub fn place(&self, when: &str) -> Option<Place> {
        let before = when.get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some(Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }

    /// The line of `when` it is in, and below it a caret under each character meant.
    #[must_use]
    pub fn excerpt(&self, when: &str) -> Option<String> {
        let span = self.span.as_ref()?;
        let start = when.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
        let line = when.get(start..)?.lines().next().unwrap_or_default();
        let blank: String =
            when.get(start..span.start)?.chars().flat_map(|c| std::iter::repeat_n(' ', width(c))).collect();
        let end = span.end.min(start + line.len());
        let marked: usize = when.get(span.start..end).unwrap_or_default().chars().map(width).sum();
        Some(format!("{line}\n{blank}{}", "^".repeat(marked.max(1))))
    }
}

/// Columns a terminal gives a character: two for Chinese and full-width ones.
fn width(character: char) -> usize {
    match character as u32 {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe4f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.code, self.message, self.fix)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rule.is_empty() {
            write!(f, "{}: {}", self.policy, self.fault)
        } else {
            write!(f, "{}/{}: {}", self.policy, self.rule, self.fault)
        }
    }
}
