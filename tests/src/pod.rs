//! A pod of the pool `main` where nothing runs pods: its object, and the volumes that a kubelet would mount.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::helm::NAMESPACE;

/// The folders of the volumes, the Secrets that lie there, and which of their keys.
const SECRETS: [(&str, &str, &[&str]); 3] = [
    ("etc/etcd", "tidegate-gateway-main-etcd", &["ca.crt", "tls.crt", "tls.key"]),
    ("etc/tls", "tidegate-gateway-main-tls", &["tls.crt", "tls.key"]),
    ("etc/keys", "tidegate-pool-main", &["1"]),
];

/// A pod of this name.
#[must_use]
pub fn manifest(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "tidegate-gateway", "tidegate.dev/pool": "main"},
        },
        "spec": {
            "serviceAccountName": "tidegate-gateway-main",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "gateway", "image": "tidegate/gateway:test"}],
        },
    })
}

/// Lays the volumes out below a folder; the path of the configuration, in which `change` may change something.
///
/// # Errors
///
/// When the controller has not made all of them yet, or a file cannot be written.
pub fn mount(
    plane: &ControlPlane,
    folder: &Path,
    change: impl FnOnce(&mut Value),
) -> Result<PathBuf, String> {
    let said = |error: std::io::Error| error.to_string();
    for (place, secret, keys) in SECRETS {
        let directory = folder.join(place);
        fs::create_dir_all(&directory).map_err(said)?;
        for key in keys {
            fs::write(directory.join(key), plane.secret(NAMESPACE, secret, key)?).map_err(said)?;
        }
    }
    fs::create_dir_all(folder.join("var")).map_err(said)?;
    let map = ["--namespace", NAMESPACE, "get", "configmap", "tidegate-gateway-main"];
    let text = plane.kubectl(&[&map[..], &["--output=jsonpath={.data.gateway\\.json}"]].concat(), "")?;
    let path = |place: &str| folder.join(place).display().to_string();
    let text = text.replace("/etc/tidegate", &path("etc")).replace("/var/lib/tidegate", &path("var"));
    let mut config: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    change(&mut config);
    let file = folder.join("gateway.json");
    fs::write(&file, config.to_string()).map_err(said)?;
    Ok(file)
}
