//! What the chart tells the controller: one YAML file, read once, in which an unknown field is an error.
//!
//! `docs/reference/controller.md` explains every field.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tidegate_core::Code;
use tidegate_crd::types::VpnGatewaySpec;

use crate::folder::read_documents;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most endpoints and names.
const NAMES_MAX: usize = 16;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// The controller's namespace; the service account's if absent.
    pub namespace: Option<String>,
    /// The service account that is bound in departments' namespaces.
    #[serde(default = "service_account")]
    pub service_account: String,
    /// Where audit records go; nowhere if absent.
    pub audit: Option<AuditSettings>,
    /// How etcd is reached.
    pub etcd: EtcdSettings,
    /// What gateways' pods are like.
    pub gateway: GatewaySettings,
    /// What VpnGateway `main` is made with when there is none at all.
    #[serde(default)]
    pub main: VpnGatewaySpec,
}

/// Where audit records go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditSettings {
    /// The folder of the spool, bounded.
    pub directory: PathBuf,
    /// Whether records are printed to standard output as well.
    #[serde(default = "yes")]
    pub stdout: bool,
}

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdSettings {
    /// Who runs it.
    #[serde(default)]
    pub mode: EtcdMode,
    /// Its members, as `https://host:2379`.
    pub endpoints: Vec<String>,
    /// Further names in the bundled server's certificate.
    #[serde(default)]
    pub server_names: Vec<String>,
}

/// Who runs etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum EtcdMode {
    /// The chart; the controller makes its authority and certificates.
    #[default]
    Bundled,
    /// Somebody else, who brings them.
    External,
}

/// What gateways' pods are like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySettings {
    /// The image.
    pub image: String,
    /// When it is pulled.
    #[serde(default = "pull_policy")]
    pub image_pull_policy: String,
    /// Secrets to pull it with, as in a pod.
    #[serde(default)]
    pub image_pull_secrets: Vec<Value>,
    /// Requests and limits, as in a container.
    #[serde(default = "object")]
    pub resources: Value,
    /// As in a pod.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// As in a pod.
    #[serde(default)]
    pub tolerations: Vec<Value>,
    /// Further annotations of the pods.
    #[serde(default)]
    pub pod_annotations: BTreeMap<String, String>,
    /// How people's connections arrive.
    #[serde(default)]
    pub service: ServiceSettings,
    /// Networks whose PROXY protocol header is believed.
    #[serde(default)]
    pub proxy_protocol: Vec<String>,
    /// How long the steps of an orderly end take; the gateway's own defaults if absent.
    #[serde(default)]
    pub drain: DrainSettings,
    /// Whom gateways may talk to.
    #[serde(default)]
    pub network_policy: NetworkPolicySettings,
}

/// Whom gateways may talk to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicySettings {
    /// Whether there is a NetworkPolicy for each pool.
    pub enabled: bool,
    /// Further rules, as below `egress` in a NetworkPolicy.
    pub extra_egress: Vec<Value>,
}

impl Default for NetworkPolicySettings {
    fn default() -> Self {
        Self { enabled: true, extra_egress: Vec::new() }
    }
}

/// How people's connections arrive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    pub r#type: String,
    /// For whoever makes the balancer.
    pub annotations: BTreeMap<String, String>,
    /// `Local` keeps the addresses of people's computers.
    pub external_traffic_policy: Option<String>,
    /// The port on every node.
    pub node_port: Option<u16>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            r#type: "ClusterIP".into(),
            annotations: BTreeMap::new(),
            external_traffic_policy: None,
            node_port: None,
        }
    }
}

/// Seconds of the steps of an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainSettings {
    /// For which connections are still accepted after readiness failed.
    pub settle_seconds: u32,
    /// Over which tunnels and WebSockets are closed.
    pub tunnels_seconds: u32,
    /// That requests under way are waited for.
    pub requests_seconds: u32,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { settle_seconds: 15, tunnels_seconds: 10, requests_seconds: 10 }
    }
}

fn yes() -> bool {
    true
}

fn listen() -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 9_090))
}

fn service_account() -> String {
    "tidegate-controller".into()
}

fn pull_policy() -> String {
    "IfNotPresent".into()
}

fn object() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {file}: {problem}", code = Code::ControllerConfigInvalid.id(), file = file.display())]
pub struct SettingsError {
    file: PathBuf,
    problem: String,
}

impl Settings {
    /// Reads and checks `file`.
    pub fn read(file: &Path) -> Result<Self, SettingsError> {
        Self::parse_file(file).map_err(|problem| SettingsError { file: file.into(), problem })
    }

    fn parse_file(file: &Path) -> Result<Self, String> {
        let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
        }
        Self::parse(&std::fs::read(file).map_err(|error| error.to_string())?)
    }

    /// The settings a YAML text holds.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let documents = read_documents(text)
            .map_err(|fault| format!("line {}: {}; {}", fault.mark.line, fault.message, fault.fix))?;
        let [document] = <[_; 1]>::try_from(documents)
            .map_err(|documents| format!("it holds {} documents; write one", documents.len()))?;
        let this: Self = serde_json::from_value(document.value).map_err(|error| error.to_string())?;
        this.problem().map_or(Ok(this), Err)
    }

    /// The first value that makes no sense.
    fn problem(&self) -> Option<String> {
        let etcd = &self.etcd;
        if etcd.endpoints.is_empty() || etcd.endpoints.len() > NAMES_MAX {
            return Some(format!("etcd.endpoints: write 1 to {NAMES_MAX} addresses"));
        }
        if let Some(odd) = etcd.endpoints.iter().find(|endpoint| host_of(endpoint).is_none()) {
            return Some(format!("etcd.endpoints: `{odd}` is no address; write https://host:2379"));
        }
        if etcd.server_names.len() > NAMES_MAX {
            return Some(format!("etcd.serverNames: write at most {NAMES_MAX} names"));
        }
        if self.gateway.image.is_empty() {
            return Some("gateway.image: write the image of the gateways".into());
        }
        let service = &self.gateway.service.r#type;
        if !["ClusterIP", "NodePort", "LoadBalancer"].contains(&service.as_str()) {
            return Some(format!(
                "gateway.service.type: `{service}` is none of ClusterIP, NodePort, LoadBalancer"
            ));
        }
        if !self.gateway.resources.is_object() {
            return Some("gateway.resources: write requests and limits, as in a container".into());
        }
        let mut parts = self.gateway.proxy_protocol.iter();
        let odd = parts.find(|network| network.parse::<tidegate_core::Cidr>().is_err())?;
        Some(format!("gateway.proxyProtocol: `{odd}` is no network; write 10.0.0.0/8"))
    }
}

impl EtcdSettings {
    /// The names the bundled server's certificate holds.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let endpoints = self.endpoints.iter().filter_map(|endpoint| host_of(endpoint));
        let mut names: Vec<String> = endpoints.chain(self.server_names.iter().map(String::as_str)).fold(
            vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            |mut names, name| {
                names.push(name.to_owned());
                names
            },
        );
        names.sort();
        names.dedup();
        names
    }
}

/// The host of an `https://` address.
pub(super) fn host_of(endpoint: &str) -> Option<&str> {
    parts_of(endpoint).map(|(host, _)| host)
}

/// The port of an `https://` address.
pub(super) fn port_of(endpoint: &str) -> Option<u16> {
    parts_of(endpoint).map(|(_, port)| port)
}

fn parts_of(endpoint: &str) -> Option<(&str, u16)> {
    let rest = endpoint.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
etcd:
  endpoints: [https://tidegate-etcd.tidegate-system.svc:2379]
gateway:
  image: tidegate-gateway:0.1.0
main:
  hosts: [vpn.example.org]
  replicas: 2
";

    #[test]
    fn little_is_enough() {
        let settings = Settings::parse(SMALL.as_bytes()).expect("settings");
        assert_eq!(settings.listen.port(), 9_090);
        assert_eq!(settings.etcd.mode, EtcdMode::Bundled);
        assert_eq!(settings.etcd.names(), ["127.0.0.1", "localhost", "tidegate-etcd.tidegate-system.svc"]);
        assert_eq!(settings.main.replicas, Some(2));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (from, to, said) in [
            ("https://tidegate", "http://tidegate", "is no address"),
            ("image: tidegate-gateway:0.1.0", "image: ''", "gateway.image"),
            ("gateway:", "gateway:\n  colour: red", "unknown field `colour`"),
            ("gateway:", "gateway:\n  service: {type: Magic}", "Magic"),
            ("gateway:", "gateway:\n  proxyProtocol: [10.0.0.0]", "is no network"),
        ] {
            let error = Settings::parse(SMALL.replacen(from, to, 1).as_bytes()).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
