//! The objects of a cluster as a source of readings.
//!
//! ```text
//!  one watch per kind, ConfigMaps, Namespaces --> inventory --complete?--> Reading
//! ```
//!
//! The first reading comes once everything has been listed. From then on a reading only ever changes by
//! what the API server says: while it does not answer, the last one stays.

mod inventory;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube_client::api::ApiResource;
use kube_client::{Api, Client};
use kube_runtime::watcher::{self, Event};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::patches::resource;
use super::raw::Raw;
use crate::intake::Reading;
use crate::objects::ObjectKind;
use crate::status::{Ledger, SharedLedger};
use inventory::{Inventory, Source};

/// Objects of one page of a listing: each page costs the API server more than the objects on it.
const PAGE: u32 = 2_000;

/// Seconds after which a watch is begun anew, so that a dead connection is noticed.
const WATCH_S: u32 = 60;

/// After a failure, a watch is begun anew this much later; twice as late after each further one.
const REWATCH_FIRST: Duration = Duration::from_millis(200);

/// But never later than this.
const REWATCH_MAX: Duration = Duration::from_secs(5);

/// A failure not repeated for this long is over.
const TROUBLE: Duration = Duration::from_secs(12);

/// Events that wait to be taken up.
const EVENTS_MAX: usize = 1_024;

/// The objects being watched, until this is dropped.
#[derive(Debug)]
pub struct Objects {
    /// The newest complete reading.
    pub readings: watch::Receiver<Arc<Reading>>,
    /// What goes wrong while watching.
    pub health: Arc<Health>,
    /// What the objects said at first that an earlier controller had said about them.
    pub ledger: SharedLedger,
    _worker: JoinSet<()>,
}

/// What goes wrong while watching.
#[derive(Debug, Default)]
pub struct Health {
    troubles: Mutex<BTreeMap<&'static str, (Instant, String)>>,
}

impl Health {
    /// Why what is watched may be old, one sentence for each kind; empty when all is well.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = troubles.iter().filter(|(_, (at, _))| at.elapsed() < TROUBLE);
        lasting.map(|(what, (_, why))| format!("cannot watch {what}: {why}")).collect()
    }

    fn trouble(&self, what: &'static str, why: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = troubles.insert(what, (Instant::now(), why.clone()));
        if before.is_none_or(|(at, before)| before != why || at.elapsed() >= TROUBLE) {
            tracing::warn!(what, why, "cannot watch; what was read last stays in force");
        }
    }

    fn fine(&self, what: &'static str) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }
}

/// Watches everything that `namespace`'s controller goes by. Returns with the first reading; while the
/// API server is absent, or a kind is not defined, that is never. `health` says meanwhile what is wrong.
pub async fn watch(client: Client, namespace: &str, health: Arc<Health>) -> Objects {
    let (events, mut received) = mpsc::channel(EVENTS_MAX);
    let mut worker = JoinSet::new();
    for source in Source::all() {
        let namespace = namespace.to_owned();
        worker.spawn(follow(client.clone(), source, namespace, events.clone(), Arc::clone(&health)));
    }
    drop(events);
    let mut inventory = Inventory::new(namespace);
    let first = loop {
        if let Some((source, event)) = received.recv().await {
            inventory.take(source, event);
        }
        if let Some(reading) = inventory.reading() {
            break reading;
        }
    };
    let ledger = Arc::new(Mutex::new(Ledger::recalled(inventory.take_said())));
    let (sender, readings) = watch::channel(Arc::new(first));
    worker.spawn(async move {
        while let Some((source, event)) = received.recv().await {
            inventory.take(source, event);
            // What came meanwhile counts together; nothing waits for more.
            while let Ok((source, event)) = received.try_recv() {
                inventory.take(source, event);
            }
            if let Some(reading) = inventory.reading() {
                sender.send_replace(Arc::new(reading));
            }
        }
    });
    Objects { readings, health, ledger, _worker: worker }
}

async fn follow(
    client: Client,
    source: Source,
    home: String,
    events: mpsc::Sender<(Source, Event<Raw>)>,
    health: Arc<Health>,
) {
    let (what, api) = match source {
        Source::Kind(kind) => (kind.as_str(), api(client, &resource(kind))),
        Source::ConfigMaps => ("ConfigMaps", api(client, &ApiResource::erase::<ConfigMap>(&()))),
        Source::Namespaces => ("Namespaces", api(client, &ApiResource::erase::<Namespace>(&()))),
    };
    let mut config = watcher::Config::default().page_size(PAGE).timeout(WATCH_S);
    if source == Source::ConfigMaps {
        // Our own are large, change with every account, and are read elsewhere.
        config = config.fields(&format!("metadata.namespace!={home}"));
    }
    let mut stream = pin!(watcher::watcher(api, config));
    let mut rest = REWATCH_FIRST;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                rest = REWATCH_FIRST;
                // To begin is not to succeed.
                if !matches!(event, Event::Init) {
                    health.fine(what);
                }
                if events.send((source, event)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                health.trouble(what, error.to_string());
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(REWATCH_MAX);
            }
        }
    }
}

fn api(client: Client, resource: &ApiResource) -> Api<Raw> {
    Api::all_with(client, resource)
}

impl Source {
    fn all() -> impl Iterator<Item = Self> {
        let kinds = ObjectKind::ALL.into_iter().map(Self::Kind);
        kinds.chain([Self::ConfigMaps, Self::Namespaces])
    }
}
