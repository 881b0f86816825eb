//! The session machine: tickets, epochs, limits.

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_core::session::{Check, EndReason, Kind, Ticket, check};
use tidegate_core::{
    Account, AccountState, DenyReason, Generation, PolicyState, SessionId, Snapshot, Timestamp,
};

use crate::world::{NOW, mk_account, mk_department, mk_snapshot};

fn mk_world(account: Account) -> Snapshot {
    let mut department = mk_department("rsj", PolicyState::Absent);
    department.accounts.insert(account.name.clone(), Arc::new(account));
    mk_snapshot(PolicyState::Absent, vec![department])
}

fn mk_ticket() -> Ticket {
    Ticket {
        session: SessionId([1; 16]),
        account: "rsj/wang".parse().unwrap(),
        uid: "uid-wang".parse().unwrap(),
        epoch: 3,
        kind: Kind::Portal,
        factors: 1,
        issued: NOW,
        absolute_end: NOW.plus(8 * 3_600),
        generation: Generation { term: 1, sequence: 7 },
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Live,
    Behind,
    Ended(EndReason),
}

fn see(ticket: &Ticket, snapshot: &Snapshot, now: Timestamp) -> Seen {
    match check(ticket, now, None, snapshot, now) {
        Check::Live { .. } => Seen::Live,
        Check::Behind => Seen::Behind,
        Check::Ended(reason) => Seen::Ended(reason),
    }
}

#[test]
fn a_good_ticket_lives_until_its_limits() {
    let snapshot = mk_world(mk_account("wang"));
    assert_eq!(see(&mk_ticket(), &snapshot, NOW), Seen::Live);
    assert_eq!(see(&mk_ticket(), &snapshot, NOW.plus(8 * 3_600 - 1)), Seen::Live);
    assert_eq!(see(&mk_ticket(), &snapshot, NOW.plus(8 * 3_600)), Seen::Ended(EndReason::Expired));
    let idle = check(&mk_ticket(), NOW, None, &snapshot, NOW.plus(1_800));
    assert!(matches!(idle, Check::Ended(EndReason::Idle)));
}

#[test]
fn the_ended_list_comes_first() {
    let snapshot = mk_world(mk_account("wang"));
    let ended = check(&mk_ticket(), NOW, Some(EndReason::Replaced), &snapshot, NOW);
    assert!(matches!(ended, Check::Ended(EndReason::Replaced)));
}

#[test]
fn a_raised_epoch_ends_and_a_higher_ticket_waits() {
    let snapshot = mk_world(mk_account("wang"));
    let old = Ticket { epoch: 2, ..mk_ticket() };
    assert_eq!(see(&old, &snapshot, NOW), Seen::Ended(EndReason::Revoked));
    let newer = Ticket { epoch: 4, ..mk_ticket() };
    assert_eq!(see(&newer, &snapshot, NOW), Seen::Behind);
}

#[test]
fn a_recreated_account_does_not_inherit_a_ticket() {
    let mut account = mk_account("wang");
    account.source.uid = "another".parse().unwrap();
    let gone = Seen::Ended(EndReason::Standing(DenyReason::AccountUnknown));
    assert_eq!(see(&mk_ticket(), &mk_world(account), NOW), gone);
}

#[test]
fn a_gateway_behind_the_ticket_waits_before_it_calls_an_account_gone() {
    let snapshot = mk_world(mk_account("li"));
    let gone = Seen::Ended(EndReason::Standing(DenyReason::AccountUnknown));
    assert_eq!(see(&mk_ticket(), &snapshot, NOW), gone);
    let ahead = Ticket { generation: Generation { term: 1, sequence: 8 }, ..mk_ticket() };
    assert_eq!(see(&ahead, &snapshot, NOW), Seen::Behind);
    let taken_over = Ticket { generation: Generation { term: 2, sequence: 0 }, ..mk_ticket() };
    assert_eq!(see(&taken_over, &snapshot, NOW), Seen::Behind);
}

#[test]
fn a_restored_store_ends_what_was_issued_before() {
    let mut snapshot = mk_world(mk_account("wang"));
    let mut platform = (*snapshot.platform).clone();
    platform.not_before = NOW.plus(1);
    snapshot.platform = Arc::new(platform);
    assert_eq!(see(&mk_ticket(), &snapshot, NOW), Seen::Ended(EndReason::StoreReset));
}

proptest! {
    #[test]
    fn live_lasts_exactly_until_it_says(
        until in proptest::option::of(-20_i64..4_000),
        seen in 0_i64..3_000,
        absolute in 1_i64..4_000,
        at in 0_i64..4_000,
    ) {
        let seen = NOW.plus(seen.min(at));
        let account = Account { valid_until: until.map(|s| NOW.plus(s)), ..mk_account("wang") };
        let snapshot = mk_world(account);
        let ticket = Ticket { absolute_end: NOW.plus(absolute), ..mk_ticket() };
        let at = NOW.plus(at);
        if let Check::Live { until, .. } = check(&ticket, seen, None, &snapshot, at) {
            prop_assert!(until > at);
            let last = check(&ticket, seen, None, &snapshot, until.plus(-1));
            prop_assert!(matches!(last, Check::Live { .. }), "{:?}", last);
            let over = check(&ticket, seen, None, &snapshot, until);
            prop_assert!(matches!(over, Check::Ended(_)), "{:?}", over);
        }
    }

    #[test]
    fn a_ticket_never_outlives_a_lost_standing(state in 0..3_u8, at in 0_i64..40_000) {
        let state = [AccountState::Suspended, AccountState::Left, AccountState::Invalid][usize::from(state)];
        let snapshot = mk_world(Account { state, ..mk_account("wang") });
        let answer = see(&mk_ticket(), &snapshot, NOW.plus(at));
        prop_assert!(matches!(answer, Seen::Ended(EndReason::Standing(_))), "{:?}", answer);
    }
}
