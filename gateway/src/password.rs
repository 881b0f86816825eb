//! The rules for a new password.
//!
//! The last one, that it is none of the latest five, needs hashing and is asked in
//! [`crate::login`]; all others are judged here from the text alone.

use std::collections::HashSet;
use std::sync::LazyLock;

#[cfg(test)]
mod tests;

/// Fewest characters.
pub(crate) const LENGTH_MIN: usize = 8;

/// Most characters.
pub(crate) const LENGTH_MAX: usize = 128;

/// Kinds of characters of which a password needs some.
const CLASSES_MIN: usize = 3;

/// Names shorter than this are found in too many words to be forbidden.
const PERSONAL_MIN: usize = 3;

/// A Chinese name says who somebody is with fewer characters.
const PERSONAL_HAN_MIN: usize = 2;

/// Common words shorter than this forbid only a password that is nothing else.
const COMMON_MIN: usize = 4;

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("password/common.txt").lines().filter(|line| !line.is_empty()).collect());

/// A condition of a new password, in the order they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// Neither too short nor too long.
    Length,
    /// Three of capitals, small letters, digits, signs.
    Classes,
    /// Nothing that says who it belongs to.
    Personal,
    /// Nothing common.
    Common,
    /// None of the latest five.
    Recent,
}

impl Rule {
    /// All conditions.
    pub(crate) const ALL: [Self; 5] =
        [Self::Length, Self::Classes, Self::Personal, Self::Common, Self::Recent];

    /// Its name in pages and text keys.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Classes => "classes",
            Self::Personal => "personal",
            Self::Common => "common",
            Self::Recent => "recent",
        }
    }

    /// The key of its text.
    #[must_use]
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Length => "rule-length",
            Self::Classes => "rule-classes",
            Self::Personal => "rule-personal",
            Self::Common => "rule-common",
            Self::Recent => "rule-recent",
        }
    }
}

/// The conditions `password` does not meet, given what is known about its owner: account, name, unit,
/// department.
#[must_use]
pub(crate) fn broken(password: &str, personal: &[&str]) -> Vec<Rule> {
    let checks = [
        (Rule::Length, (LENGTH_MIN..=LENGTH_MAX).contains(&password.chars().count())),
        (Rule::Classes, classes(password) >= CLASSES_MIN),
        (Rule::Personal, !is_personal(password, personal)),
        (Rule::Common, !is_common(password)),
    ];
    checks.into_iter().filter(|(_, met)| !met).map(|(rule, _)| rule).collect()
}

fn classes(password: &str) -> usize {
    let kinds: [fn(char) -> bool; 4] = [
        char::is_uppercase,
        char::is_lowercase,
        |c| c.is_numeric(),
        |c| !c.is_uppercase() && !c.is_lowercase() && !c.is_numeric(),
    ];
    kinds.iter().filter(|kind| password.chars().any(**kind)).count()
}

fn is_personal(password: &str, personal: &[&str]) -> bool {
    let password = password.to_lowercase();
    personal
        .iter()
        .flat_map(|text| {
            text.split(|c: char| c.is_whitespace() || matches!(c, '.' | '-' | '_' | '/' | '·')).chain([*text])
        })
        .map(|piece| piece.trim().to_lowercase())
        .filter(|piece| {
            let least = if piece.is_ascii() { PERSONAL_MIN } else { PERSONAL_HAN_MIN };
            piece.chars().count() >= least
        })
        .any(|piece| password.contains(&piece))
}

/// Whether a common word, however it is dressed up with signs and digits, is half of it or more.
fn is_common(password: &str) -> bool {
    let plain: String = password.to_lowercase();
    let undone: String = plain.chars().map(undo).collect();
    [plain, undone].iter().any(|text| {
        let length = text.chars().count();
        let core = text.trim_matches(|c: char| !c.is_alphabetic());
        COMMON.contains(text.as_str())
            || COMMON.contains(core)
            || COMMON.iter().any(|word| {
                word.len() >= COMMON_MIN && word.chars().count() * 2 >= length && text.contains(word)
            })
            || is_monotonous(text)
    })
}

/// The letter a digit or sign is usually written for.
fn undo(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

/// Whether few different characters, or a run along alphabet or digits, make most of it.
fn is_monotonous(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let different: HashSet<char> = chars.iter().copied().collect();
    let steps = chars
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if u32::from(*a).abs_diff(u32::from(*b)) <= 1))
        .count();
    different.len() < 4 || steps * 3 >= chars.len() * 2
}
