//! Standing: every boundary on both sides, and that `holds_until` is exact.

use proptest::prelude::*;
use tidegate_core::{Account, AccountState, Approval, DenyReason, Review, Timestamp};

use crate::world::{NOW, mk_account};

fn check(account: &Account, at: Timestamp, expected: Option<DenyReason>) {
    assert_eq!(account.standing(at).denied, expected, "{account:?} at {at:?}");
}

#[test]
fn the_state_comes_before_the_calendar() {
    for (state, reason) in [
        (AccountState::Invalid, DenyReason::AccountInvalid),
        (AccountState::Left, DenyReason::AccountLeft),
        (AccountState::Suspended, DenyReason::AccountSuspended),
    ] {
        let account = Account { state, valid_until: Some(NOW), ..mk_account("wang") };
        check(&account, NOW, Some(reason));
    }
}

#[test]
fn nobody_is_let_in_without_an_approval() {
    let account = Account { approval: None, ..mk_account("wang") };
    check(&account, NOW, Some(DenyReason::AccountNotApproved));
}

#[test]
fn the_dates_hold_at_the_second() {
    let account = Account { valid_from: Some(NOW), valid_until: Some(NOW.plus(10)), ..mk_account("wang") };
    check(&account, NOW.plus(-1), Some(DenyReason::AccountNotYetValid));
    check(&account, NOW, None);
    check(&account, NOW.plus(9), None);
    check(&account, NOW.plus(10), Some(DenyReason::AccountExpired));
}

#[test]
fn a_review_counts_through_its_last_second() {
    let mut account = mk_account("wang");
    account.approval = Some(Approval { by: "li".into(), until: NOW });
    check(&account, NOW, None);
    check(&account, NOW.plus(1), Some(DenyReason::AccountReviewOverdue));
    account.review = Some(Review { by: "zhao".into(), until: NOW.plus(5) });
    check(&account, NOW.plus(5), None);
    check(&account, NOW.plus(6), Some(DenyReason::AccountReviewOverdue));
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (-50_i64..50).prop_map(|s| NOW.plus(s))
}

proptest! {
    #[test]
    fn an_answer_holds_exactly_until_it_says(
        from in proptest::option::of(instant()),
        until in proptest::option::of(instant()),
        approved in proptest::option::of(instant()),
        reviewed in proptest::option::of(instant()),
        at in instant(),
    ) {
        let account = Account {
            valid_from: from,
            valid_until: until,
            approval: approved.map(|until| Approval { by: "li".into(), until }),
            review: reviewed.map(|until| Review { by: "zhao".into(), until }),
            ..mk_account("wang")
        };
        let standing = account.standing(at);
        prop_assert!(standing.holds_until > at);
        for later in (at.0..standing.holds_until.0.min(NOW.0 + 60)).map(Timestamp) {
            prop_assert_eq!(account.standing(later).denied, standing.denied);
        }
        if standing.holds_until != Timestamp::NEVER {
            prop_assert_ne!(account.standing(standing.holds_until).denied, standing.denied);
        }
    }
}
