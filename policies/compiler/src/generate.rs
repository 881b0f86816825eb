//! Random rule sets and requests for differential tests, from small vocabularies so that rules and
//! requests meet, and biased to the edges of ranges and windows so that they meet there.

mod expression;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegate_core::policy::{
    Departments, Device, Effect, Factor, HostPattern, Match, Mode, Policy, PortRange, Request, Rule, Side,
    Subject, Target, Window,
};
use tidegate_core::{Cidr, DepartmentCode, GroupName, LocalTime, ResourceName, Weekday};

use crate::Scope;

/// A small deterministic generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit.max(1) as u64) as usize
    }

    /// True in `percent` of cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these; the first when there is none to choose.
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }
}

const CODES: [&str; 3] = ["sbj", "wjw", "zyy"];
const NAMES: [&str; 6] = ["wang.fang", "li.qiang", "zhao-min", "a", "b", "chen"];
const UNITS: [&str; 4] = ["医政处", "Office", "office", ""];
const GROUPS: [&str; 16] =
    ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "ga", "gb", "gc", "gd", "ge", "gf"];
const RESOURCES: [&str; 8] = ["his", "lis", "pacs", "erp", "mail", "oa", "hr", "wiki"];
const KEYS: [&str; 3] = ["class", "zone", "Title"];
const VALUES: [&str; 5] = ["core", "Core", "医疗", "x", "sbj/g1"];
const HOSTS: [&str; 7] = [
    "his.example.org",
    "lis.example.org",
    "example.org",
    "a.b.example.org",
    "xample.org",
    "10.20.0.1",
    "deep.his.example.org",
];
const SUFFIXES: [&str; 3] = ["example.org", "his.example.org", "org"];
const PORTS: [u16; 6] = [0, 80, 443, 444, 8080, 65_535];
const METHODS: [&str; 4] = ["GET", "POST", "DELETE", ""];
const PATHS: [&str; 9] = ["/", "/a", "/ab", "/a/b", "/a/b/c", "/A/B", "/医院/1", "", "/archive/2026/11/25"];
const PREFIXES: [&str; 6] = ["/", "/a", "/a/", "/a/b", "/医院", "/archive/2026"];
const MINUTES: [u16; 9] = [0, 1, 479, 480, 481, 1_019, 1_020, 1_439, 720];
const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "10.20.0.0/16",
    "10.20.0.1/32",
    "0.0.0.0/0",
    "::/0",
    "fd00:20::/32",
    "fd00:20::1/128",
    "192.168.1.128/25",
];

/// One request with everything it borrows.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For which side.
    pub side: Side,
    /// The owner.
    pub owner: DepartmentCode,
    /// The resource.
    pub resource: ResourceName,
    /// Its labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Host.
    pub host: &'static str,
    /// Port.
    pub port: u16,
    /// Method.
    pub method: &'static str,
    /// Path.
    pub path: &'static str,
    /// When.
    pub local: LocalTime,
}

impl Asked {
    /// As evaluators take it.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request {
            owner: &self.owner,
            resource: &self.resource,
            labels: &self.labels,
            host: self.host,
            port: self.port,
            method: self.method,
            path: self.path,
        }
    }
}

fn code(random: &mut Random) -> DepartmentCode {
    // Own people and resources are the usual case.
    let text = if random.chance(60) { "sbj" } else { random.pick(&CODES) };
    text.parse().expect("a department code of the vocabulary")
}

fn resource(random: &mut Random) -> ResourceName {
    random.pick(&RESOURCES).parse().expect("a resource name of the vocabulary")
}

fn group(random: &mut Random, code: &str) -> GroupName {
    format!("{code}/{}", random.pick(&GROUPS)).parse().expect("a group of the vocabulary")
}

fn pair(random: &mut Random) -> (Box<str>, Box<str>) {
    (random.pick(&KEYS).into(), random.pick(&VALUES).into())
}

fn pairs(random: &mut Random, most: usize) -> BTreeMap<Box<str>, Box<str>> {
    (0..random.below(most + 1)).map(|_| pair(random)).collect()
}

/// A person.
pub fn subject(random: &mut Random) -> Subject {
    let department = code(random);
    let mut groups: Vec<_> = (0..random.below(6)).map(|_| group(random, department.as_str())).collect();
    if random.chance(3) {
        // The most a record is usually asked to hold, most of them in no rule.
        groups.extend((0..60).map(|n| format!("{department}/other-{n}").parse().expect("a group")));
    }
    groups.sort();
    groups.dedup();
    let near = |random: &mut Random, base: u8| base.wrapping_add(random.below(3) as u8).wrapping_sub(1);
    let source = match random.below(6) {
        0 => IpAddr::V4(Ipv4Addr::new(near(random, 10), near(random, 20), 0, near(random, 1))),
        1 | 2 => IpAddr::V4(Ipv4Addr::new(10, 20, 0, 1)),
        3 => IpAddr::V4(Ipv4Addr::new(192, 168, 1, near(random, 128))),
        4 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, u16::from(near(random, 1)))),
        _ => IpAddr::V6(Ipv4Addr::new(10, 20, 0, 1).to_ipv6_mapped()),
    };
    Subject {
        department,
        name: random.pick(&NAMES).parse().expect("an account name of the vocabulary"),
        uid: "u-1".parse().expect("a uid"),
        unit: random.pick(&UNITS).into(),
        groups,
        attributes: pairs(random, 3),
        device: device(random),
        factors: random.below(8) as u8,
        source,
    }
}

/// A question of the kind this scope is asked.
pub fn asked(random: &mut Random, scope: &Scope) -> Asked {
    let side = match scope {
        Scope::Platform => Side::Platform,
        Scope::Department(_) if random.chance(70) => Side::Owner,
        Scope::Department(_) => Side::Member,
    };
    let weekday = Weekday::ALL[random.below(7)];
    let minute_of_day = if random.chance(80) { minute(random) } else { random.below(1_440) as u16 };
    Asked {
        side,
        owner: code(random),
        resource: resource(random),
        labels: pairs(random, 3),
        host: random.pick(&HOSTS),
        port: PORTS[random.below(PORTS.len())],
        method: random.pick(&METHODS),
        path: random.pick(&PATHS),
        local: LocalTime { utc_minute: 29_000_000 + random.below(10_080) as i64, weekday, minute_of_day },
    }
}

fn minute(random: &mut Random) -> u16 {
    MINUTES[random.below(MINUTES.len())]
}

fn device(random: &mut Random) -> Device {
    [Device::Browser, Device::Desktop, Device::Mobile][random.below(3)]
}

/// What a rule set leans on, so that every dimension of the index is the best one in some sets.
#[derive(Clone, Copy, PartialEq)]
enum Lean {
    Resource,
    Host,
    Label,
    Owner,
    Group,
    Department,
    User,
    Attribute,
}

const LEANS: [Lean; 8] = [
    Lean::Resource,
    Lean::Host,
    Lean::Label,
    Lean::Owner,
    Lean::Group,
    Lean::Department,
    Lean::User,
    Lean::Attribute,
];

/// A rule set of up to some fifty rules in a few policies.
pub fn rule_set(random: &mut Random) -> (Scope, Vec<Policy>) {
    let scope = if random.chance(20) {
        Scope::Platform
    } else {
        Scope::Department("sbj".parse().expect("a department code"))
    };
    let lean = LEANS[random.below(LEANS.len())];
    let policies = (0..=random.below(4))
        .map(|number| {
            let target = target(random, &scope);
            let rules = (0..random.below(16)).map(|n| rule(random, &target, lean, n)).collect();
            let mode = match random.below(12) {
                0 => Mode::DryRun,
                1 => Mode::Disabled,
                _ => Mode::Enforce,
            };
            Policy { name: format!("p{number}").into(), target, mode, rules }
        })
        .collect();
    (scope, policies)
}

fn target(random: &mut Random, scope: &Scope) -> Target {
    match scope {
        Scope::Platform => Target::Platform,
        Scope::Department(_) if random.chance(35) => {
            Target::Users { groups: (0..random.below(3)).map(|_| group(random, "sbj")).collect() }
        }
        Scope::Department(_) => Target::Resources {
            names: if random.chance(20) { random.some(4, resource) } else { Vec::new() },
            match_labels: if random.chance(15) { pairs(random, 2) } else { BTreeMap::new() },
        },
    }
}

fn rule(random: &mut Random, target: &Target, lean: Lean, number: usize) -> Rule {
    let may_allow = matches!(target, Target::Resources { .. });
    let effect = if may_allow && random.chance(75) { Effect::Allow } else { Effect::Deny };
    let mut matches = matches(random, lean);
    if *target == Target::Platform {
        matches.resources.clear();
    }
    let when = match lean {
        Lean::User if random.chance(85) => Some(format!("user.name == \"{}\"", random.pick(&NAMES))),
        Lean::Owner if random.chance(85) => {
            Some(format!("resource.department in [\"{}\"]", random.pick(&CODES)))
        }
        Lean::Attribute if random.chance(85) => {
            let (key, value) = pair(random);
            Some(format!("has(user.attributes.{key}) && user.attributes[\"{key}\"] == \"{value}\""))
        }
        _ => None,
    };
    let more = random.chance(55).then(|| expression::condition(random, 3));
    let when = match (when, more) {
        (Some(when), Some(more)) => Some(format!("{when} && ({more})")),
        (when, more) => when.or(more),
    };
    Rule { name: format!("r{number}").into(), effect, matches, when: when.map(Into::into) }
}

fn matches(random: &mut Random, lean: Lean) -> Match {
    let mut m = Match::default();
    let wants = |random: &mut Random, this: Lean, otherwise: usize| {
        random.chance(if lean == this { 85 } else { otherwise })
    };
    m.departments = match random.below(3) {
        _ if lean == Lean::Department && random.chance(85) => Departments::Listed(vec![code(random)]),
        0 => Departments::Own,
        1 => Departments::All,
        _ => Departments::Listed(random.some(3, code)),
    };
    if wants(random, Lean::Group, 15) {
        m.groups = random.some(2, |random| match &m.departments {
            Departments::Own => group(random, "sbj"),
            Departments::All => {
                let code = code(random);
                group(random, code.as_str())
            }
            Departments::Listed(listed) => {
                let code = listed[random.below(listed.len())].as_str();
                group(random, code)
            }
        });
    }
    if wants(random, Lean::Resource, 15) {
        m.resources = random.some(2, resource);
    }
    if wants(random, Lean::Label, 8) {
        m.labels = pairs(random, 2);
    }
    if wants(random, Lean::Host, 10) {
        m.hosts = random.some(2, |random| match random.below(5) {
            0 => HostPattern::Suffix(random.pick(&SUFFIXES).into()),
            _ => HostPattern::Exact(random.pick(&HOSTS).into()),
        });
    }
    levels(random, &mut m);
    m
}

fn levels(random: &mut Random, m: &mut Match) {
    if random.chance(12) {
        m.ports = random.some(2, |random| {
            let (a, b) = (PORTS[random.below(6)], PORTS[random.below(6)]);
            PortRange { from: a.min(b), to: a.max(b) }
        });
    }
    if random.chance(12) {
        m.methods = random.some(2, |random| METHODS[random.below(3)].into());
    }
    if random.chance(15) {
        m.path_prefixes = random.some(2, |random| random.pick(&PREFIXES).into());
    }
    if random.chance(12) {
        m.source_networks = random
            .some(2, |random| random.pick(&NETWORKS).parse::<Cidr>().expect("a network of the vocabulary"));
    }
    if random.chance(10) {
        m.devices = random.some(2, device);
    }
    if random.chance(10) {
        m.factors =
            random.some(2, |random| [Factor::Password, Factor::Totp, Factor::Certificate][random.below(3)]);
    }
    if random.chance(20) {
        m.schedule = random.some(3, |random| {
            let from = minute(random).min(1_438);
            let to = (minute(random) + 1).max(from + 1);
            Window { days: 1 + random.below(127) as u8, from, to }
        });
    }
}
