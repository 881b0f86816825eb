//! Pods of the pool as the API has them, each with a real gateway that runs on what the controller made for it.
//!
//! Nothing here runs pods: the test starts the program itself, under the UID that the API gave the pod, with the
//! files a kubelet would have mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::process::Process;
use tidegate_tests::programs;

use crate::cluster::Cluster;
use crate::program;

/// A pod and its gateway.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) gateway: Process,
    log: PathBuf,
}

impl Pod {
    /// Makes the pod and starts its gateway.
    pub(crate) fn start(cluster: &Cluster, name: &str) -> Self {
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "tidegate-system",
                "labels": {"app.kubernetes.io/name": "tidegate-gateway", "tidegate.dev/pool": "main"},
            },
            "spec": {
                "serviceAccountName": "tidegate-gateway-main",
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "gateway", "image": "tidegate/gateway:test"}],
            },
        }));
        let pod = cluster.get("pod", name).unwrap_or_else(|error| panic!("{error}"));
        let uid = pod["metadata"]["uid"].as_str().expect("a UID");
        let config = mount(cluster, &cluster.files().join(name));
        let program = programs::own("tidegate-gateway").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(program);
        command.arg("--config").arg(config).env("POD_UID", uid);
        let gateway = Process::start(name, cluster.files(), &mut command).expect("it starts");
        Self { name: name.to_owned(), gateway, log: cluster.files().join(format!("{name}.log")) }
    }

    /// Where its metrics are, as it says in its log.
    pub(crate) fn metrics_address(&self) -> String {
        program::said(&self.log, "metrics")
    }

    /// Sends its gateway a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.gateway.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
        assert!(sent.success(), "{sent}");
    }
}

/// Lays the volumes of the pod out below a folder; the configuration in it says so.
fn mount(cluster: &Cluster, folder: &Path) -> PathBuf {
    let secrets = [
        ("etc/etcd", "tidegate-gateway-main-etcd", ["ca.crt", "tls.crt", "tls.key"].as_slice()),
        ("etc/tls", "tidegate-gateway-main-tls", ["tls.crt", "tls.key"].as_slice()),
        ("etc/keys", "tidegate-pool-main", ["1"].as_slice()),
    ];
    for (place, secret, keys) in secrets {
        let directory = folder.join(place);
        fs::create_dir_all(&directory).expect("a folder");
        for key in keys {
            fs::write(directory.join(key), cluster.secret(secret, key)).expect("written");
        }
    }
    fs::create_dir_all(folder.join("var")).expect("a folder");
    let map = cluster.get("configmap", "tidegate-gateway-main").unwrap_or_else(|error| panic!("{error}"));
    let text = map["data"]["gateway.json"].as_str().expect("a configuration");
    let path = |place: &str| folder.join(place).display().to_string();
    let text = text.replace("/etc/tidegate", &path("etc")).replace("/var/lib/tidegate", &path("var"));
    // Several gateways share this machine's ports.
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["listen"] = "127.0.0.1:0".into();
    config["metricsListen"] = "127.0.0.1:0".into();
    let file = folder.join("gateway.json");
    fs::write(&file, config.to_string()).expect("written");
    file
}
