//! Why somebody may or may not: each rule that could speak, and the first condition it misses.
//!
//! Data, not words: the tools print it in the reader's language.

use tidegate_core::policy::{Effect, Request, Side, Subject, Verdict};
use tidegate_core::{LocalTime, RuleName};

use crate::reference::{Facts, Miss, Reference, Standing};

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every condition holds: it has its effect.
    Matches,
    /// The first condition that does not hold.
    Misses(Miss),
    /// The conditions in `match` hold, but `when` (its text) is false.
    WhenFalse(Box<str>),
    /// The conditions in `match` hold, but `when` (its text) asks for an attribute or label that is
    /// not there: a deny rule has its effect, an allow rule has none.
    WhenFails(Box<str>),
}

/// One rule's part in the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The index a verdict carries.
    pub index: u32,
    /// The rule.
    pub rule: RuleName,
    /// What became of it.
    pub outcome: Outcome,
}

/// An answer with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The answer, the same the module gives.
    pub verdict: Verdict,
    /// The rules of the side, best first: those that match (denies before allows), then by how far
    /// they got.
    pub rules: Vec<Explained>,
}

/// Answers one question with its reasons. Give [`Reference::restricted_to`] the rules of the module
/// in force, so that indexes agree with the audit trail.
#[must_use]
pub fn explain(
    reference: &Reference,
    side: Side,
    subject: &Subject,
    request: &Request<'_>,
    local: LocalTime,
) -> Explanation {
    let facts = Facts { subject, request, local };
    let mut rules: Vec<Explained> = Vec::new();
    for (index, whole) in reference.rules.iter().enumerate().filter(|(_, whole)| whole.side == side) {
        let text = || whole.rule.when.clone().unwrap_or_default();
        let outcome = match reference.standing(whole, facts) {
            Standing::Matches => Outcome::Matches,
            Standing::Misses(miss) => Outcome::Misses(miss),
            Standing::WhenFalse => Outcome::WhenFalse(text()),
            Standing::WhenFails => Outcome::WhenFails(text()),
        };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        rules.push(Explained { index, rule: whole.name.clone(), outcome });
    }
    rules.sort_by_key(|explained| (rank(explained), explained.index));
    Explanation { verdict: reference.evaluate(side, subject, request, local), rules }
}

/// Smaller is nearer to having an effect.
fn rank(explained: &Explained) -> u8 {
    let deny = explained.rule.effect == Effect::Deny;
    match &explained.outcome {
        Outcome::Matches | Outcome::WhenFails(_) if deny => 0,
        Outcome::Matches => 1,
        Outcome::WhenFails(_) => 2,
        Outcome::WhenFalse(_) => 3,
        Outcome::Misses(miss) => match miss {
            // The resource is the first thing asked: missing it is farthest away.
            Miss::Resource(_) | Miss::Label(..) | Miss::Host(_) => 20,
            Miss::Department(_) => 19,
            Miss::Group(_) => 18,
            later => 10 - later.level() as u8,
        },
    }
}
