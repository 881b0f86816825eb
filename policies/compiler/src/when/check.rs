//! Names and types: a grammatical tree to a typed one, or the sentence that says why not.

use std::ops::Range;

use tidegate_core::{Code, GroupName};

use super::ast::{Kind, Node, Relation};
use super::typed::{Expr, Field, List, Number};
use crate::limits::MAX_LIST;
use crate::problem::Fault;

/// Names of the kinds of client, by number.
pub(crate) const DEVICES: [&str; 3] = ["Browser", "Desktop", "Mobile"];
/// Names of the factors, by number.
pub(crate) const FACTORS: [&str; 3] = ["Password", "Totp", "Certificate"];
/// Names of the days, by number.
pub(crate) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const ROOTS: [&str; 6] = ["user", "resource", "request", "time", "device", "factors"];
const METHODS: [&str; 5] = ["startsWith", "endsWith", "contains", "size", "lowerAscii"];

/// Types of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Text,
    Device,
    Weekday,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "a condition",
            Self::Int => "a number",
            Self::Text => "a text",
            Self::Device => "a kind of client",
            Self::Weekday => "a day of the week",
        }
    }
}

/// What a node is: a value, or something only certain operators take.
enum Meaning {
    Value(Expr, Type),
    Groups,
    Factors,
    Attributes,
    Labels,
    /// A root that is only a prefix, with the names below it.
    Prefix(&'static str, &'static [&'static str]),
    List(Vec<Node>),
}

/// Checks a whole expression, which must be a condition.
///
/// # Errors
/// The first name that does not exist or type that does not fit.
pub fn check(node: &Node) -> Result<Expr, Fault> {
    condition(node)
}

fn type_fault(span: &Range<usize>, message: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault::at(Code::RuleType, span.clone(), message, fix)
}

/// A name that does not exist, with the nearest that does.
fn unknown(span: &Range<usize>, what: &str, name: &str, known: &[&str]) -> Fault {
    let nearest = known
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1));
    let fix = match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Fault::at(Code::RuleName, span.clone(), format!("there is no {what} `{name}`"), fix)
}

fn condition(node: &Node) -> Result<Expr, Fault> {
    match value(node)? {
        (expr, Type::Bool) => Ok(expr),
        (_, Type::Text) if matches!(node.kind, Kind::Text(_)) => Err(type_fault(
            &node.span,
            "a text alone is no condition",
            "compare it, for example `user.unit == \"医政处\"`",
        )),
        (_, found) => Err(type_fault(
            &node.span,
            format!("this is {}, but a condition is needed", found.name()),
            "compare it, for example with `==`",
        )),
    }
}

fn text(node: &Node) -> Result<Expr, Fault> {
    match value(node)? {
        (expr, Type::Text) => Ok(expr),
        (_, found) => Err(type_fault(
            &node.span,
            format!("this is {}, but a text is needed", found.name()),
            match found {
                Type::Int => "put it in quotation marks",
                _ => "use a field that is a text, for example `request.path`",
            },
        )),
    }
}

/// A node that must be a value.
fn value(node: &Node) -> Result<(Expr, Type), Fault> {
    let (message, fix) = match meaning(node)? {
        Meaning::Value(expr, found) => return Ok((expr, found)),
        Meaning::Groups => {
            ("`user.groups` is a list".into(), "write `\"<code>/<group>\" in user.groups`".to_owned())
        }
        Meaning::Factors => ("`factors` is a list".into(), "write `\"Totp\" in factors`".into()),
        Meaning::Attributes => (
            "`user.attributes` is a collection".into(),
            "write `user.attributes[\"title\"] == \"...\"` or `\"title\" in user.attributes`".into(),
        ),
        Meaning::Labels => (
            "`resource.labels` is a collection".into(),
            "write `resource.labels[\"class\"] == \"...\"` or `\"class\" in resource.labels`".into(),
        ),
        Meaning::Prefix(root, below) => (
            format!("`{root}` has parts"),
            format!("write one of them: {root}.{}", below.join(&format!(", {root}."))),
        ),
        Meaning::List(_) => ("a list can only stand behind `in`".into(), "write `value in [a, b]`".into()),
    };
    Err(type_fault(&node.span, message, fix))
}

fn meaning(node: &Node) -> Result<Meaning, Fault> {
    let of = |expr, found| Ok(Meaning::Value(expr, found));
    match &node.kind {
        Kind::Bool(value) => of(Expr::Bool(*value), Type::Bool),
        Kind::Int(value) => of(Expr::Int(*value), Type::Int),
        Kind::Text(value) => of(Expr::Text(value.as_str().into()), Type::Text),
        Kind::List(entries) => Ok(Meaning::List(entries.clone())),
        Kind::Name(name) => root(name, &node.span),
        Kind::Member(target, name) => member(target, name, &node.span),
        Kind::Index(target, key) => index(target, key),
        Kind::Call(target, name, arguments) => {
            let (expr, found) = call(target.as_deref(), name, arguments, &node.span)?;
            of(expr, found)
        }
        Kind::Not(operand) => of(Expr::Not(Box::new(condition(operand)?)), Type::Bool),
        Kind::And(all) => of(Expr::And(all.iter().map(condition).collect::<Result<_, _>>()?), Type::Bool),
        Kind::Or(all) => of(Expr::Or(all.iter().map(condition).collect::<Result<_, _>>()?), Type::Bool),
        Kind::Compare(relation, left, right) => of(compare(*relation, left, right, &node.span)?, Type::Bool),
        Kind::In(left, right) => of(contained(left, right)?, Type::Bool),
        Kind::Select(test, then, otherwise) => {
            let test = condition(test)?;
            let (then_expr, then_type) = value(then)?;
            let (otherwise_expr, otherwise_type) = value(otherwise)?;
            if then_type != otherwise_type {
                return Err(type_fault(
                    &otherwise.span,
                    format!(
                        "this is {}, but the other choice is {}",
                        otherwise_type.name(),
                        then_type.name()
                    ),
                    "give both choices the same type",
                ));
            }
            of(Expr::Select(Box::new(test), Box::new(then_expr), Box::new(otherwise_expr)), then_type)
        }
    }
}

const USER: &[&str] = &["name", "department", "unit", "groups", "attributes"];
const RESOURCE: &[&str] = &["name", "department", "labels", "host", "port"];
const REQUEST: &[&str] = &["method", "path"];
const TIME: &[&str] = &["minuteOfDay", "hour", "weekday"];

fn root(name: &str, span: &Range<usize>) -> Result<Meaning, Fault> {
    Ok(match name {
        "user" => Meaning::Prefix("user", USER),
        "resource" => Meaning::Prefix("resource", RESOURCE),
        "request" => Meaning::Prefix("request", REQUEST),
        "time" => Meaning::Prefix("time", TIME),
        "device" => Meaning::Value(Expr::Number(Number::Device), Type::Device),
        "factors" => Meaning::Factors,
        _ => return Err(unknown(span, "name", name, &ROOTS)),
    })
}

fn member(target: &Node, name: &str, span: &Range<usize>) -> Result<Meaning, Fault> {
    let text = |field| Ok(Meaning::Value(Expr::Field(field), Type::Text));
    let number = |number, found| Ok(Meaning::Value(Expr::Number(number), found));
    match meaning(target)? {
        Meaning::Attributes => Ok(Meaning::Value(Expr::Attribute(name.into()), Type::Text)),
        Meaning::Labels => Ok(Meaning::Value(Expr::Label(name.into()), Type::Text)),
        Meaning::Prefix(root, known) => match (root, name) {
            ("user", "name") => text(Field::UserName),
            ("user", "department") => text(Field::UserDepartment),
            ("user", "unit") => text(Field::UserUnit),
            ("user", "groups") => Ok(Meaning::Groups),
            ("user", "attributes") => Ok(Meaning::Attributes),
            ("resource", "name") => text(Field::ResourceName),
            ("resource", "department") => text(Field::ResourceDepartment),
            ("resource", "host") => text(Field::ResourceHost),
            ("resource", "labels") => Ok(Meaning::Labels),
            ("resource", "port") => number(Number::Port, Type::Int),
            ("request", "method") => text(Field::Method),
            ("request", "path") => text(Field::Path),
            ("time", "minuteOfDay") => number(Number::MinuteOfDay, Type::Int),
            ("time", "hour") => number(Number::Hour, Type::Int),
            ("time", "weekday") => number(Number::Weekday, Type::Weekday),
            _ => Err(unknown(span, &format!("field of `{root}` called"), name, known)),
        },
        _ => {
            let fix = if METHODS.contains(&name) {
                format!("write `{name}(...)` with parentheses")
            } else {
                "end the name before the point".into()
            };
            Err(type_fault(span, format!("there is nothing called `{name}` inside this"), fix))
        }
    }
}

fn index(target: &Node, key: &Node) -> Result<Meaning, Fault> {
    let attribute = match meaning(target)? {
        Meaning::Attributes => true,
        Meaning::Labels => false,
        _ => {
            return Err(type_fault(
                &target.span,
                "only `user.attributes` and `resource.labels` have entries in brackets",
                "use `in` to look into a list",
            ));
        }
    };
    let Kind::Text(key) = &key.kind else {
        return Err(type_fault(&key.span, "the key is not a text", "write it in quotation marks"));
    };
    let key = key.as_str().into();
    Ok(Meaning::Value(if attribute { Expr::Attribute(key) } else { Expr::Label(key) }, Type::Text))
}

fn call(
    target: Option<&Node>,
    name: &str,
    arguments: &[Node],
    span: &Range<usize>,
) -> Result<(Expr, Type), Fault> {
    let argument = |example: &str| match arguments {
        [only] => Ok(only),
        _ => Err(type_fault(
            span,
            format!("`{name}` takes one value, not {}", arguments.len()),
            format!("write `{example}`"),
        )),
    };
    match (target, name) {
        (None, "has") => {
            let node = argument("has(user.attributes.title)")?;
            return match meaning(node)? {
                Meaning::Value(Expr::Attribute(key), _) if matches!(node.kind, Kind::Member(..)) => {
                    Ok((Expr::HasAttribute(key), Type::Bool))
                }
                Meaning::Value(Expr::Label(key), _) if matches!(node.kind, Kind::Member(..)) => {
                    Ok((Expr::HasLabel(key), Type::Bool))
                }
                _ => Err(type_fault(
                    &node.span,
                    "`has` asks for an attribute or a label written with points",
                    "write `has(user.attributes.title)` or `\"title\" in user.attributes`",
                )),
            };
        }
        (None, "size") => return size(argument("size(request.path)")?),
        (Some(target), "size") if arguments.is_empty() => return size(target),
        (Some(target), "lowerAscii") if arguments.is_empty() => {
            return Ok((Expr::Lower(Box::new(text(target)?)), Type::Text));
        }
        (Some(target), "startsWith" | "endsWith" | "contains") => {
            let part = argument(&format!("request.path.{name}(\"/archive\")"))?;
            let (whole, part) = (Box::new(text(target)?), Box::new(text(part)?));
            let expr = match name {
                "startsWith" => Expr::StartsWith(whole, part),
                "endsWith" => Expr::EndsWith(whole, part),
                _ => Expr::Contains(whole, part),
            };
            return Ok((expr, Type::Bool));
        }
        _ => {}
    }
    if METHODS.contains(&name) {
        let example = match name {
            "size" => "size(request.path)",
            "lowerAscii" => "user.unit.lowerAscii()",
            _ => "request.path.startsWith(\"/archive\")",
        };
        return Err(type_fault(
            span,
            format!("`{name}` is called another way"),
            format!("write `{example}`"),
        ));
    }
    match name {
        "matches" => Err(Fault::at(
            Code::RuleName,
            span.clone(),
            "rules know no regular expressions",
            "use startsWith, endsWith, contains or `in`",
        )),
        _ => Err(unknown(
            span,
            "function",
            name,
            &["startsWith", "endsWith", "contains", "size", "lowerAscii", "has"],
        )),
    }
}

fn size(node: &Node) -> Result<(Expr, Type), Fault> {
    let expr = match meaning(node)? {
        Meaning::Value(expr, Type::Text) => Expr::Size(Box::new(expr)),
        Meaning::Groups => Expr::SizeOf(List::Groups),
        Meaning::Attributes => Expr::SizeOf(List::Attributes),
        Meaning::Labels => Expr::SizeOf(List::Labels),
        _ => {
            return Err(type_fault(
                &node.span,
                "this has no size",
                "texts, `user.groups`, `user.attributes` and `resource.labels` have one",
            ));
        }
    };
    Ok((expr, Type::Int))
}

fn compare(relation: Relation, left: &Node, right: &Node, span: &Range<usize>) -> Result<Expr, Fault> {
    let (left_expr, left_type) = value(left)?;
    let (right_expr, right_type) = value(right)?;
    // A kind of client or a day is compared with its name.
    for (expr, found, other) in [(&left_expr, left_type, right), (&right_expr, right_type, left)] {
        let Some(names) = names_of(found) else { continue };
        if !matches!(relation, Relation::Equal | Relation::NotEqual) {
            return Err(type_fault(
                span,
                format!("{} has no order", found.name()),
                "use `==`, `!=` or `in [...]`",
            ));
        }
        if left_type == right_type {
            break;
        }
        let number = named(other, found, names)?;
        return Ok(Expr::CompareInt(relation, Box::new(expr.clone()), Box::new(Expr::Int(number))));
    }
    if left_type != right_type {
        let fix = match (left_type, right_type) {
            (Type::Int, Type::Text) if matches!(right.kind, Kind::Text(_)) => {
                "write the number without quotation marks"
            }
            (Type::Text, Type::Int) if matches!(right.kind, Kind::Int(_)) => {
                "put the number in quotation marks"
            }
            _ => "compare values of the same type",
        };
        let message = format!("{} is compared with {}", left_type.name(), right_type.name());
        return Err(type_fault(span, message, fix));
    }
    let (left, right) = (Box::new(left_expr), Box::new(right_expr));
    match left_type {
        Type::Text => Ok(Expr::CompareText(relation, left, right)),
        Type::Int | Type::Device | Type::Weekday => Ok(Expr::CompareInt(relation, left, right)),
        Type::Bool => match relation {
            Relation::Equal => Ok(Expr::CompareBool(true, left, right)),
            Relation::NotEqual => Ok(Expr::CompareBool(false, left, right)),
            _ => Err(type_fault(span, "conditions have no order", "use `==` or `!=`")),
        },
    }
}

fn names_of(found: Type) -> Option<&'static [&'static str]> {
    match found {
        Type::Device => Some(&DEVICES),
        Type::Weekday => Some(&WEEKDAYS),
        _ => None,
    }
}

/// The number behind a name in quotation marks.
fn named(node: &Node, wanted: Type, names: &[&str]) -> Result<i64, Fault> {
    let Kind::Text(name) = &node.kind else {
        return Err(type_fault(
            &node.span,
            format!("{} is compared with its name", wanted.name()),
            format!("write one of \"{}\"", names.join("\", \"")),
        ));
    };
    match names.iter().position(|known| known == name) {
        Some(number) => Ok(number as i64),
        None => {
            let what = wanted.name().strip_prefix("a ").unwrap_or_default();
            Err(unknown(&node.span, what, name, names))
        }
    }
}

fn contained(left: &Node, right: &Node) -> Result<Expr, Fault> {
    match meaning(right)? {
        Meaning::Groups => {
            if let Kind::Text(group) = &left.kind
                && group.parse::<GroupName>().is_err()
            {
                return Err(type_fault(
                    &left.span,
                    format!("`{group}` is not a group written in full"),
                    format!(
                        "write the department's code before it, for example \"sbj/{}\"",
                        group.rsplit('/').next().unwrap_or("doctors")
                    ),
                ));
            }
            Ok(Expr::InGroups(Box::new(text(left)?)))
        }
        Meaning::Attributes => Ok(Expr::HasAttribute(key_of(left)?)),
        Meaning::Labels => Ok(Expr::HasLabel(key_of(left)?)),
        Meaning::Factors => {
            let Kind::Text(name) = &left.kind else {
                return Err(type_fault(
                    &left.span,
                    "a factor is named in quotation marks",
                    format!("write one of \"{}\"", FACTORS.join("\", \"")),
                ));
            };
            match FACTORS.iter().position(|known| known == name) {
                Some(bit) => Ok(Expr::HasFactor(1 << bit)),
                None => Err(unknown(&left.span, "factor", name, &FACTORS)),
            }
        }
        Meaning::List(entries) => listed(left, &entries, &right.span),
        Meaning::Value(..) | Meaning::Prefix(..) => Err(type_fault(
            &right.span,
            "`in` looks into a list",
            "write `value in [a, b]`, or `==` for a single value",
        )),
    }
}

fn key_of(node: &Node) -> Result<Box<str>, Fault> {
    match &node.kind {
        Kind::Text(key) => Ok(key.as_str().into()),
        _ => Err(type_fault(&node.span, "the key is not a text", "write it in quotation marks")),
    }
}

fn listed(left: &Node, entries: &[Node], list: &Range<usize>) -> Result<Expr, Fault> {
    let (expr, wanted) = value(left)?;
    if entries.len() > MAX_LIST {
        return Err(type_fault(list, format!("the list has more than {MAX_LIST} entries"), "split it"));
    }
    let mismatch = |entry: &Node| match value(entry) {
        Err(fault) => fault,
        Ok((expr, found)) if found == wanted && !matches!(expr, Expr::Int(_) | Expr::Text(_)) => type_fault(
            &entry.span,
            "a list holds fixed values only",
            "write `a == b || a == c` to compare with fields",
        ),
        Ok((_, found)) => type_fault(
            &entry.span,
            format!("the list holds {}, but {} is looked for", found.name(), wanted.name()),
            "list values of the same type",
        ),
    };
    match wanted {
        Type::Text => {
            let texts = entries.iter().map(|entry| match &entry.kind {
                Kind::Text(text) => Ok(text.as_str().into()),
                _ => Err(mismatch(entry)),
            });
            Ok(Expr::TextIn(Box::new(expr), texts.collect::<Result<_, _>>()?))
        }
        Type::Int => {
            let numbers = entries.iter().map(|entry| match &entry.kind {
                Kind::Int(number) => Ok(*number),
                _ => Err(mismatch(entry)),
            });
            Ok(Expr::IntIn(Box::new(expr), numbers.collect::<Result<_, _>>()?))
        }
        Type::Device | Type::Weekday => {
            let names = names_of(wanted).unwrap_or_default();
            let numbers = entries.iter().map(|entry| named(entry, wanted, names));
            Ok(Expr::IntIn(Box::new(expr), numbers.collect::<Result<_, _>>()?))
        }
        Type::Bool => {
            Err(type_fault(&left.span, "a condition is not looked for in a list", "use `&&` and `||`"))
        }
    }
}
