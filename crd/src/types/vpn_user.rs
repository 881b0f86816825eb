//! VpnUser: a person's account, from application to leaving.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Status;
use super::schema;

/// What an account is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "VpnUser",
    plural = "vpnusers",
    shortname = "vu",
    category = "tidegate",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "An account: one person applies through their unit, another approves, every year somebody confirms.",
    validation = ("self.metadata.name.size() <= 63",
        "TG-6001 the name is longer than 63 letters; choose a shorter one, people type it at login"),
    printcolumn(name = "Person", type_ = "string", json_path = ".spec.request.person"),
    printcolumn(name = "Unit", type_ = "string", json_path = ".spec.request.unit"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Approved by", type_ = "string", json_path = ".spec.approval.by"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.approval) || self.approval.by != self.requestedBy")
        .message("TG-6007 the approver also asked for the account; somebody else has to approve")
        .field_path(".approval.by"),
    validation = Rule::new(
        "!has(self.approval) || !has(self.request.kubernetesUser) || self.approval.by != self.request.kubernetesUser"
    )
        .message("TG-6007 the approver is the person the account is for; somebody else has to approve")
        .field_path(".approval.by"),
    validation = Rule::new(
        "!has(self.review) || !has(self.request.kubernetesUser) || self.review.by != self.request.kubernetesUser"
    )
        .message("TG-6007 the reviewer is the person the account is for; somebody else has to confirm")
        .field_path(".review.by")
)]
pub struct VpnUserSpec {
    /// What the unit applied for; a changed request needs a new approval.
    pub request: Request,
    /// The user who applied: a Kubernetes user, or portal:<code>/<name>.
    #[schemars(schema_with = "schema::user")]
    #[x_kube(validation = ("self == oldSelf",
        "TG-6017 who applied never changes; remove the object and apply anew"))]
    pub requested_by: String,
    /// The approval by the department that answers for the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The latest yearly confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Active, Suspended, or Left, which is final.
    #[serde(default)]
    #[x_kube(validation = ("oldSelf != 'Left' || self == 'Left'",
        "TG-6021 an account that has left cannot come back; apply for a new one under another name"))]
    pub state: State,
    /// A higher number than before ends every session of the account.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    #[x_kube(validation = ("self >= oldSelf",
        "TG-6017 the number became smaller; it only grows, write a larger one"))]
    pub session_generation: i64,
}

/// What a unit applies for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.validFrom) || !has(self.validUntil) || self.validFrom < self.validUntil")
    .message("TG-6001 validUntil is not later than validFrom; swap them, or correct the year")
    .field_path(".validUntil"))]
pub struct Request {
    /// The person's name as colleagues write it.
    #[schemars(schema_with = "schema::line")]
    pub person: String,
    /// The unit below the department, in free text.
    #[serde(default)]
    #[schemars(schema_with = "schema::line")]
    pub unit: String,
    /// The groups the person belongs to, written <code>/<group> with the department's own code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::full_groups")]
    pub groups: Vec<String>,
    /// Further facts about the person that rules may look at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// The Kubernetes user the person has, if any; that user can neither approve nor confirm the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::user")]
    pub kubernetes_user: Option<String>,
    /// The first instant of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub valid_from: Option<String>,
    /// The first instant after use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub valid_until: Option<String>,
    /// Why the person needs the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::paragraph")]
    pub reason: Option<String>,
}

/// A yes to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The approver, neither the one who applied nor the person the account is for.
    #[schemars(schema_with = "schema::user")]
    pub by: String,
    /// The number of the paper or the case that this approval rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::line")]
    pub reference: Option<String>,
    /// The last instant up to which the approval counts as a review; 365 days after it was first seen if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub until: Option<String>,
}

/// A yearly confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// The reviewer, not the person the account is for.
    #[schemars(schema_with = "schema::user")]
    pub by: String,
    /// The last instant up to which the account is confirmed, at most 400 days ahead.
    #[schemars(schema_with = "schema::instant")]
    pub until: String,
}

/// What the unit and the approver last said about an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// In use.
    #[default]
    Active,
    /// Stopped, may come back.
    Suspended,
    /// The person left; final.
    Left,
}
