//! The structured conditions, in the order hints rank them.

use std::net::IpAddr;

use tidegate_core::policy::{
    Departments, Device, Factor, HintKind, HostPattern, Match, PortRange, Rule, Target, Window,
};
use tidegate_core::{Cidr, DepartmentCode, GroupName, LocalTime, ResourceName};

use super::{Facts, Whole};
use crate::accept::Scope;

/// The first condition of a rule that does not hold: what it wants. What was found stands in the
/// subject and the request the question was asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The resource is none of these.
    Resource(Vec<ResourceName>),
    /// The resource does not carry this label.
    Label(Box<str>, Box<str>),
    /// The host is none of these.
    Host(Vec<HostPattern>),
    /// The person's department is none of these.
    Department(Vec<DepartmentCode>),
    /// The person is in none of these groups.
    Group(Vec<GroupName>),
    /// The port is in none of these ranges.
    Port(Vec<PortRange>),
    /// The method is none of these.
    Method(Vec<Box<str>>),
    /// The path begins with none of these.
    Path(Vec<Box<str>>),
    /// The computer is in none of these networks.
    Network(Vec<Cidr>),
    /// The client is none of these kinds.
    Device(Vec<Device>),
    /// None of these factors was used.
    Factor(Vec<Factor>),
    /// It is outside these windows.
    Schedule {
        /// The windows.
        windows: Vec<Window>,
        /// Minutes until the next one opens.
        opens_in: Option<i64>,
    },
}

impl Miss {
    /// The level as hints name it; `None` for the resource and group levels.
    #[must_use]
    pub fn level(&self) -> HintKind {
        match self {
            Self::Resource(_) | Self::Label(..) | Self::Host(_) | Self::Department(_) | Self::Group(_) => {
                HintKind::None
            }
            Self::Port(_) | Self::Method(_) | Self::Path(_) => HintKind::Method,
            Self::Network(_) => HintKind::Network,
            Self::Device(_) => HintKind::Device,
            Self::Factor(_) => HintKind::Factor,
            Self::Schedule { .. } => HintKind::Schedule,
        }
    }

    pub(super) fn opens_at(&self, local: LocalTime) -> i64 {
        match self {
            Self::Schedule { opens_in: Some(minutes), .. } => local.utc_minute.saturating_add(*minutes),
            _ => i64::MAX,
        }
    }
}

/// The first structured condition that does not hold.
pub(crate) fn first_miss(whole: &Whole, scope: &Scope, facts: Facts<'_>) -> Option<Miss> {
    let m = &whole.rule.matches;
    target(&whole.policy.target, facts)
        .or_else(|| resource(m, facts))
        .or_else(|| people(m, scope, facts))
        .or_else(|| way(m, facts))
        .or_else(|| client(m, facts))
        .or_else(|| time(&whole.rule, facts.local))
}

/// Empty lists do not restrict; else one entry must hold.
fn misses<T: Clone>(list: &[T], holds: impl Fn(&T) -> bool, miss: fn(Vec<T>) -> Miss) -> Option<Miss> {
    (!list.is_empty() && !list.iter().any(holds)).then(|| miss(list.to_vec()))
}

fn target(target: &Target, facts: Facts<'_>) -> Option<Miss> {
    match target {
        Target::Resources { names, match_labels } => {
            misses(names, |name| name == facts.request.resource, Miss::Resource)
                .or_else(|| match_labels.iter().find_map(|(key, value)| label(key, value, facts)))
        }
        Target::Users { groups } => misses(groups, |group| facts.subject.groups.contains(group), Miss::Group),
        Target::Platform => None,
    }
}

fn label(key: &str, value: &str, facts: Facts<'_>) -> Option<Miss> {
    let found = facts.request.labels.get(key).map(|found| &**found);
    (found != Some(value)).then(|| Miss::Label(key.into(), value.into()))
}

fn resource(m: &Match, facts: Facts<'_>) -> Option<Miss> {
    let host = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(host) => facts.request.host == &**host,
        HostPattern::Suffix(suffix) => facts.request.host.ends_with(&format!(".{suffix}")),
    };
    misses(&m.resources, |name| name == facts.request.resource, Miss::Resource)
        .or_else(|| m.labels.iter().find_map(|(key, value)| label(key, value, facts)))
        .or_else(|| misses(&m.hosts, host, Miss::Host))
}

fn people(m: &Match, scope: &Scope, facts: Facts<'_>) -> Option<Miss> {
    let whose = match (&m.departments, scope) {
        (Departments::Own, Scope::Department(own)) => vec![own.clone()],
        (Departments::Listed(listed), _) => listed.clone(),
        (Departments::Own, Scope::Platform) | (Departments::All, _) => Vec::new(),
    };
    misses(&whose, |code| *code == facts.subject.department, Miss::Department)
        .or_else(|| misses(&m.groups, |group| facts.subject.groups.contains(group), Miss::Group))
}

fn way(m: &Match, facts: Facts<'_>) -> Option<Miss> {
    let port = facts.request.port;
    let path = facts.request.path;
    let below = |prefix: &str| match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    };
    misses(&m.ports, |range| range.from <= port && port <= range.to, Miss::Port)
        .or_else(|| misses(&m.methods, |method| &**method == facts.request.method, Miss::Method))
        .or_else(|| misses(&m.path_prefixes, |prefix| below(prefix), Miss::Path))
}

fn client(m: &Match, facts: Facts<'_>) -> Option<Miss> {
    let source: IpAddr = facts.subject.source;
    misses(&m.source_networks, |cidr| cidr.contains(source), Miss::Network)
        .or_else(|| misses(&m.devices, |device| *device == facts.subject.device, Miss::Device))
        .or_else(|| misses(&m.factors, |factor| facts.subject.factors & factor.bit() != 0, Miss::Factor))
}

fn time(rule: &Rule, local: LocalTime) -> Option<Miss> {
    let windows = &rule.matches.schedule;
    let inside = |window: &Window| {
        window.days & local.weekday.bit() != 0 && (window.from..window.to).contains(&local.minute_of_day)
    };
    if windows.is_empty() || windows.iter().any(inside) {
        return None;
    }
    let opens_in = windows.iter().flat_map(|window| edges(window, local, window.from)).min();
    Some(Miss::Schedule { windows: windows.clone(), opens_in })
}

/// Minutes from now to each time in the coming week a window reaches this minute of the day.
fn edges(window: &Window, local: LocalTime, minute: u16) -> impl Iterator<Item = i64> {
    let (days, today, now) = (window.days, local.weekday as u32, i64::from(local.minute_of_day));
    (0..=7_u32)
        .filter(move |ahead| days >> ((today + ahead) % 7) & 1 == 1)
        .map(move |ahead| i64::from(ahead) * 1_440 + i64::from(minute) - now)
        .filter(|minutes| *minutes > 0)
}

/// Minutes to the next beginning or end of any window of the schedule.
pub(super) fn schedule_changes(rule: &Rule, local: LocalTime) -> Option<i64> {
    let windows = rule.matches.schedule.iter();
    windows.flat_map(|w| edges(w, local, w.from).chain(edges(w, local, w.to))).min()
}
