//! Access rules as the compiler takes them, requests as a module sees them, verdicts as it gives them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{AccountName, Cidr, DepartmentCode, GroupName, LocalTime, PolicyModule, ResourceName, Uid};

/// What a rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Grants; only the owner's department can.
    Allow,
    /// Refuses; wins over every allow.
    Deny,
}

/// Whether a policy is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In force.
    Enforce,
    /// Evaluated and recorded, never in force.
    DryRun,
    /// Not evaluated.
    Disabled,
}

/// On whose behalf a module is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// The platform's guardrails: may only veto.
    Platform = 0,
    /// The user's own department: may only veto.
    Member = 1,
    /// The department that owns the resource: must allow.
    Owner = 2,
}

/// One AccessPolicy or ClusterAccessPolicy after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The object's name.
    pub name: Box<str>,
    /// What it speaks about; decides the side its rules are evaluated for.
    pub target: Target,
    /// Whether it is in force.
    pub mode: Mode,
    /// Its rules; order never matters for the effect.
    pub rules: Vec<Rule>,
}

/// What a policy speaks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The owner's resources (side `Owner`): grants and refusals. Both lists empty selects all of them.
    Resources {
        /// Names, any of which selects.
        names: Vec<ResourceName>,
        /// Labels, all of which must be present.
        match_labels: BTreeMap<Box<str>, Box<str>>,
    },
    /// The department's own people (side `Member`): refusals only. No groups selects everybody.
    Users {
        /// Groups, any of which selects.
        groups: Vec<GroupName>,
    },
    /// Everybody and everything (side `Platform`): refusals only.
    Platform,
}

/// One rule: fields are joined by AND, the entries of a list by OR; an empty field does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name inside the policy.
    pub name: Box<str>,
    /// What it does.
    pub effect: Effect,
    /// Structured conditions.
    pub matches: Match,
    /// The free expression, as written; parsed by the compiler.
    pub when: Option<Box<str>>,
}

/// The structured conditions of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Groups, written in full.
    pub groups: Vec<GroupName>,
    /// Whose people.
    pub departments: Departments,
    /// Resources by name; never in a guardrail, where a name means another system in each department.
    pub resources: Vec<ResourceName>,
    /// Labels the resource must carry, all of them.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Host names, exact or `*.suffix`.
    pub hosts: Vec<HostPattern>,
    /// Ports.
    pub ports: Vec<PortRange>,
    /// HTTP methods, upper case.
    pub methods: Vec<Box<str>>,
    /// Path prefixes: `/a` matches `/a` and `/a/b`, not `/ab`.
    pub path_prefixes: Vec<Box<str>>,
    /// Times of the week, local to the department.
    pub schedule: Vec<Window>,
    /// Where the user's computer must be.
    pub source_networks: Vec<Cidr>,
    /// Kinds of client.
    pub devices: Vec<Device>,
    /// Factors of which at least one was used.
    pub factors: Vec<Factor>,
}

/// Whose people a rule speaks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Departments {
    /// The policy's own department only (no `departments` written). In a guardrail: everybody.
    #[default]
    Own,
    /// Every department (`["*"]`).
    All,
    /// These departments.
    Listed(Vec<DepartmentCode>),
}

/// A host name pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Exactly this lower-case name or address.
    Exact(Box<str>),
    /// Any name that ends in `.suffix` (the text is kept without the leading `*.`).
    Suffix(Box<str>),
}

/// A closed range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
}

/// A stretch of the day on some days of the week; it never crosses midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Set of days, bit 0 = Monday.
    pub days: u8,
    /// First minute of the local day inside.
    pub from: u16,
    /// First minute outside again, 1 to 1,440.
    pub to: u16,
}

/// The kind of client a session was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Device {
    /// A browser at the portal.
    Browser = 0,
    /// A VPN client on a computer.
    Desktop = 1,
    /// A VPN client on a telephone or tablet.
    Mobile = 2,
}

/// A proof of identity used at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Factor {
    /// Password.
    Password = 0,
    /// One-time password.
    Totp = 1,
    /// Client certificate.
    Certificate = 2,
}

impl Factor {
    /// The factor's bit in a set of factors.
    #[must_use]
    pub fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// Who asks: fixed for the life of a session and a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The person's own department.
    pub department: DepartmentCode,
    /// The account's name in it.
    pub name: AccountName,
    /// The account's UID.
    pub uid: Uid,
    /// The unit below the department, free text.
    pub unit: Box<str>,
    /// Groups, sorted.
    pub groups: Vec<GroupName>,
    /// Attributes given by the unit.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
    /// Kind of client.
    pub device: Device,
    /// Set of factors used, bit = [`Factor`].
    pub factors: u8,
    /// Where the computer is.
    pub source: IpAddr,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The department that owns the resource.
    pub owner: &'a DepartmentCode,
    /// The resource's name in it.
    pub resource: &'a ResourceName,
    /// The resource's labels.
    pub labels: &'a BTreeMap<Box<str>, Box<str>>,
    /// The upstream host, lower case.
    pub host: &'a str,
    /// The upstream port.
    pub port: u16,
    /// HTTP method, upper case; empty for a tile or a tunnel flow.
    pub method: &'a str,
    /// Normalised path; empty for a tile or a tunnel flow.
    pub path: &'a str,
}

/// What a module answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Nothing matched, or the effect of the strongest rule.
    pub effect: Option<Effect>,
    /// Index of that rule in [`PolicyModule::rules`].
    pub rule: u32,
    /// First UTC minute at which the answer may differ by time alone; `i64::MAX` when it cannot.
    pub valid_until_minute: i64,
    /// Why an allow rule nearly matched, when nothing did.
    pub hint: Hint,
    /// Whether a `when` of a rule that mattered failed to evaluate.
    pub rule_error: bool,
}

impl Verdict {
    /// Nothing matched, for ever.
    pub const NOTHING: Self = Self {
        effect: None,
        rule: 0,
        valid_until_minute: i64::MAX,
        hint: Hint { kind: HintKind::None, next_minute: i64::MAX },
        rule_error: false,
    };
}

/// The nearest miss among allow rules whose resource and group levels matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The level that failed.
    pub kind: HintKind,
    /// For a schedule: the UTC minute it opens next; `i64::MAX` when unknown.
    pub next_minute: i64,
}

/// The level an allow rule failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HintKind {
    /// No allow rule came near.
    None = 0,
    /// Port, method or path; the host belongs to the resource level.
    Method = 1,
    /// The computer is elsewhere.
    Network = 2,
    /// Another kind of client is needed.
    Device = 3,
    /// A further factor is needed.
    Factor = 4,
    /// The time of the week.
    Schedule = 5,
}

/// Why a module gave no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The program trapped.
    Trap,
    /// It used up its CPU budget.
    Timeout,
    /// It answered something that is not a verdict.
    Malformed,
    /// It could not be loaded, or its class A check failed.
    NotLoaded,
    /// It trapped too often and rests.
    Quarantined,
    /// The request does not fit the request window.
    RequestTooLarge,
}

/// Runs a department's module; implemented by `policies/engine` for production and by the
/// compiler's reference evaluator for tests.
pub trait Evaluate {
    /// A subject prepared once per session, in whatever form this evaluator likes.
    type Prepared;

    /// Asks `module` for one side.
    fn evaluate(
        &mut self,
        module: &PolicyModule,
        side: Side,
        subject: &Self::Prepared,
        request: &Request<'_>,
        local: LocalTime,
    ) -> Result<Verdict, Fault>;
}
