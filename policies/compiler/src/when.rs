//! The language of `when`: a typed subset of CEL.
//!
//! [`parse`] knows only the grammar, [`check`] names and types. What comes out of `check` cannot fail
//! but in the ways CEL says: on an attribute or a label that is not there.

pub mod ast;
mod check;
mod cost;
mod lex;
mod parse;
pub mod typed;

pub use check::check;
pub(crate) use check::{DEVICES, FACTORS, WEEKDAYS};
pub(crate) use cost::cost;
pub use parse::parse;

#[cfg(test)]
mod tests;
