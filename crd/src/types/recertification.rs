//! Recertification: a campaign in which units confirm their people.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Condition;
use super::schema;

/// What a campaign is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Recertification",
    plural = "recertifications",
    shortname = "vrec",
    category = "tidegate",
    namespaced,
    status = "RecertificationStatus",
    derive = "PartialEq",
    doc = "A campaign: reviewers confirm every account of a department by a deadline.",
    validation = ("self.metadata.name.size() <= 63",
        "TG-6001 the name is longer than 63 letters; choose a shorter one"),
    printcolumn(name = "Deadline", type_ = "string", json_path = ".spec.deadline"),
    printcolumn(name = "Confirmed", type_ = "integer", json_path = ".status.confirmed"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.total"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct RecertificationSpec {
    /// The groups whose people are confirmed; everybody in the department if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::groups")]
    pub groups: Option<Vec<String>>,
    /// The Kubernetes groups whose members confirm.
    #[schemars(schema_with = "schema::subjects")]
    pub reviewers: Vec<String>,
    /// The instant by which every account must be confirmed.
    #[schemars(schema_with = "schema::instant")]
    pub deadline: String,
    /// Suspend accounts that are not confirmed by then, or only Report them.
    #[serde(default)]
    pub when_overdue: OverdueAction,
}

/// What happens to accounts nobody confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverdueAction {
    /// They are suspended.
    #[default]
    Suspend,
    /// They are reported.
    Report,
}

/// How far a campaign is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecertificationStatus {
    /// The generation of the object that the conditions speak about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The accounts in the campaign.
    #[serde(default)]
    pub total: i64,
    /// The accounts confirmed so far.
    #[serde(default)]
    pub confirmed: i64,
    /// The accounts a reviewer refused to confirm.
    #[serde(default)]
    pub refused: i64,
    /// The accounts nobody confirmed in time.
    #[serde(default)]
    pub overdue: i64,
    /// The conditions of the object, one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
