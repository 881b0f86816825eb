//! Live facts that only a store shared by many can be wrong about.

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{AccountId, Code, SessionId, Timestamp};
use tidegate_store::{
    Etcd, EtcdConfig, EtcdRole, GatewayId, Intent, IntentAction, IntentId, Outcome, Store as _,
};

use super::{config, controller, gateway, until};

/// Longer than any test.
const LATER: Timestamp = Timestamp(i64::MAX / 2);

fn account() -> AccountId {
    "sbj/wangfang".parse().expect("an account id")
}

fn intent(number: u128) -> Intent {
    Intent {
        id: IntentId(number),
        account: account(),
        uid: "uid-1".parse().expect("a uid"),
        replaces: 3,
        action: IntentAction::ChangePassword { password: "$argon2id$new".into() },
        at: Timestamp(1_790_000_000),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_sealed_with_a_key_that_is_gone_is_refused_and_holds_nobody_up() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let role = EtcdRole::Gateway { id: GatewayId("g1".into()) };
    let ring = vec![(1, [7; 32]), (9, [9; 32])];
    let ahead = Etcd::connect(EtcdConfig { ring, ..config(&members, role) }).await.expect("a gateway");
    ahead.offer(intent(1)).await.expect("offer");
    let other = gateway(&members, "g2").await.expect("a gateway");
    other.offer(intent(2)).await.expect("offer");

    assert_eq!(pen.take().await.expect("the one that can be read"), intent(2));
    let outcome = pen.outcome(IntentId(1)).await.expect("an answer");
    assert_eq!(outcome, Some(Outcome::Refused(Code::IntentRefused)), "whoever waits is told");
    assert_eq!(other.outcome(IntentId(2)).await.expect("an answer"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_told_late_replaces_older_ones_only() {
    let members = super::start_or_skip!(1);
    controller(&members, 1).await.expect("the controller");
    let store = gateway(&members, "g1").await.expect("a gateway");
    let [before, late, newer, last] = [1, 2, 3, 4].map(|n| SessionId([n; 16]));
    let until_of = |login: i64| Timestamp(LATER.0 + login);
    store.login(&account(), Kind::Portal, before, until_of(0)).await.expect("a login");
    // Made at another gateway while etcd was away, and told before anybody else has logged in.
    store.login_late(&account(), Kind::Portal, late, until_of(10)).await.expect("told");
    store.login_late(&account(), Kind::Portal, late, until_of(10)).await.expect("told twice");
    let view = until(&store, "the one before is over", |view| view.ended.contains_key(&before)).await;
    assert!(!view.ended.contains_key(&late));

    store.login(&account(), Kind::Portal, newer, until_of(30)).await.expect("a login");
    store.login_late(&account(), Kind::Portal, last, until_of(20)).await.expect("told");
    let view = until(&store, "the late one is over", |view| view.ended.contains_key(&last)).await;
    assert_eq!(view.ended.get(&last), Some(&EndReason::Replaced));
    assert!(!view.ended.contains_key(&newer), "the newest login goes on");
}
