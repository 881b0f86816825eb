//! The etcd backend against real etcd, with mutual TLS.

mod access;
mod conformance;
mod facts;
mod faults;
mod members;
mod presence;
mod published;

use std::time::Duration;

use tidegate_store::conformance::sample;
use tidegate_store::{
    Change, Etcd, EtcdConfig, EtcdRole, GatewayId, Publication, Store as _, StoreResult, View,
};
use tokio::sync::watch;

use members::Members;

/// Nothing a test waits for takes this long.
const DEADLINE: Duration = Duration::from_secs(60);
/// Pause before somebody is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts members, or says aloud that etcd is missing and ends the test.
macro_rules! start_or_skip {
    ($count:expr) => {
        match crate::etcd::members::Members::start_or_skip($count) {
            Some(members) => members,
            None => return,
        }
    };
}
pub(crate) use start_or_skip;

fn config(members: &Members, role: EtcdRole) -> EtcdConfig {
    let name = match &role {
        EtcdRole::Controller { .. } => "controller",
        EtcdRole::Gateway { .. } => "gw:main",
    };
    EtcdConfig {
        endpoints: members.endpoints(),
        tls: Some(members.tls(name)),
        pool: "main".into(),
        ring: vec![(1, [7; 32])],
        role,
        snapshot_file: None,
    }
}

async fn controller(members: &Members, term: u64) -> StoreResult<Etcd> {
    Etcd::connect(config(members, EtcdRole::Controller { term })).await
}

async fn gateway(members: &Members, id: &str) -> StoreResult<Etcd> {
    Etcd::connect(config(members, EtcdRole::Gateway { id: GatewayId(id.into()) })).await
}

fn publication(people: &[&str]) -> Publication {
    Publication {
        platform: Some(std::sync::Arc::new(sample::platform())),
        departments: vec![Change::Put(std::sync::Arc::new(sample::department("sbj", people)))],
    }
}

/// Waits until a view is as wanted.
async fn until(store: &Etcd, what: &str, wanted: impl FnMut(&View) -> bool) -> View {
    let mut views: watch::Receiver<View> = store.subscribe();
    match tokio::time::timeout(DEADLINE, views.wait_for(wanted)).await {
        Ok(Ok(view)) => view.clone(),
        Ok(Err(_)) => panic!("{what}: the store went away"),
        Err(_) => panic!("{what}: the view never became so"),
    }
}

/// How many people the department has in a view.
fn people(view: &View) -> usize {
    let department = view.snapshot.as_ref().and_then(|snapshot| snapshot.department("sbj"));
    department.map_or(0, |department| department.accounts.len())
}

/// Asks until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("{what}: never"))
}

/// Publishes until the store takes it: members come and go in these tests.
async fn publish(store: &Etcd, publication: Publication) -> tidegate_core::Generation {
    let try_once = async || {
        let published = store.publish(publication.clone()).await;
        published.inspect_err(|error| eprintln!("publish again: {error}")).ok()
    };
    eventually("the publication", try_once).await
}
