//! The wall clock, and its printed form.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::Timestamp;

/// The time, from the operating system.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp(i64::try_from(since).unwrap_or(i64::MAX))
}

/// An instant as RFC 3339 in UTC; `never` when it lies beyond every calendar.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.0).map_or_else(|_| "never".to_owned(), |at| at.to_string())
}

/// The instant that RFC 3339 names, to the second.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_second()))
}

/// The year of an instant in UTC.
pub(crate) fn year(at: Timestamp) -> i16 {
    jiff::Timestamp::from_second(at.0).map_or(0, |at| jiff::tz::Offset::UTC.to_datetime(at).year())
}
