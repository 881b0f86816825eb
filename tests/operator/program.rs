//! The controller as a program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tidegate_tests::process::Process;
use tidegate_tests::{endpoint, programs, wait};

use crate::cluster::Cluster;

/// An orderly end takes less.
const END: Duration = Duration::from_secs(15);

/// A running controller.
pub(crate) struct Controller {
    pub(crate) process: Process,
    log: PathBuf,
}

impl Controller {
    /// Starts one; `id` is its name in the lease.
    pub(crate) fn start(cluster: &Cluster, id: &str) -> Self {
        let settings = json!({
            "listen": "127.0.0.1:0",
            "namespace": "tidegate-system",
            "audit": {"directory": cluster.files().join(format!("{id}-audit"))},
            "etcd": {"endpoints": [format!("https://127.0.0.1:{}", cluster.etcd_port)]},
            "gateway": {
                "image": "tidegate/gateway:test",
                "resources": {"requests": {"cpu": "100m"}},
                "drain": {"settleSeconds": 1, "tunnelsSeconds": 1, "requestsSeconds": 1},
            },
            "main": {"hosts": ["vpn.example.org"], "replicas": 2},
        });
        let file = cluster.files().join(format!("{id}.yaml"));
        fs::write(&file, settings.to_string()).expect("written");
        let program = programs::own("tidegate-controller").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).arg("--kubeconfig").arg(&cluster.kubeconfig).args(["--id", id]);
        let name = format!("controller-{id}");
        let process = Process::start(&name, cluster.files(), &mut command).expect("it starts");
        Self { process, log: cluster.files().join(format!("{name}.log")) }
    }

    /// Where its metrics are, as it says in its log.
    pub(crate) fn address(&self) -> String {
        endpoint::said(&self.log, "address")
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(mut self) {
        self.process.signal("-TERM").unwrap_or_else(|error| panic!("{error}"));
        let ended = wait::until("an orderly end", END, || match self.process.still_runs() {
            Ok(()) => Err("it runs".to_owned()),
            Err(said) => Ok(said),
        });
        let said = ended.unwrap_or_else(|error| panic!("{error}"));
        assert!(said.contains("exit status: 0"), "{said}");
    }
}
