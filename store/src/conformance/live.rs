//! Cases about live facts.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Code, DenyReason, Generation, SessionId, Timestamp};

use super::{Backend, until};
use crate::{
    Ack, GatewayId, Intent, IntentAction, IntentId, Outcome, Report, SessionReport, Store as _, StoreError,
};

/// Longer than any test.
const LATER: Timestamp = Timestamp(i64::MAX / 2);
/// Long ago.
const PAST: Timestamp = Timestamp(1_000_000_000);

/// The present, from the machine's clock: backends forget by it.
pub(super) fn soon() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp(seconds.try_into().unwrap_or(i64::MAX))
}

/// The intent with this number.
pub(super) fn intent(number: u128) -> Intent {
    let action = if number.is_multiple_of(2) {
        IntentAction::ChangePassword { password: "$argon2id$new".into() }
    } else {
        IntentAction::Activate { code: [7; 32], password: "$argon2id$first".into() }
    };
    Intent {
        id: IntentId(number),
        account: "sbj/wang.fang".parse().expect("an id"),
        uid: "uid-1".parse().expect("a uid"),
        replaces: 3,
        action,
        at: Timestamp(1_790_000_000),
    }
}

fn account(text: &str) -> AccountId {
    text.parse().expect("an account id")
}

/// The newest login of a kind ends the one before it, and nothing else.
pub async fn newest_login_wins(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|n| SessionId([n; 16]));
    let (wang, li) = (account("sbj/wang.fang"), account("sbj/li.qiang"));
    assert_eq!(store.login(&wang, Kind::Portal, a, LATER).await.expect("login"), None);
    assert_eq!(store.login(&wang, Kind::Tunnel, b, LATER).await.expect("login"), None, "kinds are apart");
    assert_eq!(store.login(&li, Kind::Portal, c, LATER).await.expect("login"), None, "accounts are apart");
    assert_eq!(store.login(&wang, Kind::Portal, a, LATER).await.expect("login"), None, "the same again");
    assert_eq!(store.login(&wang, Kind::Portal, d, LATER).await.expect("login"), Some(a));
    let view = until(&mut store.subscribe(), |view| !view.ended.is_empty()).await;
    assert_eq!(view.ended.iter().collect::<Vec<_>>(), [(&a, &EndReason::Replaced)]);
    // A session that is over already is not replaced a second time, nor does its reason change.
    store.end(d, EndReason::LoggedOut, LATER).await.expect("end");
    assert_eq!(store.login(&wang, Kind::Portal, e, PAST).await.expect("login"), None);
    assert_eq!(store.login(&wang, Kind::Portal, a, LATER).await.expect("login"), None, "its ticket ended");
    let view = until(&mut store.subscribe(), |view| view.ended.len() == 2).await;
    assert_eq!(view.ended.get(&d), Some(&EndReason::LoggedOut));
}

/// An ended session is seen by all, with its first reason, for as long as its ticket would last.
pub async fn ended_is_seen_and_expires(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let mut views = store.subscribe();
    let reasons = [
        EndReason::LoggedOut,
        EndReason::Kicked,
        EndReason::Standing(DenyReason::AccountSuspended),
        EndReason::StoreReset,
    ];
    store.end(SessionId([9; 16]), EndReason::Kicked, PAST).await.expect("end");
    for (number, reason) in (0..).zip(reasons) {
        store.end(SessionId([number; 16]), reason, LATER).await.expect("end");
        store.end(SessionId([number; 16]), EndReason::Idle, LATER).await.expect("end");
    }
    let view = until(&mut views, |view| view.ended.len() >= reasons.len()).await;
    assert_eq!(view.ended.len(), reasons.len(), "a ticket that ended by itself is not listed");
    for (number, reason) in (0..).zip(reasons) {
        assert_eq!(view.ended.get(&SessionId([number; 16])), Some(&reason));
    }
}

/// Of many who claim the same fact at the same time, one gets it.
pub async fn claim_has_one_winner(backend: &impl Backend) {
    const CALLERS: usize = 32;
    let store = backend.open(1).await.expect("open");
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(CALLERS));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (store, start) = (store.clone(), start.clone());
        callers.spawn(async move {
            start.wait().await;
            store.claim_once("totp/sbj/wang.fang/1234", LATER).await.expect("claim")
        });
    }
    let winners = callers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
    assert!(store.claim_once("totp/sbj/wang.fang/1235", LATER).await.expect("claim"), "another fact");
    for _ in 0..2 {
        assert!(store.claim_once("short", PAST).await.expect("claim"), "an expired claim holds nobody off");
    }
}

/// Intents come oldest first, stay until settled, and are kept once.
pub async fn intents_in_order(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.take().await.expect("take") }
    });
    for number in [2, 2, 1, 3] {
        store.offer(intent(number)).await.expect("offer");
    }
    // Whoever waited got whatever was the oldest at that moment.
    let got = tokio::time::timeout(super::DEADLINE, waiting).await.expect("in time").expect("the waiter");
    assert!([intent(1), intent(2)].contains(&got), "{got:?}");
    for number in 1..=3 {
        assert_eq!(store.take().await.expect("take"), intent(number));
        assert_eq!(store.take().await.expect("take"), intent(number), "the same until it is settled");
        assert_eq!(store.outcome(IntentId(number)).await.expect("outcome"), None);
        let outcome = match number {
            2 => Outcome::Refused(Code::CredentialChanged),
            _ => Outcome::Done { version: 4 },
        };
        store.settle(IntentId(number), outcome).await.expect("settle");
        store.settle(IntentId(number), Outcome::Done { version: 99 }).await.expect("settle again");
        assert_eq!(store.outcome(IntentId(number)).await.expect("outcome"), Some(outcome));
        store.offer(intent(number)).await.expect("offer");
    }
    store.settle(IntentId(77), Outcome::Done { version: 1 }).await.expect("settle the unknown");
    assert_eq!(store.outcome(IntentId(77)).await.expect("outcome"), None);
    store.offer(intent(4)).await.expect("offer");
    assert_eq!(store.take().await.expect("take"), intent(4), "settled ones do not come back");
}

/// Failures add up under their key until they are forgotten.
pub async fn failures_are_counted(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let now = soon();
    assert_eq!(store.failures("account/sbj/a").await.expect("failures").0, 0);
    for count in 1..=6 {
        assert_eq!(store.count_failure("account/sbj/a", Some(now)).await.expect("count"), count);
    }
    assert_eq!(store.count_failure("source/192.0.2.0/24", Some(now)).await.expect("count"), 1);
    assert_eq!(store.failures("account/sbj/a").await.expect("failures"), (6, now));
    assert_eq!(store.count_failure("account/sbj/a", None).await.expect("forget"), 0);
    assert_eq!(store.failures("account/sbj/a").await.expect("failures").0, 0);
    assert_eq!(store.failures("source/192.0.2.0/24").await.expect("failures"), (1, now));
}

/// The latest report of each gateway is there.
pub async fn reports_are_kept(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let report = |gateway: &str, sequence| Report {
        ack: Ack {
            gateway: GatewayId(gateway.into()),
            generation: Generation { term: 1, sequence },
            broken: [("tax".parse().expect("a code"), "class A check".into())].into(),
            evaluators: vec![[4; 32]],
            kids: vec![1],
            at: Timestamp(1_790_000_000),
        },
        sessions: vec![SessionReport {
            session: SessionId([1; 16]),
            account: account("sbj/wang.fang"),
            kind: Kind::Portal,
            source: "192.0.2.7".parse().expect("an address"),
            since: Timestamp(1_790_000_000),
            seen: Timestamp(1_790_000_060),
            tunnel: None,
        }],
    };
    for (gateway, sequence) in [("g1", 1), ("g2", 1), ("g1", 2)] {
        store.report(report(gateway, sequence)).await.expect("report");
    }
    let mut reports = store.reports().await.expect("reports");
    reports.sort_by(|a, b| a.ack.gateway.cmp(&b.ack.gateway));
    let acks: Vec<_> = reports.iter().map(|report| report.ack.clone()).collect();
    assert_eq!(acks, [report("g1", 2).ack, report("g2", 1).ack]);
    assert!(reports.iter().all(|r| r.sessions == report("g1", 1).sessions));
}

/// A caller's key cannot be arbitrarily long.
pub async fn keys_are_bounded(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let long = "k".repeat(10_000);
    assert!(matches!(store.claim_once(&long, LATER).await, Err(StoreError::Full { .. })));
    assert!(matches!(store.count_failure(&long, Some(PAST)).await, Err(StoreError::Full { .. })));
    assert!(matches!(store.failures(&long).await, Err(StoreError::Full { .. })));
}
