//! From objects to a snapshot: pure, and the same objects give the same snapshot.
//!
//! ```text
//!  items + last good --parts()--> what each object contributes, newest or kept
//!  parts + people + vault --build()--> platform, departments, statuses, the next last good forms
//! ```
//!
//! One broken object costs its own part and nothing else: a problem is a condition on that object,
//! never an error of the build.

mod parts;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{
    Account, AccountName, Code, Department, DepartmentCode, Localized, Platform, Resource, ResourceName,
    Timestamp, Zone,
};

use crate::credentials::Vault;
use crate::form::{Form, Items, Refusal, department_of};
use crate::last_good::Good;
use crate::objects::{ObjectKey, ObjectKind};
use crate::people::People;
use crate::publish::{Published, told};
use crate::rules::{Candidate, Compiler, Ruling, Scope};
use crate::status::ObjectStatus;

pub use parts::{Part, Parts, parts};

/// Most departments one pool serves.
pub const DEPARTMENTS_MAX: usize = 1_000;

/// What a build starts from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The objects of the newest reading.
    pub items: &'a Items,
    /// What they and their last good forms contribute.
    pub parts: &'a Parts,
    /// The accounts made from them.
    pub people: &'a People,
    /// The credentials.
    pub vault: &'a Vault,
    /// What is published, so that equal parts are shared.
    pub published: &'a Published,
    /// Settings of the process.
    pub settings: &'a Settings,
    /// The time, for conditions only: the snapshot does not depend on it.
    pub now: Timestamp,
}

/// What the process says about the platform.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the service when no VpnGateway gives one.
    pub title: Localized,
    /// Zone of guardrail schedules when no VpnGateway gives one.
    pub zone: Zone,
    /// Tickets older than this are void.
    pub not_before: Timestamp,
    /// Whether somebody else than the writer of an approval vouches for it.
    pub approvals_enforced: bool,
}

/// What a build gives.
#[derive(Clone, Debug)]
pub struct Built {
    /// The platform part.
    pub platform: Arc<Platform>,
    /// The departments.
    pub departments: BTreeMap<DepartmentCode, Arc<Department>>,
    /// A status for every object, `Propagated` and `Ready` still to be said.
    pub statuses: Vec<ObjectStatus>,
    /// The last good forms this build relies on or makes.
    pub last_good: BTreeMap<ObjectKey, Good>,
    /// What is not in force as written.
    pub refusals: BTreeMap<ObjectKey, Refusal>,
    /// Policies whose newest form is not in force.
    pub compile_problems: usize,
}

/// Builds everything.
pub fn build(input: &Input<'_>, compiler: &mut Compiler) -> Built {
    let mut refusals: BTreeMap<ObjectKey, Refusal> = input.parts.refusals().collect();
    refusals.extend(input.people.refused.iter().map(|(key, refusal)| (key.clone(), refusal.clone())));
    refusals.extend(
        input.people.all().filter_map(|(_, person)| Some((person.key.clone(), person.refusal.clone()?))),
    );
    let mut last_good = input.parts.settled_forms();

    let guardrails =
        compiler.compile(&Scope::Platform, candidates(input.parts.of(ObjectKind::ClusterAccessPolicy)));
    let mut compiled = vec![];
    let mut departments = BTreeMap::new();
    for (code, settings) in input.parts.departments() {
        let policies = candidates(input.parts.of_department(ObjectKind::AccessPolicy, code));
        let ruling = compiler.compile(&Scope::Department(code.clone()), policies);
        let department = department(input, code, settings, &ruling, &mut refusals);
        departments.insert(code.clone(), department);
        compiled.push(ruling);
    }
    compiler.forget_all_but(departments.keys());
    refuse_strays(input, &mut refusals);

    let platform = Arc::new(platform(input, &guardrails));
    compiled.push(guardrails);
    let mut rulings = Ruling::default();
    for ruling in compiled {
        last_good.extend(ruling.last_good.clone());
        rulings.join(ruling);
    }
    let statuses = status::statuses(input, &refusals, &rulings);
    let compile_problems = rulings.refusals.len();
    refusals.extend(rulings.refusals);
    Built { platform, departments, statuses, last_good, refusals, compile_problems }
}

fn candidates<'a>(policies: impl Iterator<Item = (&'a ObjectKey, &'a Part)>) -> Vec<Candidate> {
    policies.map(|(key, part)| Candidate::of(key, part)).collect()
}

fn department(
    input: &Input<'_>,
    code: &DepartmentCode,
    settings: &Department,
    ruling: &Ruling,
    refusals: &mut BTreeMap<ObjectKey, Refusal>,
) -> Arc<Department> {
    let published = input.published.departments.get(code);
    let department = Department {
        accounts: input
            .people
            .of(code)
            .map(|(name, person)| (name.clone(), share_account(published, name, told(person, input.vault))))
            .collect(),
        resources: resources(input, code, published, refusals),
        policy: ruling.state.clone(),
        generation: published.map_or_else(Default::default, |published| published.generation),
        ..settings.clone()
    };
    match published {
        Some(published) if **published == department => Arc::clone(published),
        _ => Arc::new(department),
    }
}

fn share_account(published: Option<&Arc<Department>>, name: &AccountName, next: Account) -> Arc<Account> {
    match published.and_then(|published| published.accounts.get(name)) {
        Some(before) if **before == next => Arc::clone(before),
        _ => Arc::new(next),
    }
}

fn resources(
    input: &Input<'_>,
    code: &DepartmentCode,
    published: Option<&Arc<Department>>,
    refusals: &mut BTreeMap<ObjectKey, Refusal>,
) -> BTreeMap<ResourceName, Arc<Resource>> {
    let mut resources = BTreeMap::new();
    for (key, part) in input.parts.of_department(ObjectKind::Resource, code) {
        let Some(Form::Resource(resource)) = part.in_force() else { continue };
        let before = published.and_then(|published| published.resources.get(&resource.name));
        let shared = match before {
            Some(before) if **before == **resource => Arc::clone(before),
            _ => Arc::new(Resource::clone(resource)),
        };
        if resources.insert(resource.name.clone(), shared).is_some() {
            refusals.entry(key.clone()).or_insert_with(|| {
                Refusal::new(Code::SchemaViolation, "another Resource of the department has the same name")
            });
        }
    }
    resources
}

/// Objects in a namespace of no department count for nothing; they are told so.
fn refuse_strays(input: &Input<'_>, refusals: &mut BTreeMap<ObjectKey, Refusal>) {
    for key in input.items.keys() {
        if !matches!(key.kind, ObjectKind::Resource | ObjectKind::AccessPolicy) {
            continue;
        }
        let refusal = match department_of(&key.namespace) {
            None => Refusal::new(
                Code::WrongNamespace,
                format!(
                    "metadata.namespace {:?}: a {} lies in its department's namespace; write dept-<code>",
                    key.namespace,
                    key.kind.as_str()
                ),
            ),
            Some(code) if !input.parts.has_department(&code) => Refusal::new(
                Code::DepartmentMissing,
                format!("there is no Department with the code {code}; create it, or move the object"),
            ),
            Some(_) => continue,
        };
        refusals.entry(key.clone()).or_insert(refusal);
    }
}

fn platform(input: &Input<'_>, guardrails: &Ruling) -> Platform {
    let settings = input.settings;
    let mut pools = input.parts.of(ObjectKind::VpnGateway).filter_map(|(_, part)| match part.in_force() {
        Some(Form::VpnGateway(pool)) => Some(pool),
        _ => None,
    });
    // Standalone has one pool: the first VpnGateway by name speaks for it.
    let pool = pools.next().cloned().unwrap_or_default();
    Platform {
        title: if pool.title.is_empty() { settings.title.clone() } else { pool.title },
        policy: guardrails.state.clone(),
        zone: pool.zone.unwrap_or_else(|| settings.zone.clone()),
        not_before: settings.not_before,
        approvals_enforced: settings.approvals_enforced,
    }
}

/// The resources that exist in the newest objects, valid or not: the others are gone at once.
#[must_use]
pub fn existing_resources(items: &Items) -> BTreeSet<(DepartmentCode, ResourceName)> {
    items
        .keys()
        .filter(|key| key.kind == ObjectKind::Resource)
        .filter_map(|key| Some((department_of(&key.namespace)?, key.name.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests;
