//! Windows of the week: open or not, and when that may change.

use crate::table::{Table, words};

const DAY: u32 = 1_440;
/// Minutes to something that never comes.
pub const NEVER: u32 = u32::MAX;

/// A schedule at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Whether some window is open.
    pub open: bool,
    /// Minutes until the next start or end of any window; [`NEVER`] without windows.
    pub changes_in: u32,
    /// Minutes until the next start of any window; [`NEVER`] without windows.
    pub opens_in: u32,
}

/// Reads the schedule at `at` (number, zero, windows of four `u16`).
#[inline(always)]
pub fn at(table: &Table<'_>, at: usize, weekday: u8, minute: u16) -> Option<Schedule> {
    let [count] = words::<1>(table.bytes(), at)?;
    let mut schedule = Schedule { open: false, changes_in: NEVER, opens_in: NEVER };
    for index in 0..count as usize {
        let [low, high] = words::<2>(table.bytes(), at + 8 + index * 8)?;
        add(&mut schedule, low & 0x7f, low >> 16, high & 0xffff, u32::from(weekday % 7), u32::from(minute));
    }
    Some(schedule)
}

#[inline(always)]
fn add(schedule: &mut Schedule, days: u32, from: u32, to: u32, weekday: u32, minute: u32) {
    if days == 0 {
        return;
    }
    let today = days >> weekday & 1 == 1;
    if today && from <= minute && minute < to {
        schedule.open = true;
    }
    // The coming days as a set, bit 0 = today; the same day next week is bit 7.
    let coming = (days >> weekday | days << (7 - weekday)) & 0x7f;
    let next_day = (coming & !1 | (coming & 1) << 7).trailing_zeros();
    let next_start =
        if today && minute < from { from - minute } else { (next_day * DAY + from).saturating_sub(minute) };
    schedule.opens_in = schedule.opens_in.min(next_start);
    schedule.changes_in = schedule.changes_in.min(next_start);
    if today && minute < to {
        schedule.changes_in = schedule.changes_in.min(to - minute);
    }
}
