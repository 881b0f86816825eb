//! The reference evaluator: the meaning of rules, written for reading.
//!
//! It walks all rules of the side one by one over the types of core: no index, no tables, no
//! lifting, no bytecode. The compiled module must answer exactly as this does; `explain` is this
//! evaluator talking. The meaning itself is spelled out in `tidegate_policy_evaluator::rule`.

mod conditions;
mod expression;

use std::collections::HashMap;

use tidegate_core::policy::{
    Effect, Evaluate, Fault, Hint, HintKind, Policy, Request, Rule, Side, Subject, Verdict,
};
use tidegate_core::{LocalTime, PolicyModule, RuleName};

use crate::accept::{self, Scope};
use crate::when::typed::{Expr, Number};
use crate::{Input, Problem};
use expression::Truth;

pub use conditions::Miss;
pub(crate) use conditions::first_miss;

/// What the conditions of one request are read from.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) request: &'a Request<'a>,
    pub(crate) local: LocalTime,
}

/// One rule with its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) name: RuleName,
    pub(crate) side: Side,
    pub(crate) policy: Policy,
    pub(crate) rule: Rule,
    pub(crate) when: Option<Expr>,
}

/// All rules of one scope, understood.
#[derive(Clone, Debug)]
pub struct Reference {
    pub(crate) scope: Scope,
    pub(crate) rules: Vec<Whole>,
}

/// How one rule stands to one request.
pub(crate) enum Standing {
    /// Every condition holds.
    Matches,
    /// The first structured condition that does not hold.
    Misses(Miss),
    /// Only `when` is false.
    WhenFalse,
    /// Everything structured holds and `when` fails.
    WhenFails,
}

impl Reference {
    /// Understands all rules that can be compiled, in the order [`crate::compile`] numbers them.
    #[must_use]
    pub fn new(input: &Input<'_>) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let accepted = accept::all(&input.scope, input.policies, &mut problems);
        let rules = accepted
            .into_iter()
            .map(|accepted| Whole {
                name: accepted.name(),
                side: accepted.side(),
                // The rules are carried one by one: of the policy only the target is needed.
                policy: Policy { rules: Vec::new(), ..shallow(accepted.policy) },
                rule: accepted.rule.clone(),
                when: accepted.when,
            })
            .collect();
        (Self { scope: input.scope.clone(), rules }, problems)
    }

    /// Keeps only the rules of a compiled module, in its order, so that indexes agree.
    #[must_use]
    pub fn restricted_to(mut self, names: &[RuleName]) -> Self {
        let place: HashMap<&RuleName, usize> =
            names.iter().enumerate().map(|(index, name)| (name, index)).collect();
        self.rules.retain(|whole| place.contains_key(&whole.name));
        self.rules.sort_by_key(|whole| place.get(&whole.name).copied());
        self
    }

    /// The names of the rules, by index.
    #[must_use]
    pub fn names(&self) -> Vec<RuleName> {
        self.rules.iter().map(|whole| whole.name.clone()).collect()
    }

    /// Decides one request for one side.
    #[must_use]
    pub fn evaluate(
        &self,
        side: Side,
        subject: &Subject,
        request: &Request<'_>,
        local: LocalTime,
    ) -> Verdict {
        let facts = Facts { subject, request, local };
        let mut denies = Tally::default();
        let mut allows = Tally::default();
        let mut hint = Hint { kind: HintKind::None, next_minute: i64::MAX };
        for (index, whole) in self.rules.iter().enumerate().filter(|(_, whole)| whole.side == side) {
            let deny = whole.rule.effect == Effect::Deny;
            let tally = if deny { &mut denies } else { &mut allows };
            let miss = first_miss(whole, &self.scope, facts);
            let when = whole.when.as_ref().map_or(Truth::True, |when| expression::truth(when, facts));
            let consulted = matches!(miss, None | Some(Miss::Schedule { .. }))
                && without_time(whole.when.as_ref(), facts) != Truth::False;
            if consulted {
                let bounds =
                    [conditions::schedule_changes(&whole.rule, local), time_read(whole.when.as_ref(), local)];
                for minutes in bounds.into_iter().flatten() {
                    tally.valid_until = tally.valid_until.min(local.utc_minute.saturating_add(minutes));
                }
            }
            match (miss, when) {
                (None, Truth::True) => tally.matched = tally.matched.or(Some(index)),
                (None, Truth::Error) => {
                    tally.error = true;
                    if deny {
                        tally.matched = tally.matched.or(Some(index));
                    }
                }
                (Some(miss), Truth::True) if !deny && miss.level() > hint.kind => {
                    hint = Hint { kind: miss.level(), next_minute: miss.opens_at(local) };
                }
                _ => {}
            }
        }
        combine(denies, allows, hint)
    }

    /// How one rule stands to one request.
    pub(crate) fn standing(&self, whole: &Whole, facts: Facts<'_>) -> Standing {
        if let Some(miss) = first_miss(whole, &self.scope, facts) {
            return Standing::Misses(miss);
        }
        match whole.when.as_ref().map_or(Truth::True, |when| expression::truth(when, facts)) {
            Truth::True => Standing::Matches,
            Truth::False => Standing::WhenFalse,
            Truth::Error => Standing::WhenFails,
        }
    }
}

fn shallow(policy: &Policy) -> Policy {
    Policy { name: policy.name.clone(), target: policy.target.clone(), mode: policy.mode, rules: Vec::new() }
}

/// What the rules of one effect come to.
struct Tally {
    matched: Option<usize>,
    valid_until: i64,
    error: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { matched: None, valid_until: i64::MAX, error: false }
    }
}

fn combine(denies: Tally, allows: Tally, hint: Hint) -> Verdict {
    let both = denies.valid_until.min(allows.valid_until);
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    match (denies.matched, allows.matched) {
        (Some(rule), _) => Verdict {
            effect: Some(Effect::Deny),
            rule: number(rule),
            valid_until_minute: denies.valid_until,
            rule_error: denies.error,
            ..Verdict::NOTHING
        },
        (None, Some(rule)) => Verdict {
            effect: Some(Effect::Allow),
            rule: number(rule),
            valid_until_minute: both,
            rule_error: allows.error,
            ..Verdict::NOTHING
        },
        (None, None) => {
            Verdict { valid_until_minute: both, hint, rule_error: allows.error, ..Verdict::NOTHING }
        }
    }
}

/// The conjunction of those parts of `when` the time does not touch.
fn without_time(when: Option<&Expr>, facts: Facts<'_>) -> Truth {
    when.map_or_else(Vec::new, Expr::conjuncts)
        .into_iter()
        .filter(|expr| !expr.looks_at_time())
        .fold(Truth::True, |truth, expr| truth.and(expression::truth(expr, facts)))
}

/// Minutes until the finest part of the time `when` looks at changes.
fn time_read(when: Option<&Expr>, local: LocalTime) -> Option<i64> {
    let when = when?;
    let looks_at = |number| when.any(&|expr| *expr == Expr::Number(number));
    let minute = i64::from(local.minute_of_day);
    if looks_at(Number::MinuteOfDay) {
        Some(1)
    } else if looks_at(Number::Hour) {
        Some((minute / 60 + 1) * 60 - minute)
    } else if looks_at(Number::Weekday) {
        Some(24 * 60 - minute)
    } else {
        None
    }
}

/// Reference evaluators by the digest of the module they stand for: what tests give to
/// `tidegate_core::decide` in place of the engine.
#[derive(Debug, Default)]
pub struct References {
    /// By [`PolicyModule::digest`].
    pub modules: HashMap<[u8; 32], Reference>,
}

impl Evaluate for References {
    type Prepared = Subject;

    fn evaluate(
        &mut self,
        module: &PolicyModule,
        side: Side,
        subject: &Subject,
        request: &Request<'_>,
        local: LocalTime,
    ) -> Result<Verdict, Fault> {
        let reference = self.modules.get(&module.digest).ok_or(Fault::NotLoaded)?;
        Ok(reference.evaluate(side, subject, request, local))
    }
}
