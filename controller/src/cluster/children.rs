//! From a VpnGateway to the objects it consists of: pure, and the same input gives the same manifests.
//!
//! ```text
//!  VpnGateway + Settings + Observed --children()--> ServiceAccount, ConfigMap, Service, Deployment,
//!                                                   PodDisruptionBudget, NetworkPolicy, HorizontalPodAutoscaler
//! ```
//!
//! All are named `tidegate-gateway-<pool>` and owned by the VpnGateway, so that the cluster removes them with it.
//! [`super::apply`] sends them to the API server.

mod deployment;
mod network;

use kube_client::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};
use tidegate_crd::types::{Autoscaling, VpnGateway};
use tidegate_crd::{API_VERSION, Kind};

use super::labels;
use super::ring::Acknowledged;
use super::settings::Settings;

pub use network::Reach;

/// Where people's connections arrive in a pod.
const HTTPS_PORT: u16 = 8_443;
/// Where metrics and probes are answered in a pod.
const METRICS_PORT: u16 = 9_090;
/// The processor load at which gateways are added when nobody says otherwise, in per cent.
const CPU_PERCENT: u32 = 70;
/// The file of the gateway's configuration.
const CONFIG_FILE: &str = "gateway.json";

/// What a pool's manifests depend on beside its VpnGateway and the settings.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Sessions in the pool at present.
    pub sessions: u32,
    /// What its gateways have to reach.
    pub reach: Reach,
    /// Which of its keys its gateways have.
    pub acknowledged: Acknowledged,
}

/// One object, as it is applied.
#[derive(Clone, Debug)]
pub struct Child {
    /// Where the API server has objects of its kind.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    /// The whole of what the controller says about it.
    pub manifest: Value,
}

/// The name of everything that is made for a pool.
#[must_use]
pub fn name(pool: &str) -> String {
    format!("tidegate-gateway-{pool}")
}

/// The Secret with a pool's key ring.
#[must_use]
pub fn ring_name(pool: &str) -> String {
    format!("tidegate-pool-{pool}")
}

/// The Secret with a pool's certificate for etcd.
#[must_use]
pub fn etcd_name(pool: &str) -> String {
    format!("{}-etcd", name(pool))
}

/// The Secret with the certificate people see.
#[must_use]
pub fn tls_name(pool: &str, gateway: &VpnGateway) -> String {
    let named = gateway.spec.tls.as_ref().map(|tls| tls.secret_name.clone());
    named.unwrap_or_else(|| format!("{}-tls", name(pool)))
}

/// The hosts people reach a pool at; inside the cluster there is one without being named.
#[must_use]
pub fn hosts(pool: &str, namespace: &str, gateway: &VpnGateway) -> Vec<String> {
    match &gateway.spec.hosts {
        Some(hosts) if !hosts.is_empty() => hosts.clone(),
        _ => vec![format!("{}.{namespace}.svc", name(pool))],
    }
}

/// A reference that ties an object to the VpnGateway it is made for.
#[must_use]
pub fn owner(gateway: &VpnGateway) -> Option<Value> {
    let uid = gateway.metadata.uid.as_ref()?;
    Some(json!({
        "apiVersion": API_VERSION, "kind": Kind::VpnGateway.as_str(),
        "name": gateway.metadata.name, "uid": uid, "controller": true, "blockOwnerDeletion": true,
    }))
}

/// Everything a VpnGateway consists of; nothing for one that the API server did not store.
#[must_use]
pub fn children(gateway: &VpnGateway, settings: &Settings, observed: &Observed) -> Vec<Child> {
    let (Some(pool), Some(namespace), Some(owner)) =
        (&gateway.metadata.name, &gateway.metadata.namespace, owner(gateway))
    else {
        return Vec::new();
    };
    let maker = Maker { gateway, settings, observed, pool, namespace, owner };
    let config = maker.config();
    let mut children = vec![
        maker.child(
            "v1",
            "ServiceAccount",
            "serviceaccounts",
            json!({"automountServiceAccountToken": false}),
        ),
        maker.child("v1", "ConfigMap", "configmaps", json!({"data": {CONFIG_FILE: config.as_str()}})),
        maker.child("v1", "Service", "services", maker.service()),
        maker.child("apps/v1", "Deployment", "deployments", maker.deployment(&config)),
        maker.child("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", maker.budget()),
    ];
    if settings.gateway.network_policy.enabled {
        let policy = maker.network_policy();
        children.push(maker.child(NETWORK_POLICY.0, NETWORK_POLICY.1, NETWORK_POLICY.2, policy));
    }
    if let Some(autoscaling) = &gateway.spec.autoscaling {
        children.push(maker.child(AUTOSCALER.0, AUTOSCALER.1, AUTOSCALER.2, maker.autoscaler(autoscaling)));
    }
    children
}

const AUTOSCALER: (&str, &str, &str) =
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers");

const NETWORK_POLICY: (&str, &str, &str) = ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");

/// The kinds of children a VpnGateway has no longer, which are removed if they are there.
#[must_use]
pub fn superfluous(gateway: &VpnGateway, settings: &Settings) -> Vec<ApiResource> {
    let unwanted = [
        (AUTOSCALER, gateway.spec.autoscaling.is_none()),
        (NETWORK_POLICY, !settings.gateway.network_policy.enabled),
    ];
    let unwanted = unwanted.into_iter().filter(|(_, unwanted)| *unwanted);
    unwanted.map(|((api, kind, plural), _)| resource(api, kind, plural)).collect()
}

/// Where the API server has objects of a kind.
fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

struct Maker<'a> {
    gateway: &'a VpnGateway,
    settings: &'a Settings,
    observed: &'a Observed,
    pool: &'a str,
    namespace: &'a str,
    owner: Value,
}

impl Maker<'_> {
    fn child(&self, api_version: &str, kind: &str, plural: &str, body: Value) -> Child {
        let name = name(self.pool);
        let mut manifest = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": labels::of_pool(self.pool),
                "ownerReferences": [self.owner],
            },
        });
        merge(&mut manifest, body);
        Child { resource: resource(api_version, kind, plural), name, manifest }
    }

    /// The gateway's configuration file; `docs/reference/gateway.md` explains its fields.
    fn config(&self) -> String {
        let settings = &self.settings.gateway;
        let hosts = hosts(self.pool, self.namespace, self.gateway);
        let mut config = json!({
            "pool": self.pool,
            "host": hosts.first(),
            "etcd": {
                "endpoints": self.settings.etcd.endpoints,
                "caFile": "/etc/tidegate/etcd/ca.crt",
                "certificateFile": "/etc/tidegate/etcd/tls.crt",
                "keyFile": "/etc/tidegate/etcd/tls.key",
            },
            "keysDirectory": "/etc/tidegate/keys",
            "tls": {"certificateFile": "/etc/tidegate/tls/tls.crt", "keyFile": "/etc/tidegate/tls/tls.key"},
            "snapshotFile": "/var/lib/tidegate/snapshot",
            "audit": {"directory": "/var/lib/tidegate/audit"},
            "drain": {
                "settleSeconds": settings.drain.settle_seconds,
                "tunnelsSeconds": settings.drain.tunnels_seconds,
                "requestsSeconds": settings.drain.requests_seconds,
            },
        });
        if let Some(staleness) = &self.gateway.spec.staleness {
            let seconds = |minutes: u32| minutes.saturating_mul(60);
            merge(
                &mut config,
                json!({"staleness": {
                    "newLoginsSeconds": seconds(staleness.new_logins_minutes),
                    "endSessionsSeconds": seconds(staleness.end_sessions_minutes),
                }}),
            );
        }
        if !settings.proxy_protocol.is_empty() {
            merge(&mut config, json!({"proxyProtocol": {"trusted": settings.proxy_protocol}}));
        }
        if let Some(port) = settings.service.node_port.filter(|_| settings.service.r#type == "NodePort") {
            merge(&mut config, json!({"publicPort": port}));
        }
        serde_json::to_string_pretty(&config).unwrap_or_default()
    }

    fn service(&self) -> Value {
        let settings = &self.settings.gateway.service;
        let mut port = json!({"name": "https", "port": 443, "targetPort": "https", "protocol": "TCP"});
        let mut spec = json!({"type": settings.r#type, "selector": labels::pods(self.pool)});
        if settings.r#type != "ClusterIP" {
            if let Some(node_port) = settings.node_port {
                merge(&mut port, json!({"nodePort": node_port}));
            }
            if let Some(policy) = &settings.external_traffic_policy {
                merge(&mut spec, json!({"externalTrafficPolicy": policy}));
            }
        }
        merge(&mut spec, json!({"ports": [port]}));
        let mut service = json!({"spec": spec});
        if !settings.annotations.is_empty() {
            merge(&mut service, json!({"metadata": {"annotations": settings.annotations}}));
        }
        service
    }

    fn budget(&self) -> Value {
        json!({"spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": labels::pods(self.pool)},
            // A gateway that is not ready serves nobody, and must not hold up a node's maintenance.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }})
    }

    fn autoscaler(&self, autoscaling: &Autoscaling) -> Value {
        let wanted = autoscaling
            .sessions_per_pod
            .filter(|most| *most > 0)
            .map_or(0, |most| self.observed.sessions.div_ceil(most));
        let least = autoscaling.min.max(wanted).min(autoscaling.max).max(1);
        json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name(self.pool)},
            "minReplicas": least,
            "maxReplicas": autoscaling.max.max(1),
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {
                "type": "Utilization",
                "averageUtilization": autoscaling.cpu_percent.unwrap_or(CPU_PERCENT),
            }}}],
        }})
    }
}

/// Adds what `more` says to `value`: objects field by field, anything else as a whole.
fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (key, more) in more {
                match fields.get_mut(&key) {
                    Some(field) => merge(field, more),
                    None => _ = fields.insert(key, more),
                }
            }
        }
        (value, more) => *value = more,
    }
}

/// The smallest change of a Deployment that keeps its number of gateways while somebody else takes it over.
#[must_use]
pub fn replicas_only(child: &Child, replicas: i32) -> Value {
    let mut manifest = Map::new();
    for key in ["apiVersion", "kind"] {
        manifest.insert(key.into(), child.manifest.get(key).cloned().unwrap_or_default());
    }
    manifest.insert("metadata".into(), json!({"name": child.name}));
    manifest.insert("spec".into(), json!({"replicas": replicas}));
    Value::Object(manifest)
}

#[cfg(test)]
mod tests;
