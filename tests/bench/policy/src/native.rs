//! The physical limit: the same questions answered by native code from a hash index, without any sandbox.
//!
//! It is handed what is best for it: a fast hash, rules in the order they are needed, no hints.

use std::net::IpAddr;

use hashbrown::HashMap;
use tidegate_core::policy::{Effect, HostPattern, Policy, Rule, Subject, Window};
use tidegate_core::{Cidr, GroupName, LocalTime};

use crate::workload::Question;

/// Rules by resource; denies stand first.
pub struct Index<'p> {
    by_resource: HashMap<&'p str, Vec<Compiled<'p>>>,
    /// Rules that name no resource: not indexed, empty in what is timed.
    anywhere: Vec<Compiled<'p>>,
    groups: HashMap<&'p str, u32>,
}

struct Compiled<'p> {
    index: u32,
    rule: &'p Rule,
    groups: Vec<u32>,
}

/// What all engines must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub effect: Option<Effect>,
    pub rule: u32,
    pub valid_until: i64,
}

/// A person's groups as numbers, ascending.
pub struct Prepared(Vec<u32>);

impl<'p> Index<'p> {
    pub fn new(policy: &'p Policy) -> Self {
        let mut index = Self { by_resource: HashMap::new(), anywhere: Vec::new(), groups: HashMap::new() };
        for (number, rule) in policy.rules.iter().enumerate() {
            let groups = rule.matches.groups.iter().map(|group| {
                let next = index.groups.len() as u32;
                *index.groups.entry(group.as_str()).or_insert(next)
            });
            let groups: Vec<u32> = groups.collect();
            if rule.matches.resources.is_empty() {
                index.anywhere.push(Compiled { index: number as u32, rule, groups: groups.clone() });
            }
            for resource in &rule.matches.resources {
                let compiled = Compiled { index: number as u32, rule, groups: groups.clone() };
                index.by_resource.entry(resource.as_str()).or_default().push(compiled);
            }
        }
        for bucket in index.by_resource.values_mut() {
            bucket.sort_by_key(|compiled| (compiled.rule.effect == Effect::Allow, compiled.index));
        }
        index
    }

    pub fn prepare(&self, subject: &Subject) -> Prepared {
        let known = subject.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let mut groups: Vec<u32> = known.copied().collect();
        groups.sort_unstable();
        Prepared(groups)
    }

    /// Decides for a person as the session knows them.
    pub fn decide_prepared(&self, prepared: &Prepared, question: &Question) -> Answer {
        self.decide(question, |compiled| compiled.groups.iter().any(|g| prepared.0.binary_search(g).is_ok()))
    }

    /// Decides for a person given as text.
    pub fn decide_raw(&self, question: &Question) -> Answer {
        let groups: &[GroupName] = &question.subject.groups;
        self.decide(question, |compiled| {
            compiled.rule.matches.groups.iter().any(|group| groups.binary_search(group).is_ok())
        })
    }

    #[inline(always)]
    fn decide(&self, question: &Question, in_group: impl Fn(&Compiled<'_>) -> bool) -> Answer {
        let bucket = self.by_resource.get(question.resource.as_str()).map_or(&[][..], Vec::as_slice);
        let (mut deny, mut allow) = ((u32::MAX, i64::MAX), (u32::MAX, i64::MAX));
        for compiled in bucket.iter().chain(&self.anywhere) {
            let denies = compiled.rule.effect == Effect::Deny;
            if (!denies && deny.0 != u32::MAX) || !in_group(compiled) || !holds(compiled.rule, question) {
                continue;
            }
            let (open, changes_in) = schedule(&compiled.rule.matches.schedule, question.local);
            let (matched, until) = if denies { &mut deny } else { &mut allow };
            *until = (*until).min(question.local.utc_minute.saturating_add(changes_in));
            if open {
                *matched = (*matched).min(compiled.index);
            }
        }
        match (deny.0, allow.0) {
            (u32::MAX, u32::MAX) => Answer { effect: None, rule: 0, valid_until: deny.1.min(allow.1) },
            (u32::MAX, rule) => {
                Answer { effect: Some(Effect::Allow), rule, valid_until: deny.1.min(allow.1) }
            }
            (rule, _) => Answer { effect: Some(Effect::Deny), rule, valid_until: deny.1 },
        }
    }
}

#[inline(always)]
fn holds(rule: &Rule, question: &Question) -> bool {
    let matches = &rule.matches;
    let any = |empty: bool, found: bool| empty || found;
    any(matches.hosts.is_empty(), matches.hosts.iter().any(|host| host_matches(host, &question.host)))
        && matches.labels.iter().all(|(key, value)| question.labels.get(key) == Some(value))
        && any(
            matches.ports.is_empty(),
            matches.ports.iter().any(|p| (p.from..=p.to).contains(&crate::workload::PORT)),
        )
        && any(matches.methods.is_empty(), matches.methods.iter().any(|m| **m == *question.method))
        && any(
            matches.path_prefixes.is_empty(),
            matches.path_prefixes.iter().any(|prefix| path_matches(prefix, &question.path)),
        )
        && any(
            matches.source_networks.is_empty(),
            matches.source_networks.iter().any(|network| contains(network, question.subject.source)),
        )
}

fn contains(network: &Cidr, address: IpAddr) -> bool {
    network.contains(address)
}

fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(exact) => **exact == *host,
        HostPattern::Suffix(suffix) => host.strip_suffix(&**suffix).is_some_and(|head| head.ends_with('.')),
    }
}

fn path_matches(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether any window is open, and in how many minutes that changes.
#[inline(always)]
fn schedule(windows: &[Window], local: LocalTime) -> (bool, i64) {
    if windows.is_empty() {
        return (true, i64::MAX);
    }
    let (day, minute) = (local.weekday as u32, local.minute_of_day);
    let today = |w: &&Window| w.days >> day & 1 == 1;
    if let Some(window) = windows.iter().filter(today).find(|w| (w.from..w.to).contains(&minute)) {
        // The workload's windows do not touch each other.
        return (true, i64::from(window.to - minute));
    }
    let next = windows.iter().filter_map(|window| {
        (0..=7).find_map(|ahead| {
            let opens = i64::from(ahead) * 1_440 + i64::from(window.from) - i64::from(minute);
            (window.days >> ((day + ahead) % 7) & 1 == 1 && opens > 0).then_some(opens)
        })
    });
    (false, next.min().unwrap_or(i64::MAX))
}
