//! One rule: its conditions level by level, and what all rules together come to.
//!
//! Of a rule, let **S** be all structured conditions but the schedule, **W** its `when` (absent is
//! true), **W′** the part of `when` that does not look at the time. Then, whatever order rules are
//! visited in:
//!
//! - it *matches* when S, the schedule is open, and W is true (or, for a deny rule, W fails);
//! - it is *consulted* when S and W′ is not false: its schedule's next boundary, and the next minute,
//!   hour or day its `when` looks at, bound the verdict's validity;
//! - an allow rule that does not match *nearly matched* when its resource and group levels hold and W
//!   is true: the first level that fails is its hint. The latest level wins, then the lowest rule.
//!
//! Once a deny rule matched, allow rules change nothing.

use crate::eval::{self, Truth};
use crate::hash::same;
use crate::observe::Observe;
use crate::record::Record;
use crate::schedule;
use crate::table::{CONDITION, Entry, FLAG_DENY, NONE, Table, condition, long, text, words};
use crate::verdict::{ALLOW, DENY, NOTHING, Verdict};

/// `HintKind` of core for each level.
mod level {
    pub(super) const METHOD: u8 = 1;
    pub(super) const NETWORK: u8 = 2;
    pub(super) const DEVICE: u8 = 3;
    pub(super) const FACTOR: u8 = 4;
    pub(super) const SCHEDULE: u8 = 5;
}

/// What rules of one effect have come to.
#[derive(Clone, Copy)]
struct Tally {
    matched: u32,
    holds_for: i64,
    error: bool,
}

const UNTOUCHED: Tally = Tally { matched: NONE, holds_for: i64::MAX, error: false };

/// What the rules visited so far have come to.
pub struct State<'s> {
    values: &'s mut [u64],
    /// Words of the expression stack that were written.
    pub values_used: usize,
    deny: Tally,
    allow: Tally,
    hint: u8,
    hint_rule: u32,
    hint_in: i64,
}

impl<'s> State<'s> {
    /// No rule visited; `values` is the expression stack.
    #[must_use]
    #[inline]
    pub fn new(values: &'s mut [u64]) -> Self {
        Self {
            values,
            values_used: 0,
            deny: UNTOUCHED,
            allow: UNTOUCHED,
            hint: 0,
            hint_rule: NONE,
            hint_in: i64::MAX,
        }
    }

    /// The verdict of the rules visited.
    #[must_use]
    #[inline]
    pub fn verdict(&self, utc_minute: i64) -> Verdict {
        let at = |minutes: i64| utc_minute.checked_add(minutes).unwrap_or(i64::MAX);
        let (effect, tally) = if self.deny.matched != NONE {
            (DENY, self.deny)
        } else {
            let holds_for = self.allow.holds_for.min(self.deny.holds_for);
            let effect = if self.allow.matched != NONE { ALLOW } else { NOTHING };
            (effect, Tally { holds_for, ..self.allow })
        };
        let missed = effect == NOTHING;
        Verdict {
            effect,
            hint: if missed { self.hint } else { 0 },
            rule_error: tally.error,
            rule: if missed { 0 } else { tally.matched },
            valid_until: at(tally.holds_for),
            next_minute: if missed { at(self.hint_in) } else { i64::MAX },
        }
    }

    /// Takes one rule into account; `None` when the tables are malformed.
    #[inline]
    pub(crate) fn consider<O: Observe>(
        &mut self,
        table: &Table<'_>,
        record: &Record<'_>,
        entry: Entry,
        observe: &mut O,
    ) -> Option<()> {
        let deny = entry.flags & FLAG_DENY != 0;
        if !deny && self.deny.matched != NONE {
            return Some(());
        }
        let mut missed = 0;
        let mut holds_for = i64::MAX;
        let mut opens_in = i64::MAX;
        let mut when = Truth::True;
        for index in 0..entry.count as usize {
            let (kind, argument) = table.condition(entry.conditions as usize + index * CONDITION)?;
            let at = argument as usize;
            match kind {
                // Past the first miss only `when` still says whether the rule was near.
                condition::SCHEDULE if missed == 0 => {
                    observe.condition(kind as u8);
                    let schedule = schedule::at(table, at, record.weekday(), record.minute_of_day())?;
                    holds_for = holds_for.min(schedule.changes_in);
                    if !schedule.open {
                        missed = level::SCHEDULE;
                        opens_in = schedule.opens_in;
                    }
                }
                condition::WHEN | condition::WHEN_TIME => {
                    observe.condition(kind as u8);
                    let (truth, used) = eval::run(table, record, at, self.values, observe)?;
                    self.values_used = self.values_used.max(used);
                    if kind == condition::WHEN && truth == Truth::False {
                        return Some(());
                    }
                    if kind == condition::WHEN_TIME {
                        let bits = eval::time_bits(table, at)?;
                        holds_for = holds_for.min(until_tick(bits, record.minute_of_day()));
                    }
                    when = when.and(truth);
                }
                _ if missed == 0 => {
                    observe.condition(kind as u8);
                    let (holds, level) = test(table, record, kind, argument)?;
                    if !holds {
                        if level == 0 || deny || !self.nearer(level, entry.rule) {
                            return Some(());
                        }
                        missed = level;
                    }
                }
                _ => {}
            }
        }
        let tally = if deny { &mut self.deny } else { &mut self.allow };
        if missed == 0 || missed == level::SCHEDULE {
            tally.holds_for = tally.holds_for.min(holds_for);
        }
        if missed == 0 {
            tally.error |= when == Truth::Error;
            if when == Truth::True || (deny && when == Truth::Error) {
                tally.matched = tally.matched.min(entry.rule);
            }
        } else if !deny && when == Truth::True && self.nearer(missed, entry.rule) {
            self.hint = missed;
            self.hint_rule = entry.rule;
            self.hint_in = opens_in;
        }
        Some(())
    }

    /// Whether a miss of this rule at this level would be the better hint.
    #[inline]
    fn nearer(&self, level: u8, rule: u32) -> bool {
        self.allow.matched == NONE && (level > self.hint || (level == self.hint && rule < self.hint_rule))
    }
}

/// Minutes until the part of the time an expression looks at changes.
#[inline]
fn until_tick(bits: u32, minute: u16) -> i64 {
    use crate::op::time;
    if bits & time::MINUTE != 0 {
        1
    } else if bits & time::HOUR != 0 {
        60 - i64::from(minute % 60)
    } else {
        1_440 - i64::from(minute)
    }
}

/// Tests one condition; gives the hint level of its kind, 0 for the resource and group levels.
#[inline]
fn test(table: &Table<'_>, record: &Record<'_>, kind: u32, argument: u32) -> Option<(bool, u8)> {
    let at = argument as usize;
    Some(match kind {
        condition::RESOURCE => (set(table, at, record.resource()?)?, 0),
        condition::OWNER => (set(table, at, record.owner()?)?, 0),
        condition::DEPARTMENT => (set(table, at, record.department()?)?, 0),
        condition::USER => (set(table, at, record.name()?)?, 0),
        condition::GROUP => (in_some_group(table, record, at)?, 0),
        condition::LABEL => {
            let (hash, pair) = table.member(at)?;
            (record.labels()?.holds_pair(hash, pair)?, 0)
        }
        condition::ATTRIBUTE => {
            let (hash, pair) = table.member(at)?;
            (record.attributes()?.holds_pair(hash, pair)?, 0)
        }
        condition::HOST => (host(table, record, at)?, 0),
        condition::PORT => (port(table, record.port(), at)?, level::METHOD),
        condition::METHOD => (set(table, at, record.method()?)?, level::METHOD),
        condition::PATH => (path(table, record.path()?, at)?, level::METHOD),
        condition::NETWORK => (network(table, record.source(), at)?, level::NETWORK),
        condition::DEVICE => {
            (argument.checked_shr(record.device().into()).unwrap_or(0) & 1 == 1, level::DEVICE)
        }
        condition::FACTOR => (argument & u32::from(record.factors()) != 0, level::FACTOR),
        _ => return None,
    })
}

#[inline]
fn set(table: &Table<'_>, at: usize, value: crate::record::Hashed<'_>) -> Option<bool> {
    table.set_holds(at, value.hash, value.text)
}

#[inline]
fn in_some_group(table: &Table<'_>, record: &Record<'_>, at: usize) -> Option<bool> {
    let [count] = words::<1>(table.bytes(), at)?;
    for index in 0..count as usize {
        let (hash, name) = table.member(at + 8 + index * crate::table::MEMBER)?;
        if record.in_group(hash, name)? {
            return Some(true);
        }
    }
    Some(false)
}

fn host(table: &Table<'_>, record: &Record<'_>, at: usize) -> Option<bool> {
    let [exact, count] = words::<2>(table.bytes(), at)?;
    let host = record.host()?;
    if exact != 0 && set(table, exact as usize, host)? {
        return Some(true);
    }
    for index in 0..count as usize {
        let [offset, length] = words::<2>(table.bytes(), at + 8 + index * 8)?;
        let suffix = text(table.bytes(), offset, length)?;
        let Some(dot) = host.text.len().checked_sub(suffix.len() + 1) else { continue };
        if let Some((b'.', tail)) = host.text.get(dot..).and_then(<[u8]>::split_first)
            && same(tail, suffix)
        {
            return Some(true);
        }
    }
    Some(false)
}

#[inline]
fn port(table: &Table<'_>, port: u16, at: usize) -> Option<bool> {
    let [count] = words::<1>(table.bytes(), at)?;
    for index in 0..count as usize {
        let [range] = words::<1>(table.bytes(), at + 8 + index * 4)?;
        if (range as u16..=(range >> 16) as u16).contains(&port) {
            return Some(true);
        }
    }
    Some(false)
}

#[inline]
fn path(table: &Table<'_>, path: &[u8], at: usize) -> Option<bool> {
    let [count] = words::<1>(table.bytes(), at)?;
    for index in 0..count as usize {
        let [offset, length] = words::<2>(table.bytes(), at + 8 + index * 8)?;
        let prefix = text(table.bytes(), offset, length)?;
        let Some((head, rest)) = path.split_at_checked(prefix.len()) else { continue };
        // Whole segments only: `/a` covers `/a` and `/a/b`, not `/ab`.
        let whole = prefix.last() == Some(&b'/') || matches!(rest.first(), None | Some(b'/'));
        if whole && same(head, prefix) {
            return Some(true);
        }
    }
    Some(false)
}

#[inline]
fn network(table: &Table<'_>, (high, low, family): (u64, u64, u64), at: usize) -> Option<bool> {
    let [count] = words::<1>(table.bytes(), at)?;
    for index in 0..count as usize {
        let at = at + 8 + index * 40;
        let [address_high, address_low, mask_high, mask_low, wanted] =
            [0, 8, 16, 24, 32].map(|offset| long(table.bytes(), at + offset));
        if family == wanted? && high & mask_high? == address_high? && low & mask_low? == address_low? {
            return Some(true);
        }
    }
    Some(false)
}
