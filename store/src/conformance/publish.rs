//! Cases about publications.

use std::sync::Arc;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Department, Generation, SessionId, Timestamp};

use super::{Backend, sample, until};
use crate::{Change, Publication, Store as _, StoreError};

fn put(departments: impl IntoIterator<Item = Department>) -> Publication {
    Publication {
        platform: Some(Arc::new(sample::platform())),
        departments: departments.into_iter().map(|d| Change::Put(Arc::new(d))).collect(),
    }
}

/// The department as a reader must see it.
fn published(mut department: Department, generation: Generation) -> Department {
    department.generation = generation;
    department
}

/// Nothing is known before the first publication.
pub async fn starts_empty(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let view = store.subscribe().borrow().clone();
    assert!(view.snapshot.is_none() && view.ended.is_empty() && view.unreadable.is_empty());
}

/// Who subscribed before sees a publication arrive; who subscribes after finds it; the value is equal.
pub async fn seen_before_and_after(backend: &impl Backend) {
    let store = backend.open(3).await.expect("open");
    let mut before = store.subscribe();
    let sbj = sample::department("sbj", &["wang.fang", "li.qiang"]);
    let without_platform = Publication { platform: None, ..put([sbj.clone()]) };
    let first = store.publish(without_platform).await.expect("publish");
    assert_eq!(first, Generation { term: 3, sequence: 1 });
    assert!(store.subscribe().borrow().snapshot.is_none(), "no snapshot without the platform part");
    let second = store.publish(put([])).await.expect("publish");
    assert_eq!(second, Generation { term: 3, sequence: 2 });
    let seen = until(&mut before, |view| view.snapshot.is_some()).await;
    let found = store.subscribe().borrow().clone();
    for view in [seen, found] {
        let snapshot = view.snapshot.expect("a snapshot");
        assert_eq!(snapshot.generation, second);
        assert_eq!(*snapshot.platform, sample::platform());
        assert_eq!(snapshot.departments.len(), 1);
        assert_eq!(**snapshot.department("sbj").expect("sbj"), published(sbj.clone(), first));
    }
}

/// Departments published together are never seen apart.
pub async fn publications_are_atomic(backend: &impl Backend) {
    const ROUNDS: u64 = 50;
    let store = backend.open(1).await.expect("open");
    let mut views = store.subscribe();
    let reader = tokio::spawn(async move {
        loop {
            let view = until(&mut views, |view| view.snapshot.is_some()).await;
            let snapshot = view.snapshot.expect("a snapshot");
            let title = |code: &str| snapshot.department(code).expect("both").title.clone();
            assert_eq!(title("sbj"), title("tax"), "half a publication was seen");
            if title("sbj") == sample::both("", &ROUNDS.to_string()) {
                return;
            }
            views.changed().await.expect("the store");
        }
    });
    for round in 1..=ROUNDS {
        let pair = ["sbj", "tax"].map(|code| {
            let title = sample::both("", &round.to_string());
            Department { title, ..sample::department(code, &["a"]) }
        });
        store.publish(put(pair)).await.expect("publish");
    }
    tokio::time::timeout(super::DEADLINE, reader).await.expect("in time").expect("the reader");
}

/// Publishing the same again is no publication.
pub async fn equal_bytes_change_nothing(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let publication = put([sample::department("sbj", &["b", "a", "c"])]);
    let first = store.publish(publication.clone()).await.expect("publish");
    let before = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    // Another table of the same people, and an older mark: neither is a difference.
    let mut again = sample::department("sbj", &["c", "b", "a"]);
    again.generation = Generation { term: 9, sequence: 9 };
    for publication in [publication, put([again]), Publication::default()] {
        assert_eq!(store.publish(publication).await.expect("publish"), first);
        let after = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
        assert!(Arc::ptr_eq(&before, &after), "nothing changed, yet there is a new snapshot");
    }
}

/// What a publication leaves alone is shared between snapshots, down to the account.
pub async fn unchanged_is_shared(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let people: Vec<String> = (0..300).map(|n| format!("p{n}")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let mut sbj = sample::department("sbj", &people);
    store.publish(put([sbj.clone(), sample::department("tax", &["a"])])).await.expect("publish");
    let before = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let changed = tidegate_core::Account {
        state: tidegate_core::AccountState::Suspended,
        ..sample::account("sbj", "p7")
    };
    sbj.accounts.insert(changed.name.clone(), Arc::new(changed.clone()));
    let second = store.publish(put([sbj.clone()])).await.expect("publish");
    let after = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let of = |snapshot: &tidegate_core::Snapshot, code| Arc::clone(snapshot.department(code).expect("it"));
    assert!(Arc::ptr_eq(&of(&before, "tax"), &of(&after, "tax")));
    assert_eq!(*of(&after, "sbj"), published(sbj, second));
    let (was, is) = (of(&before, "sbj"), of(&after, "sbj"));
    assert_eq!(**is.accounts.get("p7").expect("p7"), changed);
    let shared = is.accounts.iter().filter(|(name, a)| Arc::ptr_eq(a, &was.accounts[*name])).count();
    assert!(shared > 150, "only {shared} of 300 accounts are shared after one changed");
}

/// A removed department is gone, its neighbour stays.
pub async fn removed_department_is_gone(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let (sbj, tax) = (sample::department("sbj", &["a"]), sample::department("tax", &["a"]));
    let first = store.publish(put([sbj.clone(), tax.clone()])).await.expect("publish");
    let remove = || Publication { platform: None, departments: vec![Change::Remove(sbj.code.clone())] };
    let second = store.publish(remove()).await.expect("publish");
    assert!(second > first);
    assert_eq!(store.publish(remove()).await.expect("publish"), second, "gone already");
    let snapshot = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    assert_eq!((snapshot.department("sbj"), snapshot.departments.len()), (None, 1));
    store.publish(put([sbj.clone()])).await.expect("publish");
    let snapshot = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    assert!(snapshot.department("sbj").is_some_and(|d| d.accounts == sbj.accounts));
}

/// A publication no reader could read is refused as a whole.
pub async fn refused_publication_changes_nothing(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    store.publish(put([sample::department("sbj", &["a"])])).await.expect("publish");
    let before = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let mut long = sample::department("tax", &["a"]);
    long.notice = sample::both(&"长".repeat(crate::wire::bounds::TEXT), "");
    let refused = store.publish(put([sample::department("sbj", &["a", "b"]), long])).await;
    assert!(matches!(&refused, Err(StoreError::Unreadable(why)) if why.starts_with("tax: ")), "{refused:?}");
    let after = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    assert!(Arc::ptr_eq(&before, &after));
}

/// Freshness is proved without any publication.
pub async fn freshness_is_proved(backend: &impl Backend) {
    let store = backend.open(1).await.expect("open");
    let mut views = store.subscribe();
    let opened = views.borrow_and_update().fresh_at;
    until(&mut views, |view| view.fresh_at > opened).await;
}

/// A term older than one that was seen does not come back.
pub async fn deposed_term_is_fenced(backend: &impl Backend) {
    let store = backend.open(5).await.expect("open");
    store.publish(put([])).await.expect("publish");
    backend.close(store).await;
    let refused = backend.open(4).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Fenced(4))), "{refused:?}");
    let store = backend.open(6).await.expect("open");
    assert_eq!(store.publish(put([])).await.expect("publish"), Generation { term: 5, sequence: 1 });
    let sbj = sample::department("sbj", &["a"]);
    assert_eq!(store.publish(put([sbj])).await.expect("publish"), Generation { term: 6, sequence: 1 });
}

/// Everything that was promised is there after closing and opening.
pub async fn survives_reopening(backend: &impl Backend) {
    let later = Timestamp(i64::MAX / 2);
    let store = backend.open(1).await.expect("open");
    let sbj = sample::department("sbj", &["a", "b", "c"]);
    let generation = store.publish(put([sbj.clone()])).await.expect("publish");
    store.end(SessionId([1; 16]), EndReason::Kicked, later).await.expect("end");
    let account = "sbj/a".parse().expect("an id");
    store.login(&account, Kind::Portal, SessionId([2; 16]), later).await.expect("login");
    assert!(store.claim_once("activation/sbj/a/1", later).await.expect("claim"));
    store.count_failure("account/sbj/a", Some(super::live::soon())).await.expect("count");
    store.offer(super::live::intent(1)).await.expect("offer");
    backend.close(store).await;

    let store = backend.open(2).await.expect("open");
    let view = store.subscribe().borrow().clone();
    let snapshot = view.snapshot.expect("a snapshot");
    assert_eq!(snapshot.generation, generation);
    assert_eq!(*snapshot.platform, sample::platform());
    assert_eq!(**snapshot.department("sbj").expect("sbj"), published(sbj, generation));
    assert_eq!(view.ended.get(&SessionId([1; 16])), Some(&EndReason::Kicked));
    let replaced = store.login(&account, Kind::Portal, SessionId([3; 16]), later).await.expect("login");
    assert_eq!(replaced, Some(SessionId([2; 16])));
    assert!(!store.claim_once("activation/sbj/a/1", later).await.expect("claim"));
    assert_eq!(store.failures("account/sbj/a").await.expect("failures").0, 1);
    assert_eq!(store.take().await.expect("take"), super::live::intent(1));
}
