//! What names and types check to: the form everything behind the checker works on.

use super::ast::Relation;

/// An expression whose types agree. Devices and weekdays are numbers here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A truth value.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text.
    Text(Box<str>),
    /// A text field.
    Field(Field),
    /// A number field.
    Number(Number),
    /// `user.attributes[key]`; an error when missing.
    Attribute(Box<str>),
    /// `resource.labels[key]`; an error when missing.
    Label(Box<str>),
    /// Whether the person has the attribute.
    HasAttribute(Box<str>),
    /// Whether the resource has the label.
    HasLabel(Box<str>),
    /// Whether a text is one of the person's groups.
    InGroups(Box<Expr>),
    /// Whether one of these factors was used.
    HasFactor(u8),
    /// A comparison of two texts.
    CompareText(Relation, Box<Expr>, Box<Expr>),
    /// A comparison of two numbers.
    CompareInt(Relation, Box<Expr>, Box<Expr>),
    /// Whether two truth values are equal (true) or not (false).
    CompareBool(bool, Box<Expr>, Box<Expr>),
    /// Whether a text is one of these.
    TextIn(Box<Expr>, Vec<Box<str>>),
    /// Whether a number is one of these.
    IntIn(Box<Expr>, Vec<i64>),
    /// Negation.
    Not(Box<Expr>),
    /// All of them.
    And(Vec<Expr>),
    /// One of them.
    Or(Vec<Expr>),
    /// The second when the first holds, else the third.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Whether the first text starts with the second.
    StartsWith(Box<Expr>, Box<Expr>),
    /// Whether the first text ends with the second.
    EndsWith(Box<Expr>, Box<Expr>),
    /// Whether the first text contains the second.
    Contains(Box<Expr>, Box<Expr>),
    /// The number of characters of a text.
    Size(Box<Expr>),
    /// The number of entries of a list.
    SizeOf(List),
    /// The text with ASCII capitals made small.
    Lower(Box<Expr>),
}

/// Text fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `user.name`
    UserName,
    /// `user.department`
    UserDepartment,
    /// `user.unit`
    UserUnit,
    /// `resource.name`
    ResourceName,
    /// `resource.department`
    ResourceDepartment,
    /// `resource.host`
    ResourceHost,
    /// `request.method`
    Method,
    /// `request.path`
    Path,
}

/// Number fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Number {
    /// `resource.port`
    Port,
    /// `device`
    Device,
    /// `time.minuteOfDay`
    MinuteOfDay,
    /// `time.hour`
    Hour,
    /// `time.weekday`, 0 = Monday
    Weekday,
}

/// Lists that have a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// `user.groups`
    Groups,
    /// `user.attributes`
    Attributes,
    /// `resource.labels`
    Labels,
}

impl Expr {
    /// The expressions directly inside.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Bool(_)
            | Self::Int(_)
            | Self::Text(_)
            | Self::Field(_)
            | Self::Number(_)
            | Self::Attribute(_)
            | Self::Label(_)
            | Self::HasAttribute(_)
            | Self::HasLabel(_)
            | Self::HasFactor(_)
            | Self::SizeOf(_) => Vec::new(),
            Self::InGroups(a)
            | Self::TextIn(a, _)
            | Self::IntIn(a, _)
            | Self::Not(a)
            | Self::Size(a)
            | Self::Lower(a) => vec![a],
            Self::CompareText(_, a, b)
            | Self::CompareInt(_, a, b)
            | Self::CompareBool(_, a, b)
            | Self::StartsWith(a, b)
            | Self::EndsWith(a, b)
            | Self::Contains(a, b) => vec![a, b],
            Self::Select(a, b, c) => vec![a, b, c],
            Self::And(all) | Self::Or(all) => all.iter().collect(),
        }
    }

    /// Whether `test` holds for this expression or one inside.
    pub fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|child| child.any(test))
    }

    /// Whether the answer depends on the time.
    #[must_use]
    pub fn looks_at_time(&self) -> bool {
        self.any(&|e| matches!(e, Self::Number(Number::MinuteOfDay | Number::Hour | Number::Weekday)))
    }

    /// The operands of the `&&` at the top; the expression itself when there is none.
    #[must_use]
    pub fn conjuncts(&self) -> Vec<&Self> {
        match self {
            Self::And(all) => all.iter().flat_map(Self::conjuncts).collect(),
            other => vec![other],
        }
    }
}
