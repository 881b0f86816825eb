//! Pods of the pool as the API has them, each with a real gateway that runs on what the controller made for it.
//!
//! Nothing here runs pods: the test starts the program itself, under the UID that the API gave the pod, with the
//! files a kubelet would have mounted.

use std::path::PathBuf;
use std::process::Command;

use tidegate_tests::process::Process;
use tidegate_tests::{endpoint, pod, programs};

use crate::cluster::Cluster;

/// A pod and its gateway.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) gateway: Process,
    log: PathBuf,
}

impl Pod {
    /// Makes the pod and starts its gateway.
    pub(crate) fn start(cluster: &Cluster, name: &str) -> Self {
        cluster.apply(&pod::manifest(name));
        let made = cluster.get("pod", name).unwrap_or_else(|error| panic!("{error}"));
        let uid = made["metadata"]["uid"].as_str().expect("a UID");
        let config = cluster.mount(&cluster.files().join(name));
        let program = programs::own("tidegate-gateway").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(program);
        command.arg("--config").arg(config).env("POD_UID", uid);
        let gateway = Process::start(name, cluster.files(), &mut command).expect("it starts");
        Self { name: name.to_owned(), gateway, log: cluster.files().join(format!("{name}.log")) }
    }

    /// Where its metrics are, as it says in its log.
    pub(crate) fn metrics_address(&self) -> String {
        endpoint::said(&self.log, "metrics")
    }

    /// Sends its gateway a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.gateway.signal(signal).unwrap_or_else(|error| panic!("{error}"));
    }
}
