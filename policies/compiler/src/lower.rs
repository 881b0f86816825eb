//! An accepted rule to conditions in the tables' terms.
//!
//! Conjuncts of `when` that say what a structured field could have said (`user.department == "sbj"`,
//! `"sbj/doctors" in user.groups`, `resource.name in [...]`) are lifted out, so that the index sees
//! them. Only conjuncts that cannot fail are lifted: an expression that is false because of one of
//! them is false whatever its other parts come to.

use std::collections::BTreeSet;
use std::rc::Rc;

use tidegate_core::Cidr;
use tidegate_core::policy::{Departments, Effect, HostPattern, Match, Side, Target};
use tidegate_policy_evaluator::table::{ARGUMENT_BITS, condition, dimension};

use crate::accept::{Accepted, Scope, rule_cost};
use crate::code;
use crate::data::Data;
use crate::when::ast::Relation;
use crate::when::typed::{Expr, Field};

/// A condition of the tables.
#[derive(Clone)]
pub(crate) struct Condition {
    /// Its kind.
    pub(crate) kind: u32,
    /// What it wants.
    pub(crate) wants: Wants,
}

/// What a condition wants.
#[derive(Clone)]
pub(crate) enum Wants {
    /// One of these values of a dimension: the index can settle it. Written only where it does not.
    OneOf(Rc<(u32, Vec<Box<str>>)>),
    /// The argument, ready to be written.
    Written(u32),
}

impl Condition {
    /// The values wanted of a dimension, if it is one the index knows.
    pub(crate) fn values(&self, of: u32) -> Option<&[Box<str>]> {
        match &self.wants {
            Wants::OneOf(index) if index.0 == of => Some(&index.1),
            _ => None,
        }
    }

    /// Writes what it wants; gives the word of the condition.
    pub(crate) fn word(&self, data: &mut Data) -> u32 {
        let argument = match &self.wants {
            Wants::Written(argument) => *argument,
            Wants::OneOf(index) => {
                let texts = || index.1.iter().map(|text| &**text).collect();
                let at = match self.kind {
                    condition::LABEL | condition::ATTRIBUTE => data.member(&index.1.concat()),
                    condition::HOST => {
                        let exact = data.set(&texts());
                        hosts(data, exact, &BTreeSet::new())
                    }
                    _ => data.set(&texts()),
                };
                at / 8
            }
        };
        self.kind << ARGUMENT_BITS | argument
    }
}

/// A rule ready for the index.
#[derive(Clone)]
pub(crate) struct Lowered {
    pub(crate) rule: u32,
    pub(crate) side: Side,
    pub(crate) deny: bool,
    pub(crate) cost: u32,
    /// Ascending by kind.
    pub(crate) select: Vec<Condition>,
    /// Offset of the list of levels, 0 for none.
    pub(crate) levels: u32,
    /// Offsets of the two parts of `when`, 0 for none.
    pub(crate) when: [u32; 2],
}

/// Sets over fields that have one value, before they are written.
#[derive(Default)]
struct Selection<'r> {
    resources: Option<BTreeSet<&'r str>>,
    owners: Option<BTreeSet<&'r str>>,
    departments: Option<BTreeSet<&'r str>>,
    users: Option<BTreeSet<&'r str>>,
    hosts: Option<BTreeSet<&'r str>>,
    /// Each an "is in one of".
    groups: Vec<BTreeSet<&'r str>>,
    labels: BTreeSet<String>,
    attributes: BTreeSet<String>,
}

/// Joins by AND: what both sets allow.
fn narrow<'r>(set: &mut Option<BTreeSet<&'r str>>, by: BTreeSet<&'r str>) {
    *set = Some(match set.take() {
        Some(before) => before.intersection(&by).copied().collect(),
        None => by,
    });
}

/// Lowers rule number `rule`.
pub(crate) fn lower(data: &mut Data, accepted: &Accepted<'_>, rule: u32, scope: &Scope) -> Lowered {
    let m = &accepted.rule.matches;
    let mut selection = Selection::default();
    select_target(&mut selection, &accepted.policy.target);
    select_match(&mut selection, m, scope);
    let rest = accepted.when.as_ref().map_or_else(Vec::new, |when| lift(&mut selection, when));

    let select = selecting(data, &selection, m);
    let levels = levels(data, m);
    let (timed, plain): (Vec<&Expr>, Vec<&Expr>) = rest.into_iter().partition(|expr| expr.looks_at_time());
    let when = [plain, timed].map(|part| if part.is_empty() { 0 } else { code::conjunction(data, &part) });
    Lowered {
        rule,
        side: accepted.side(),
        deny: accepted.rule.effect == Effect::Deny,
        cost: rule_cost(accepted.rule, accepted.when.as_ref()),
        select,
        levels,
        when,
    }
}

fn select_target<'r>(selection: &mut Selection<'r>, target: &'r Target) {
    match target {
        Target::Resources { names, match_labels } => {
            if !names.is_empty() {
                narrow(&mut selection.resources, names.iter().map(AsRef::as_ref).collect());
            }
            selection.labels.extend(match_labels.iter().map(|(key, value)| pair(key, value)));
        }
        Target::Users { groups } => {
            if !groups.is_empty() {
                selection.groups.push(groups.iter().map(AsRef::as_ref).collect());
            }
        }
        Target::Platform => {}
    }
}

fn select_match<'r>(selection: &mut Selection<'r>, m: &'r Match, scope: &'r Scope) {
    if !m.resources.is_empty() {
        narrow(&mut selection.resources, m.resources.iter().map(AsRef::as_ref).collect());
    }
    if !m.groups.is_empty() {
        selection.groups.push(m.groups.iter().map(AsRef::as_ref).collect());
    }
    match (&m.departments, scope) {
        (Departments::Own, Scope::Department(own)) => {
            narrow(&mut selection.departments, BTreeSet::from([own.as_str()]));
        }
        (Departments::Listed(listed), _) => {
            narrow(&mut selection.departments, listed.iter().map(AsRef::as_ref).collect());
        }
        (Departments::Own, Scope::Platform) | (Departments::All, _) => {}
    }
    selection.labels.extend(m.labels.iter().map(|(key, value)| pair(key, value)));
    if let Some(hosts) = exact_hosts(m) {
        narrow(&mut selection.hosts, hosts);
    }
}

/// The hosts when all are exact: such a condition is a set like others.
fn exact_hosts(m: &Match) -> Option<BTreeSet<&str>> {
    if m.hosts.is_empty() {
        return None;
    }
    m.hosts
        .iter()
        .map(|pattern| match pattern {
            HostPattern::Exact(host) => Some(&**host),
            HostPattern::Suffix(_) => None,
        })
        .collect()
}

/// A label or attribute as records have it.
fn pair(key: &str, value: &str) -> String {
    format!("{key}\0{value}")
}

/// Moves conjuncts into the selection; gives those that stay.
fn lift<'e>(selection: &mut Selection<'e>, when: &'e Expr) -> Vec<&'e Expr> {
    let conjuncts = when.conjuncts();
    let surely_there = |wanted: &Expr| conjuncts.iter().any(|expr| **expr == *wanted);
    let mut stays = Vec::new();
    for expr in &conjuncts {
        match expr {
            Expr::CompareText(Relation::Equal, a, b) => {
                if let (Expr::Text(value), field) | (field, Expr::Text(value)) = (&**a, &**b) {
                    match field {
                        Expr::Field(field) if narrow_field(selection, *field, BTreeSet::from([&**value])) => {
                            continue;
                        }
                        // Without the test that it is there, a missing one is an error: not lifted.
                        Expr::Attribute(key) if surely_there(&Expr::HasAttribute(key.clone())) => {
                            selection.attributes.insert(pair(key, value));
                            continue;
                        }
                        Expr::Label(key) if surely_there(&Expr::HasLabel(key.clone())) => {
                            selection.labels.insert(pair(key, value));
                            continue;
                        }
                        _ => {}
                    }
                }
                stays.push(*expr);
            }
            Expr::TextIn(field, list) => {
                let values = list.iter().map(|value| &**value).collect();
                match &**field {
                    Expr::Field(field) if narrow_field(selection, *field, values) => {}
                    _ => stays.push(*expr),
                }
            }
            _ => match group_set(expr) {
                Some(groups) => selection.groups.push(groups),
                None => stays.push(*expr),
            },
        }
    }
    stays
}

fn narrow_field<'e>(selection: &mut Selection<'e>, field: Field, values: BTreeSet<&'e str>) -> bool {
    let set = match field {
        Field::UserName => &mut selection.users,
        Field::UserDepartment => &mut selection.departments,
        Field::ResourceName => &mut selection.resources,
        Field::ResourceDepartment => &mut selection.owners,
        Field::ResourceHost => &mut selection.hosts,
        // The unit has no index; method and path belong to a later level.
        Field::UserUnit | Field::Method | Field::Path => return false,
    };
    narrow(set, values);
    true
}

/// The groups when an expression only asks for membership in one of them.
fn group_set(expr: &Expr) -> Option<BTreeSet<&str>> {
    match expr {
        Expr::InGroups(group) => match &**group {
            Expr::Text(group) => Some(BTreeSet::from([&**group])),
            _ => None,
        },
        Expr::Or(all) => {
            let sets: Option<Vec<_>> = all.iter().map(group_set).collect();
            Some(sets?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn selecting(data: &mut Data, selection: &Selection<'_>, m: &Match) -> Vec<Condition> {
    let mut out = Vec::new();
    let one_of =
        |kind, dimension, values| Condition { kind, wants: Wants::OneOf(Rc::new((dimension, values))) };
    let mut sets: Vec<(u32, u32, &BTreeSet<&str>)> = Vec::new();
    for (kind, dimension, set) in [
        (condition::RESOURCE, dimension::RESOURCE, &selection.resources),
        (condition::OWNER, dimension::OWNER, &selection.owners),
        (condition::DEPARTMENT, dimension::DEPARTMENT, &selection.departments),
        (condition::USER, dimension::USER, &selection.users),
        (condition::HOST, dimension::HOST, &selection.hosts),
    ] {
        sets.extend(set.iter().map(|set| (kind, dimension, set)));
    }
    sets.extend(selection.groups.iter().map(|set| (condition::GROUP, dimension::GROUP, set)));
    for (kind, dimension, set) in sets {
        out.push(one_of(kind, dimension, set.iter().map(|text| (*text).into()).collect()));
    }
    for (kind, dimension, pairs) in [
        (condition::LABEL, dimension::LABEL, &selection.labels),
        (condition::ATTRIBUTE, dimension::ATTRIBUTE, &selection.attributes),
    ] {
        out.extend(pairs.iter().map(|pair| one_of(kind, dimension, vec![pair.as_str().into()])));
    }
    if !m.hosts.is_empty() && exact_hosts(m).is_none() {
        let mut exact = BTreeSet::new();
        let mut suffixes = BTreeSet::new();
        for pattern in &m.hosts {
            match pattern {
                HostPattern::Exact(host) => exact.insert(&**host),
                HostPattern::Suffix(host) => suffixes.insert(&**host),
            };
        }
        let exact = if exact.is_empty() { 0 } else { data.set(&exact) };
        let wants = Wants::Written(hosts(data, exact, &suffixes) / 8);
        out.push(Condition { kind: condition::HOST, wants });
    }
    out.sort_by_key(|condition| condition.kind);
    out
}

fn hosts(data: &mut Data, exact: u32, suffixes: &BTreeSet<&str>) -> u32 {
    let mut bytes = (u64::from(exact) | (suffixes.len() as u64) << 32).to_le_bytes().to_vec();
    for suffix in suffixes {
        bytes.extend(data.place(suffix));
    }
    data.intern(bytes)
}

/// Offset of a rule's list of levels, 0 for none.
fn levels(data: &mut Data, m: &Match) -> u32 {
    let mut list = Vec::new();
    let mut add = |kind, argument: u32| list.push(kind << ARGUMENT_BITS | argument);
    if !m.ports.is_empty() {
        let ranges: BTreeSet<_> = m.ports.iter().map(|range| (range.from, range.to)).collect();
        let range = |(from, to): (u16, u16)| (u32::from(from) | u32::from(to) << 16).to_le_bytes().to_vec();
        add(condition::PORT, data.list(ranges.into_iter().map(range)) / 8);
    }
    if !m.methods.is_empty() {
        add(condition::METHOD, data.set(&m.methods.iter().map(|method| &**method).collect()) / 8);
    }
    if !m.path_prefixes.is_empty() {
        let prefixes: BTreeSet<_> = m.path_prefixes.iter().collect();
        let places: Vec<_> = prefixes.into_iter().map(|prefix| data.place(prefix).to_vec()).collect();
        add(condition::PATH, data.list(places) / 8);
    }
    if !m.source_networks.is_empty() {
        let networks: BTreeSet<_> = m.source_networks.iter().collect();
        add(condition::NETWORK, data.list(networks.into_iter().map(network)) / 8);
    }
    if !m.devices.is_empty() {
        add(condition::DEVICE, m.devices.iter().fold(0, |set, device| set | 1 << (*device as u32)));
    }
    if !m.factors.is_empty() {
        add(condition::FACTOR, m.factors.iter().fold(0, |set, factor| set | u32::from(factor.bit())));
    }
    if !m.schedule.is_empty() {
        let windows: BTreeSet<_> = m.schedule.iter().collect();
        let window = |w: &tidegate_core::policy::Window| {
            (u64::from(w.days) | u64::from(w.from) << 16 | u64::from(w.to) << 32).to_le_bytes().to_vec()
        };
        add(condition::SCHEDULE, data.list(windows.into_iter().map(window)) / 8);
    }
    if list.is_empty() { 0 } else { data.conditions(&list) }
}

fn network(cidr: &Cidr) -> Vec<u8> {
    let (address, prefix, family) = match cidr.address() {
        std::net::IpAddr::V4(v4) => (v4.to_ipv6_mapped(), u32::from(cidr.prefix()) + 96, 4_u64),
        std::net::IpAddr::V6(v6) => (v6, u32::from(cidr.prefix()), 6),
    };
    let address = u128::from(address);
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    [(address >> 64) as u64, address as u64, (mask >> 64) as u64, mask as u64, family]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
}
