//! Processor time and memory of pods, as autoscalers read them: metrics-server as a program on the node.

use serde_json::json;

use super::Node;

/// Where it serves on the node's address.
const PORT: u16 = 4443;

impl Node {
    /// Starts metrics-server; it knows about pods half a minute later.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_metrics(&mut self) -> Result<(), String> {
        let (place, name) = (self.place(), "metrics-server");
        let kubeconfig = self.plane.introduce_server(name, name, Some("system:masters"), &[name])?;
        let kubeconfig = kubeconfig.display();
        let path = |file: &str| self.plane.files().join(file).display().to_string();
        let mut command = place.command(self.binaries.join(name));
        command
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--authentication-kubeconfig={kubeconfig}"))
            .arg(format!("--authorization-kubeconfig={kubeconfig}"))
            .arg(format!("--bind-address={}", place.address()))
            .arg(format!("--secure-port={PORT}"))
            .arg(format!("--tls-cert-file={}", path("metrics-server.crt")))
            .arg(format!("--tls-private-key-file={}", path("metrics-server.key")))
            .args(["--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP"])
            .args(["--metric-resolution=10s", "--kubelet-request-timeout=5s"]);
        self.run_beside(name, &mut command)?;

        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "kube-system"},
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": name, "namespace": "kube-system", "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
                "endpoints": [{"addresses": [place.address()], "conditions": {"ready": true}}],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io", "version": "v1beta1",
                    "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"name": name, "namespace": "kube-system"},
                    "insecureSkipTLSVerify": true,
                },
            },
        ]});
        self.plane.kubectl(&["apply", "--filename=-"], &objects.to_string()).map(drop)
    }
}
