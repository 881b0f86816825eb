//! What only this backend has: a medium that fills up, a clock, a file somebody else wrote into.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Builder, Durability, StorageBackend};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{SessionId, Timestamp};

use super::disk::{Disk, MANIFESTS, failed};
use super::live::{FAILURE_S, INTENTS_MAX, OUTCOME_S};
use super::worker::Worker;
use super::{Clock, Embedded};
use crate::conformance::sample;
use crate::{Change, Intent, IntentAction, IntentId, Outcome, Publication, Store as _, StoreError};

/// A file in memory that outlives its database, with a switch that says "no space left on device".
#[derive(Clone, Debug, Default)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Memory {
    fn disk(&self) -> Disk {
        let memory = self.clone();
        Disk::opened_by(Box::new(move || Builder::new().create_with_backend(memory.clone()).map_err(failed)))
    }

    fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("small");
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        out.copy_from_slice(&bytes[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        let len = usize::try_from(len).expect("small");
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let offset = usize::try_from(offset).expect("small");
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A clock that stands where it is put.
fn clock(at: i64) -> (Arc<AtomicI64>, Clock) {
    let time = Arc::new(AtomicI64::new(at));
    let read = Arc::clone(&time);
    (time, Arc::new(move || Timestamp(read.load(Ordering::SeqCst))))
}

fn publication(people: &[&str]) -> Publication {
    Publication {
        platform: Some(Arc::new(sample::platform())),
        departments: vec![Change::Put(Arc::new(sample::department("sbj", people)))],
    }
}

fn intent(number: u128) -> Intent {
    Intent {
        id: IntentId(number),
        account: "sbj/wang.fang".parse().expect("an id"),
        uid: "uid-1".parse().expect("a uid"),
        replaces: 1,
        action: IntentAction::ChangePassword { password: "$argon2id$".into() },
        at: Timestamp(0),
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_got_over() {
    let memory = Memory::default();
    let store = Embedded::open_with(memory.disk(), 1, clock(100).1).expect("open");
    store.publish(publication(&["a"])).await.expect("publish");
    let before = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    memory.fill(true);
    let many: Vec<String> = (0..2_000).map(|n| format!("p{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = store.publish(publication(&many)).await;
    assert!(matches!(refused, Err(StoreError::Medium(_))), "{refused:?}");
    let refused = store.claim_once("code", Timestamp(200)).await;
    assert!(matches!(refused, Err(StoreError::Medium(_))), "{refused:?}");
    let after = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    assert!(Arc::ptr_eq(&before, &after));
    memory.fill(false);
    assert!(store.claim_once("code", Timestamp(200)).await.expect("space again"));
    let next = store.publish(publication(&many)).await.expect("space again");
    assert_eq!(next.sequence, 2);
    let snapshot = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    assert_eq!(snapshot.department("sbj").expect("sbj").accounts.len(), 2_000);
}

#[tokio::test]
async fn a_manifest_for_a_newer_reader_leaves_its_department_out_and_says_so() {
    let memory = Memory::default();
    let store = Embedded::open_with(memory.disk(), 1, clock(100).1).expect("open");
    let tax = Change::Put(Arc::new(sample::department("tax", &["a"])));
    let mut both = publication(&["a"]);
    both.departments.push(tax);
    store.publish(both.clone()).await.expect("publish");
    store.close().await;

    // {0: 2}: a manifest of which this reader may know nothing but that it is not for it.
    memory
        .disk()
        .write(Durability::Immediate, |transaction| {
            let mut manifests = transaction.open_table(MANIFESTS).map_err(failed)?;
            manifests.insert("departments/sbj", [0xa1, 0x00, 0x02].as_slice()).map_err(failed)?;
            Ok(())
        })
        .expect("written");
    let store = Embedded::open_with(memory.disk(), 2, clock(100).1).expect("open");
    let view = store.subscribe().borrow().clone();
    let snapshot = view.snapshot.expect("a snapshot");
    assert!(snapshot.department("sbj").is_none() && snapshot.department("tax").is_some());
    let said: Vec<_> = view.unreadable.iter().map(|(code, why)| (code.as_str(), why.as_str())).collect();
    let why = "stored bytes cannot be read: the manifest needs reader 2, this one is 1";
    assert_eq!(said, [("sbj", why)]);

    store.publish(both).await.expect("publish");
    let view = store.subscribe().borrow().clone();
    assert!(view.unreadable.is_empty());
    assert!(view.snapshot.expect("a snapshot").department("sbj").is_some());
}

#[test]
fn what_expires_is_forgotten() {
    let memory = Memory::default();
    let (time, clock) = clock(1_000);
    let (mut worker, views, _) = Worker::open(memory.disk(), 1, clock).expect("open");
    let account = "sbj/a".parse().expect("an id");
    let later = Timestamp(2_000);
    worker.end(SessionId([1; 16]), EndReason::Kicked, later).expect("end");
    worker.login(&account, Kind::Portal, SessionId([2; 16]), later).expect("login");
    assert!(worker.claim_once("code", later).expect("claim"));
    worker.offer(&intent(1)).expect("offer");
    worker.settle(IntentId(1), Outcome::Done { version: 2 }).expect("settle");
    worker.count_failure("k", Some(Timestamp(1_000))).expect("count");

    time.store(1_000 + OUTCOME_S - 1, Ordering::SeqCst);
    worker.prove();
    assert!(worker.outcome(IntentId(1)).expect("outcome").is_some());
    assert_eq!(views.borrow().ended.len(), 1);
    assert_eq!(views.borrow().fresh_at, Timestamp(1_000 + OUTCOME_S - 1));

    time.store(2_000, Ordering::SeqCst);
    worker.prove();
    assert!(worker.outcome(IntentId(1)).expect("outcome").is_none());
    assert!(views.borrow().ended.is_empty());
    assert!(worker.claim_once("code", Timestamp(3_000)).expect("claim"));
    assert_eq!(
        worker.login(&account, Kind::Portal, SessionId([3; 16]), Timestamp(9_000)).expect("login"),
        None
    );
    assert_eq!(worker.failures("k").expect("failures").0, 1);
    time.store(1_000 + FAILURE_S, Ordering::SeqCst);
    assert_eq!(worker.failures("k").expect("failures").0, 0);
}

#[test]
fn tables_are_bounded() {
    let memory = Memory::default();
    let (mut worker, _views, _) = Worker::open(memory.disk(), 1, clock(0).1).expect("open");
    worker
        .disk
        .write(Durability::Immediate, |transaction| {
            let mut intents = transaction.open_table(super::disk::INTENTS).map_err(failed)?;
            for number in 0..INTENTS_MAX as u128 {
                intents
                    .insert(number, crate::wire::v1::encode_intent(&intent(number)).as_slice())
                    .map_err(failed)?;
            }
            Ok(())
        })
        .expect("filled");
    worker.offer(&intent(3)).expect("a known intent needs no room");
    let refused = worker.offer(&intent(INTENTS_MAX as u128));
    assert!(matches!(refused, Err(StoreError::Full { most: INTENTS_MAX, .. })), "{refused:?}");
    worker.settle(IntentId(0), Outcome::Done { version: 1 }).expect("settle");
    worker.offer(&intent(INTENTS_MAX as u128)).expect("room again");
}

#[test]
fn parts_nobody_names_are_removed() {
    use redb::ReadableTableMetadata as _;
    let memory = Memory::default();
    let (mut worker, _views, _) = Worker::open(memory.disk(), 1, clock(0).1).expect("open");
    let blobs = |worker: &mut Worker| {
        worker
            .disk
            .read(|t| t.open_table(super::disk::BLOBS).map_err(failed)?.len().map_err(failed))
            .expect("readable")
    };
    worker.publish(&publication(&["a"])).expect("publish");
    let few = blobs(&mut worker);
    for people in [&["b"][..], &["c", "d"], &["a"]] {
        worker.publish(&publication(people)).expect("publish");
    }
    assert_eq!(blobs(&mut worker), few);
    let gone =
        Publication { platform: None, departments: vec![Change::Remove("sbj".parse().expect("a code"))] };
    worker.publish(&gone).expect("publish");
    assert_eq!(blobs(&mut worker), 3, "the platform's settings, guardrail and rule names");
}

#[tokio::test]
async fn one_file_has_one_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.redb");
    let store = Embedded::open(&file, 1).expect("open");
    let second = Embedded::open(&file, 2).map(drop);
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "{second:?}");
    let peek = Embedded::peek(&file);
    assert!(matches!(peek, Err(StoreError::Unavailable(_))), "{peek:?}");
    store.publish(publication(&["a"])).await.expect("publish");
    store.close().await;
    let same = Embedded::open(&file, 1).map(drop);
    assert!(matches!(same, Err(StoreError::Fenced(1))), "{same:?}");
    let snapshot = Embedded::peek(&file).expect("nobody has it open").expect("a snapshot");
    assert!(snapshot.department("sbj").is_some());
    assert!(matches!(store.publish(Publication::default()).await, Err(StoreError::Unavailable(_))));
    for foreign in [b"not a store".to_vec(), vec![b'x'; 64 * 1024]] {
        std::fs::write(&file, foreign).expect("written");
        let broken = Embedded::open(&file, 2).map(drop);
        assert!(matches!(broken, Err(StoreError::Unreadable(_))), "{broken:?}");
    }
    let nowhere = Embedded::open(&folder.path().join("no/such/folder/store.redb"), 1).map(drop);
    assert!(matches!(nowhere, Err(StoreError::Medium(_))), "{nowhere:?}");
}
