//! Pools of gateways: from every VpnGateway its Secrets, its children and its scale, again and again.
//!
//! A round starts from everything: it lists, makes what is missing and applies the rest, so that whatever was
//! edited, deleted or missed is put right by the next one. Nothing here waits for etcd: bundled etcd waits for
//! the Secrets made here.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube_client::api::{ListParams, ObjectMeta, Patch, PostParams};
use kube_client::{Api, Client};
use serde_json::{Value, json};
use tidegate_crd::types::{GatewayTls, VpnGateway};
use tidegate_crd::{API_VERSION, Kind};

use super::apply::{self, params};
use super::call::{CallError, call};
use super::children::{self, Observed};
use super::labels;
use super::pki::{Leaf, Pair, Purpose};
use super::secrets::{Data, Keeper, SecretError};
use super::settings::{EtcdMode, Settings};
use crate::fleet::Fleet;

/// The VpnGateway that is made when there is none.
pub const MAIN: &str = "main";
/// The root key.
const ROOT: &str = "tidegate-root";
/// The authority of etcd's certificates.
const ETCD_AUTHORITY: &str = "tidegate-etcd-ca";
/// The bundled server's certificate.
const ETCD_SERVER: &str = "tidegate-etcd-server";
/// The controller's certificate for etcd.
const ETCD_CONTROLLER: &str = "tidegate-etcd-client-controller";
/// The authority of gateways that are given no certificate, and its public part.
const GATEWAY_AUTHORITY: &str = "tidegate-gateway-ca";
/// Annotation of a VpnGateway: another word in it asks for another key.
const ROTATE: &str = "tidegate.dev/rotate-keys";
/// Most VpnGateways.
const POOLS_MAX: u32 = 100;
/// Under this name the scale is written, apart from the conditions.
const SCALE: &str = "tidegate-controller-scale";

/// What publishing needs, once it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The root key.
    pub root: [u8; 32],
    /// The pool that is published to.
    pub pool: String,
    /// The keys of that pool, the last one seals.
    pub ring: Vec<(u32, [u8; 32])>,
    /// The controller's certificate for etcd: `ca.crt`, `tls.crt`, `tls.key`.
    pub etcd: Data,
    /// Seconds after which a cut-off gateway of the pool has ended its sessions.
    pub end_sessions_s: u32,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Why a round did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The API server refused or did not answer.
    #[error("{0}: {1}")]
    Call(String, #[source] CallError),
    /// A Secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Keeps the pools of one namespace.
pub struct Gateways {
    client: Client,
    namespace: String,
    settings: Arc<Settings>,
    keeper: Keeper,
    /// What was said of an unhappy pool last, so that it is not said again every few seconds.
    troubled: BTreeSet<String>,
    fleet: Fleet,
    settled: bool,
}

impl Gateways {
    /// The pools of a namespace.
    #[must_use]
    pub fn new(client: Client, namespace: String, settings: Arc<Settings>) -> Self {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        Self {
            client,
            namespace,
            settings,
            keeper: Keeper::new(secrets, maps),
            troubled: BTreeSet::new(),
            fleet: Fleet::default(),
            settled: false,
        }
    }

    /// Everything, from the start. An error of one pool is told and keeps no other from its own.
    pub async fn round(&mut self, observed: &Observed) -> Result<Prepared, RoundError> {
        let root = self.keeper.root(ROOT).await?;
        let authority = self.etcd_authority().await?;
        let etcd = self.etcd_secrets(authority.as_ref()).await?;
        let gateways = self.gateways().await?;
        let names = gateways.iter().filter_map(|gateway| gateway.metadata.name.as_deref());
        let served = served(names).unwrap_or(MAIN).to_owned();

        let mut ring = None;
        let mut troubled = BTreeSet::new();
        let mut end_sessions_s = 3_600;
        for gateway in &gateways {
            let pool = gateway.metadata.name.clone().unwrap_or_default();
            // A pool that is not published to would wait for ever; its condition says that it is not supported.
            if pool != served {
                continue;
            }
            if let Some(staleness) = &gateway.spec.staleness {
                end_sessions_s = staleness.end_sessions_minutes.saturating_mul(60);
            }
            // Its ring comes first: without it nothing can be published.
            let asked = gateway.metadata.annotations.as_ref().and_then(|all| all.get(ROTATE));
            let asked = asked.map(String::as_str);
            let name = children::ring_name(&pool);
            ring = Some(self.keeper.ring(&name, &owners(gateway), asked, &observed.acknowledged).await?);
            if let Err(error) = self.pool(gateway, &pool, authority.as_ref(), observed).await {
                let said = format!("{pool}: {error}");
                if !self.troubled.contains(&said) {
                    tracing::error!(pool, %error, "the pool's objects are not as they should be");
                }
                troubled.insert(said);
            }
        }
        self.troubled = troubled;
        match ring {
            Some(ring) => Ok(Prepared { root, pool: served, ring, etcd, end_sessions_s }),
            // It is made, and the next round finds it.
            None => Err(RoundError::Call(served, CallError::Unanswered("it is not there yet".into()))),
        }
    }

    /// Whether the served pool was as it should be in the last round, and nothing about it was under way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled && self.troubled.is_empty()
    }

    /// The pods of the served pool as they were found last.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        self.fleet
    }

    /// The authority that signs for etcd; nothing when somebody brings certificates without it.
    async fn etcd_authority(&mut self) -> Result<Option<Pair>, SecretError> {
        match self.settings.etcd.mode {
            EtcdMode::Bundled => self.keeper.authority(ETCD_AUTHORITY, "Tidegate etcd").await.map(Some),
            EtcdMode::External => self.keeper.brought_authority(ETCD_AUTHORITY).await,
        }
    }

    /// The certificates of etcd and of the controller towards it.
    async fn etcd_secrets(&self, authority: Option<&Pair>) -> Result<Data, SecretError> {
        if self.settings.etcd.mode == EtcdMode::Bundled {
            let names = self.settings.etcd.names();
            let leaf = Leaf { common_name: "tidegate-etcd".into(), names, purpose: Purpose::Member };
            self.keeper.leaf(ETCD_SERVER, &leaf, authority, &[]).await?;
        }
        self.keeper.leaf(ETCD_CONTROLLER, &client_leaf("controller".into()), authority, &[]).await
    }

    /// The VpnGateways there are; `main` is made when there is none.
    async fn gateways(&self) -> Result<Vec<VpnGateway>, RoundError> {
        let api: Api<VpnGateway> = Api::namespaced(self.client.clone(), &self.namespace);
        let failed = |error| RoundError::Call("VpnGateways".into(), error);
        let list = call(api.list(&ListParams::default().limit(POOLS_MAX))).await.map_err(failed)?;
        let (mut gateways, going): (Vec<_>, Vec<_>) =
            list.items.into_iter().partition(|gateway| gateway.metadata.deletion_timestamp.is_none());
        gateways.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        if !gateways.is_empty() || !going.is_empty() {
            return Ok(gateways);
        }
        let metadata =
            ObjectMeta { name: Some(MAIN.into()), labels: Some(labels::managed()), ..ObjectMeta::default() };
        let main = VpnGateway { metadata, spec: self.settings.main.clone(), status: None };
        match call(api.create(&PostParams::default(), &main)).await {
            Ok(made) => Ok(vec![made]),
            Err(error) if error.is_conflict() => Ok(Vec::new()),
            Err(error) => Err(RoundError::Call(format!("VpnGateway {MAIN}"), error)),
        }
    }

    async fn pool(
        &mut self,
        gateway: &VpnGateway,
        pool: &str,
        authority: Option<&Pair>,
        observed: &Observed,
    ) -> Result<(), RoundError> {
        let owners = owners(gateway);
        let leaf = client_leaf(format!("gw:{pool}"));
        self.keeper.leaf(&children::etcd_name(pool), &leaf, authority, &owners).await?;
        self.certificate(gateway, pool, &owners).await?;

        let mut replicas = 0;
        for child in children::children(gateway, &self.settings, observed) {
            let kind = child.resource.kind.clone();
            let failed = |error| RoundError::Call(format!("{kind} {}", child.name), error);
            let stored = apply::apply(&self.client, &self.namespace, &child).await.map_err(failed)?;
            if child.resource.kind == "Deployment" {
                let number =
                    |pointer: &str| stored.data.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
                let count = |pointer: &str| u32::try_from(number(pointer)).unwrap_or(0);
                self.fleet =
                    Fleet { wanted: count("/spec/replicas"), ready: count("/status/availableReplicas") };
                replicas = number("/status/replicas");
                self.settled =
                    replicas == number("/spec/replicas") && replicas == number("/status/readyReplicas");
            }
        }
        for resource in children::superfluous(gateway, &self.settings) {
            let name = children::name(pool);
            let removed = apply::remove(&self.client, &self.namespace, &resource, &name).await;
            removed.map_err(|error| RoundError::Call(format!("{} {name}", resource.kind), error))?;
        }
        self.scale(gateway, pool, i32::try_from(replicas).unwrap_or(i32::MAX)).await
    }

    /// The certificate people see, when the VpnGateway names none.
    async fn certificate(
        &mut self,
        gateway: &VpnGateway,
        pool: &str,
        owners: &[OwnerReference],
    ) -> Result<(), RoundError> {
        if let Some(GatewayTls { .. }) = gateway.spec.tls {
            return Ok(());
        }
        let authority = self.keeper.authority(GATEWAY_AUTHORITY, "Tidegate gateways").await?;
        self.keeper.publish_authority(GATEWAY_AUTHORITY, &authority).await?;
        let hosts = children::hosts(pool, &self.namespace, gateway);
        let below =
            hosts.iter().filter(|host| host.contains('.') && host.parse::<std::net::IpAddr>().is_err());
        let names = hosts.iter().cloned().chain(below.map(|host| format!("*.{host}"))).collect();
        let common_name =
            hosts.first().filter(|host| host.len() <= 64).cloned().unwrap_or_else(|| pool.into());
        let leaf = Leaf { common_name, names, purpose: Purpose::Server };
        self.keeper.leaf(&children::tls_name(pool, gateway), &leaf, Some(&authority), owners).await?;
        Ok(())
    }

    /// What `kubectl scale` and autoscalers read.
    async fn scale(&self, gateway: &VpnGateway, pool: &str, replicas: i32) -> Result<(), RoundError> {
        let labels = labels::pods(pool);
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let selector = selector.join(",");
        let said = gateway.status.as_ref();
        if said
            .is_some_and(|said| said.replicas == Some(replicas) && said.selector.as_ref() == Some(&selector))
        {
            return Ok(());
        }
        let api: Api<VpnGateway> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = json!({
            "apiVersion": API_VERSION, "kind": Kind::VpnGateway.as_str(), "metadata": {"name": pool},
            "status": {"replicas": replicas, "selector": selector},
        });
        let answer = call(api.patch_status(pool, &params(SCALE), &Patch::Apply(&patch))).await;
        answer.map(|_| ()).map_err(|error| RoundError::Call(format!("VpnGateway {pool}"), error))
    }
}

/// The pool that is published to: `main`, else the first by name.
#[must_use]
pub fn served<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.min_by_key(|name| (*name != MAIN, *name))
}

fn client_leaf(common_name: String) -> Leaf {
    Leaf { common_name, names: Vec::new(), purpose: Purpose::Client }
}

fn owners(gateway: &VpnGateway) -> Vec<OwnerReference> {
    let owner = children::owner(gateway).and_then(|owner| serde_json::from_value(owner).ok());
    owner.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_is_served_before_any_other() {
        assert_eq!(served([].into_iter()), None);
        assert_eq!(served(["b", "a"].into_iter()), Some("a"));
        assert_eq!(served(["a", "main"].into_iter()), Some("main"));
    }
}
