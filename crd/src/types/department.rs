//! Department: who works together, and within which limits.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Status, Text};
use super::schema;

/// What a department is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Department",
    plural = "departments",
    shortname = "dept",
    category = "tidegate",
    status = "Status",
    derive = "PartialEq",
    doc = "A department: its people, systems and rules lie in the namespace dept-<code>.",
    validation = ("self.metadata.name == self.spec.code",
        "TG-6001 the name differs from spec.code; write the same in both, so that no two departments share a code"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.names.zh-CN"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DepartmentSpec {
    /// The short code that names the department everywhere; its namespace is dept-<code>.
    #[schemars(schema_with = "schema::code")]
    #[x_kube(
        validation = ("self == oldSelf",
            "TG-6017 the code never changes; make a new Department and move people and systems there"),
        validation = ("!(self in ['alive', 'departments', 'go', 'help', 'logout', 'password', 'status', 'wait'])",
            "TG-6001 the portal has a page of this name, so the department's login page could not be reached; choose another code")
    )]
    pub code: String,
    /// The department's name for people, by language.
    #[schemars(schema_with = "schema::title")]
    pub names: Text,
    /// The code of the department this one is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::code")]
    pub parent: Option<String>,
    /// The code of the department that supervises this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::code")]
    pub supervisor: Option<String>,
    /// The Kubernetes groups that may do what in the department's namespace.
    #[serde(default)]
    pub roles: Roles,
    /// The address ranges the department's systems may lie in; nothing outside is ever reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::cidrs")]
    pub networks: Vec<String>,
    /// The name servers, address and optional port, that resolve the department's systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::resolvers")]
    pub resolvers: Vec<String>,
    /// The IANA time zone in which the department's schedules are read, for example Asia/Shanghai.
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: String,
    /// The notice on the department's login page, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::notice")]
    pub notice: Text,
    /// The telephone at the foot of every page the department's people see.
    #[serde(default)]
    pub hotline: Hotline,
    /// How the department's people log in.
    #[serde(default)]
    pub login: Login,
    /// How long sessions of the department's people last.
    #[serde(default)]
    pub session: Session,
    /// How much the department may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// Whether the Internet is closed to a computer while its tunnel is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_mode: Option<LockMode>,
}

/// Kubernetes groups by what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Roles {
    /// The groups that may apply for accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subjects")]
    pub requesters: Vec<String>,
    /// The groups that may approve accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subjects")]
    pub approvers: Vec<String>,
    /// The groups that may confirm accounts at the yearly review.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subjects")]
    pub reviewers: Vec<String>,
    /// The groups that may write resources and access rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subjects")]
    pub policy_authors: Vec<String>,
    /// The groups that may do all of this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subjects")]
    pub admins: Vec<String>,
}

/// A telephone for people who are stuck.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hotline {
    /// The number as dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::phone")]
    pub phone: Option<String>,
    /// The hours somebody answers, by language.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schemars(schema_with = "schema::title")]
    pub hours: Text,
}

/// How people log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The proofs of identity people may use.
    #[serde(default = "password_only")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Vec<LoginMethod>,
    /// The days after which a password must be changed; 0 for never.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3_650))]
    pub password_max_age_days: u16,
}

impl Default for Login {
    fn default() -> Self {
        Self { methods: password_only(), password_max_age_days: 0 }
    }
}

fn password_only() -> Vec<LoginMethod> {
    vec![LoginMethod::Password]
}

/// A proof of identity; further ones join as they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoginMethod {
    /// A password.
    Password,
}

/// How long sessions last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.idleMinutes <= self.absoluteMinutes",
    "TG-6001 idleMinutes is longer than absoluteMinutes; make it shorter or equal"))]
pub struct Session {
    /// The minutes without a request after which a session ends.
    #[serde(default = "idle_minutes")]
    #[schemars(range(min = 1, max = 1_440))]
    pub idle_minutes: u32,
    /// The minutes after login at which a session ends in any case.
    #[serde(default = "absolute_minutes")]
    #[schemars(range(min = 5, max = 10_080))]
    pub absolute_minutes: u32,
}

impl Default for Session {
    fn default() -> Self {
        Self { idle_minutes: idle_minutes(), absolute_minutes: absolute_minutes() }
    }
}

fn idle_minutes() -> u32 {
    30
}

fn absolute_minutes() -> u32 {
    480
}

/// How much a department may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// The most accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub accounts: Option<u32>,
    /// The most systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub resources: Option<u32>,
    /// The most sessions at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub sessions: Option<u32>,
}

/// What a computer may reach beside the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LockMode {
    /// Nothing.
    Closed,
    /// Everything it could reach before.
    Open,
}
