//! Time zones, compiled into the offsets of the coming years.

use jiff::tz::{Offset, TimeZoneDatabase};
use tidegate_core::{Timestamp, Zone};

/// Years a zone is compiled for beyond the present one.
pub const ZONE_YEARS: i16 = 10;

/// Most changes of offset in that time; the busiest zones have two a year.
const TRANSITIONS_MAX: usize = 4 * (ZONE_YEARS as usize + 1);

/// The zone with this IANA name, from the beginning of the year of `now` to [`ZONE_YEARS`] years later.
///
/// It is taken from the database built into the program, and begins with a year, so that equal
/// manifests give equal snapshots on every machine and every day of a year.
#[must_use]
pub fn zone(name: &str, now: Timestamp) -> Option<Zone> {
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    let year = Offset::UTC.to_datetime(jiff::Timestamp::from_second(now.0).ok()?).year();
    let new_year = |year| {
        let midnight = jiff::civil::Date::new(year, 1, 1).ok()?.at(0, 0, 0, 0);
        Offset::UTC.to_timestamp(midnight).ok()
    };
    let begin = new_year(year)?;
    let end = new_year(year.checked_add(ZONE_YEARS)?.checked_add(1)?)?;
    let transitions = zone
        .following(begin)
        .take_while(|transition| transition.timestamp() < end)
        .take(TRANSITIONS_MAX)
        .map(|transition| (Timestamp(transition.timestamp().as_second()), transition.offset().seconds()))
        .collect();
    Some(Zone { name: name.into(), offset: zone.to_offset(begin).seconds(), transitions })
}
