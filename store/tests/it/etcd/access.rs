//! Rights end at the pool: what etcd refuses to a gateway's certificate.

use tidegate_store::etcd::ensure_access;
use tidegate_store::{Etcd, EtcdConfig, EtcdRole, GatewayId, Store as _, StoreError};

use super::{config, controller, gateway, people, publication, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_reads_its_pool_and_writes_no_configuration() {
    let members = super::start_or_skip!(1);
    let tls = members.tls("controller");
    let pools = ["main".to_owned(), "other".to_owned()];
    for _ in 0..2 {
        ensure_access(&members.endpoints(), Some(&tls), &pools).await.expect("access, also twice");
    }
    let pen = controller(&members, 1).await.expect("the controller");
    pen.publish(publication(&["a", "b"])).await.expect("publish");

    let own = gateway(&members, "g1").await.expect("its own pool");
    until(&own, "the publication", |view| people(view) == 2).await;
    let later = tidegate_core::Timestamp(i64::MAX / 2);
    assert!(own.claim_once("x", later).await.expect("it writes what gateways say"));
    own.end(tidegate_core::SessionId([1; 16]), tidegate_core::session::EndReason::Kicked, later)
        .await
        .expect("an ended session");
    until(&pen, "the controller sees it", |view| view.ended.len() == 1).await;
    let refused = own.publish(publication(&["c"])).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");

    let stranger = EtcdRole::Gateway { id: GatewayId("g2".into()) };
    let other = EtcdConfig { pool: "other".into(), ..config(&members, stranger) };
    let refused = Etcd::connect(other).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("denied")), "{refused:?}");
    let posing = EtcdRole::Controller { term: 9 };
    let posing = EtcdConfig { tls: Some(members.tls("gw:main")), ..config(&members, posing) };
    let refused = Etcd::connect(posing).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("denied")), "{refused:?}");

    // The grants themselves, asked of etcd.
    let role = members.etcdctl(&["role", "get", "gw:main"]).expect("the role");
    assert!(role.contains("/tidegate/v1/pools/main/") && !role.contains("other"), "{role}");
    ensure_access(&members.endpoints(), Some(&tls), &pools[1..]).await.expect("a pool less");
    let users = members.etcdctl(&["user", "list"]).expect("users");
    assert!(!users.contains("gw:main") && users.contains("gw:other"), "{users}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_readable_lies_in_etcd() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    pen.publish(publication(&["wang.fang"])).await.expect("publish");
    let all = members.etcdctl(&["get", "--prefix", "/tidegate/v1/pools/main/", "--print-value-only"]);
    let all = all.expect("everything");
    for word in ["wang.fang", "argon2id", "pension.example", "12333"] {
        assert!(!all.contains(word), "{word} can be read");
    }
    let mut wrong = config(&members, EtcdRole::Gateway { id: GatewayId("g1".into()) });
    wrong.ring = vec![(1, [8; 32])];
    let store = Etcd::connect(wrong).await.expect("it connects");
    assert!(store.subscribe().borrow().snapshot.is_none(), "another pool's key opens nothing");
}
