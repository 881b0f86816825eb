//! A department, and the platform, from what their objects contribute.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::{Code, Department, Platform, Resource, ResourceName};

use super::Settings;
use super::parts::Parts;
use crate::form::{Form, Refusal};
use crate::objects::{ObjectKey, ObjectKind};
use crate::people::People;
use crate::publish::same;
use crate::rules::Ruling;

/// The department with these settings; what is equal in the published one is shared with it.
pub(super) fn department(
    settings: &Department,
    parts: &Parts,
    people: &People,
    ruling: &Ruling,
    published: Option<&Arc<Department>>,
    refusals: &mut BTreeMap<ObjectKey, Refusal>,
) -> Arc<Department> {
    let account = |person: &crate::people::Person| Arc::clone(&person.account);
    let department = Arc::new(Department {
        accounts: people.of(&settings.code).map(|(name, person)| (name.clone(), account(person))).collect(),
        resources: resources(parts, published, refusals),
        policy: ruling.state.clone(),
        generation: published.map_or_else(Default::default, |published| published.generation),
        ..settings.clone()
    });
    match published {
        Some(published) if same(published, &department) => Arc::clone(published),
        _ => department,
    }
}

fn resources(
    parts: &Parts,
    published: Option<&Arc<Department>>,
    refusals: &mut BTreeMap<ObjectKey, Refusal>,
) -> BTreeMap<ResourceName, Arc<Resource>> {
    let mut resources = BTreeMap::new();
    for (key, part) in parts.of(ObjectKind::Resource) {
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

/// What holds for everybody.
pub(super) fn platform(parts: &Parts, guardrails: &Ruling, settings: &Settings) -> Platform {
    let mut pools = parts.of(ObjectKind::VpnGateway).filter_map(|(_, part)| match part.in_force() {
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
