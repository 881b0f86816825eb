//! AccessPolicy and ClusterAccessPolicy: who may reach what.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{KeyRef, Status};
use super::schema;

/// Most rules in one object; a department may have many objects.
pub(crate) const RULES_MAX: u32 = 256;

/// What a department's rules are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    shortname = "vpol",
    category = "tidegate",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "Rules of one department: they grant its own systems, or restrict its own people, and nothing else.",
    validation = ("self.metadata.name.size() <= 63",
        "TG-6001 the name is longer than 63 letters; choose a shorter one"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Compiled", type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Compiled")].reason"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.rules) != has(self.module)",
        "TG-6001 a policy has either rules or a module; write exactly one of them"),
    validation = Rule::new(
        "!has(self.target.users) || !has(self.rules) || self.rules.all(rule, rule.effect == 'Deny')"
    )
        .message("TG-7008 a policy about users can only deny; write effect: Deny, or target resources to grant them")
        .field_path(".rules")
)]
pub struct AccessPolicySpec {
    /// What the policy speaks about: the department's systems, or its people.
    pub target: Target,
    /// Enforce; DryRun to evaluate and record only; or Disabled.
    #[serde(default)]
    pub mode: Mode,
    /// The rules, whose order does not matter: a Deny that matches wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = RULES_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Option<Vec<AccessRule>>,
    /// A program of the department's own instead of rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
}

/// What the platform's guardrails are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "ClusterAccessPolicy",
    plural = "clusteraccesspolicies",
    shortname = "cvpol",
    category = "tidegate",
    status = "Status",
    derive = "PartialEq",
    doc = "Guardrails of the platform team: they hold for every department and can only deny.",
    validation = ("self.metadata.name.size() <= 63",
        "TG-6001 the name is longer than 63 letters; choose a shorter one"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Compiled", type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Compiled")].reason"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.rules.all(rule, rule.effect == 'Deny')")
        .message("TG-7009 a guardrail can only deny; write effect: Deny, and let departments grant")
        .field_path(".rules"),
    validation = Rule::new("self.rules.all(rule, !has(rule.match) || !has(rule.match.resources))")
        .message("TG-7010 a guardrail cannot name resources; select them by labels, hosts or ports")
        .field_path(".rules")
)]
pub struct ClusterAccessPolicySpec {
    /// Enforce; DryRun to evaluate and record only; or Disabled.
    #[serde(default)]
    pub mode: Mode,
    /// The rules, all of them refusals.
    #[schemars(length(min = 1, max = RULES_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<AccessRule>,
}

/// What a policy speaks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.resources) != has(self.users)",
    "TG-6001 a policy targets either resources or users; write exactly one of them"))]
pub struct Target {
    /// Systems of the department, all of them if nothing is selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceSelector>,
    /// People of the department, all of them if nothing is selected; the rules may only deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserSelector>,
}

/// A choice among the department's systems; a system must fit every field that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSelector {
    /// The names, any of which fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::resource_names")]
    pub names: Vec<String>,
    /// The labels, all of which must be there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::match_labels")]
    pub match_labels: BTreeMap<String, String>,
}

/// A choice among the department's people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UserSelector {
    /// The department's groups, any of which fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::groups")]
    pub groups: Vec<String>,
}

/// Whether a policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// In force.
    #[default]
    Enforce,
    /// Evaluated and recorded, never in force.
    DryRun,
    /// Not evaluated.
    Disabled,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccessRule {
    /// The rule's name, shown in explanations and in the audit.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Allow or Deny.
    pub effect: Effect,
    /// The conditions, all of which must hold; without any the rule always matches.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "match")]
    pub matches: Option<Match>,
    /// A further condition as an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::expression")]
    pub when: Option<String>,
}

/// What a rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// Conditions: every field must hold, and of a list one entry; a missing field does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Groups: a bare name is the department's own, another department's is written <code>/<group>.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::groups")]
    pub groups: Vec<String>,
    /// Whose people, by department code or * for all; without it the department's own only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::codes_or_all")]
    pub departments: Vec<String>,
    /// Systems by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::resource_names")]
    pub resources: Vec<String>,
    /// Labels the system must carry, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::match_labels")]
    pub labels: BTreeMap<String, String>,
    /// Hosts of the system, exact or *.suffix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::host_patterns")]
    pub hosts: Vec<String>,
    /// Ports of the system, each a number or a range such as 8000-8100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ports")]
    pub ports: Vec<IntOrString>,
    /// HTTP methods in capital letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::methods")]
    pub methods: Vec<String>,
    /// Beginnings of the path: /a fits /a and /a/b, not /ab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_prefixes")]
    pub path_prefixes: Vec<String>,
    /// Times of the week in the department's time zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 14))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub schedule: Vec<Window>,
    /// The address ranges the user's computer must be in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::cidrs")]
    pub source_networks: Vec<String>,
    /// The kinds of client: Browser, Desktop or Mobile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub devices: Vec<Device>,
    /// Proofs of identity of which one was used: Password, Totp or Certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub factors: Vec<Factor>,
}

/// A stretch of the day on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.from < self.to")
    .message("TG-6001 the window ends before it begins; a window never crosses midnight, write two of them")
    .field_path(".to"))]
pub struct Window {
    /// The days Mon to Sun; every day if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// The first minute inside, for example "08:00".
    #[schemars(schema_with = "schema::time_of_day")]
    pub from: String,
    /// The first minute outside again, for example "17:30" or "24:00".
    #[schemars(schema_with = "schema::time_of_day")]
    pub to: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the days are their own description")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Device {
    /// A browser at the portal.
    Browser,
    /// A VPN client on a computer.
    Desktop,
    /// A VPN client on a telephone or tablet.
    Mobile,
}

/// A proof of identity used at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Factor {
    /// A password.
    Password,
    /// A one-time password.
    Totp,
    /// A client certificate.
    Certificate,
}

/// A program of the department's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// The ConfigMap key that holds the component.
    pub config_map: KeyRef,
    /// The digest sha256:<hex> the component must have.
    #[schemars(schema_with = "schema::pin")]
    pub digest: String,
}
