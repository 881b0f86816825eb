//! What is wrong with one field.

use std::fmt;

use tidegate_core::Code;

/// One thing that is wrong with an object, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, for example `spec.rules[2].match.ports[0]`; empty for the object as a whole.
    pub path: String,
    /// The stable code.
    pub code: Code,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it, without a full stop.
    pub fix: String,
}

impl Violation {
    /// A violation.
    #[must_use]
    pub fn new(
        path: impl Into<String>,
        code: Code,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), code, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.code)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
