//! Members die, freeze, forget: nothing published is lost, and freshness says how old the view is.

use tidegate_core::Timestamp;
use tidegate_store::{EtcdConfig, EtcdRole, GatewayId, Store as _, StoreError};

use super::{config, controller, eventually, gateway, people, publication, publish, until};

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.expect("after 1970").as_secs().try_into().expect("small"))
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_another_member_freezes() {
    let mut members = super::start_or_skip!(3);
    let pen = controller(&members, 1).await.expect("the controller");
    let readers =
        [gateway(&members, "g1").await, gateway(&members, "g2").await, gateway(&members, "g3").await];
    let readers = readers.map(|reader| reader.expect("a gateway"));
    publish(&pen, publication(&NAMES[..1])).await;

    let leader = members.leader();
    members.kill(leader);
    let generation = publish(&pen, publication(&NAMES[..2])).await;
    for reader in &readers {
        let seen = until(reader, "after the kill", |view| people(view) == 2).await;
        assert_eq!(seen.snapshot.expect("a snapshot").generation, generation);
    }
    assert!(members.start_all(), "the member comes back");

    let leader = members.leader();
    members.signal(leader, "-STOP");
    publish(&pen, publication(&NAMES[..3])).await;
    for reader in &readers {
        let seen = until(reader, "while frozen", |view| people(view) == 3).await;
        until(reader, "fresh again", |view| view.fresh_at > seen.fresh_at).await;
    }
    members.signal(leader, "-CONT");
    publish(&pen, publication(&NAMES[..4])).await;
    for reader in &readers {
        until(reader, "after the thaw", |view| people(view) == 4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_compacted_while_away_is_read_anew() {
    let mut members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    publish(&pen, publication(&NAMES[..1])).await;
    let reader = gateway(&members, "g1").await.expect("a gateway");
    let before = until(&reader, "the first", |view| people(view) == 1).await;

    members.kill_all();
    let cut = now();
    let a_while = Timestamp(cut.0 + 3);
    eventually("time goes by", async || (now() >= a_while).then_some(())).await;
    let view = reader.subscribe().borrow().clone();
    assert!(view.fresh_at <= cut && view.fresh_at >= before.fresh_at, "nothing proves anything now");
    assert_eq!(people(&view), 1, "what is in force stays");
    assert!(matches!(pen.publish(publication(&NAMES[..2])).await, Err(StoreError::Unavailable(_))));
    assert!(members.start_all());
    // A member that forgets its history before the watches are back.
    let revision = pen.identity().await.expect("it answers").revision;
    publish(&pen, publication(&NAMES[..2])).await;
    members.etcdctl(&["compact", &(revision + 1).to_string()]).expect("compacted");
    until(&reader, "after compaction", |view| people(view) == 2 && view.fresh_at > cut).await;
    publish(&pen, publication(&NAMES[..3])).await;
    until(&reader, "it goes on", |view| people(view) == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_store_takes_nothing_away_and_is_filled_again() {
    let mut members = super::start_or_skip!(1);
    let pen = controller(&members, 3).await.expect("the controller");
    let published = publish(&pen, publication(&NAMES[..5])).await;
    let reader = gateway(&members, "g1").await.expect("a gateway");
    until(&reader, "the first", |view| people(view) == 5).await;

    members.kill_all();
    members.wipe();
    assert!(members.start_all());
    let mut resets = pen.resets();
    let noticed = tokio::time::timeout(super::DEADLINE, resets.wait_for(|count| *count > 0)).await;
    noticed.expect("in time").expect("the controller is told");
    let newer = |view: &tidegate_store::View| {
        assert_eq!(people(view), 5, "never less than what was in force");
        view.snapshot.as_ref().is_some_and(|snapshot| snapshot.generation > published)
    };
    until(&reader, "published again", newer).await;
    let fresh = gateway(&members, "g2").await.expect("a new gateway");
    until(&fresh, "everything", |view| people(view) == 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_takes_nothing_back() {
    let mut members = super::start_or_skip!(1);
    let pen = controller(&members, 3).await.expect("the controller");
    publish(&pen, publication(&NAMES[..2])).await;
    members.kill_all();
    members.copy("m0", "backup");
    assert!(members.start_all());
    let published = publish(&pen, publication(&NAMES[..6])).await;
    let reader = gateway(&members, "g1").await.expect("a gateway");
    until(&reader, "the newest", |view| people(view) == 6).await;

    members.kill_all();
    members.copy("backup", "m0");
    assert!(members.start_all());
    let newer = |view: &tidegate_store::View| {
        assert_eq!(people(view), 6, "the backup's state is never in force");
        view.snapshot.as_ref().is_some_and(|snapshot| snapshot.generation > published)
    };
    until(&reader, "published again", newer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_from_its_disk_when_etcd_is_away() {
    let mut members = super::start_or_skip!(1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("snapshot");
    let role = || EtcdRole::Gateway { id: GatewayId("g1".into()) };
    let with_disk = |members: &super::Members| EtcdConfig {
        snapshot_file: Some(file.clone()),
        ..config(members, role())
    };
    let pen = controller(&members, 1).await.expect("the controller");
    publish(&pen, publication(&NAMES[..3])).await;
    let reader = tidegate_store::Etcd::connect(with_disk(&members)).await.expect("a gateway");
    pen.end(
        tidegate_core::SessionId([4; 16]),
        tidegate_core::session::EndReason::Kicked,
        Timestamp(i64::MAX / 2),
    )
    .await
    .expect("ended");
    let seen = until(&reader, "an end", |view| people(view) == 3 && view.ended.len() == 1).await;
    assert!(!reader.is_from_disk(), "etcd answered");
    reader.close().await;
    let sealed = std::fs::read(&file).expect("the snapshot");
    assert!(!sealed.windows(8).any(|window| window == b"argon2id"), "the snapshot is sealed");

    members.kill_all();
    let refused = gateway(&members, "g2").await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "never from nothing: {refused:?}");
    let reader = tidegate_store::Etcd::connect(with_disk(&members)).await.expect("from disk");
    assert!(reader.is_from_disk());
    let view = reader.subscribe().borrow().clone();
    assert_eq!((people(&view), view.ended.len()), (3, 1));
    assert!(view.fresh_at >= seen.fresh_at && view.fresh_at > Timestamp(0), "the time of the last proof");

    assert!(members.start_all());
    publish(&pen, publication(&NAMES[..4])).await;
    until(&reader, "the newest", |now| people(now) == 4 && now.fresh_at > view.fresh_at).await;
    reader.close().await;

    // One that is killed before it wrote what it had in force does not start from less.
    let reader = tidegate_store::Etcd::connect(with_disk(&members)).await.expect("a gateway");
    publish(&pen, publication(&NAMES[..5])).await;
    until(&reader, "the newest", |now| people(now) == 5).await;
    drop(reader);
    members.kill_all();
    let refused = tidegate_store::Etcd::connect(with_disk(&members)).await.map(drop);
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "it is older than what was in force: {refused:?}"
    );

    assert!(members.start_all());
    let reader = tidegate_store::Etcd::connect(with_disk(&members)).await.expect("a gateway");
    until(&reader, "the newest", |now| people(now) == 5).await;
    reader.close().await;
    std::fs::write(&file, b"garbage").expect("written");
    members.kill_all();
    let refused = tidegate_store::Etcd::connect(with_disk(&members)).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "a broken snapshot is none: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_and_what_is_in_force_stays() {
    const QUOTA: u64 = 1024 * 1024;
    let mut members = super::start_or_skip!(1);
    members.limit(Some(QUOTA));
    let pen = controller(&members, 1).await.expect("the controller");
    let reader = gateway(&members, "g1").await.expect("a gateway");
    publish(&pen, publication(&NAMES[..2])).await;
    let before = until(&reader, "the first", |view| people(view) == 2).await;

    let many: Vec<String> = (0..10_000).map(|n| format!("p{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = pen.publish(publication(&many)).await;
    assert!(matches!(refused, Err(StoreError::Medium(_))), "{refused:?}");
    let later = Timestamp(i64::MAX / 2);
    let refused = reader.claim_once("x", later).await;
    assert!(matches!(refused, Err(StoreError::Medium(_))), "nobody is told it is theirs: {refused:?}");
    let still = until(&reader, "a proof", |view| view.fresh_at > before.fresh_at).await;
    assert_eq!(people(&still), 2, "all of a publication or nothing");

    // A member with an alarm does not call itself well.
    members.etcdctl(&["alarm", "disarm"]).expect("disarmed");
    members.limit(None);
    publish(&pen, publication(&many)).await;
    until(&reader, "all of them", |view| people(view) == many.len()).await;
    assert!(reader.claim_once("x", later).await.expect("an answer"));
}
