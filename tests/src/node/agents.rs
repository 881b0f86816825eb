//! The programs that make a place a node: containerd, kubelet, kube-proxy, and those that decide what runs on it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::NAME;
use crate::control_plane::ControlPlane;
use crate::place::Place;
use crate::process::Process;

/// Addresses of pods.
const PODS: &str = "10.244.0.0/24";

/// The container that holds a pod's network; imported like every image.
const SANDBOX_IMAGE: &str = "tidegate.dev/pause:1";

/// Where Debian puts the plugins for networks of pods.
pub(super) const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// Starts programs with a log and a configuration of their own.
pub(super) struct Agents<'a> {
    pub(super) plane: &'a ControlPlane,
    pub(super) place: &'a Place,
    pub(super) binaries: &'a Path,
}

impl Agents<'_> {
    /// containerd, with everything it writes inside the node's mounts.
    pub(super) fn containerd(&self) -> Result<Process, String> {
        let networks = self.write("10-pods.conflist", &pod_network())?;
        let networks =
            Path::new(&networks).parent().map(|path| path.display().to_string()).unwrap_or_default();
        let config = format!(
            r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{NETWORK_PLUGINS}"
conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
        );
        let path = self.path("containerd.toml");
        fs::write(&path, config).map_err(|error| format!("{path}: {error}"))?;
        self.start("containerd", self.place.command("containerd").args(["--config", &path]))
    }

    /// The kubelet, as the node of the name [`NAME`].
    pub(super) fn kubelet(&self) -> Result<Process, String> {
        let address = self.place.address().to_string();
        let kubeconfig = self.plane.introduce_server(
            "kubelet",
            &format!("system:node:{NAME}"),
            Some("system:nodes"),
            &[NAME, &address],
        )?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.path("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": self.path("kubelet.crt"),
            "tlsPrivateKeyFile": self.path("kubelet.key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": false,
            "enforceNodeAllocatable": [],
            "failCgroupV1": false,
            "failSwapOn": false,
            "clusterDNS": [address],
            "clusterDomain": "cluster.local",
            // How full the machine's disk is must not decide about a test.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        });
        let config = self.write("kubelet-config.json", &config)?;
        self.start(
            "kubelet",
            self.place
                .command(self.binaries.join("kubelet"))
                .arg(format!("--config={config}"))
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg(format!("--hostname-override={NAME}"))
                .arg(format!("--node-ip={address}")),
        )
    }

    /// kube-proxy: the addresses of Services.
    pub(super) fn proxy(&self) -> Result<Process, String> {
        let kubeconfig = self.plane.introduce("kube-proxy", "system:kube-proxy", None)?;
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": PODS,
            "hostnameOverride": NAME,
            "clientConnection": {"kubeconfig": kubeconfig},
            // The machine's own limits stand: they cannot be changed from inside.
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
        });
        let config = self.write("kube-proxy-config.json", &config)?;
        let program = self.binaries.join("kube-proxy");
        self.start("kube-proxy", self.place.command(program).arg(format!("--config={config}")))
    }

    /// kube-controller-manager: Deployments, endpoints, autoscalers and the rest.
    pub(super) fn controllers(&self) -> Result<Process, String> {
        let name = "kube-controller-manager";
        self.start(
            name,
            self.decider(name)?
                .arg(format!("--service-account-private-key-file={}", self.path("accounts.key")))
                .arg(format!("--root-ca-file={}", self.path("ca.crt")))
                .args(["--use-service-account-credentials", "--allocate-node-cidrs=false"])
                // An autoscaler that looks every 15 s and believes nothing of a pod's first 5 min makes for a long test.
                .args(["--horizontal-pod-autoscaler-sync-period=5s"])
                .args(["--horizontal-pod-autoscaler-cpu-initialization-period=10s"])
                .args(["--horizontal-pod-autoscaler-initial-readiness-delay=5s"]),
        )
    }

    /// kube-scheduler.
    pub(super) fn scheduler(&self) -> Result<Process, String> {
        let name = "kube-scheduler";
        self.start(name, &mut self.decider(name)?)
    }

    /// A program that decides, under its own name in the cluster and alone.
    fn decider(&self, name: &str) -> Result<Command, String> {
        let kubeconfig = self.plane.introduce(name, &format!("system:{name}"), None)?;
        let kubeconfig = kubeconfig.display();
        let mut command = self.place.command(self.binaries.join(name));
        command
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--authentication-kubeconfig={kubeconfig}"))
            .arg(format!("--authorization-kubeconfig={kubeconfig}"))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        Ok(command)
    }

    /// The name server of the cluster, on the node's address.
    pub(super) fn names(&self) -> Result<Process, String> {
        let kubeconfig = self.plane.introduce("coredns", "coredns", Some("system:masters"))?;
        let config = format!(
            ".:53 {{\n    bind {}\n    errors\n    kubernetes cluster.local {{\n        kubeconfig {}\n    }}\n}}\n",
            self.place.address(),
            kubeconfig.display()
        );
        let path = self.path("Corefile");
        fs::write(&path, config).map_err(|error| format!("{path}: {error}"))?;
        self.start("coredns", self.place.command(self.binaries.join("coredns")).args(["-conf", &path]))
    }

    fn start(&self, name: &str, command: &mut Command) -> Result<Process, String> {
        Process::start(name, self.plane.files(), command).map_err(|error| error.to_string())
    }

    fn path(&self, name: &str) -> String {
        self.plane.files().join(name).display().to_string()
    }

    fn write(&self, name: &str, value: &Value) -> Result<String, String> {
        let path = self.path(name);
        fs::write(&path, value.to_string()).map_err(|error| format!("{path}: {error}"))?;
        Ok(path)
    }
}

/// Every pod has a wire of its own to the node: with a bridge, answers between two pods would pass by the rules that
/// translate the addresses of Services.
fn pod_network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}
