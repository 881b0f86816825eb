//! What a publication costs, and what keys that change do to it.

use std::sync::Arc;

use tidegate_core::Account;
use tidegate_store::conformance::sample;
use tidegate_store::{Change, Etcd, EtcdConfig, EtcdRole, GatewayId, Publication, Store as _};

use super::members::Members;
use super::{config, controller, gateway, people, publication, until};

/// Bytes and keys below the configuration that were written after a revision.
fn written(members: &Members, after: i64) -> Vec<String> {
    let all = members
        .etcdctl(&["get", "--prefix", "/tidegate/v1/pools/main/", "--write-out=json"])
        .expect("everything");
    let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let newer = |kv: &&serde_json::Value| kv["mod_revision"].as_i64() > Some(after);
    let kvs = all["kvs"].as_array().expect("keys");
    kvs.iter().filter(newer).map(|kv| kv["value"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_of_many_costs_one_shard_and_one_manifest() {
    const PEOPLE: usize = 20_000;
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let names: Vec<String> = (0..PEOPLE).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sbj = sample::department("sbj", &names);
    let put = |department| Publication {
        platform: Some(Arc::new(sample::platform())),
        departments: vec![Change::Put(Arc::new(department))],
    };
    pen.publish(put(sbj.clone())).await.expect("publish");
    let reader = gateway(&members, "g1").await.expect("a gateway");
    until(&reader, "everybody", |view| people(view) == PEOPLE).await;
    reader.close().await;
    let before = pen.identity().await.expect("a revision").revision;

    let changed = Account { state: tidegate_core::AccountState::Suspended, ..sample::account("sbj", "p7") };
    sbj.accounts.insert(changed.name.clone(), Arc::new(changed));
    pen.publish(put(sbj)).await.expect("publish");
    // One shard, one manifest, one head; values are Base64 here.
    let written = written(&members, before);
    assert_eq!(written.len(), 3);
    assert!(written.iter().all(|value| value.len() * 3 / 4 <= 100 * 1024), "more than 100 KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_seals_everything_anew() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let first = pen.publish(publication(&["a", "b"])).await.expect("publish");
    pen.close().await;
    let ring = vec![(1, [7; 32]), (2, [9; 32])];
    let rotated = EtcdConfig { ring, ..config(&members, EtcdRole::Controller { term: 2 }) };
    let pen = Etcd::connect(rotated).await.expect("the controller");
    assert!(pen.publish(publication(&["a", "b"])).await.expect("publish") > first);
    let reader = EtcdRole::Gateway { id: GatewayId("g1".into()) };
    let reader = EtcdConfig { ring: vec![(2, [9; 32])], ..config(&members, reader) };
    let reader = Etcd::connect(reader).await.expect("a gateway without the old key");
    until(&reader, "everything", |view| people(view) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_key_sealed_is_sealed_anew_although_nothing_changed() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    pen.publish(publication(&["a", "b"])).await.expect("publish");
    pen.close().await;
    let ring = vec![(1, [7; 32]), (2, [9; 32])];
    let rotated = EtcdConfig { ring, ..config(&members, EtcdRole::Controller { term: 2 }) };
    let _pen = Etcd::connect(rotated).await.expect("the controller");
    let reader = EtcdRole::Gateway { id: GatewayId("g1".into()) };
    let reader = EtcdConfig { ring: vec![(2, [9; 32])], ..config(&members, reader) };
    let reader = Etcd::connect(reader).await.expect("a gateway without the old key");
    until(&reader, "everything", |view| people(view) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_key_opens_is_not_taken_away() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    pen.publish(publication(&["a", "b"])).await.expect("publish");
    pen.close().await;
    // The ring was lost and made anew; what is published comes back with the objects, one department after the other.
    let lost = EtcdConfig { ring: vec![(2, [9; 32])], ..config(&members, EtcdRole::Controller { term: 2 }) };
    let pen = Etcd::connect(lost).await.expect("the controller");
    let platform = Some(Arc::new(sample::platform()));
    let departments = vec![Change::Put(Arc::new(sample::department("tax", &["c"])))];
    pen.publish(Publication { platform, departments }).await.expect("publish");
    let manifests = ["get", "--prefix", "--keys-only", "/tidegate/v1/pools/main/departments/"];
    let manifests = members.etcdctl(&manifests).expect("manifests");
    assert!(manifests.contains("departments/sbj/") && manifests.contains("departments/tax/"), "{manifests}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_and_head_come_at_once() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    // Of some number of departments the parts leave room in their last transaction for some manifests only.
    for count in 20..40 {
        let department = |number: u32| {
            let code = format!("d{count}x{number}");
            Change::Put(Arc::new(sample::department(&code, &[&code])))
        };
        let (platform, departments) = (sample::platform(), (0..count).map(department).collect());
        let before = pen.identity().await.expect("a revision").revision;
        pen.publish(Publication { platform: Some(Arc::new(platform)), departments }).await.expect("publish");
        let all = ["get", "--prefix", "/tidegate/v1/pools/main/departments/", "--write-out=json"];
        let all: serde_json::Value =
            serde_json::from_str(&members.etcdctl(&all).expect("all")).expect("JSON");
        let written =
            all["kvs"].as_array().expect("keys").iter().filter_map(|kv| kv["mod_revision"].as_i64());
        let revisions: std::collections::BTreeSet<i64> = written.filter(|at| *at > before).collect();
        assert_eq!(revisions.len(), 1, "{count} departments");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controllers_time_is_compared_with_the_own() {
    let members = super::start_or_skip!(1);
    let _pen = controller(&members, 1).await.expect("the controller");
    let reader = gateway(&members, "g1").await.expect("a gateway");
    let view = until(&reader, "the time", |view| view.skew_s.is_some()).await;
    assert!(view.skew_s.is_some_and(|skew| skew.abs() <= 5), "one machine has one clock: {:?}", view.skew_s);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_is_replaced_while_open() {
    let mut members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let reader = gateway(&members, "g1").await.expect("a gateway");
    pen.publish(publication(&["a"])).await.expect("publish");
    until(&reader, "the first", |view| people(view) == 1).await;
    // The wrong order: the controller seals with a key this gateway does not have yet.
    pen.set_ring(&[(1, [7; 32]), (2, [9; 32])]).expect("a ring");
    pen.publish(publication(&["a", "b"])).await.expect("publish");
    assert_eq!(people(&reader.subscribe().borrow()), 1, "the previous stays");
    reader.set_ring(&[(1, [7; 32]), (2, [9; 32])]).expect("a ring");
    until(&reader, "the second", |view| people(view) == 2).await;
    assert!(reader.set_ring(&[]).is_err());

    // The same with a key that comes while etcd is away.
    pen.set_ring(&[(2, [9; 32]), (3, [11; 32])]).expect("a ring");
    pen.publish(publication(&["a", "b", "c"])).await.expect("publish");
    members.kill_all();
    reader.identity().await.expect_err("nobody answers");
    reader.set_ring(&[(2, [9; 32]), (3, [11; 32])]).expect("a ring");
    assert!(members.start_all());
    let seen = until(&reader, "the third", |view| people(view) == 3).await;
    until(&reader, "a proof", |view| view.fresh_at > seen.fresh_at).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_departments_than_a_transaction_takes_come_at_once() {
    const DEPARTMENTS: usize = 300;
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let reader = gateway(&members, "g1").await.expect("a gateway");
    let many = (0..DEPARTMENTS).map(|n| sample::department(&format!("d{n}"), &["a"]));
    let departments = many.map(|department| Change::Put(Arc::new(department))).collect();
    let platform = Some(Arc::new(sample::platform()));
    pen.publish(Publication { platform, departments }).await.expect("publish");
    let view = until(&reader, "all of them", |view| {
        let seen = view.snapshot.as_ref().map_or(0, |snapshot| snapshot.departments.len());
        assert!(seen == 0 || seen == DEPARTMENTS, "{seen} of them");
        seen == DEPARTMENTS
    })
    .await;
    assert!(view.unreadable.is_empty());
}
