//! The Deployment of a pool: pods that may do as little as possible.

use serde_json::{Value, json};

use super::{CONFIG_FILE, HTTPS_PORT, METRICS_PORT, Maker, etcd_name, merge, name, ring_name, tls_name};
use crate::cluster::labels;
use crate::digest::{hex, sha256};

/// The user nobody is: 65534 owns nothing on any node.
const NOBODY: i64 = 65_534;
/// Only the pod's group reads mounted Secrets: 0440.
const SECRET_MODE: i32 = 0o440;
/// Gateways without a number.
const REPLICAS: u32 = 1;
/// Seconds between the end of a drain and the kill.
const MARGIN_S: u32 = 15;
/// Old forms that `kubectl rollout undo` finds.
const HISTORY: u32 = 3;

impl Maker<'_> {
    pub(super) fn deployment(&self, config: &str) -> Value {
        let settings = &self.settings.gateway;
        let selector = labels::pods(self.pool);
        let digest: String = hex(&sha256(config.as_bytes())).chars().take(16).collect();
        let mut annotations = json!({
            // A gateway reads its configuration at start: another one is another pod.
            "tidegate.dev/config": digest,
            "prometheus.io/scrape": "true",
            "prometheus.io/port": METRICS_PORT.to_string(),
        });
        merge(&mut annotations, json!(settings.pod_annotations));
        let mut spec = json!({
            "revisionHistoryLimit": HISTORY,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": labels::of_pool(self.pool), "annotations": annotations},
                "spec": self.pod(),
            },
        });
        // With an autoscaler the number is its own.
        if self.gateway.spec.autoscaling.is_none() {
            merge(&mut spec, json!({"replicas": self.gateway.spec.replicas.unwrap_or(REPLICAS)}));
        }
        json!({"spec": spec})
    }

    fn pod(&self) -> Value {
        let settings = &self.settings.gateway;
        let mut pod = json!({
            "serviceAccountName": name(self.pool),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": self.grace_s(),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "fsGroup": NOBODY,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [{
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels::pods(self.pool)},
                "matchLabelKeys": ["pod-template-hash"],
            }],
            "containers": [self.container()],
            "volumes": [
                {"name": "config", "configMap": {"name": name(self.pool)}},
                secret("keys", &ring_name(self.pool)),
                secret("etcd", &etcd_name(self.pool)),
                secret("tls", &tls_name(self.pool, self.gateway)),
                {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
            ],
        });
        if !settings.image_pull_secrets.is_empty() {
            merge(&mut pod, json!({"imagePullSecrets": settings.image_pull_secrets}));
        }
        if !settings.node_selector.is_empty() {
            merge(&mut pod, json!({"nodeSelector": settings.node_selector}));
        }
        if !settings.tolerations.is_empty() {
            merge(&mut pod, json!({"tolerations": settings.tolerations}));
        }
        pod
    }

    fn container(&self) -> Value {
        let settings = &self.settings.gateway;
        let probe = |path: &str, period: u32, failures: u32| {
            json!({
                "httpGet": {"path": path, "port": "metrics"},
                "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures,
            })
        };
        json!({
            "name": "gateway",
            "image": settings.image,
            "imagePullPolicy": settings.image_pull_policy,
            "args": ["--config", format!("/etc/tidegate/config/{CONFIG_FILE}")],
            "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
            "ports": [
                {"name": "https", "containerPort": HTTPS_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            ],
            "readinessProbe": probe("/readyz", 2, 1),
            "livenessProbe": probe("/healthz", 5, 6),
            "resources": settings.resources,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/tidegate/config", "readOnly": true},
                {"name": "keys", "mountPath": "/etc/tidegate/keys", "readOnly": true},
                {"name": "etcd", "mountPath": "/etc/tidegate/etcd", "readOnly": true},
                {"name": "tls", "mountPath": "/etc/tidegate/tls", "readOnly": true},
                {"name": "state", "mountPath": "/var/lib/tidegate"},
            ],
        })
    }

    fn grace_s(&self) -> u32 {
        let drain = self.settings.gateway.drain;
        drain
            .settle_seconds
            .saturating_add(drain.tunnels_seconds.max(drain.requests_seconds))
            .saturating_add(MARGIN_S)
    }
}

fn secret(volume: &str, name: &str) -> Value {
    json!({"name": volume, "secret": {"secretName": name, "defaultMode": SECRET_MODE}})
}
