//! Objects after validation, each with what it means or why it means nothing: what a build starts from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::{Code, DepartmentCode, Source};
use tidegate_crd::Violation;

use crate::objects::ObjectKey;

pub use tidegate_crd::convert::{Form, Pool, Rules, User, department_of};

/// Violations a refusal spells out.
const SPELT_OUT_MAX: usize = 5;

/// Every object of one reading, each with what became of it.
pub type Items = BTreeMap<ObjectKey, Item>;

/// One object.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its UID and generation.
    pub source: Source,
    /// Its spec as written, kept as last good form when it is accepted.
    pub spec: Arc<Value>,
    /// Every single thing that is wrong with it as written.
    pub violations: Vec<Violation>,
    /// What it means, or why it cannot be used.
    pub form: Result<Arc<Form>, Refusal>,
}

/// Why an object, or a part of one, is not in force as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence with the field, the value and what to write instead.
    pub message: String,
    /// The field; empty for the object as a whole.
    pub path: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: String::new() }
    }

    /// What several violations come to; the first gives the code.
    #[must_use]
    pub fn of(violations: &[Violation]) -> Option<Self> {
        let first = violations.first()?;
        let mut message = String::new();
        for violation in violations.iter().take(SPELT_OUT_MAX) {
            let text = violation.to_string();
            let text = text.strip_prefix(&format!("{} ", first.code)).unwrap_or(&text);
            let between = if message.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(message, "{between}{text}");
        }
        if let Some(more) = violations.len().checked_sub(SPELT_OUT_MAX).filter(|more| *more > 0) {
            let _ = write!(message, "; and {more} more");
        }
        Some(Self { code: first.code, message, path: first.path.clone() })
    }

    /// The code as a condition's reason, for example `FourEyes`.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{:?}", self.code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// The namespace of a department.
pub(crate) fn namespace_of(code: &DepartmentCode) -> String {
    format!("dept-{code}")
}
