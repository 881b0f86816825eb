//! What the grammar gives: names and operators, not yet understood.

use std::ops::Range;

/// A part of an expression and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub span: Range<usize>,
}

/// The kinds of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text in quotes.
    Text(String),
    /// `[a, b]`
    List(Vec<Node>),
    /// A bare name.
    Name(String),
    /// `target.name`
    Member(Box<Node>, String),
    /// `target[key]`
    Index(Box<Node>, Box<Node>),
    /// `name(arguments)` or `target.name(arguments)`
    Call(Option<Box<Node>>, String, Vec<Node>),
    /// `!operand`
    Not(Box<Node>),
    /// Operands of one chain of `&&`, at least two.
    And(Vec<Node>),
    /// Operands of one chain of `||`, at least two.
    Or(Vec<Node>),
    /// A comparison.
    Compare(Relation, Box<Node>, Box<Node>),
    /// `left in right`
    In(Box<Node>, Box<Node>),
    /// `condition ? then : otherwise`
    Select(Box<Node>, Box<Node>, Box<Node>),
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}
