//! Ten thousand rules in the shapes that defeat a one-level index: what is counted is work, not time.

use std::collections::BTreeMap;

use tidegate_core::policy::{
    Departments, Device, Effect, Factor, HostPattern, Match, Mode, Policy, Rule, Side, Subject, Target,
};
use tidegate_core::{Code, LocalTime, Weekday};
use tidegate_policy_compiler::generate::Asked;
use tidegate_policy_compiler::{Input, Scope, compile, compile_tables};
use tidegate_policy_evaluator::observe::Observe;

use crate::native::Native;

const RULES: usize = 10_000;

/// Counts what one evaluation does.
#[derive(Default)]
struct Work(usize);

impl Observe for Work {
    fn dimension(&mut self, _: u8) {
        self.0 += 1;
    }
    fn condition(&mut self, _: u8) {
        self.0 += 1;
    }
    fn opcode(&mut self, _: u8) {
        self.0 += 1;
    }
}

fn policy(rule: impl Fn(usize) -> Rule) -> [Policy; 1] {
    [Policy {
        name: "p".into(),
        target: Target::Resources { names: Vec::new(), match_labels: BTreeMap::new() },
        mode: Mode::Enforce,
        rules: (0..RULES).map(rule).collect(),
    }]
}

fn rule(n: usize, matches: Match) -> Rule {
    Rule { name: format!("r{n}").into(), effect: Effect::Allow, matches, when: None }
}

fn group(n: usize) -> tidegate_core::GroupName {
    format!("sbj/g{n}").parse().expect("a group")
}

fn resource(n: usize) -> tidegate_core::ResourceName {
    format!("r{n}").parse().expect("a resource")
}

fn scope() -> Scope {
    Scope::Department("sbj".parse().expect("a code"))
}

fn asked(number: usize) -> Asked {
    Asked {
        side: Side::Owner,
        owner: "sbj".parse().expect("a code"),
        resource: resource(number),
        labels: [("class".into(), format!("c{number}").into()), ("zone".into(), "a".into())].into(),
        host: "his.example.org",
        port: 443,
        method: "GET",
        path: "/a/b",
        local: LocalTime { utc_minute: 29_000_000, weekday: Weekday::Mon, minute_of_day: 600 },
    }
}

fn subject(groups: usize, first: usize) -> Subject {
    let mut groups: Vec<_> = (first..first + groups).map(group).collect();
    groups.sort();
    Subject {
        department: "sbj".parse().expect("a code"),
        name: "wang.fang".parse().expect("a name"),
        uid: "u".parse().expect("a uid"),
        unit: "".into(),
        groups,
        attributes: [("n".into(), "42".into())].into(),
        device: Device::Desktop,
        factors: Factor::Password.bit(),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

/// Work for a person in `groups` groups from `first`, asking for resource `number`; it must be allowed.
fn work(policies: &[Policy], groups: usize, first: usize, number: usize) -> usize {
    let (tables, _, problems) = compile_tables(&Input { scope: scope(), policies });
    assert_eq!(problems, []);
    let mut work = Work::default();
    let verdict = Native::new().evaluate(&tables, &subject(groups, first), &asked(number), &mut work);
    assert_eq!(verdict.effect, Some(Effect::Allow));
    work.0
}

#[test]
fn four_rules_for_each_resource() {
    let policies = policy(|n| {
        rule(n, Match { resources: vec![resource(n / 4)], groups: vec![group(n % 97)], ..Match::default() })
    });
    assert!(work(&policies, 8, 40, 10) <= 20);
}

#[test]
fn all_rules_on_one_resource() {
    let policies = policy(|n| {
        rule(n, Match { resources: vec![resource(7)], groups: vec![group(n)], ..Match::default() })
    });
    assert!(work(&policies, 8, 5_000, 7) <= 8 * 3 + 4);
    assert!(work(&policies, 64, 5_000, 7) <= 64 * 3 + 4);
}

#[test]
fn no_rule_names_a_resource() {
    let policies = policy(|n| rule(n, Match { groups: vec![group(n)], ..Match::default() }));
    assert!(work(&policies, 8, 5_000, 7) <= 8 * 3 + 4);

    let policies = policy(|n| {
        let labels = [("class".into(), format!("c{n}").into())].into();
        rule(n, Match { labels, ..Match::default() })
    });
    assert!(work(&policies, 8, 0, 4_321) <= 20);

    let policies = policy(|n| {
        let when = format!("\"n\" in user.attributes && user.attributes.n == \"{n}\"");
        Rule { when: Some(when.into()), ..rule(n, Match::default()) }
    });
    assert!(work(&policies, 8, 0, 1) <= 20);

    let policies = policy(|n| {
        let hosts =
            vec![HostPattern::Exact(if n == 3 { "his.example.org".into() } else { format!("h{n}").into() })];
        rule(n, Match { hosts, departments: Departments::All, ..Match::default() })
    });
    assert!(work(&policies, 8, 0, 1) <= 20);
}

#[test]
fn one_group_for_all() {
    let policies = policy(|n| {
        rule(n, Match { resources: vec![resource(n)], groups: vec![group(1)], ..Match::default() })
    });
    assert!(work(&policies, 64, 0, 4_321) <= 20);
}

#[test]
fn both_a_resource_and_a_group_are_shared_by_many() {
    // A hundred resources with a hundred groups each: neither alone tells rules apart.
    let policies = policy(|n| {
        rule(
            n,
            Match { resources: vec![resource(n / 100)], groups: vec![group(n % 100)], ..Match::default() },
        )
    });
    assert!(work(&policies, 8, 40, 50) <= 8 * 3 + 4);
}

#[test]
fn the_rule_that_crosses_the_budget_of_one_request_is_refused_and_the_earlier_ones_stay() {
    // Nothing tells these rules apart, so one request reaches all of them.
    let expensive = "request.path.contains(\"x\")";
    let policies = policy(|n| Rule { when: Some(expensive.into()), ..rule(n, Match::default()) });
    let output = compile(&Input { scope: scope(), policies: &policies });
    assert!(output.rules.len() > 20 && output.rules.len() < 100, "{}", output.rules.len());
    assert_eq!(output.rules.len() + output.problems.len(), RULES);
    assert!(output.problems.iter().all(|problem| problem.fault.code == Code::RuleCost));
    assert_eq!(&*output.rules.last().expect("rules").rule, format!("r{}", output.rules.len() - 1));

    // Told apart by resource, all of them fit.
    let policies = policy(|n| {
        let matches = Match { resources: vec![resource(n)], ..Match::default() };
        Rule { when: Some(expensive.into()), ..rule(n, matches) }
    });
    let output = compile(&Input { scope: scope(), policies: &policies });
    assert_eq!((output.rules.len(), output.problems.len()), (RULES, 0));
}

#[test]
fn too_many_rules_leave_the_first_in_force() {
    let policies = [
        policy(|n| rule(n, Match { resources: vec![resource(n)], ..Match::default() })),
        policy(|n| rule(n, Match { resources: vec![resource(n)], ..Match::default() })),
        policy(|n| rule(n, Match { resources: vec![resource(n)], ..Match::default() })),
    ];
    let mut policies: Vec<_> = policies.into_iter().flatten().collect();
    for (number, policy) in policies.iter_mut().enumerate() {
        policy.name = format!("p{number}").into();
    }
    let output = compile(&Input { scope: scope(), policies: &policies });
    assert_eq!(output.rules.len(), 2 * RULES);
    assert!(output.problems.iter().all(|problem| problem.fault.code == Code::TooManyRules));
}
