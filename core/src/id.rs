//! Identities, each a type of its own that only parsing can make. Their text is shared: a copy costs a pointer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not an id: what was expected, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError {
    /// The kind of id, as its users call it.
    pub what: &'static str,
    /// The rule the text broke.
    pub rule: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a {}: {}", self.what, self.rule)
    }
}

impl std::error::Error for IdError {}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// The short code of a department, for example `sbj`; its namespace is `dept-<code>`.
    DepartmentCode,
    "department code",
    "2 to 15 lower-case letters or digits, starting with a letter, no hyphen",
    |text| {
        (2..=15).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
);

text_id!(
    /// The login name of an account inside its department (the VpnUser's metadata.name).
    AccountName,
    "account name",
    "1 to 63 lower-case letters, digits, hyphens or dots, starting and ending with a letter or digit",
    |text| dns_name(text, 63, true)
);

text_id!(
    /// The name of a resource: one DNS label, since it becomes part of a host name.
    ResourceName,
    "resource name",
    "1 to 40 lower-case letters, digits or hyphens, starting and ending with a letter or digit",
    |text| dns_name(text, 40, false)
);

text_id!(
    /// A group as the decision sees it: `<code>/<group>`.
    GroupName,
    "group name",
    "<department code>/<group>, the group of 1 to 63 letters, digits, hyphens, dots or underscores",
    |text| match text.split_once('/') {
        Some((code, group)) =>
            code.parse::<DepartmentCode>().is_ok()
                && (1..=63).contains(&group.len())
                && group.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
        None => false,
    }
);

text_id!(
    /// The UID of the object an account or rule came from; a re-created object has a new one.
    Uid,
    "uid",
    "1 to 63 letters, digits or hyphens",
    |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }
);

fn dns_name(text: &str, longest: usize, dots: bool) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && bytes.first().copied().is_some_and(edge)
        && bytes.last().copied().is_some_and(edge)
        && bytes.iter().all(|&b| edge(b) || b == b'-' || (dots && b == b'.'))
        && !text.contains("..")
}

macro_rules! pair_id {
    ($(#[$doc:meta])* $name:ident, $second:ident, $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The department it belongs to.
            pub department: DepartmentCode,
            /// Its name inside the department.
            pub $second: $type,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.department, self.$second)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let (department, second) = text.split_once('/').ok_or(IdError {
                    what: $what,
                    rule: "<department code>/<name>",
                })?;
                Ok(Self { department: department.parse()?, $second: second.parse()? })
            }
        }
    };
}

pair_id!(
    /// Who somebody is, everywhere: `<code>/<name>`.
    AccountId, name, AccountName, "account id"
);
pair_id!(
    /// Which system is meant, everywhere: `<code>/<name>`.
    ResourceId, name, ResourceName, "resource id"
);

/// The 128 random bits that name one session; made by the gateway, printed as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How new a snapshot is: the term of the controller that published it, then its sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Raised at every takeover (standalone: at every start).
    pub term: u64,
    /// Raised at every publication of that term.
    pub sequence: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// The object a snapshot record was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The object's UID.
    pub uid: Uid,
    /// The object's metadata.generation.
    pub generation: i64,
}
