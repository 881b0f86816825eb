//! The controller: where it is installed, whether it runs and leads, and what it says about etcd.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube_client::Api;
use kube_client::api::ListParams;
use tidegate_controller::cluster::{lease, term};

use super::metrics::Metrics;
use super::seen;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};
use crate::serve;

/// What the chart calls the controller's objects by.
const SELECTOR: &str = "app.kubernetes.io/name=tidegate-controller";
/// Seconds for which a write that failed is worth a word.
const WRITES_RECENT_S: i64 = 15 * 60;
/// The Deployment's own name.
const DEPLOYMENT: &str = "tidegate-controller";

/// What was found installed.
pub(crate) struct Installed {
    /// Where.
    pub(crate) namespace: String,
    /// The account the controller runs as.
    pub(crate) service_account: String,
    /// What the leading replica says, or why it cannot be read.
    leader: Result<Metrics, String>,
}

impl Installed {
    /// What the leading replica says, if it can be read.
    pub(crate) fn leader(&self) -> Option<&Metrics> {
        self.leader.as_ref().ok()
    }
}

/// Finds the installation, in `namespace` or wherever it is.
pub(crate) async fn check(cluster: &Cluster, namespace: Option<&str>) -> (Vec<Finding>, Option<Installed>) {
    let address = &cluster.address;
    let deployments: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    let params = ListParams::default().labels(SELECTOR);
    let listed = call(deployments.list(&params)).await;
    let listed = match seen("controller-installed", "Deployments", listed, address) {
        Ok(list) => list.map(|list| list.items).unwrap_or_default(),
        Err(finding) => return (vec![finding], None),
    };
    let mut found = listed.into_iter().filter(|item| item.metadata.name.as_deref() == Some(DEPLOYMENT));
    let (deployment, others) = (found.next(), found.count());
    let Some(deployment) = deployment else {
        let place = namespace.map_or_else(|| "the cluster".to_owned(), |name| format!("namespace {name}"));
        let what = format!("there is no controller in {place}");
        let hint = "install the chart, or name its namespace with -n";
        return (vec![Finding::error("controller-installed", what, hint)], None);
    };
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let mut findings = vec![if others == 0 {
        Finding::ok("controller-installed", format!("Deployment {DEPLOYMENT} in {namespace}"))
    } else {
        let what = format!("{} controllers are installed; this is the one in {namespace}", others + 1);
        Finding::error("controller-installed", what, "only one may be: remove the other, or name it with -n")
    }];
    findings.push(available(&deployment));
    let (finding, holder) = leads(cluster, &namespace).await;
    findings.push(finding);
    findings.push(takeovers(cluster, &namespace).await);
    let leader = match holder {
        Some(holder) => of_leader(cluster, &namespace, &holder).await,
        None => Err("no replica leads".to_owned()),
    };
    let spec = deployment.spec.and_then(|spec| spec.template.spec);
    let service_account =
        spec.and_then(|spec| spec.service_account_name).unwrap_or_else(|| "default".to_owned());
    (findings, Some(Installed { namespace, service_account, leader }))
}

fn available(deployment: &Deployment) -> Finding {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let what = format!("{ready} of {wanted} replicas are ready");
    let hint = "kubectl describe and kubectl logs of the pods say why";
    match ready {
        0 => Finding::error("controller-ready", what, hint),
        _ if ready < wanted => Finding::warning("controller-ready", what, hint),
        _ => Finding::ok("controller-ready", what),
    }
}

/// Whether somebody holds the lease now, and who.
async fn leads(cluster: &Cluster, namespace: &str) -> (Finding, Option<String>) {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let hint = "the log of the controller says why it cannot lead";
    let lease = call(leases.get(lease::NAME)).await;
    let lease = match seen("controller-leads", "the controller's Lease", lease, &cluster.address) {
        Err(finding) => return (finding, None),
        Ok(None) => return (Finding::error("controller-leads", "no replica has ever led", hint), None),
        Ok(Some(lease)) => lease.spec.unwrap_or_default(),
    };
    let Some(holder) = lease.holder_identity.filter(|holder| !holder.is_empty()) else {
        return (Finding::error("controller-leads", "no replica leads", hint), None);
    };
    let renewed = lease.renew_time.map_or(0, |time| time.0.as_second());
    let silent = serve::now().0 - renewed;
    let counts = i64::from(lease.lease_duration_seconds.unwrap_or(15));
    if silent > counts {
        let what = format!("{holder} led, but has not renewed its lease for {silent} s");
        return (Finding::error("controller-leads", what, hint), None);
    }
    (Finding::ok("controller-leads", format!("{holder} leads")), Some(holder))
}

async fn takeovers(cluster: &Cluster, namespace: &str) -> Finding {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let hint = "without it generations could go back; the controller makes it at its first takeover";
    match seen("controller-term", term::NAME, call(maps.get(term::NAME)).await, &cluster.address) {
        Err(finding) => finding,
        Ok(None) => Finding::error("controller-term", format!("ConfigMap {} is not there", term::NAME), hint),
        Ok(Some(map)) => match map.data.unwrap_or_default().get("term") {
            Some(term) => Finding::ok("controller-term", format!("term {term}")),
            None => Finding::error("controller-term", format!("ConfigMap {} has no term", term::NAME), hint),
        },
    }
}

async fn of_leader(cluster: &Cluster, namespace: &str, holder: &str) -> Result<Metrics, String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = call(pods.list(&ListParams::default().labels(SELECTOR))).await;
    let listed = listed.map_err(|failure| format!("{:#}", failure.explained(&cluster.address)))?;
    // The holder is the pod's name, and what tells a restarted process from the one before.
    let name = holder.rsplit_once('_').map_or(holder, |(name, _)| name);
    let pod = listed.items.into_iter().find(|pod| pod.metadata.name.as_deref() == Some(name));
    let pod = pod.ok_or_else(|| format!("the leader {holder} is no pod of {namespace}"))?;
    let metrics = Metrics::of_pod(cluster, &pod).await;
    metrics.map_err(|failure| format!("{:#}", failure.explained(&cluster.address)))
}

/// What the leading replica says about etcd.
pub(crate) fn store(installed: &Installed) -> Vec<Finding> {
    let metrics = match &installed.leader {
        Ok(metrics) => metrics,
        Err(why) => {
            let what = format!("what the controller says about etcd cannot be read: {why}");
            let hint = "it is read through the API server: you need `get` on pods/proxy, and a leader";
            return vec![Finding::skipped("store-version", what, hint)];
        }
    };
    let version = match metrics.label("tidegate_controller_etcd_info", "version") {
        Some(version) => Finding::ok("store-version", format!("etcd {version}")),
        None => Finding::error(
            "store-version",
            "the controller has not reached etcd",
            "its log says why: etcd is away, its certificate is refused, or it is older than supported",
        ),
    };
    vec![version, writes(metrics, serve::now().0)]
}

/// Whether writes fail these days. What failed long ago was tried again, and is no news.
fn writes(metrics: &Metrics, now: i64) -> Finding {
    let failed = metrics.largest("tidegate_controller_last_write_failure_timestamp_seconds");
    #[expect(clippy::cast_possible_truncation, reason = "a time in seconds; what is none counts as long ago")]
    let ago = failed.map(|at| now.saturating_sub(at as i64));
    match ago {
        Some(ago) if ago < WRITES_RECENT_S => {
            let failures = metrics.sum("tidegate_controller_write_failures_total");
            let what =
                format!("a write failed {} s ago, the {failures}. since the controller started", ago.max(0));
            let hint = "each is tried again; the controller's log says what failed";
            Finding::warning("store-writes", what, hint)
        }
        _ => Finding::ok("store-writes", "the controller can write what it publishes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_that_failed_is_forgotten_in_time() {
        let metrics = Metrics::of(
            "tidegate_controller_write_failures_total{to=\"store\"} 1\n\
             tidegate_controller_last_write_failure_timestamp_seconds{to=\"store\"} 1795000000\n",
        );
        let at = |seconds| writes(&metrics, 1_795_000_000 + seconds);
        assert!(at(30).what.contains("30 s ago"), "{:?}", at(30));
        assert!(at(WRITES_RECENT_S).what.contains("can write"), "{:?}", at(WRITES_RECENT_S));
        assert!(writes(&Metrics::default(), 0).what.contains("can write"));
    }
}
