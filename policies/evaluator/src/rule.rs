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
use crate::schedule::{self, NEVER};
use crate::table::{Entry, FLAG_DENY, NONE, Table, condition, long, text, words};
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
    holds_for: u32,
    error: bool,
}

const UNTOUCHED: Tally = Tally { matched: NONE, holds_for: u32::MAX, error: false };

/// What a list of levels came to.
#[derive(Clone, Copy)]
struct Levels {
    /// The first level that fails; 0 when all hold.
    missed: u8,
    /// Minutes until the schedule changes.
    holds_for: u32,
    /// Minutes until the schedule opens.
    opens_in: u32,
}

const ALL_HOLD: Levels = Levels { missed: 0, holds_for: u32::MAX, opens_in: u32::MAX };

/// As one number, so that what is remembered begins as zeros.
impl Levels {
    #[inline(always)]
    fn pack(self) -> u64 {
        // Minutes of a schedule are at most a week: 24 bits hold them, all ones is never.
        u64::from(self.missed) | u64::from(self.holds_for & 0xff_ffff) << 8 | u64::from(self.opens_in) << 32
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Self {
        let holds_for = (packed >> 8) as u32 & 0xff_ffff;
        Self {
            missed: packed as u8,
            holds_for: if holds_for == 0xff_ffff { NEVER } else { holds_for },
            opens_in: (packed >> 32) as u32,
        }
    }
}

/// Lists remembered at once: rules that one request leads to often share theirs.
const REMEMBERED: usize = 4;

/// What the latest lists came to, by offset. Offset 0 is no list.
#[derive(Default)]
struct Memory {
    lists: [u32; REMEMBERED],
    outcomes: [u64; REMEMBERED],
    next: usize,
}

impl Memory {
    #[inline(always)]
    fn get(&self, list: u32) -> Option<u64> {
        let known = self.lists.iter().zip(&self.outcomes).find(|(known, _)| **known == list);
        known.map(|(_, outcome)| *outcome)
    }

    #[inline(always)]
    fn put(&mut self, list: u32, outcome: u64) {
        if let (Some(slot), Some(known)) = (self.lists.get_mut(self.next), self.outcomes.get_mut(self.next)) {
            *slot = list;
            *known = outcome;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

/// What the rules visited so far have come to.
pub struct State<'s> {
    values: &'s mut [u64],
    /// Words of the expression stack that were written.
    pub values_used: usize,
    deny: Tally,
    allow: Tally,
    hint: u8,
    hint_rule: u32,
    hint_in: u32,
    selections: Memory,
    levels: Memory,
    /// The latest expression and what it came to.
    expression: (u32, Truth),
}

impl<'s> State<'s> {
    /// No rule visited; `values` is the expression stack.
    #[must_use]
    #[inline(always)]
    pub fn new(values: &'s mut [u64]) -> Self {
        Self {
            values,
            values_used: 0,
            deny: UNTOUCHED,
            allow: UNTOUCHED,
            hint: 0,
            hint_rule: NONE,
            hint_in: u32::MAX,
            selections: Memory::default(),
            levels: Memory::default(),
            expression: (0, Truth::True),
        }
    }

    /// The verdict of the rules visited.
    #[must_use]
    #[inline(always)]
    pub fn verdict(&self, utc_minute: i64) -> Verdict {
        let at = |minutes: u32| match minutes {
            NEVER => i64::MAX,
            minutes => utc_minute.saturating_add(i64::from(minutes)),
        };
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
    #[inline(always)]
    pub(crate) fn consider<O: Observe>(
        &mut self,
        table: &Table<'_>,
        record: &Record<'_>,
        entry: Entry,
        observe: &mut O,
    ) -> Option<()> {
        let deny = entry.flags & FLAG_DENY != 0;
        if (!deny && self.deny.matched != NONE) || !self.selected(table, record, entry.select, observe)? {
            return Some(());
        }
        let Levels { missed, mut holds_for, opens_in } = self.levels(table, record, entry.levels, observe)?;
        let consulted = missed == 0 || missed == level::SCHEDULE;
        if !consulted && (deny || !self.nearer(missed, entry.rule)) {
            return Some(());
        }
        let mut when = Truth::True;
        if entry.when != 0 {
            when = self.expression(table, record, entry.when, observe)?;
            if when == Truth::False {
                return Some(());
            }
        }
        if entry.when_time != 0 {
            let bits = eval::time_bits(table, entry.when_time as usize)?;
            holds_for = holds_for.min(until_tick(bits, record.minute_of_day()));
            when = when.and(self.expression(table, record, entry.when_time, observe)?);
        }
        let tally = if deny { &mut self.deny } else { &mut self.allow };
        if consulted {
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
    #[inline(always)]
    fn nearer(&self, level: u8, rule: u32) -> bool {
        self.allow.matched == NONE && (level > self.hint || (level == self.hint && rule < self.hint_rule))
    }

    /// Whether all selecting conditions of a list hold.
    #[inline(always)]
    fn selected<O: Observe>(
        &mut self,
        table: &Table<'_>,
        record: &Record<'_>,
        list: u32,
        observe: &mut O,
    ) -> Option<bool> {
        if list == 0 {
            return Some(true);
        }
        if let Some(known) = self.selections.get(list) {
            return Some(known != 0);
        }
        let mut holds = true;
        for index in 0..table.conditions(list)? {
            let (kind, argument) = table.condition(list, index)?;
            observe.condition(kind as u8);
            if !selects(table, record, kind, argument as usize * 8)? {
                holds = false;
                break;
            }
        }
        self.selections.put(list, u64::from(holds));
        Some(holds)
    }

    /// What the levels of a list come to.
    #[inline(always)]
    fn levels<O: Observe>(
        &mut self,
        table: &Table<'_>,
        record: &Record<'_>,
        list: u32,
        observe: &mut O,
    ) -> Option<Levels> {
        if list == 0 {
            return Some(ALL_HOLD);
        }
        if let Some(known) = self.levels.get(list) {
            return Some(Levels::unpack(known));
        }
        let mut outcome = ALL_HOLD;
        for index in 0..table.conditions(list)? {
            let (kind, argument) = table.condition(list, index)?;
            observe.condition(kind as u8);
            if kind == condition::SCHEDULE {
                let at = argument as usize * 8;
                let schedule = schedule::at(table, at, record.weekday(), record.minute_of_day())?;
                outcome.holds_for = schedule.changes_in;
                outcome.opens_in = schedule.opens_in;
                if !schedule.open {
                    outcome.missed = level::SCHEDULE;
                }
            } else {
                outcome.missed = misses(table, record, kind, argument)?;
            }
            if outcome.missed != 0 {
                break;
            }
        }
        self.levels.put(list, outcome.pack());
        Some(outcome)
    }

    /// What the code at `at` comes to.
    #[inline(always)]
    fn expression<O: Observe>(
        &mut self,
        table: &Table<'_>,
        record: &Record<'_>,
        at: u32,
        observe: &mut O,
    ) -> Option<Truth> {
        if self.expression.0 != at {
            let (truth, used) = eval::run(table, record, at as usize, self.values, observe)?;
            self.values_used = self.values_used.max(used);
            self.expression = (at, truth);
        }
        Some(self.expression.1)
    }
}

/// Minutes until the part of the time an expression looks at changes.
#[inline(always)]
fn until_tick(bits: u32, minute: u16) -> u32 {
    use crate::op::time;
    let minute = u32::from(minute);
    if bits & time::MINUTE != 0 {
        1
    } else if bits & time::HOUR != 0 {
        60 - minute % 60
    } else {
        1_440_u32.saturating_sub(minute)
    }
}

/// Whether a selecting condition holds.
#[inline(always)]
fn selects(table: &Table<'_>, record: &Record<'_>, kind: u32, at: usize) -> Option<bool> {
    let value = match kind {
        condition::RESOURCE => record.resource()?,
        condition::OWNER => record.owner()?,
        condition::DEPARTMENT => record.department()?,
        condition::USER => record.name()?,
        condition::GROUP => return in_some_group(table, record, at),
        condition::LABEL => {
            let (hash, pair) = table.member(at)?;
            return record.labels()?.holds_pair(hash, pair);
        }
        condition::ATTRIBUTE => {
            let (hash, pair) = table.member(at)?;
            return record.attributes()?.holds_pair(hash, pair);
        }
        condition::HOST => return host(table, record, at),
        _ => return None,
    };
    set(table, at, value)
}

/// Tests a condition other than the schedule; gives its level when it fails, else 0.
#[inline(always)]
fn misses(table: &Table<'_>, record: &Record<'_>, kind: u32, argument: u32) -> Option<u8> {
    let at = argument as usize * 8;
    let (holds, level) = match kind {
        condition::PORT => (port(table, record.port(), at)?, level::METHOD),
        condition::METHOD => (set(table, at, record.method()?)?, level::METHOD),
        condition::PATH => (path(table, record.path()?, at)?, level::METHOD),
        condition::NETWORK => (network(table, record.source(), at)?, level::NETWORK),
        condition::DEVICE => {
            (argument.checked_shr(record.device().into()).unwrap_or(0) & 1 == 1, level::DEVICE)
        }
        condition::FACTOR => (argument & u32::from(record.factors()) != 0, level::FACTOR),
        _ => return None,
    };
    Some(if holds { 0 } else { level })
}

#[inline(always)]
fn set(table: &Table<'_>, at: usize, value: crate::record::Hashed<'_>) -> Option<bool> {
    table.set_holds(at, value.hash, value.text)
}

#[inline(always)]
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

#[inline(always)]
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

#[inline(always)]
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

#[inline(always)]
fn network(table: &Table<'_>, (high, low, family): (u64, u64, u64), at: usize) -> Option<bool> {
    let [count] = words::<1>(table.bytes(), at)?;
    for index in 0..count as usize {
        let at = at + 8 + index * 40;
        if family == long(table.bytes(), at + 32)?
            && low & long(table.bytes(), at + 24)? == long(table.bytes(), at + 8)?
            && high & long(table.bytes(), at + 16)? == long(table.bytes(), at)?
        {
            return Some(true);
        }
    }
    Some(false)
}
