//! What an expression may cost at most, in units of about 50 ns.

use super::typed::{Expr, Field};

/// Longest path a record can hold.
const LONGEST_PATH: u32 = 8_192;
/// Longest unit, attribute or label that is counted with.
const LONGEST_TEXT: u32 = 256;
/// Bytes compared in one unit.
const COMPARED: u32 = 32;
/// Bytes searched in one unit.
const SEARCHED: u32 = 16;

/// The most an expression can cost. Bounded input keeps the sum far from overflow.
pub(crate) fn cost(expr: &Expr) -> u32 {
    let inside: u32 = expr.children().into_iter().map(cost).sum();
    let own = match expr {
        Expr::CompareText(_, a, b) | Expr::StartsWith(a, b) | Expr::EndsWith(a, b) => {
            length(a).min(length(b)) / COMPARED
        }
        Expr::Contains(a, b) => (length(a) + length(b)) / SEARCHED,
        Expr::TextIn(a, list) => list.len() as u32 * (1 + length(a) / COMPARED) / 2,
        Expr::IntIn(_, list) => list.len() as u32 / 4,
        Expr::InGroups(a) => match **a {
            Expr::Text(_) => 1,
            _ => 128,
        },
        Expr::Attribute(_) | Expr::HasAttribute(_) | Expr::Label(_) | Expr::HasLabel(_) => 8,
        Expr::Size(a) => length(a) / COMPARED,
        _ => 0,
    };
    1 + own + inside
}

/// The most bytes a text expression can come to.
fn length(expr: &Expr) -> u32 {
    match expr {
        Expr::Text(text) => text.len() as u32,
        Expr::Field(field) => match field {
            Field::UserName => 63,
            Field::UserDepartment | Field::ResourceDepartment => 15,
            Field::ResourceName => 40,
            Field::Method => 32,
            Field::ResourceHost | Field::UserUnit => LONGEST_TEXT,
            Field::Path => LONGEST_PATH,
        },
        Expr::Lower(inner) => length(inner),
        Expr::Select(_, then, otherwise) => length(then).max(length(otherwise)),
        _ => LONGEST_TEXT,
    }
}
