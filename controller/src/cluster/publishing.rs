//! One stretch of publishing: a term, a store, a state, rounds; until something it was begun with changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod as ApiPod};
use kube_client::api::{DeleteParams, ListParams, Preconditions};
use kube_client::{Api, Client};
use tidegate_core::{Localized, Timestamp, Zone};
use tidegate_store::audit::AuditLog;
use tidegate_store::etcd::{self, EtcdTls};
use tidegate_store::{Etcd, EtcdConfig, EtcdRole, Store as _, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Keep;
use super::call::{CallError, call};
use super::gateways::Prepared;
use super::labels;
use super::lead::LeadMetrics;
use super::presence::{Pod, Pods, Presence};
use super::ring::Acknowledged;
use super::settings::Settings;
use super::term::{self, Term};
use crate::admin::Pools;
use crate::build;
use crate::events::ControllerEvent;
use crate::fleet::Fleet;
use crate::intake::Reading;
use crate::metrics::Metrics;
use crate::run::{self, Config, Handle};
use crate::state::{PoolKey, RootKey, State, StateError};
use crate::status::SharedLedger;

/// How often it is looked which gateways there are.
const LOOK: Duration = Duration::from_secs(2);
/// How often the store's revision is noted.
const NOTE: Duration = Duration::from_secs(60);
/// Most pods of a pool that are read; VpnGateway allows 1,000 gateways.
const PODS_MAX: u32 = 2_000;

/// What a stretch of publishing is begun with.
pub struct Publishing<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The controller's namespace.
    pub namespace: &'a str,
    /// The settings.
    pub settings: &'a Settings,
    /// The audit trail for objects and intents, if there is one.
    pub audit: Option<&'a AuditLog>,
    /// What rounds count.
    pub metrics: &'a Metrics,
    /// What leading counts.
    pub lead: &'a LeadMetrics,
    /// Where the store is noted while it is published to.
    pub pools: &'a watch::Sender<Pools<Etcd>>,
    /// Where the number of sessions is noted.
    pub sessions: &'a AtomicU32,
    /// Where it is noted which keys gateways have, for as long as they are asked.
    pub acknowledged: &'a watch::Sender<Acknowledged>,
    /// The pods of the pool.
    pub fleet: watch::Receiver<Fleet>,
    /// What was said about objects so far.
    pub ledger: &'a SharedLedger,
    /// The term everything is written under, and which store the last one was published to.
    pub term: Term,
    /// Whether the store was wiped or restored since.
    pub reset: bool,
}

/// The store is known to the admin API and to the metrics for as long as this lives.
struct Known<'a>(&'a Publishing<'a>);

impl<'a> Known<'a> {
    async fn note(publishing: &'a Publishing<'_>, pool: &str, etcd: &Etcd) -> Self {
        publishing.pools.send_replace([(pool.to_owned(), etcd.clone())].into());
        // A store that does not answer now shows it in what is published to it, too.
        if let Ok(version) = etcd.version().await {
            publishing.lead.etcd.with_label_values(&[&version]).set(1);
        }
        Self(publishing)
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.0.pools.send_replace(Pools::new());
        self.0.acknowledged.send_replace(Acknowledged::default());
        self.0.lead.etcd.reset();
    }
}

/// What is under way while it is published.
struct Begun {
    etcd: Etcd,
    handle: Handle,
    /// Sessions that began earlier are to be void in the store.
    void_before: Timestamp,
}

/// Why a stretch ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// The pool, its keys or the certificate are others now.
    Changed,
    /// The store was wiped or restored: it has forgotten which sessions were ended one by one, so all have to end.
    Reset,
}

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
pub enum PublishingError {
    /// etcd refused or does not answer.
    #[error("etcd: {0}")]
    Store(#[from] StoreError),
    /// What the controller keeps cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The rounds cannot begin.
    #[error(transparent)]
    Start(#[from] run::StartError),
    /// The rounds ended by themselves.
    #[error("the rounds ended by themselves")]
    Ended,
}

impl PublishingError {
    /// A term that may be larger than the one the store knows: ConfigMap `tidegate-term` was lost, or etcd is
    /// another cluster's. Each further attempt doubles it.
    #[must_use]
    pub fn newer_term(&self) -> Option<u64> {
        match self {
            Self::Store(StoreError::Fenced(own)) => Some(own.saturating_mul(2)),
            _ => None,
        }
    }
}

impl Publishing<'_> {
    /// Publishes until `stopping`, or until the pool, its keys or the certificate change.
    pub async fn run(
        &self,
        with: &Prepared,
        readings: watch::Receiver<Arc<Reading>>,
        prepared: watch::Receiver<Option<Prepared>>,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<End, PublishingError> {
        let begun = tokio::select! {
            begun = self.begin(with, readings) => begun?,
            _ = stopping.wait_for(|stop| *stop) => return Ok(End::Stopped),
        };
        let Begun { etcd, mut handle, void_before } = begun;
        tracing::info!(term = self.term.number, pool = with.pool, "publishes");
        let _known = Known::note(self, &with.pool, &etcd).await;
        let mut resets = etcd.resets();
        let outcome = tokio::select! {
            error = follow(&mut handle) => Err(error),
            () = self.look_after(&etcd, with, void_before) => Ok(End::Stopped),
            () = changed(prepared, with) => Ok(End::Changed),
            _ = resets.changed() => Ok(End::Reset),
            _ = stopping.wait_for(|stop| *stop) => Ok(End::Stopped),
        };
        handle.stop().await;
        etcd.close().await;
        outcome
    }

    async fn begin(
        &self,
        with: &Prepared,
        readings: watch::Receiver<Arc<Reading>>,
    ) -> Result<Begun, PublishingError> {
        let endpoints = &self.settings.etcd.endpoints;
        let part = |key: &str| with.etcd.get(key).cloned().unwrap_or_default();
        let tls = EtcdTls { ca: part("ca.crt"), certificate: part("tls.crt"), key: part("tls.key") };
        etcd::ensure_access(endpoints, Some(&tls), std::slice::from_ref(&with.pool)).await?;
        let etcd = Etcd::connect(EtcdConfig {
            endpoints: endpoints.clone(),
            tls: Some(tls),
            pool: with.pool.clone(),
            ring: with.ring.clone(),
            role: EtcdRole::Controller { term: self.term.number },
            snapshot_file: None,
        })
        .await?;
        match self.start(with, &etcd, readings).await {
            Ok((handle, void_before)) => Ok(Begun { etcd, handle, void_before }),
            Err(error) => {
                etcd.close().await;
                Err(error)
            }
        }
    }

    async fn start(
        &self,
        with: &Prepared,
        etcd: &Etcd,
        readings: watch::Receiver<Arc<Reading>>,
    ) -> Result<(Handle, Timestamp), PublishingError> {
        let keep = Keep::load(self.client.clone(), self.namespace, self.term.number).await?;
        let keys = with.ring.iter().map(|(kid, key)| PoolKey { kid: *kid, key: *key }).collect();
        let state = State::in_cluster(keep, self.term.number, RootKey(with.root), keys);
        let another = self.reset || !self.term.is_of(&etcd.identity().await?);
        if another {
            tracing::warn!("the store was wiped or restored, or is another one: everybody logs in again");
        }
        // Times are whole seconds: what began in this one began before.
        let not_before = if another { crate::time::now().plus(1) } else { Timestamp(0) };
        let settings = build::Settings {
            title: Localized { zh_cn: Some("统一接入".into()), en: Some("Tidegate".into()) },
            zone: Zone::utc(),
            not_before,
            approvals_enforced: true,
        };
        let (metrics, audit) = (self.metrics.clone(), self.audit.cloned());
        let fleet = Some(self.fleet.clone());
        let config = Config { settings, metrics, audit, fleet, ledger: Some(Arc::clone(self.ledger)) };
        Ok((run::start(config, Arc::new(state), etcd.clone(), readings)?, not_before))
    }

    /// Keeps the list of gateways that count, for as long as it is polled.
    async fn look_after(&self, etcd: &Etcd, with: &Prepared, void_before: Timestamp) {
        let mut presence = Presence::default();
        let mut noted = None;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // While etcd or the API server is away, nobody is declared gone.
            if let Err(error) = self.look(etcd, with, &mut presence).await {
                tracing::debug!(error, "the gateways could not be looked at");
                continue;
            }
            // Until earlier sessions are void in it, a wiped or restored store has to be recognised again.
            let snapshot = etcd.subscribe().borrow().snapshot.clone();
            let void = snapshot.map_or(Timestamp(0), |snapshot| snapshot.platform.not_before);
            let due = noted.is_none_or(|at: Instant| at.elapsed() >= NOTE);
            if due && void >= void_before && self.note(etcd).await {
                noted = Some(Instant::now());
            }
        }
    }

    async fn look(&self, etcd: &Etcd, with: &Prepared, presence: &mut Presence) -> Result<(), String> {
        let said = |error: StoreError| error.to_string();
        let reports = etcd.reports().await.map_err(said)?;
        let sessions: usize = reports.iter().map(|report| report.sessions.len()).sum();
        self.sessions.store(u32::try_from(sessions).unwrap_or(u32::MAX), Ordering::Relaxed);
        let kids = reports.iter().map(|report| report.ack.kids.iter().copied().collect());
        self.acknowledged.send_replace(Acknowledged::of(kids));
        let silent: BTreeSet<_> = etcd.gone().await.map_err(said)?.into_iter().collect();
        // Listed last: whoever reported before and is not in it has no pod any more.
        let pods = self.pods(&with.pool).await.map_err(|error| error.to_string())?;
        let verdict = presence.judge(&reports, &silent, &pods, with.end_sessions_s, crate::time::now());
        for ack in &verdict.gone {
            tracing::info!(gateway = ack.gateway.0, "the gateway is gone");
            etcd.forget(ack).await.map_err(said)?;
        }
        if let Some((uid, name)) = &verdict.cut_off {
            tracing::warn!(pod = name, "the gateway is cut off from etcd and its pod is replaced");
            if let Err(error) = self.replace(uid, name).await {
                presence.failed(&error);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    async fn pods(&self, pool: &str) -> Result<Pods, CallError> {
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), self.namespace);
        let labels = labels::pods(pool);
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let params = ListParams::default().labels(&selector.join(",")).limit(PODS_MAX);
        let list = call(api.list(&params)).await?;
        if list.metadata.continue_.is_some_and(|more| !more.is_empty()) {
            return Err(CallError::Unanswered(format!("more than {PODS_MAX} pods")));
        }
        let pod = |pod: ApiPod| {
            let ending = pod.metadata.deletion_timestamp.is_some();
            Some((pod.metadata.uid?, Pod { name: pod.metadata.name?, ending }))
        };
        Ok(list.items.into_iter().filter_map(pod).collect())
    }

    async fn replace(&self, uid: &str, name: &str) -> Result<(), CallError> {
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), self.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match call(api.delete(name, &params)).await {
            Err(error) if !error.is_missing() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes which store is published to, for people and for whoever restores it.
    async fn note(&self, etcd: &Etcd) -> bool {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let Ok(identity) = etcd.identity().await else { return false };
        match term::note(&maps, self.term.number, identity.cluster, identity.revision).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the store's revision could not be noted");
                false
            }
        }
    }
}

/// Logs what the rounds tell, until they end.
async fn follow(handle: &mut Handle) -> PublishingError {
    while let Some(event) = handle.events.recv().await {
        match event {
            ControllerEvent::WriteFailed { code, message } => tracing::warn!(code, "{message}"),
            other => tracing::info!("{other:?}"),
        }
    }
    PublishingError::Ended
}

/// Waits until something else is to be published with.
async fn changed(mut prepared: watch::Receiver<Option<Prepared>>, with: &Prepared) {
    let other = prepared.wait_for(|now| now.as_ref().is_some_and(|now| now != with)).await.is_ok();
    if !other {
        std::future::pending::<()>().await;
    }
}
