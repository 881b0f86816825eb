//! Instants, and the local time of a department without a zone database.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than every date a manifest can name.
    pub const NEVER: Self = Self(i64::MAX);

    /// The instant `seconds` later, never wrapping.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this instant, never wrapping.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole minutes since 1970, the unit of schedules and verdicts.
    #[must_use]
    pub fn minute(self) -> i64 {
        self.0.div_euclid(60)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// A day of the week; the number is the bit in [`crate::policy::Window::days`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Weekday {
    /// Monday.
    Mon = 0,
    /// Tuesday.
    Tue = 1,
    /// Wednesday.
    Wed = 2,
    /// Thursday.
    Thu = 3,
    /// Friday.
    Fri = 4,
    /// Saturday.
    Sat = 5,
    /// Sunday.
    Sun = 6,
}

impl Weekday {
    /// All days, Monday first.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The day's bit in a set of days.
    #[must_use]
    pub fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// An instant as a department's wall shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Whole minutes since 1970 in UTC.
    pub utc_minute: i64,
    /// The local day.
    pub weekday: Weekday,
    /// Minutes since local midnight, 0 to 1,439.
    pub minute_of_day: u16,
}

/// A department's time zone as the controller compiled it: an offset for each stretch of time.
///
/// The controller reads the zone database and publishes the coming transitions, so that gateways
/// and policy modules need none and all agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    /// The IANA name, for screens.
    pub name: Box<str>,
    /// Offset in seconds east of UTC before the first transition.
    pub offset: i32,
    /// Later offsets by the instant they begin, ascending.
    pub transitions: Box<[(Timestamp, i32)]>,
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), offset: 0, transitions: Box::default() }
    }

    /// Seconds east of UTC at `now`.
    #[must_use]
    pub fn offset_at(&self, now: Timestamp) -> i32 {
        let passed = self.transitions.partition_point(|(from, _)| *from <= now);
        passed
            .checked_sub(1)
            .and_then(|last| self.transitions.get(last))
            .map_or(self.offset, |(_, offset)| *offset)
    }

    /// The first instant after `now` at which the wall clocks are moved.
    #[must_use]
    pub fn moved_after(&self, now: Timestamp) -> Timestamp {
        let passed = self.transitions.partition_point(|(from, _)| *from <= now);
        self.transitions.get(passed).map_or(Timestamp::NEVER, |(from, _)| *from)
    }

    /// What the wall shows at `now`.
    #[must_use]
    pub fn local(&self, now: Timestamp) -> LocalTime {
        let local = now.plus(i64::from(self.offset_at(now)));
        let minute = local.minute();
        let day = minute.div_euclid(1_440);
        // 1970-01-01 was a Thursday, three days after a Monday.
        let index = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        LocalTime {
            utc_minute: now.minute(),
            weekday: Weekday::ALL.get(index).copied().unwrap_or(Weekday::Mon),
            minute_of_day: u16::try_from(minute.rem_euclid(1_440)).unwrap_or(0),
        }
    }
}
