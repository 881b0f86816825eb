//! The controller as a program on a real API server, under the rights the chart gives it, with a real etcd that
//! takes nobody without a certificate: what it makes before etcd is there, who leads, and what it puts right.
//!
//! One control plane serves all steps, since starting it is most of the time.

mod admin;
mod cluster;
mod pods;
mod program;

use std::time::Duration;

use cluster::Cluster;
use pods::Pod;
use program::Controller;
use serde_json::{Value, json};
use tidegate_tests::process::Process;
use tidegate_tests::{endpoint, promtool, wait};

/// No step takes longer.
const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn the_controller_on_a_real_api_server() {
    let Some(cluster) = Cluster::start_or_skip() else { return };
    let mut first = Controller::start(&cluster, "first");
    made_before_etcd(&cluster, &mut first);
    let second = Controller::start(&cluster, "second");

    let etcd = cluster.start_etcd();
    publishes(&cluster, &mut first);
    admin::check(&cluster, &first.address());
    audits(&cluster, &mut first);
    gateways_count(&cluster, &mut first);
    let _etcd = starts_over(&cluster, &mut first, etcd);
    repairs(&cluster, &mut first);
    scales(&cluster, &mut first);
    refuses_a_second_pool(&cluster, &mut first);
    hands_over(&cluster, first, second);
}

/// Waits for what a closure asks; fails with the controller's log.
fn eventually<T>(controller: &mut Controller, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let answer = wait::until(what, DEADLINE, || match controller.process.still_runs() {
        Ok(()) => ask().map(Ok),
        Err(ended) => Ok(Err(ended)),
    });
    let answer = answer.and_then(|answer| answer);
    answer.unwrap_or_else(|error| panic!("{error}\n{}", controller.process.log_tail()))
}

fn made_before_etcd(cluster: &Cluster, first: &mut Controller) {
    eventually(first, "it leads", || cluster.holder_is("first"));
    for secret in [
        "tidegate-root",
        "tidegate-pool-main",
        "tidegate-etcd-ca",
        "tidegate-etcd-server",
        "tidegate-etcd-client-controller",
        "tidegate-gateway-main-etcd",
        "tidegate-gateway-main-tls",
    ] {
        eventually(first, secret, || cluster.get("secret", secret));
    }
    for kind in ["deployment", "service", "configmap", "serviceaccount", "poddisruptionbudget"] {
        eventually(first, kind, || cluster.get(kind, "tidegate-gateway-main"));
    }
    eventually(first, "the authority for people", || cluster.get("configmap", "tidegate-gateway-ca"));
    let deployment = cluster.get("deployment", "tidegate-gateway-main").expect("it is there");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["kind"], "VpnGateway");
    assert_eq!(deployment["spec"]["replicas"], 2);
}

fn publishes(cluster: &Cluster, first: &mut Controller) {
    cluster.apply_example();
    eventually(first, "the term is counted", || match cluster.term()? {
        0 => Err("0".to_owned()),
        _ => Ok(()),
    });
    let address = first.address();
    eventually(first, "it publishes", || {
        match endpoint::metric(&address, "tidegate_controller_published_sequence")? {
            0 => Err("nothing yet".to_owned()),
            _ => Ok(()),
        }
    });
    assert_eq!(endpoint::metric(&address, "tidegate_controller_leader"), Ok(1));
    eventually(first, "departments' groups are bound", || {
        let binding = cluster.get_in("dept-sbj", "rolebinding", "tidegate-approvers")?;
        assert_eq!(binding["roleRef"]["name"], "tidegate-approver");
        cluster.get_in("dept-sbj", "rolebinding", "tidegate-controller")
    });
    eventually(first, "approvers approve", || cluster.approve());
    eventually(first, "an activation code waits to be handed over", || {
        let codes = cluster.activations("dept-sbj")?;
        if codes == 0 { Err("none yet".to_owned()) } else { Ok(()) }
    });
}

/// What was accepted is in the audit trail, which is printed for whoever collects logs, too.
fn audits(cluster: &Cluster, first: &mut Controller) {
    let trail = cluster.files().join("first-audit");
    eventually(first, "the audit trail", || {
        let mut files = std::fs::read_dir(&trail).map_err(|error| error.to_string())?.filter_map(Result::ok);
        let told = files
            .any(|file| std::fs::read_to_string(file.path()).is_ok_and(|lines| lines.contains("wangfang")));
        if told { Ok(()) } else { Err("it does not name an account".to_owned()) }
    });
}

fn gateways_count(cluster: &Cluster, first: &mut Controller) {
    let propagated = |first: &mut Controller, what: &str| {
        eventually(first, what, || match cluster.condition("Propagated")? {
            said if said.contains(what) => Ok(()),
            said => Err(said),
        });
    };
    propagated(first, "NoGateway");
    let (one, mut two) = (Pod::start(cluster, "one"), Pod::start(cluster, "two"));
    propagated(first, "in force on 2 of 2 gateways");
    readiness_is_that_of_the_pods(cluster, first);
    for address in [first.address(), one.metrics_address()] {
        let exposition = endpoint::exposition(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
        promtool::check_or_skip(&exposition).unwrap_or_else(|error| panic!("{error}"));
    }

    // One that leaves in order is not missed, although its pod is still there.
    two.signal("-TERM");
    propagated(first, "in force on 1 of 1 gateways");
    eventually(first, "an orderly end", || match two.gateway.still_runs() {
        Ok(()) => Err("it runs".to_owned()),
        Err(_) => Ok(()),
    });

    // One that is killed is missed until its pod is gone.
    let three = Pod::start(cluster, "three");
    propagated(first, "in force on 2 of 2 gateways");
    three.signal("-KILL");
    cluster.kubectl(&["delete", "pod", &three.name, "--grace-period=0", "--force", "--timeout=30s"]);
    propagated(first, "in force on 1 of 1 gateways");

    // One that stands still beside one that does not is replaced.
    let four = Pod::start(cluster, "four");
    propagated(first, "in force on 2 of 2 gateways");
    four.signal("-STOP");
    eventually(first, "its pod is deleted", || match cluster.get("pod", &four.name) {
        Ok(_) => Err("it is there".to_owned()),
        Err(_) => Ok(()),
    });
    propagated(first, "in force on 1 of 1 gateways");
    drop(four);
    one.signal("-TERM");
    propagated(first, "NoGateway");
}

/// The pool is ready with its pods; a kubelet and the Deployment's controller would say of them what we say here.
fn readiness_is_that_of_the_pods(cluster: &Cluster, first: &mut Controller) {
    let deployment = cluster.get("deployment", "tidegate-gateway-main").expect("the Deployment");
    let wanted = deployment["spec"]["replicas"].clone();
    for (number, ready) in [(json!(0), "False GatewaysNotReady"), (wanted, "True Ready")] {
        let status = json!({"replicas": number, "readyReplicas": number, "availableReplicas": number});
        let patch = json!({"status": status}).to_string();
        let name = "deployment/tidegate-gateway-main";
        cluster.kubectl(&["patch", name, "--subresource=status", "--type=merge", "--patch", &patch]);
        eventually(first, ready, || match cluster.condition("Ready")? {
            said if said.starts_with(ready) => Ok(()),
            said => Err(said),
        });
    }
}

/// A wiped store is filled again, and everybody logs in again, since it has forgotten whose sessions were ended.
fn starts_over(cluster: &Cluster, first: &mut Controller, etcd: Process) -> Process {
    // A wiped etcd calls itself the same; it only has come less far.
    let revision = || -> Result<u64, String> {
        let text = cluster.get("configmap", "tidegate-term")?["data"]["etcdRevision"].clone();
        text.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("noted is {text}"))
    };
    let known = revision().expect("the store is noted");
    let etcd = cluster.wipe_etcd(etcd);
    eventually(first, "it says so", || match first_log(cluster).contains("everybody logs in again") {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    });
    eventually(first, "the new store is noted", || {
        let now = revision()?;
        if now < known { Ok(()) } else { Err(format!("{now}, and {known} before")) }
    });
    let pod = Pod::start(cluster, "after");
    eventually(first, "a gateway has it in force", || match cluster.condition("Propagated")? {
        said if said.contains("in force on 1 of 1 gateways") => Ok(()),
        said => Err(said),
    });
    pod.signal("-TERM");
    etcd
}

fn first_log(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.files().join("controller-first.log")).unwrap_or_default()
}

fn repairs(cluster: &Cluster, first: &mut Controller) {
    let data = |secret: Value| secret["data"].clone();
    for secret in ["tidegate-root", "tidegate-pool-main", "tidegate-etcd-ca"] {
        let before = data(cluster.get("secret", secret).expect(secret));
        cluster.kubectl(&["delete", "secret", secret]);
        let after = eventually(first, "a deleted Secret comes back", || cluster.get("secret", secret));
        assert!(data(after) == before, "{secret} came back as another one");
    }
    cluster.kubectl(&[
        "delete",
        "deployment",
        "tidegate-gateway-main",
        "--cascade=background",
        "--timeout=30s",
    ]);
    eventually(first, "a deleted child comes back", || cluster.get("deployment", "tidegate-gateway-main"));
    let patch = r#"{"spec":{"ports":[{"port":443,"name":"https","targetPort":"elsewhere"}]}}"#;
    cluster.kubectl(&["patch", "service", "tidegate-gateway-main", "--type=merge", "--patch", patch]);
    eventually(first, "an edit is put right", || {
        let port = cluster.get("service", "tidegate-gateway-main")?["spec"]["ports"][0]["targetPort"].clone();
        if port == "https" { Ok(()) } else { Err(port.to_string()) }
    });
}

fn scales(cluster: &Cluster, first: &mut Controller) {
    cluster.kubectl(&["scale", "vgw", "main", "--replicas=3"]);
    eventually(first, "the Deployment follows", || {
        let replicas = cluster.get("deployment", "tidegate-gateway-main")?["spec"]["replicas"].clone();
        if replicas == 3 { Ok(()) } else { Err(replicas.to_string()) }
    });
    let scale = cluster.kubectl(&["get", "--raw", cluster::SCALE]);
    let scale: Value = serde_json::from_str(&scale).expect("JSON");
    let selector = scale["status"]["selector"].as_str().expect("a selector");
    assert!(selector.contains("tidegate.dev/pool=main"), "{selector}");

    // Without a number of its own the Deployment keeps the one it had.
    let patch = r#"{"spec":{"replicas":null,"autoscaling":{"min":2,"max":5}}}"#;
    cluster.kubectl(&["patch", "vgw", "main", "--type=merge", "--patch", patch]);
    eventually(first, "the autoscaler", || cluster.get("horizontalpodautoscaler", "tidegate-gateway-main"));
    let deployment = cluster.get("deployment", "tidegate-gateway-main").expect("it is there");
    assert_eq!(deployment["spec"]["replicas"], 3, "the hand-over kept the number");
    let patch = r#"{"spec":{"replicas":2,"autoscaling":null}}"#;
    cluster.kubectl(&["patch", "vgw", "main", "--type=merge", "--patch", patch]);
    eventually(first, "the autoscaler goes", || {
        match cluster.get("horizontalpodautoscaler", "tidegate-gateway-main") {
            Ok(_) => Err("still there".to_owned()),
            Err(_) => Ok(()),
        }
    });
}

fn refuses_a_second_pool(cluster: &Cluster, first: &mut Controller) {
    cluster.apply(&json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnGateway",
        "metadata": {"name": "branch", "namespace": "tidegate-system"},
        "spec": {"hosts": ["branch.example.org"]},
    }));
    eventually(first, "the second pool is told that there is one", || {
        let gateway = cluster.get("vgw", "branch")?;
        let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted");
        match accepted {
            Some(accepted) if accepted["reason"] == "NotYetSupported" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(cluster.get("deployment", "tidegate-gateway-branch").is_err());
    cluster.kubectl(&["delete", "vgw", "branch", "--timeout=30s"]);
}

fn hands_over(cluster: &Cluster, first: Controller, mut second: Controller) {
    let term = cluster.term().expect("a term");
    first.terminate();
    eventually(&mut second, "the second leads", || cluster.holder_is("second"));
    eventually(&mut second, "a takeover raises the term", || match cluster.term()? {
        now if now > term => Ok(()),
        now => Err(now.to_string()),
    });
    let address = second.address();
    eventually(&mut second, "it has published", || {
        match endpoint::metric(&address, "tidegate_controller_term")? {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    });

    // A leader that is killed is followed, too, once its lease has run out.
    let mut third = Controller::start(cluster, "third");
    drop(second);
    eventually(&mut third, "the third leads", || cluster.holder_is("third"));
    third.terminate();
    assert_eq!(cluster.holder().expect("a lease"), "", "the last one gives the lease back");
}
