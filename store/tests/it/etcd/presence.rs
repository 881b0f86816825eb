//! Who is there: leases that run out or are lost, gateways that are missed and forgotten.

use std::collections::BTreeMap;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions, Txn, TxnOp};
use tidegate_core::session::Kind;
use tidegate_core::{Generation, SessionId, Timestamp};
use tidegate_store::{Ack, Etcd, GatewayId, Report, SessionReport, Store as _, StoreError};

use super::members::Members;
use super::{controller, eventually, gateway};

/// Longer than any test.
const LATER: Timestamp = Timestamp(i64::MAX / 2);

fn report(name: &str, sessions: impl IntoIterator<Item = u8>) -> Report {
    let ack = Ack {
        gateway: GatewayId(name.into()),
        generation: Generation { term: 1, sequence: 1 },
        broken: BTreeMap::new(),
        evaluators: Vec::new(),
        kids: vec![1],
        at: Timestamp(1_790_000_000),
    };
    let session = |number| SessionReport {
        session: SessionId([number; 16]),
        account: "sbj/a".parse().expect("an id"),
        kind: Kind::Portal,
        source: "192.0.2.7".parse().expect("an address"),
        since: Timestamp(1_790_000_000),
        seen: Timestamp(1_790_000_000),
        tunnel: None,
    };
    Report { ack, sessions: sessions.into_iter().map(session).collect() }
}

/// Takes every lease away, with all that hangs on it.
fn revoke_all(members: &Members) {
    let leases = members.etcdctl(&["lease", "list"]).expect("a list");
    // The first line counts them.
    for lease in leases.lines().skip(1) {
        members.etcdctl(&["lease", "revoke", lease]).expect("revoked");
    }
}

/// Waits until the gateway is listed with this many sessions.
async fn is_listed(pen: &Etcd, sessions: usize) {
    eventually("the gateway is there with its sessions", async || {
        let reports = pen.reports().await.expect("reports");
        let told = reports.iter().map(|report| report.sessions.len()).sum::<usize>() == sessions;
        (told && pen.gone().await.expect("gone").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_went_away_is_gone_and_can_be_forgotten() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let (first, second) = (gateway(&members, "g1").await, gateway(&members, "g2").await);
    let (first, second) = (first.expect("g1"), second.expect("g2"));
    for (store, name) in [(&first, "g1"), (&second, "g2")] {
        store.report(report(name, [])).await.expect("report");
    }
    assert!(pen.gone().await.expect("gone").is_empty());
    // As killed: nobody renews its lease any more.
    drop(second);
    let gone = [GatewayId("g2".into())];
    eventually("its lease runs out", async || (pen.gone().await.expect("gone") == gone).then_some(())).await;
    assert_eq!(pen.reports().await.expect("reports").len(), 2, "it is missed");
    pen.forget(&report("g2", []).ack).await.expect("forget");
    assert_eq!(pen.reports().await.expect("reports").len(), 1);
    assert!(first.forget(&report("g1", []).ack).await.is_err(), "gateways forget nobody");
    first.close().await;
    assert!(pen.reports().await.expect("reports").is_empty(), "who leaves in order is not missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_speaks_again_is_not_forgotten() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let store = gateway(&members, "g1").await.expect("a gateway");
    store.report(report("g1", 1..=2)).await.expect("report");
    let judged = report("g1", []).ack;
    let mut newer = report("g1", 1..=2);
    newer.ack.at = judged.at.plus(1);
    store.report(newer.clone()).await.expect("it came back");
    pen.forget(&judged).await.expect("nothing to forget");
    is_listed(&pen, 2).await;

    // One that was forgotten all the same says everything again with its next report.
    pen.forget(&newer.ack).await.expect("forget");
    assert!(pen.reports().await.expect("reports").is_empty());
    store.report(newer).await.expect("report");
    is_listed(&pen, 2).await;

    members.etcdctl(&["put", "/tidegate/v1/term", "2"]).expect("deposed");
    let deposed = pen.forget(&report("g1", []).ack).await;
    assert!(deposed.is_ok(), "it has spoken since, whoever asks");
    let mut newer = report("g1", []);
    newer.ack.at = judged.at.plus(1);
    assert!(matches!(pen.forget(&newer.ack).await, Err(StoreError::Fenced(1))));
    is_listed(&pen, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_is_made_anew_with_all_that_hangs_on_it() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let store = gateway(&members, "g1").await.expect("a gateway");
    store.report(report("g1", 1..=2)).await.expect("report");
    assert!(store.claim_once("one", LATER).await.expect("an answer"));
    is_listed(&pen, 2).await;

    // The heartbeat notices by itself.
    revoke_all(&members);
    is_listed(&pen, 2).await;

    // Two reports, as a rule both before the next heartbeat: the first finds the lease gone.
    revoke_all(&members);
    for _ in 0..2 {
        store.report(report("g1", 1..=3)).await.expect("report");
    }
    is_listed(&pen, 3).await;

    // Facts are kept on a lease the store has forgotten, too.
    revoke_all(&members);
    assert!(store.claim_once("two", LATER).await.expect("on a new lease"));
    assert!(!store.claim_once("two", LATER).await.expect("an answer"), "it is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_somebody_else_do_not_keep_a_list_from_its_end() {
    let members = super::start_or_skip!(1);
    let pen = controller(&members, 1).await.expect("the controller");
    let store = gateway(&members, "g1").await.expect("a gateway");
    store.report(report("g1", 1..=1)).await.expect("report");
    let tls = members.tls("controller");
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(&tls.ca))
        .identity(Identity::from_pem(&tls.certificate, &tls.key));
    let client = Client::connect(members.endpoints(), Some(ConnectOptions::new().with_tls(tls)));
    let client = client.await.expect("connected");
    // More than a page of them, before and after ours, and none of them text.
    for block in 0_u8..12 {
        let key = |n: u8| [b"/tidegate/v1/pools/main/live/ack/".as_slice(), &[0x80 + block, n]].concat();
        let puts: Vec<TxnOp> = (0..100).map(|n| TxnOp::put(key(n), "x", None)).collect();
        client.kv_client().txn(Txn::new().and_then(puts)).await.expect("written");
    }
    is_listed(&pen, 1).await;
}
