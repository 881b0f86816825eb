//! VpnGateway: one pool of gateways.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Condition, Text};
use super::schema;

/// What a pool of gateways is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "VpnGateway",
    plural = "vpngateways",
    shortname = "vgw",
    category = "tidegate",
    namespaced,
    status = "GatewayStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    doc = "A pool of gateways; it counts only in the controller's own namespace.",
    validation = ("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",
        "TG-6001 the name becomes part of a host name; write at most 40 letters, digits or hyphens without a dot"),
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hosts"),
    printcolumn(name = "Gateways", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.replicas) || !has(self.autoscaling)",
    "TG-6001 replicas and autoscaling exclude each other; remove one of them"))]
pub struct VpnGatewaySpec {
    /// The name of the service on every page, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::title")]
    pub names: Text,
    /// The IANA time zone in which guardrail schedules are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: Option<String>,
    /// The host names people reach the pool at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::hosts")]
    pub hosts: Option<Vec<String>>,
    /// The certificate of the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
    /// A fixed number of gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub replicas: Option<u32>,
    /// A number of gateways that follows the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The address ranges tunnels take their inner addresses from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cidrs")]
    pub address_prefixes: Option<Vec<String>>,
    /// How names are answered inside the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// How the tunnel behaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// How long a gateway that is cut off from the store goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Staleness>,
    /// The departments the pool serves; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::codes")]
    pub departments: Option<Vec<String>>,
}

/// Where the certificate is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTls {
    /// The Secret of type kubernetes.io/tls with the certificate and its key.
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
}

/// The bounds of autoscaling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.min <= self.max", "TG-6001 min is larger than max; swap them"))]
pub struct Autoscaling {
    /// The fewest gateways.
    #[schemars(range(min = 1, max = 1_000))]
    pub min: u32,
    /// The most gateways.
    #[schemars(range(min = 1, max = 1_000))]
    pub max: u32,
    /// The sessions one gateway is meant to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub sessions_per_pod: Option<u32>,
    /// The processor load in per cent at which gateways are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: Option<u32>,
}

/// Names inside the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// The address ranges granted names are given virtual addresses from.
    #[schemars(schema_with = "schema::cidrs")]
    pub virtual_prefixes: Vec<String>,
}

/// How the tunnel behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tunnel {
    /// The largest packet inside the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_280, max = 16_384))]
    pub mtu: Option<u32>,
}

/// How long a cut-off gateway goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.newLoginsMinutes <= self.endSessionsMinutes",
    "TG-6001 sessions end before logins stop; make endSessionsMinutes the longer one"))]
pub struct Staleness {
    /// The minutes after which nobody can log in any more.
    #[schemars(range(min = 1, max = 1_440))]
    pub new_logins_minutes: u32,
    /// The minutes after which open sessions end.
    #[schemars(range(min = 1, max = 10_080))]
    pub end_sessions_minutes: u32,
}

/// How a pool is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// The generation of the object that the conditions speak about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The gateways there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The labels of the gateways' pods, as a selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_024))]
    pub selector: Option<String>,
    /// The conditions of the object, one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
