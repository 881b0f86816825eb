//! Reports of several gateways, read and acted upon, on the embedded store.

use std::sync::LazyLock;

use tidegate_core::Generation;
use tidegate_store::{Ack, Embedded, GatewayId};

use super::*;

/// Sessions end on the store's clock, so the reports are of today.
static NOW: LazyLock<Timestamp> = LazyLock::new(crate::time::now);

fn report(name: &str, sessions: &[(u8, &str, i64)]) -> Report {
    let ack = Ack {
        gateway: GatewayId(name.into()),
        generation: Generation { term: 3, sequence: 7 },
        broken: [("sbj".parse().unwrap(), "bad module".to_owned())].into(),
        evaluators: Vec::new(),
        kids: vec![1],
        at: NOW.plus(-4),
    };
    let sessions = sessions.iter().map(|(number, account, seen)| SessionReport {
        session: SessionId([*number; 16]),
        account: account.parse().unwrap(),
        kind: Kind::Portal,
        source: [192, 0, 2, *number].into(),
        since: NOW.plus(-3_600),
        seen: NOW.plus(*seen),
        tunnel: None,
    });
    Report { ack, sessions: sessions.collect() }
}

async fn pools(directory: &std::path::Path) -> Pools<Embedded> {
    let store = Embedded::open(&directory.join("store.redb"), 1).unwrap();
    store.report(report("a", &[(1, "sbj/wangfang", -60), (2, "jy/guest", -60)])).await.unwrap();
    store.report(report("b", &[(1, "sbj/wangfang", -5)])).await.unwrap();
    [("main".to_owned(), store)].into()
}

#[tokio::test]
async fn gateways_and_sessions_are_what_was_reported_last() {
    let directory = tempfile::tempdir().unwrap();
    let pools = pools(directory.path()).await;
    let gateways = gateways(&pools, *NOW).await.unwrap();
    assert_eq!(gateways.iter().map(|gateway| gateway.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let first = gateways.first().unwrap();
    assert_eq!((first.generation.as_str(), first.silent_seconds, first.sessions), ("3.7", 4, 2));
    assert_eq!(first.broken.get("sbj").map(String::as_str), Some("bad module"));

    let all = sessions(&pools, None).await.unwrap();
    let seen: Vec<_> = all.sessions.iter().map(|s| (s.account.as_str(), s.gateway.as_str())).collect();
    assert_eq!(seen, [("jy/guest", "a"), ("sbj/wangfang", "b")], "the newest report counts");
    let own = sessions(&pools, Some(&"jy".parse().unwrap())).await.unwrap();
    assert_eq!(own.sessions.len(), 1);
    pools["main"].close().await;
}

#[tokio::test]
async fn a_session_that_is_ended_is_on_the_list_of_ended_ones() {
    let directory = tempfile::tempdir().unwrap();
    let pools = pools(directory.path()).await;
    let id = session_id(&"02".repeat(16)).unwrap();
    let found = find(&pools, id).await.unwrap().unwrap();
    assert_eq!(found.session.account.to_string(), "jy/guest");
    end(&pools, &found).await.unwrap();
    let ended = pools["main"].subscribe().borrow().ended.clone();
    assert_eq!(ended.get(&id), Some(&EndReason::Kicked));
    assert!(find(&pools, SessionId([9; 16])).await.unwrap().is_none());
    pools["main"].close().await;
}
