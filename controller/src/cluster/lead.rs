//! What a leader does, in loops that wait for nothing but what they need.
//!
//! ```text
//!  pools:        VpnGateways --> Secrets, children, scale      (needs the API server only)
//!  departments:  Departments --> RoleBindings                  (the same)
//!  admission:    are the policies of the chart in force?       (the same)
//!  publishing:   objects --> rounds --> etcd                   (needs etcd and the pool's Secrets)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::{Api, Client};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tidegate_store::Etcd;
use tidegate_store::audit::AuditLog;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::admission;
use super::children::Observed;
use super::departments::{self, Account};
use super::gateways::{Gateways, Prepared};
use super::objects::{self, Health, Objects};
use super::publishing::{End, Publishing};
use super::ring::Acknowledged;
use super::settings::Settings;
use super::term::{self, Term};
use crate::admin::Pools;
use crate::fleet::Fleet;
use crate::intake::{self, Found, Reading};
use crate::metrics::Metrics;
use crate::objects::ObjectKind;
use crate::status::SharedLedger;

/// What somebody edited is put right within this.
const REPAIR: Duration = Duration::from_secs(10);
/// While the pool is not what it should be, it is looked at this often.
const UNSETTLED: Duration = Duration::from_secs(2);
/// New labels of namespaces are noticed within this.
const NAMESPACES: Duration = Duration::from_secs(15);
/// A policy that somebody removed is noticed within this.
const ADMISSION: Duration = Duration::from_secs(15);
/// After a failure.
const RETRY: Duration = Duration::from_secs(2);

/// What is counted about leading.
#[derive(Clone, Debug)]
pub struct LeadMetrics {
    /// Whether this replica leads: 1 or 0.
    pub leader: IntGauge,
    /// The term this replica publishes under; 0 when it does not.
    pub term: IntGauge,
    /// 1 under the `version` of the etcd that is published to; nothing while there is none.
    pub etcd: IntGaugeVec,
    /// Admission policies of the chart that are not in force, as the leader finds them.
    pub admission_gaps: IntGauge,
    /// Failed attempts by `part`: `pools`, `departments`, `admission`, `publishing`, `lease`.
    pub failures: IntCounterVec,
}

impl LeadMetrics {
    /// Makes the metrics and registers them; fails when the registry has them already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            leader: IntGauge::new("tidegate_controller_leader", "Whether this replica leads.")?,
            term: IntGauge::new("tidegate_controller_term", "The term published under; 0 when not leading.")?,
            etcd: IntGaugeVec::new(
                Opts::new("tidegate_controller_etcd_info", "The etcd that is published to; always 1."),
                &["version"],
            )?,
            admission_gaps: IntGauge::new(
                "tidegate_controller_admission_gaps",
                "Admission policies of the chart that are not in force; above 0, four eyes do not hold.",
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "tidegate_controller_failures_total",
                    "Failed attempts at a part of the controller's work; each is tried again.",
                ),
                &["part"],
            )?,
        };
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.term.clone()))?;
        registry.register(Box::new(metrics.etcd.clone()))?;
        registry.register(Box::new(metrics.admission_gaps.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        Ok(metrics)
    }
}

/// A replica that may lead.
#[derive(Clone)]
pub struct Leader {
    /// The API server.
    pub client: Client,
    /// The controller's namespace.
    pub namespace: String,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The audit trail for objects and intents, if there is one.
    pub audit: Option<AuditLog>,
    /// What rounds count.
    pub metrics: Metrics,
    /// What leading counts.
    pub lead: LeadMetrics,
    /// Why this replica is not ready.
    pub health: Arc<watch::Sender<Option<String>>>,
    /// The stores that are published to, for the admin API; empty while this replica does not lead.
    pub pools: Arc<watch::Sender<Pools<Etcd>>>,
}

/// What the loops tell each other.
struct Shared {
    prepared: watch::Sender<Option<Prepared>>,
    sessions: AtomicU32,
    acknowledged: watch::Sender<Acknowledged>,
    fleet: watch::Sender<Fleet>,
    ledger: SharedLedger,
}

impl Leader {
    /// Leads until `stopping` says so or is dropped; returns when nothing is published any more.
    pub async fn lead(&self, mut stopping: watch::Receiver<bool>) {
        // Dropping it would end the watches.
        let objects = tokio::select! {
            objects = self.objects() => objects,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let readings = &objects.readings;
        let shared = Shared {
            prepared: watch::Sender::new(None),
            sessions: AtomicU32::new(0),
            acknowledged: watch::Sender::new(Acknowledged::default()),
            fleet: watch::Sender::new(Fleet::default()),
            ledger: Arc::clone(&objects.ledger),
        };
        // Only the last one ends, when it is told to.
        tokio::select! {
            () = self.pools(&shared, readings.clone(), &objects.health) => {}
            () = self.departments(readings.clone()) => {}
            () = self.admission() => {}
            () = self.publishing(&shared, readings.clone(), stopping) => {}
        }
    }

    /// The watched objects, once all of them have been read.
    async fn objects(&self) -> Objects {
        let health = Arc::new(Health::default());
        let watched = objects::watch(self.client.clone(), &self.namespace, Arc::clone(&health));
        tokio::pin!(watched);
        loop {
            match tokio::time::timeout(UNSETTLED, &mut watched).await {
                Ok(objects) => return objects,
                Err(_) => self.say(health.troubles()),
            }
        }
    }

    /// Says whether this replica is ready: it is when nothing troubles it.
    fn say(&self, troubles: Vec<String>) {
        self.health.send_replace((!troubles.is_empty()).then(|| troubles.join("; ")));
    }

    async fn pools(&self, shared: &Shared, mut readings: watch::Receiver<Arc<Reading>>, health: &Health) {
        let mut gateways =
            Gateways::new(self.client.clone(), self.namespace.clone(), Arc::clone(&self.settings));
        let mut told = None;
        loop {
            let platform = readings.borrow_and_update().platform();
            let (known, reach) = (pools_of(&platform), departments::reach(&platform));
            let sessions = shared.sessions.load(Ordering::Relaxed);
            let acknowledged = shared.acknowledged.borrow().clone();
            let observed = Observed { sessions, reach, acknowledged };
            let pause = match gateways.round(&observed).await {
                Ok(prepared) => {
                    told = None;
                    self.say(health.troubles());
                    let fleet = gateways.fleet();
                    shared.fleet.send_if_modified(|known| std::mem::replace(known, fleet) != fleet);
                    let settled = shared.prepared.borrow().as_ref() == Some(&prepared);
                    shared.prepared.send_if_modified(|known| {
                        let news = known.as_ref() != Some(&prepared);
                        *known = Some(prepared);
                        news
                    });
                    if settled && gateways.is_settled() { REPAIR } else { UNSETTLED }
                }
                Err(error) => {
                    self.lead.failures.with_label_values(&["pools"]).inc();
                    let said = error.to_string();
                    self.say(vec![said.clone()]);
                    tell_once(&mut told, "pools", said);
                    RETRY
                }
            };
            // Only a change of a VpnGateway, or of what gateways have to reach, is a reason to look earlier.
            let changed = async {
                let mut platform = platform;
                while another(&mut readings, &mut platform).await {
                    if pools_of(&platform) != known || departments::reach(&platform) != observed.reach {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            let _ = tokio::time::timeout(pause, changed).await;
        }
    }

    async fn departments(&self, mut readings: watch::Receiver<Arc<Reading>>) {
        let account =
            Account { namespace: self.namespace.clone(), name: self.settings.service_account.clone() };
        let mut told = None;
        loop {
            let platform = readings.borrow_and_update().platform();
            let roles = departments::roles(&platform);
            let pause = match departments::keep(&self.client, &roles, &account).await {
                Ok(()) => {
                    told = None;
                    NAMESPACES
                }
                Err(error) => {
                    self.lead.failures.with_label_values(&["departments"]).inc();
                    tell_once(&mut told, "departments", error.to_string());
                    RETRY
                }
            };
            let changed = async {
                let mut platform = platform;
                while another(&mut readings, &mut platform).await {
                    if departments::roles(&platform) != roles {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            let _ = tokio::time::timeout(pause, changed).await;
        }
    }

    /// Says when the policies that hold four eyes are not in force.
    async fn admission(&self) {
        let _zero = Zero(&self.lead.admission_gaps);
        let mut told = None;
        let mut tick = tokio::time::interval(ADMISSION);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match admission::gaps(&self.client).await {
                Ok(gaps) => {
                    self.lead.admission_gaps.set(i64::try_from(gaps.len()).unwrap_or(i64::MAX));
                    if !gaps.is_empty() {
                        let names = gaps.join(", ");
                        let said = format!("not in force, so whoever can write may approve: {names}");
                        tell_once(&mut told, "admission", said);
                    } else if told.take().is_some() {
                        tracing::info!("the admission policies are in force again");
                    }
                }
                Err(error) => {
                    self.lead.failures.with_label_values(&["admission"]).inc();
                    tell_once(&mut told, "admission", error.to_string());
                }
            }
        }
    }

    /// The term of this takeover, raised when there is none yet, and what was noted about the store.
    async fn term(&self, own: Option<u64>, floor: u64) -> Result<Term, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let said = |error: term::TermError| error.to_string();
        match own {
            Some(number) => Ok(Term { number, ..term::current(&maps).await.map_err(said)? }),
            None => {
                let raised = term::raise(&maps, floor).await.map_err(said)?;
                tracing::info!(term = raised.number, "takes over");
                Ok(raised)
            }
        }
    }

    async fn publishing(
        &self,
        shared: &Shared,
        readings: watch::Receiver<Arc<Reading>>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut prepared = shared.prepared.subscribe();
        let mut told = None;
        // Raised once for every takeover; again for a store that knows a larger one than Kubernetes, and for one that
        // has forgotten how far this one had come: gateways go back to no earlier generation.
        let mut own = None;
        let mut floor = 0;
        // The store turned out to be another one while it was published to.
        let mut reset = false;
        while !*stopping.borrow() {
            let now = tokio::select! {
                now = prepared.wait_for(Option::is_some) => now.map(|now| now.clone()),
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            let Ok(Some(with)) = now else { return };
            let mut next = false;
            let outcome = async {
                let term = self.term(own, floor).await?;
                own = Some(term.number);
                let number = i64::try_from(term.number).unwrap_or(i64::MAX);
                let publishing = Publishing {
                    client: &self.client,
                    namespace: &self.namespace,
                    settings: &self.settings,
                    audit: self.audit.as_ref(),
                    metrics: &self.metrics,
                    lead: &self.lead,
                    pools: &self.pools,
                    sessions: &shared.sessions,
                    acknowledged: &shared.acknowledged,
                    fleet: shared.fleet.subscribe(),
                    ledger: &shared.ledger,
                    term,
                    reset,
                };
                self.lead.term.set(number);
                let run = publishing.run(&with, readings.clone(), prepared.clone(), stopping.clone());
                Box::pin(run).await.map_err(|error| {
                    if let Some(newer) = error.newer_term() {
                        (floor, next) = (newer, true);
                    }
                    error.to_string()
                })
            };
            let outcome: Result<End, String> = Box::pin(outcome).await;
            if next {
                own = None;
            }
            self.lead.term.set(0);
            match outcome {
                Ok(end) => {
                    told = None;
                    reset = end == End::Reset;
                    own = own.filter(|_| !reset);
                }
                Err(said) => {
                    self.lead.failures.with_label_values(&["publishing"]).inc();
                    tell_once(&mut told, "publishing", said);
                    let pause = tokio::time::sleep(RETRY);
                    tokio::select! { () = pause => {}, _ = stopping.wait_for(|stop| *stop) => {} }
                }
            }
        }
    }
}

/// What only a leader knows is 0 when it leads no longer.
struct Zero<'a>(&'a IntGauge);

impl Drop for Zero<'_> {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// The VpnGateways among the platform's objects, as far as a change of them matters.
fn pools_of(platform: &intake::Objects) -> Vec<(String, serde_json::Value)> {
    let gateways = platform.iter().filter(|(key, _)| key.kind == ObjectKind::VpnGateway);
    let spec = |key, found: &Found| found.written.value(key).get("spec").cloned().unwrap_or_default();
    gateways.map(|(key, found)| (key.to_string(), spec(key, found))).collect()
}

/// Waits until a reading has other objects of the platform than `platform`, which they are then; false when no
/// reading comes any more.
async fn another(readings: &mut watch::Receiver<Arc<Reading>>, platform: &mut Arc<intake::Objects>) -> bool {
    while readings.changed().await.is_ok() {
        let now = readings.borrow_and_update().platform();
        if !Arc::ptr_eq(&now, platform) {
            *platform = now;
            return true;
        }
    }
    false
}

/// Tells a failure once, however often it is met before it changes.
fn tell_once(told: &mut Option<String>, part: &str, said: String) {
    if told.as_ref() != Some(&said) {
        tracing::error!(part, code = %tidegate_core::Code::ClusterFailed.id(), "{said}");
        *told = Some(said);
    }
}
