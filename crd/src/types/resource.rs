//! Resource: a business system its owner publishes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{KeyRef, Status, Text};
use super::schema;

/// What a business system is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Resource",
    plural = "resources",
    shortname = "vres",
    category = "tidegate",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "A business system; publishing it grants nothing, an AccessPolicy of the same department does.",
    validation = ("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",
        "TG-6001 the name becomes part of a host name; write at most 40 letters, digits or hyphens without a dot"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.names.zh-CN"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.web.url"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.web) != has(self.network)",
    "TG-6001 a system is reached either by spec.web or by spec.network; write exactly one of them"))]
pub struct ResourceSpec {
    /// The system's name for people, by language.
    #[schemars(schema_with = "schema::title")]
    pub names: Text,
    /// One sentence for the tile, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::sentence")]
    pub description: Text,
    /// The heading the tile is listed under, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::title")]
    pub category: Text,
    /// The name of one of the portal's own icons, for example form, archive, ledger or idcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::icon")]
    pub icon: Option<String>,
    /// Whom to ask about the system.
    #[serde(default)]
    pub contact: Contact,
    /// How a web application is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<Web>,
    /// How anything else is reached through the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Labels that rules can select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Whether those who may open the system see a tile for it.
    #[serde(default = "yes")]
    pub visible: bool,
}

fn yes() -> bool {
    true
}

/// The owner's desk for questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// The office, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::title")]
    pub office: Text,
    /// The telephone number as dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::phone")]
    pub phone: Option<String>,
    /// The office hours, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::title")]
    pub hours: Text,
}

/// Where a web application lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.tls) || self.url.startsWith('https:')")
    .message("TG-6001 tls is only used with https; write an https address, or remove tls")
    .field_path(".tls"))]
pub struct Web {
    /// The address inside the owner's networks; its path is where the tile leads, not a prefix.
    #[schemars(schema_with = "schema::web_url")]
    pub url: String,
    /// How an https server is verified; by the gateway's own authorities if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How a server proves itself; there is no way to switch this off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The ConfigMap key with the PEM certificates of the authorities to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<KeyRef>,
    /// The digest sha256:<hex> of the server's public key, instead of an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pin")]
    pub pin: Option<String>,
    /// The name to verify instead of the host in the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host")]
    pub server_name: Option<String>,
}

/// Hosts and ports reached through the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// The hosts, by name or address.
    #[schemars(schema_with = "schema::hosts")]
    pub hosts: Vec<String>,
    /// The ports, each a number or a range such as 8000-8100.
    #[schemars(schema_with = "schema::ports")]
    pub ports: Vec<IntOrString>,
}
