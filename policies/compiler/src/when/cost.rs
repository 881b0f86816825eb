//! What an expression may cost at most, in units of about 50 ns.

use super::typed::{Expr, Field};

/// Longest text a field can be in a record, in bytes; attributes and labels count the same.
const LONGEST_FIELD: u32 = 256;
/// Longest path a record can hold.
const LONGEST_PATH: u32 = 8_192;
/// Bytes compared in one unit.
const BYTES: u32 = 32;

/// The most an expression can cost. Bounded input keeps the sum far from overflow.
pub(crate) fn cost(expr: &Expr) -> u32 {
    let inside: u32 = expr.children().into_iter().map(cost).sum();
    let own = match expr {
        Expr::CompareText(_, a, b) | Expr::StartsWith(a, b) | Expr::EndsWith(a, b) => {
            length(a).min(length(b)) / BYTES
        }
        // Every place of the text may be the beginning of the part.
        Expr::Contains(a, b) => (length(a) / BYTES).saturating_mul(1 + length(b) / 2),
        Expr::TextIn(a, list) => list.len() as u32 * (1 + length(a) / BYTES) / 2,
        Expr::IntIn(_, list) => list.len() as u32 / 4,
        Expr::InGroups(a) => match **a {
            Expr::Text(_) => 1,
            _ => 128,
        },
        Expr::Attribute(_) | Expr::HasAttribute(_) | Expr::Label(_) | Expr::HasLabel(_) => 8,
        Expr::Size(a) => length(a) / BYTES,
        _ => 0,
    };
    1 + own + inside
}

/// The most bytes a text expression can come to.
fn length(expr: &Expr) -> u32 {
    match expr {
        Expr::Text(text) => text.len() as u32,
        Expr::Field(Field::Path) => LONGEST_PATH,
        Expr::Lower(inner) => length(inner),
        Expr::Select(_, then, otherwise) => length(then).max(length(otherwise)),
        _ => LONGEST_FIELD,
    }
}
