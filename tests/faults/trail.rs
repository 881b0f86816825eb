//! What gateways wrote down: which generation was in force when, and what they allowed under which.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::site::Gateway;

/// Milliseconds since 1970, as logs and audit records have them.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A generation: term and sequence.
pub(crate) type Generation = (u64, u64);

/// The generation a text says, `<term>.<sequence>`.
pub(crate) fn generation(text: &str) -> Option<Generation> {
    let (term, sequence) = text.split_once('.')?;
    Some((term.parse().ok()?, sequence.parse().ok()?))
}

/// Something a gateway wrote about a generation.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) at_ms: u64,
    pub(crate) generation: Generation,
}

/// All generations that were in force on a gateway, in the order of its log, over all its runs.
pub(crate) fn in_force(gateway: &Gateway) -> Vec<Noted> {
    let lines = gateway.program.logs().into_iter().flat_map(|log| lines(&log));
    lines
        .filter(|line| line["message"] == "in force on every shard")
        .filter_map(|line| {
            let generation = generation(line["generation"].as_str()?)?;
            Some(Noted { at_ms: instant(line["timestamp"].as_str()?)?, generation })
        })
        .collect()
}

/// Everything a gateway allowed a person, as far as its audit trail could be kept.
pub(crate) fn allowed(gateway: &Gateway, person: &str) -> Vec<Noted> {
    let Ok(entries) = fs::read_dir(gateway.folder.join("var/audit")) else { return Vec::new() };
    let lines = entries.flatten().flat_map(|entry| lines(&entry.path()));
    lines
        .filter(|line| line["event"] == "access_allowed" && line["user"]["name"] == person)
        .filter_map(|line| {
            let generation = generation(line["generation"].as_str()?)?;
            Some(Noted { at_ms: line["time"].as_u64()?, generation })
        })
        .collect()
}

/// The lines of a file that are JSON; a program that was killed may have left half of one.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC, `2026-11-25T16:00:00.123456Z`.
fn instant(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let milliseconds: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days since 1970, counted in years that begin in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days.checked_sub(719_468)? * 24 + hours) * 3_600 + minutes * 60 + seconds;
    Some(seconds * 1_000 + milliseconds)
}

#[test]
fn instants_are_counted_from_1970() {
    assert_eq!(instant("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(instant("2026-02-28T23:59:59.5Z"), Some(1_772_323_199_500));
    assert_eq!(instant("2024-02-29T00:00:00.123456Z"), Some(1_709_164_800_123));
}
