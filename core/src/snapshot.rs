//! What a gateway knows: one immutable value per generation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::Effect;
use crate::{
    Account, AccountId, AccountName, Cidr, DepartmentCode, Generation, Localized, Resource, ResourceId,
    ResourceName, Source, Timestamp, Zone,
};

/// Everything a gateway decides from. Departments are shared between generations that agree on them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How new it is.
    pub generation: Generation,
    /// What holds for everybody.
    pub platform: Arc<Platform>,
    /// The departments by code.
    pub departments: BTreeMap<DepartmentCode, Arc<Department>>,
}

/// Guardrails and settings of the whole pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Name of the service, on every page.
    pub title: Localized,
    /// Guardrails: may only deny.
    pub policy: PolicyState,
    /// Zone in which guardrail schedules are read.
    pub zone: Zone,
    /// Tickets issued before this instant are void (a restored or wiped store).
    pub not_before: Timestamp,
    /// False where whoever can write the folder is trusted (standalone).
    pub approvals_enforced: bool,
}

/// One department: its people, its systems, its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Department {
    /// The Department object.
    pub source: Source,
    /// When its newest part was published.
    pub generation: Generation,
    /// Its code.
    pub code: DepartmentCode,
    /// Names for people.
    pub title: Localized,
    /// Notice on its login page.
    pub notice: Localized,
    /// Whom to call when nothing works.
    pub hotline: Hotline,
    /// Zone of its schedules and screens.
    pub zone: Zone,
    /// Addresses its resources may lie at.
    pub networks: Vec<Cidr>,
    /// Name servers for its resources, `address:port`; empty uses the gateway's own.
    pub resolvers: Vec<std::net::SocketAddr>,
    /// How people log in.
    pub login: LoginRules,
    /// How long sessions last.
    pub session: SessionRules,
    /// Its people.
    pub accounts: HashMap<AccountName, Arc<Account>>,
    /// Its systems.
    pub resources: BTreeMap<ResourceName, Arc<Resource>>,
    /// Its rules.
    pub policy: PolicyState,
}

/// The telephone at the foot of every page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hotline {
    /// Number as dialled; empty when there is none.
    pub phone: Box<str>,
    /// Hours, for people.
    pub hours: Localized,
}

/// How people of a department log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRules {
    /// Days after which a password must be changed; 0 for never.
    pub password_max_age_days: u16,
}

/// How long sessions of a department's people last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// Seconds without a request after which a session ends.
    pub idle_s: u32,
    /// Seconds after login at which it ends in any case.
    pub absolute_s: u32,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self { idle_s: 30 * 60, absolute_s: 8 * 3_600 }
    }
}

/// The state of a department's compiled rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyState {
    /// No rule was ever in force: nothing is allowed, nothing is vetoed.
    Absent,
    /// A module to ask.
    Module(Arc<PolicyModule>),
    /// Rules exist but this gateway cannot load them: everything of the department is denied.
    Broken,
}

/// A compiled module and the names behind its rule indexes.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyModule {
    /// SHA-256 of the bytes.
    pub digest: [u8; 32],
    /// The core WASM module.
    pub wasm: Arc<[u8]>,
    /// The rules by the index a verdict carries.
    pub rules: Vec<RuleName>,
}

impl std::fmt::Debug for PolicyModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyModule")
            .field("bytes", &self.wasm.len())
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// A rule's name, for people and for the audit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleName {
    /// The policy object's name.
    pub policy: Box<str>,
    /// The rule's name in it.
    pub rule: Box<str>,
    /// What it does.
    pub effect: Effect,
}

impl Snapshot {
    /// The department with this code.
    #[must_use]
    pub fn department(&self, code: &str) -> Option<&Arc<Department>> {
        self.departments.get(code)
    }

    /// The account with this id.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.department(id.department.as_str())?.accounts.get(&id.name)
    }

    /// The resource with this id, and its owner.
    #[must_use]
    pub fn resource(&self, id: &ResourceId) -> Option<(&Arc<Department>, &Arc<Resource>)> {
        let owner = self.department(id.department.as_str())?;
        Some((owner, owner.resources.get(&id.name)?))
    }
}
