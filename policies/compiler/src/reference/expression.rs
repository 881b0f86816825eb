//! `when`, walked as a tree.

use tidegate_core::LocalTime;

use super::Facts;
use crate::when::ast::Relation;
use crate::when::typed::{Expr, Field, List, Number};

/// What a condition comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Error,
}

impl Truth {
    pub(super) fn and(self, other: Self) -> Self {
        if self == Self::False || other == Self::False {
            Self::False
        } else if self == Self::Error || other == Self::Error {
            Self::Error
        } else {
            Self::True
        }
    }

    fn or(self, other: Self) -> Self {
        if self == Self::True || other == Self::True {
            Self::True
        } else if self == Self::Error || other == Self::Error {
            Self::Error
        } else {
            Self::False
        }
    }

    fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// An attribute or a label was not there.
struct Missing;

/// Evaluates a condition.
pub(super) fn truth(expr: &Expr, facts: Facts<'_>) -> Truth {
    match expr {
        Expr::And(all) => all.iter().fold(Truth::True, |sum, expr| sum.and(truth(expr, facts))),
        Expr::Or(all) => all.iter().fold(Truth::False, |sum, expr| sum.or(truth(expr, facts))),
        Expr::Not(inner) => match truth(inner, facts) {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Error => Truth::Error,
        },
        Expr::Select(test, then, otherwise) => match truth(test, facts) {
            Truth::True => truth(then, facts),
            Truth::False => truth(otherwise, facts),
            Truth::Error => Truth::Error,
        },
        Expr::CompareBool(equal, left, right) => match (truth(left, facts), truth(right, facts)) {
            (Truth::Error, _) | (_, Truth::Error) => Truth::Error,
            (left, right) => Truth::of((left == right) == *equal),
        },
        simple => match holds(simple, facts) {
            Ok(holds) => Truth::of(holds),
            Err(Missing) => Truth::Error,
        },
    }
}

fn holds(expr: &Expr, facts: Facts<'_>) -> Result<bool, Missing> {
    let Facts { subject, request, .. } = facts;
    Ok(match expr {
        Expr::Bool(value) => *value,
        Expr::HasAttribute(key) => subject.attributes.contains_key(key),
        Expr::HasLabel(key) => request.labels.contains_key(key),
        Expr::InGroups(name) => {
            let name = text(name, facts)?;
            subject.groups.iter().any(|group| group.as_str() == name)
        }
        Expr::HasFactor(factors) => subject.factors & factors != 0,
        Expr::CompareText(relation, left, right) => {
            relate(*relation, &text(left, facts)?, &text(right, facts)?)
        }
        Expr::CompareInt(relation, left, right) => relate(*relation, &int(left, facts)?, &int(right, facts)?),
        Expr::TextIn(wanted, list) => {
            let wanted = text(wanted, facts)?;
            list.iter().any(|entry| **entry == *wanted)
        }
        Expr::IntIn(wanted, list) => list.contains(&int(wanted, facts)?),
        Expr::StartsWith(whole, part) => text(whole, facts)?.starts_with(&text(part, facts)?),
        Expr::EndsWith(whole, part) => text(whole, facts)?.ends_with(&text(part, facts)?),
        Expr::Contains(whole, part) => text(whole, facts)?.contains(&text(part, facts)?),
        // The checker lets no other type stand where a condition is needed.
        _ => return Err(Missing),
    })
}

fn relate<T: Ord + ?Sized>(relation: Relation, left: &T, right: &T) -> bool {
    match relation {
        Relation::Equal => left == right,
        Relation::NotEqual => left != right,
        Relation::Less => left < right,
        Relation::LessOrEqual => left <= right,
        Relation::Greater => left > right,
        Relation::GreaterOrEqual => left >= right,
    }
}

fn text(expr: &Expr, facts: Facts<'_>) -> Result<String, Missing> {
    let Facts { subject, request, .. } = facts;
    Ok(match expr {
        Expr::Text(text) => text.to_string(),
        Expr::Field(field) => match field {
            Field::UserName => subject.name.to_string(),
            Field::UserDepartment => subject.department.to_string(),
            Field::UserUnit => subject.unit.to_string(),
            Field::ResourceName => request.resource.to_string(),
            Field::ResourceDepartment => request.owner.to_string(),
            Field::ResourceHost => request.host.to_owned(),
            Field::Method => request.method.to_owned(),
            Field::Path => request.path.to_owned(),
        },
        Expr::Attribute(key) => subject.attributes.get(key).ok_or(Missing)?.to_string(),
        Expr::Label(key) => request.labels.get(key).ok_or(Missing)?.to_string(),
        Expr::Lower(inner) => text(inner, facts)?.to_ascii_lowercase(),
        Expr::Select(test, then, otherwise) => match truth(test, facts) {
            Truth::True => text(then, facts)?,
            Truth::False => text(otherwise, facts)?,
            Truth::Error => return Err(Missing),
        },
        _ => return Err(Missing),
    })
}

fn int(expr: &Expr, facts: Facts<'_>) -> Result<i64, Missing> {
    let Facts { subject, request, local } = facts;
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    Ok(match expr {
        Expr::Int(value) => *value,
        Expr::Number(number) => match number {
            Number::Port => i64::from(request.port),
            Number::Device => subject.device as i64,
            Number::MinuteOfDay => i64::from(local.minute_of_day),
            Number::Hour => hour(local),
            Number::Weekday => local.weekday as i64,
        },
        Expr::Size(inner) => length(text(inner, facts)?.chars().count()),
        Expr::SizeOf(List::Groups) => length(subject.groups.len()),
        Expr::SizeOf(List::Attributes) => length(subject.attributes.len()),
        Expr::SizeOf(List::Labels) => length(request.labels.len()),
        Expr::Select(test, then, otherwise) => match truth(test, facts) {
            Truth::True => int(then, facts)?,
            Truth::False => int(otherwise, facts)?,
            Truth::Error => return Err(Missing),
        },
        _ => return Err(Missing),
    })
}

fn hour(local: LocalTime) -> i64 {
    i64::from(local.minute_of_day) / 60
}
