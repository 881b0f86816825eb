use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::cluster::tests::one_object::Server;

#[test]
fn a_lease_is_abandoned_when_its_record_stands_still() {
    let start = Instant::now();
    let lease = |version: &str| {
        let metadata = ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    };
    let mut seen = None;
    let mut abandoned = |version, after| abandoned(&mut seen, &lease(version), start + after);
    assert!(!abandoned("1", Duration::ZERO));
    assert!(!abandoned("1", LEASE / 2));
    assert!(!abandoned("2", LEASE));
    assert!(!abandoned("2", LEASE + LEASE / 2));
    assert!(abandoned("2", LEASE * 2));
}

#[tokio::test]
async fn a_renewal_that_took_effect_unanswered_is_no_takeover() {
    let server = Arc::new(Server::default());
    let leases = Api::namespaced(server.client().await, "tidegate-system");
    let mut held = candidate(&leases, "one").lead(|_| {}).await;
    held.renew().await.unwrap();

    server.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(matches!(held.renew().await, Err(Renewal::Failed(_))));
    held.renew().await.expect("it is still ours");
    held.renew().await.unwrap();

    // An orderly end gives it back, whatever was answered before.
    server.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(matches!(held.renew().await, Err(Renewal::Failed(_))));
    held.release().await;
    let held = candidate(&leases, "two").lead(|_| {}).await;
    assert_eq!(held.transitions(), 1);
}

#[tokio::test]
async fn a_lease_that_somebody_took_or_deleted_is_lost() {
    let server = Arc::new(Server::default());
    let leases = Api::namespaced(server.client().await, "tidegate-system");
    let mut one = candidate(&leases, "one").lead(|_| {}).await;
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("two"));
    assert!(matches!(one.renew().await, Err(Renewal::Taken(holder)) if holder == "two"));
    one.release().await;
    assert_eq!(server.object().unwrap()["spec"]["holderIdentity"], "two");

    server.edit(|lease| lease["spec"]["holderIdentity"] = Value::Null);
    let mut three = candidate(&leases, "three").lead(|_| {}).await;
    server.delete();
    assert!(matches!(three.renew().await, Err(Renewal::Taken(_))));
}

fn candidate(leases: &Api<Lease>, holder: &str) -> Candidate {
    Candidate::new(leases.clone(), holder.into())
}
