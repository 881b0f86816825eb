//! Local time from a compiled zone.

use tidegate_core::{Timestamp, Weekday, Zone};

#[test]
fn haikou_is_eight_hours_ahead() {
    let zone = Zone { name: "Asia/Shanghai".into(), offset: 8 * 3_600, transitions: Box::default() };
    // 2026-11-25T16:30:00Z is Thursday 00:30 in Haikou.
    let local = zone.local(Timestamp(1_795_624_200));
    assert_eq!(local.weekday, Weekday::Thu);
    assert_eq!(local.minute_of_day, 30);
}

#[test]
fn a_transition_counts_from_its_first_second() {
    let zone = Zone {
        name: "X".into(),
        offset: 3_600,
        transitions: [(Timestamp(1_000_000), 7_200), (Timestamp(2_000_000), 3_600)].into(),
    };
    assert_eq!(zone.offset_at(Timestamp(999_999)), 3_600);
    assert_eq!(zone.offset_at(Timestamp(1_000_000)), 7_200);
    assert_eq!(zone.offset_at(Timestamp(2_000_000)), 3_600);
    assert_eq!(zone.moved_after(Timestamp(999_999)), Timestamp(1_000_000));
    assert_eq!(zone.moved_after(Timestamp(1_000_000)), Timestamp(2_000_000));
    assert_eq!(zone.moved_after(Timestamp(2_000_000)), Timestamp::NEVER);
}

#[test]
fn the_epoch_was_a_thursday_and_earlier_days_count_too() {
    let zone = Zone::utc();
    assert_eq!(zone.local(Timestamp(0)).weekday, Weekday::Thu);
    assert_eq!(zone.local(Timestamp(-1)).weekday, Weekday::Wed);
    assert_eq!(zone.local(Timestamp(-1)).minute_of_day, 1_439);
}
