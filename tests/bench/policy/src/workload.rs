//! Rule sets and questions every engine is given.
//!
//! Each rule tests groups, resource, host, labels, port, method, path, time of the week and source
//! network; four rules speak about one resource, one rule in sixteen denies. Of the questions one half
//! meets a rule, a quarter comes from people in other groups, a quarter asks for unknown systems.

use std::collections::BTreeMap;

use tidegate_core::policy::{
    Device, Effect, HostPattern, Match, Mode, Policy, PortRange, Request, Rule, Subject, Target, Window,
};
use tidegate_core::{DepartmentCode, LocalTime, ResourceName, Weekday};

/// How many questions one pass asks.
pub const QUESTIONS: usize = 256;

pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// What makes a rule set hard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing does.
    Usual,
    /// All rules speak about one resource, each about another group.
    OneResource,
    /// No rule names a resource or a host.
    NoResource,
    /// All rules speak about one group.
    OneGroup,
    /// Everybody is in 64 groups.
    ManyGroups,
}

/// One question.
pub struct Question {
    pub subject: Subject,
    pub owner: DepartmentCode,
    pub resource: ResourceName,
    pub labels: Labels,
    pub host: String,
    pub method: &'static str,
    pub path: String,
    pub local: LocalTime,
}

pub const PORT: u16 = 8443;
pub const METHODS: [&str; 2] = ["GET", "POST"];
/// Monday to Friday, 08:00 to 17:30.
pub const OFFICE_HOURS: Window = Window { days: 0b1_1111, from: 480, to: 1_050 };
pub const NETWORK: &str = "10.0.0.0/8";

/// A rule set and its questions.
pub struct Workload {
    pub policy: Policy,
    pub questions: Vec<Question>,
}

impl Workload {
    pub fn new(shape: Shape, rules: usize) -> Self {
        let policy = Policy {
            name: "bench".into(),
            target: Target::Resources { names: vec![], match_labels: Labels::new() },
            mode: Mode::Enforce,
            rules: (0..rules).map(|index| rule(shape, index)).collect(),
        };
        let questions = (0..QUESTIONS).map(|index| question(shape, rules, index)).collect();
        Self { policy, questions }
    }
}

impl Question {
    pub fn request(&self) -> Request<'_> {
        Request {
            owner: &self.owner,
            resource: &self.resource,
            labels: &self.labels,
            host: &self.host,
            port: PORT,
            method: self.method,
            path: &self.path,
        }
    }
}

/// Which resource a rule speaks about.
fn resource_of(shape: Shape, rule: usize) -> usize {
    if shape == Shape::OneResource { 0 } else { rule / 4 }
}

/// Which group a rule speaks about.
fn group_of(shape: Shape, rule: usize) -> usize {
    match shape {
        Shape::Usual => rule * 7 % 64,
        Shape::ManyGroups => rule * 7 % 256,
        Shape::OneResource => rule,
        Shape::NoResource => rule / 4,
        Shape::OneGroup => 0,
    }
}

fn group(number: usize) -> String {
    format!("sbj/group-{number}")
}

fn host(resource: usize) -> String {
    format!("system-{resource}.example.internal")
}

fn labels(resource: usize) -> Labels {
    [("class", resource % 3), ("floor", resource % 7), ("owner", resource % 11), ("zone", resource % 5)]
        .map(|(key, value)| (key.into(), format!("{key}-{value}").into()))
        .into()
}

fn rule(shape: Shape, index: usize) -> Rule {
    let resource = resource_of(shape, index);
    let named = shape != Shape::NoResource;
    let matches = Match {
        groups: vec![group(group_of(shape, index)).parse().expect("a group")],
        resources: if named { vec![format!("system-{resource}").parse().expect("a name")] } else { vec![] },
        hosts: if named { vec![HostPattern::Exact(host(resource).into())] } else { vec![] },
        labels: if named { labels(resource) } else { Labels::new() },
        ports: vec![PortRange { from: 8_000, to: 8_999 }],
        methods: METHODS.map(Into::into).into(),
        path_prefixes: vec![prefix(index).into()],
        schedule: vec![OFFICE_HOURS],
        source_networks: vec![NETWORK.parse().expect("a network")],
        ..Match::default()
    };
    let effect = if index % 16 == 5 { Effect::Deny } else { Effect::Allow };
    Rule { name: format!("rule-{index}").into(), effect, matches, when: None }
}

/// The path a rule covers.
fn prefix(rule: usize) -> String {
    format!("/app-{}", rule % 4)
}

fn question(shape: Shape, rules: usize, index: usize) -> Question {
    // Scattered over the rule set: neighbours in time are no neighbours in memory.
    let rule = index * 2_654_435_761 % rules;
    let groups_each = if shape == Shape::ManyGroups { 64 } else { 8 };
    // Whoever is in the wrong groups is in groups no rule of that resource names.
    let first = if index % 4 == 1 { 1_000_000 + index } else { group_of(shape, rule) };
    let step = if shape == Shape::ManyGroups { 4 } else { 3 };
    let groups: Vec<_> = match shape {
        _ if index % 4 == 1 => (0..groups_each).map(|n| group(first + n)).collect(),
        Shape::Usual => (0..groups_each).map(|n| group((first + step * n) % 64)).collect(),
        Shape::ManyGroups => (0..groups_each).map(|n| group((first + step * n) % 256)).collect(),
        _ => (0..groups_each).map(|n| group((first + step * n) % rules)).collect(),
    };
    let mut groups: Vec<_> = groups.iter().map(|name| name.parse().expect("a group")).collect();
    groups.sort();
    let resource = if index % 4 == 3 { 1_000_000 + index } else { resource_of(shape, rule) };
    Question {
        subject: Subject {
            department: "sbj".parse().expect("a code"),
            name: format!("user{index}").parse().expect("a name"),
            uid: format!("uid-{index}").parse().expect("a uid"),
            unit: "Records".into(),
            groups,
            attributes: [("title".into(), "clerk".into())].into(),
            device: Device::Browser,
            factors: 1,
            source: [10, 1, (index % 256) as u8, 7].into(),
        },
        owner: "sbj".parse().expect("a code"),
        resource: format!("system-{resource}").parse().expect("a name"),
        labels: labels(resource),
        host: host(resource),
        method: METHODS[index / 2 % 2],
        path: format!("{}/records/{index}", prefix(rule)),
        local: LocalTime { utc_minute: 29_000_000, weekday: Weekday::Tue, minute_of_day: 600 },
    }
}
