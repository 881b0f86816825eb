//! The control plane with the chart's definitions and rights, and an etcd for Tidegate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::control_plane::{self, ControlPlane};
use tidegate_tests::helm::{Helm, NAMESPACE};
use tidegate_tests::place::free_port;
use tidegate_tests::process::Process;
use tidegate_tests::{pod, programs, tree, wait};

/// Where the scale of the pool is.
pub(crate) const SCALE: &str =
    "/apis/tidegate.dev/v1alpha1/namespaces/tidegate-system/vpngateways/main/scale";
/// The account the chart gives its rights to.
const ACCOUNT: &str = "system:serviceaccount:tidegate-system:tidegate-controller";
/// etcd and the definitions are ready within this.
const READY: Duration = Duration::from_secs(60);

/// Everything the controller talks to.
pub(crate) struct Cluster {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) etcd_port: u16,
    plane: ControlPlane,
}

impl Cluster {
    /// A cluster with the chart installed as far as it is objects, or nothing after having said what is missing.
    pub(crate) fn start_or_skip() -> Option<Self> {
        let [helm, _] = Helm::both_or_skip()?;
        let plane = control_plane::start_or_skip()?;
        let run = |arguments: &[&str], input: &str| {
            plane.kubectl(arguments, input).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
        };
        run(&["create", "namespace", NAMESPACE], "");
        let chart = helm.template(&[], &[]).unwrap_or_else(|error| panic!("{error}"));
        run(&["apply", "--server-side", "--filename=-"], &chart);
        run(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"], "");
        let group = Some("system:serviceaccounts");
        let kubeconfig =
            plane.introduce("controller", ACCOUNT, group).unwrap_or_else(|error| panic!("{error}"));
        let etcd_port = free_port().expect("a port");
        Some(Self { kubeconfig, etcd_port, plane })
    }

    /// Lays the volumes of a gateway's pod out below a folder; the path of its configuration.
    pub(crate) fn mount(&self, folder: &Path) -> PathBuf {
        // Several gateways share this machine's ports.
        let elsewhere = |config: &mut Value| {
            config["listen"] = "127.0.0.1:0".into();
            config["metricsListen"] = "127.0.0.1:0".into();
        };
        pod::mount(&self.plane, folder, elsewhere).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A folder that lives as long as the cluster.
    pub(crate) fn files(&self) -> &Path {
        self.plane.files()
    }

    /// What kubectl prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let in_namespace = [&["--namespace", NAMESPACE], arguments].concat();
        self.plane.kubectl(&in_namespace, "").unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Applies an object as the administrator.
    pub(crate) fn apply(&self, object: &Value) {
        let applied = self.plane.kubectl(&["apply", "--server-side", "--filename=-"], &object.to_string());
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A new service account's token.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let run = |arguments: &[&str]| {
            let all = [arguments, &["--namespace", namespace]].concat();
            self.plane.kubectl(&all, "").unwrap_or_else(|error| panic!("{all:?}: {error}"))
        };
        run(&["create", "serviceaccount", account]);
        run(&["create", "token", account]).trim().to_owned()
    }

    /// An object of the controller's namespace.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Result<Value, String> {
        self.get_in(NAMESPACE, kind, name)
    }

    /// An object.
    pub(crate) fn get_in(&self, namespace: &str, kind: &str, name: &str) -> Result<Value, String> {
        let text = self.plane.kubectl(
            &["--namespace", namespace, "get", kind, name, "--output=json", "--show-managed-fields"],
            "",
        )?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// A value of a Secret.
    pub(crate) fn secret(&self, name: &str, key: &str) -> Vec<u8> {
        self.plane.secret(NAMESPACE, name, key).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A condition of the pool: status, reason and message in one text.
    pub(crate) fn condition(&self, kind: &str) -> Result<String, String> {
        let gateway = self.get("vgw", "main")?;
        let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind).cloned();
        let condition = found.ok_or_else(|| format!("{kind} is not said"))?;
        let part = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        Ok([part("status"), part("reason"), part("message")].join(" "))
    }

    /// Who leads.
    pub(crate) fn holder(&self) -> Result<String, String> {
        let lease = self.get("lease", "tidegate-controller")?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether this one leads.
    pub(crate) fn holder_is(&self, id: &str) -> Result<(), String> {
        let holder = self.holder()?;
        if holder.starts_with(&format!("{id}_")) { Ok(()) } else { Err(format!("{holder:?} leads")) }
    }

    /// The number of takeovers.
    pub(crate) fn term(&self) -> Result<u64, String> {
        let map = self.get("configmap", "tidegate-term")?;
        map["data"]["term"].as_str().and_then(|term| term.parse().ok()).ok_or_else(|| map.to_string())
    }

    /// The example's requests, without approvals.
    pub(crate) fn apply_example(&self) {
        let folder = tree::root().join("examples/haikou");
        let folder = folder.to_str().expect("a path of letters");
        let apply = ["apply", "--server-side", "--filename", folder];
        let applied = wait::until("the example is applied", READY, || self.plane.kubectl(&apply, ""));
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The approvers' yes, under the rights the controller gave their groups.
    pub(crate) fn approve(&self) -> Result<(), String> {
        self.plane.script("examples/haikou/approve.sh").map(|_| ())
    }

    /// How many activation codes lie in a department's namespace.
    pub(crate) fn activations(&self, namespace: &str) -> Result<usize, String> {
        let text = self.plane.kubectl(&["--namespace", namespace, "get", "secrets", "--output=name"], "")?;
        Ok(text.lines().filter(|line| line.contains("activation")).count())
    }

    /// Stops the etcd of Tidegate and starts it without anything in it.
    pub(crate) fn wipe_etcd(&self, etcd: Process) -> Process {
        drop(etcd);
        fs::remove_dir_all(self.files().join("tidegate-etcd/data")).expect("it had data");
        self.start_etcd()
    }

    /// The etcd of Tidegate, with the certificates the controller made for it.
    pub(crate) fn start_etcd(&self) -> Process {
        let directory = self.files().join("tidegate-etcd");
        fs::create_dir_all(&directory).expect("a folder");
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            fs::write(directory.join(key), self.secret("tidegate-etcd-server", key)).expect("written");
        }
        let path = |name: &str| directory.join(name).display().to_string();
        let binaries = programs::find(&[]).unwrap_or_else(|error| panic!("{error}"));
        let address = format!("https://127.0.0.1:{}", self.etcd_port);
        let mut etcd = Command::new(binaries.join("etcd"));
        etcd.arg(format!("--data-dir={}", path("data")))
            .arg(format!("--listen-client-urls={address}"))
            .arg(format!("--advertise-client-urls={address}"))
            .args(["--listen-peer-urls=http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level=warn"])
            .args(["--client-cert-auth", &format!("--trusted-ca-file={}", path("ca.crt"))])
            .arg(format!("--cert-file={}", path("tls.crt")))
            .arg(format!("--key-file={}", path("tls.key")));
        Process::start("tidegate-etcd", self.files(), &mut etcd).expect("etcd starts")
    }
}
