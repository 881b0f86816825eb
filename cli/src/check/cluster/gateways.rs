//! Pools, their pods, how fresh each gateway is, and how long certificates still count.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube_client::Api;
use kube_client::api::ListParams;
use tidegate_crd::types::VpnGateway;

use super::controller::Installed;
use super::metrics::Metrics;
use super::seen;
use crate::check::certificate;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};
use crate::serve;

/// Gateways whose metrics are read, of each pool.
const PODS_MAX: usize = 50;

/// Seconds without a proof of freshness that are normal.
const FRESH_S: f64 = 5.0;

/// Seconds by which a clock differs without anybody having to look.
const SKEW_S: f64 = 5.0;

/// Seconds by which a clock is wrong.
const SKEW_MAX_S: f64 = 30.0;

const LOGS: &str = "kubectl describe and kubectl logs of the pod say why";

/// Every pool, and every gateway in it.
pub(crate) async fn check(cluster: &Cluster, installed: &Installed) -> Vec<Finding> {
    let pools: Api<VpnGateway> = Api::namespaced(cluster.client.clone(), &installed.namespace);
    let listed = call(pools.list(&ListParams::default())).await;
    let listed = match seen("pool", "VpnGateways", listed, &cluster.address) {
        Ok(list) => list.map(|list| list.items).unwrap_or_default(),
        Err(finding) => return vec![finding],
    };
    if listed.is_empty() {
        let what = format!("there is no VpnGateway in {}", installed.namespace);
        let hint = "the controller makes `main` when it leads; otherwise apply one";
        return vec![Finding::error("pool", what, hint)];
    }
    let mut findings = Vec::new();
    for pool in listed {
        let name = pool.metadata.name.clone().unwrap_or_default();
        findings.push(condition(&name, &pool));
        findings.extend(pods(cluster, installed, &name).await);
    }
    findings
}

fn condition(name: &str, pool: &VpnGateway) -> Finding {
    let conditions = pool.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions
        .filter(|condition| condition.r#type == "Ready")
        .find(|condition| condition.observed_generation >= pool.metadata.generation);
    match ready {
        Some(ready) if ready.status == "True" => Finding::ok("pool", format!("VpnGateway {name} is ready")),
        Some(ready) => {
            let what = format!("VpnGateway {name}: {}: {}", ready.reason, ready.message);
            Finding::error(
                "pool",
                what,
                "mend what the condition says; kubectl describe vgw shows all of them",
            )
        }
        None => {
            let what = format!("the controller has not judged VpnGateway {name} as it is now");
            Finding::warning("pool", what, "it does so within a second while it leads and etcd answers")
        }
    }
}

async fn pods(cluster: &Cluster, installed: &Installed, pool: &str) -> Vec<Finding> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &installed.namespace);
    let selector = format!("app.kubernetes.io/name=tidegate-gateway,tidegate.dev/pool={pool}");
    let listed = call(pods.list(&ListParams::default().labels(&selector))).await;
    let listed = match seen("gateway-ready", "Pods", listed, &cluster.address) {
        Ok(list) => list.map(|list| list.items).unwrap_or_default(),
        Err(finding) => return vec![finding],
    };
    if listed.is_empty() {
        let what = format!("{pool} has no gateway: nobody can log in");
        let hint = "see its Deployment, and `replicas` of the VpnGateway";
        return vec![Finding::error("gateway-ready", what, hint)];
    }
    let mut findings = Vec::new();
    for pod in listed.iter().take(PODS_MAX) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        findings.push(ready(pool, name, pod));
        let said = match Metrics::of_pod(cluster, pod).await {
            Ok(metrics) => {
                findings.push(clock(pool, name, &metrics));
                fresh(pool, name, &metrics)
            }
            Err(failure) => Finding::skipped(
                "gateway-fresh",
                format!("{pool}/{name}: its metrics cannot be read"),
                format!("{:#}", failure.explained(&cluster.address)),
            ),
        };
        findings.push(said);
    }
    if listed.len() > PODS_MAX {
        let what = format!("{pool}: {} more gateways", listed.len() - PODS_MAX);
        findings.push(Finding::skipped("gateway-ready", what, "look at them with kubectl get pods"));
    }
    findings
}

fn ready(pool: &str, name: &str, pod: &Pod) -> Finding {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if ready {
        return Finding::ok("gateway-ready", format!("{pool}/{name} is ready"));
    }
    let leaving = pod.metadata.deletion_timestamp.is_some();
    let what = format!("{pool}/{name} is {}", if leaving { "going away" } else { "not ready" });
    if leaving { Finding::ok("gateway-ready", what) } else { Finding::error("gateway-ready", what, LOGS) }
}

fn fresh(pool: &str, name: &str, metrics: &Metrics) -> Finding {
    if let Some(broken) = metrics.value("tidegate_broken_departments").filter(|broken| *broken > 0.0) {
        let what = format!("{pool}/{name} denies {broken} departments whose rules it cannot load");
        return Finding::error("gateway-fresh", what, "its log says why");
    }
    match metrics.value("tidegate_staleness_seconds") {
        Some(seconds) if seconds < FRESH_S => {
            Finding::ok("gateway-fresh", format!("{pool}/{name} is {seconds:.1} s behind etcd"))
        }
        Some(seconds) => {
            let what = format!("{pool}/{name} has heard nothing from etcd for {seconds:.0} s");
            let hint = "revocations do not reach it; its log says why etcd does not answer";
            Finding::error("gateway-fresh", what, hint)
        }
        None => {
            let what = format!("{pool}/{name} does not say how fresh it is");
            Finding::warning("gateway-fresh", what, LOGS)
        }
    }
}

fn clock(pool: &str, name: &str, metrics: &Metrics) -> Finding {
    let hint =
        "dates and timetables are judged by it: see to the time service of its node and of the controller's";
    match metrics.value("tidegate_clock_skew_seconds") {
        Some(skew) if skew.abs() < SKEW_S => {
            Finding::ok("gateway-clock", format!("{pool}/{name} has the controller's time"))
        }
        Some(skew) => {
            let direction = if skew > 0.0 { "ahead of" } else { "behind" };
            let what =
                format!("the clock of {pool}/{name} is {:.0} s {direction} the controller's", skew.abs());
            if skew.abs() < SKEW_MAX_S {
                Finding::warning("gateway-clock", what, hint)
            } else {
                Finding::error("gateway-clock", what, hint)
            }
        }
        None => {
            let what = format!("{pool}/{name} does not say what time it is");
            Finding::warning("gateway-clock", what, LOGS)
        }
    }
}

/// Every certificate in the installation's namespace.
pub(crate) async fn certificates(cluster: &Cluster, installed: &Installed) -> Vec<Finding> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &installed.namespace);
    let listed = call(secrets.list(&ListParams::default())).await;
    let listed = match seen("certificate", "Secrets, so certificates", listed, &cluster.address) {
        Ok(list) => list.map(|list| list.items).unwrap_or_default(),
        Err(finding) => return vec![finding],
    };
    let hint = "the controller renews what it made: see its log; renew what you brought";
    let found: Vec<Finding> = listed
        .iter()
        .filter_map(|secret| {
            let pem = secret.data.as_ref()?.get("tls.crt")?;
            let name = format!("Secret {}", secret.metadata.name.as_deref().unwrap_or_default());
            Some(certificate::judge("certificate", &name, &pem.0, serve::now().0, hint))
        })
        .collect();
    if found.is_empty() {
        let what = format!("there is no certificate in {}", installed.namespace);
        return vec![Finding::error(
            "certificate",
            what,
            "the controller makes them at its start: see its log",
        )];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told() {
        for (value, said) in
            [("1", "has the controller's time"), ("-9", "9 s behind"), ("45", "45 s ahead of")]
        {
            let metrics = Metrics::of(&format!("tidegate_clock_skew_seconds {value}\n"));
            let finding = clock("main", "gw-0", &metrics);
            assert!(finding.what.contains(said), "{finding:?}");
        }
        assert!(clock("main", "gw-0", &Metrics::of("")).what.contains("does not say"));
    }
}
