//! The controller as a program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::process::Process;
use tidegate_tests::{programs, wait};

use crate::cluster::Cluster;

/// An orderly end takes less.
const END: Duration = Duration::from_secs(15);
/// An answer takes less.
const ANSWER: Duration = Duration::from_secs(5);

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
        said(&self.log, "address")
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success(), "{sent}");
        let ended = wait::until("an orderly end", END, || match self.process.still_runs() {
            Ok(()) => Err("it runs".to_owned()),
            Err(said) => Ok(said),
        });
        let said = ended.unwrap_or_else(|error| panic!("{error}"));
        assert!(said.contains("exit status: 0"), "{said}");
    }
}

/// The first value of a field in a program's log; the gateway keeps fields one level deeper than the controller.
pub(crate) fn said(log: &Path, field: &str) -> String {
    let find = || {
        let log = fs::read_to_string(log).map_err(|error| error.to_string())?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let value = |line: Value| line[field].as_str().map(str::to_owned);
        let mut values = lines.filter_map(value);
        values.next().ok_or_else(|| "not in the log yet".to_owned())
    };
    wait::until(field, ANSWER, find).unwrap_or_else(|error| panic!("{error}"))
}

/// All metrics, as the endpoint says them.
pub(crate) fn exposition(address: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(said)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(said)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or(answer)
}

/// A metric without labels.
pub(crate) fn metric(address: &str, name: &str) -> Result<u64, String> {
    let all = exposition(address)?;
    let value = all.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| format!("{name} is not in\n{all}"))
}
