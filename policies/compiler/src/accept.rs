//! Which rules can be compiled at all, judged one policy at a time.

use std::collections::BTreeSet;

use tidegate_core::policy::{Departments, Effect, HostPattern, Match, Mode, Policy, Rule, Side, Target};
use tidegate_core::{Code, DepartmentCode, RuleName};

use crate::limits::{MAX_LIST, MAX_RULE_COST, MAX_TEXT};
use crate::problem::{Fault, Problem};
use crate::when::{self, typed::Expr};

/// Whose rules are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A department's AccessPolicies.
    Department(DepartmentCode),
    /// The platform's ClusterAccessPolicies.
    Platform,
}

/// A rule that passed, with its expression understood.
#[derive(Clone, Debug)]
pub(crate) struct Accepted<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) rule: &'p Rule,
    pub(crate) when: Option<Expr>,
}

impl Accepted<'_> {
    pub(crate) fn name(&self) -> RuleName {
        RuleName { policy: self.policy.name.clone(), rule: self.rule.name.clone(), effect: self.rule.effect }
    }

    pub(crate) fn side(&self) -> Side {
        match self.policy.target {
            Target::Resources { .. } => Side::Owner,
            Target::Users { .. } => Side::Member,
            Target::Platform => Side::Platform,
        }
    }
}

/// Judges every rule of one policy; without a scope, what needs the department's code is not judged.
pub(crate) fn policy<'p>(
    policy: &'p Policy,
    scope: Option<&Scope>,
    problems: &mut Vec<Problem>,
) -> Vec<Accepted<'p>> {
    let mut problem = |rule: &str, fault| {
        problems.push(Problem { policy: policy.name.clone(), rule: rule.into(), fault });
    };
    if let Err(fault) = target(policy, scope) {
        problem("", fault);
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    let mut accepted = Vec::new();
    for rule in &policy.rules {
        match judge(policy, rule, scope, &mut names) {
            Ok(when) => accepted.push(Accepted { policy, rule, when }),
            Err(fault) => problem(&rule.name, fault),
        }
    }
    // A policy that is not in force is judged all the same, so that switching it on brings no surprise.
    if policy.mode == Mode::Enforce { accepted } else { Vec::new() }
}

fn bad_match(message: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault::whole(Code::RuleMatch, message, fix)
}

fn target(policy: &Policy, scope: Option<&Scope>) -> Result<(), Fault> {
    match (&policy.target, scope) {
        (Target::Platform, Some(Scope::Department(_))) => Err(Fault::whole(
            Code::RuleMatch,
            "a department's policy has the platform as its target",
            "set target.resources or target.users",
        )),
        (Target::Resources { .. } | Target::Users { .. }, Some(Scope::Platform)) => Err(Fault::whole(
            Code::RuleMatch,
            "a guardrail has the target of a department's policy",
            "remove the target",
        )),
        (Target::Resources { names, match_labels }, _) => {
            list("target.resources.names", names)?;
            texts("target.resources.matchLabels", match_labels.iter().flat_map(|(k, v)| [&**k, &**v]))
        }
        (Target::Users { groups }, _) => list("target.users.groups", groups),
        (Target::Platform, _) => Ok(()),
    }
}

fn judge<'p>(
    policy: &Policy,
    rule: &'p Rule,
    scope: Option<&Scope>,
    names: &mut BTreeSet<&'p str>,
) -> Result<Option<Expr>, Fault> {
    if !names.insert(&rule.name) {
        return Err(bad_match(
            "another rule of this policy has the same name",
            "give each rule its own name",
        ));
    }
    match (&policy.target, rule.effect) {
        (Target::Users { .. }, Effect::Allow) => {
            return Err(Fault::whole(
                Code::UsersMayOnlyDeny,
                "a policy about users cannot allow",
                "write the rule in a policy with target.resources of the department that owns them",
            ));
        }
        (Target::Platform, Effect::Allow) => {
            return Err(Fault::whole(
                Code::GuardrailMayOnlyDeny,
                "a guardrail cannot allow",
                "write the rule in an AccessPolicy of the department that owns the resource",
            ));
        }
        _ => {}
    }
    fields(&rule.matches)?;
    if policy.target == Target::Platform && !rule.matches.resources.is_empty() {
        // A name means another system in each department.
        return Err(bad_match("a guardrail cannot name resources", "select them by labels, hosts or ports"));
    }
    if let Some(Scope::Department(code)) = scope {
        groups_named(&rule.matches, code)?;
    }
    let Some(text) = &rule.when else { return Ok(None) };
    let expr = when::check(&when::parse(text)?)?;
    let cost = rule_cost(rule, Some(&expr));
    if cost > MAX_RULE_COST {
        return Err(Fault::at(
            Code::RuleCost,
            0..text.len(),
            format!("the rule may cost {cost} units, more than {MAX_RULE_COST}"),
            "use fewer or shorter `contains`, or move conditions into match",
        ));
    }
    Ok(Some(expr))
}

/// The most one evaluation of a rule can cost, in units of about 50 ns.
pub(crate) fn rule_cost(rule: &Rule, when: Option<&Expr>) -> u32 {
    let m = &rule.matches;
    let entries = m.hosts.len()
        + m.ports.len()
        + m.path_prefixes.len()
        + m.schedule.len()
        + m.source_networks.len()
        + m.groups.len();
    1 + entries as u32 / 4 + when.map_or(0, when::cost)
}

/// People of another department only match where `departments` names it.
fn groups_named(m: &Match, own: &DepartmentCode) -> Result<(), Fault> {
    for group in &m.groups {
        let Some((code, _)) = group.as_str().split_once('/') else { continue };
        let named = match &m.departments {
            Departments::Own => code == own.as_str(),
            Departments::All => true,
            Departments::Listed(listed) => listed.iter().any(|listed| listed.as_str() == code),
        };
        if !named {
            return Err(bad_match(
                format!("nobody can match the group `{group}`: departments does not name `{code}`"),
                format!("add `{code}` to departments, or remove the group"),
            ));
        }
    }
    Ok(())
}

fn list<T>(what: &str, list: &[T]) -> Result<(), Fault> {
    if list.len() > MAX_LIST {
        return Err(bad_match(
            format!("{what} has {} entries, more than {MAX_LIST}", list.len()),
            "use a label, a group or several rules",
        ));
    }
    Ok(())
}

fn texts<'t>(what: &str, texts: impl Iterator<Item = &'t str>) -> Result<(), Fault> {
    for (index, text) in texts.enumerate() {
        if index >= 2 * MAX_LIST {
            return Err(bad_match(format!("{what} has too many entries"), "use fewer"));
        }
        if text.len() > MAX_TEXT || text.contains('\0') {
            return Err(bad_match(
                format!("{what} holds a text longer than {MAX_TEXT} bytes or with the character U+0000"),
                "shorten it",
            ));
        }
    }
    Ok(())
}

fn fields(m: &Match) -> Result<(), Fault> {
    list("groups", &m.groups)?;
    if let Departments::Listed(departments) = &m.departments {
        list("departments", departments)?;
        if departments.is_empty() {
            return Err(bad_match(
                "departments names nobody",
                "remove it for the own people, or write [\"*\"]",
            ));
        }
    }
    list("resources", &m.resources)?;
    texts("labels", m.labels.iter().flat_map(|(key, value)| [&**key, &**value]))?;
    list("hosts", &m.hosts)?;
    list("ports", &m.ports)?;
    list("methods", &m.methods)?;
    list("pathPrefixes", &m.path_prefixes)?;
    list("schedule", &m.schedule)?;
    list("sourceNetworks", &m.source_networks)?;
    let hosts = || m.hosts.iter().map(|(HostPattern::Exact(host) | HostPattern::Suffix(host))| &**host);
    for host in hosts() {
        if host.is_empty() || host.chars().any(|c| c.is_uppercase() || c.is_whitespace() || c == '*') {
            return Err(bad_match(
                format!("`{host}` is not a host name"),
                "write a lower-case name such as his.example.org, or `*.example.org` for all below it",
            ));
        }
    }
    texts("hosts", hosts())?;
    for range in &m.ports {
        if range.from > range.to {
            return Err(bad_match(
                format!("the ports {}-{} are the wrong way round", range.from, range.to),
                format!("write {}-{}", range.to, range.from),
            ));
        }
    }
    for method in &m.methods {
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return Err(bad_match(
                format!("`{method}` is not an HTTP method"),
                "write it in capitals, for example GET",
            ));
        }
    }
    texts("methods", m.methods.iter().map(|method| &**method))?;
    for prefix in &m.path_prefixes {
        if !prefix.starts_with('/') {
            return Err(bad_match(
                format!("the path prefix `{prefix}` does not begin with a slash"),
                format!("write `/{prefix}`"),
            ));
        }
    }
    texts("pathPrefixes", m.path_prefixes.iter().map(|prefix| &**prefix))?;
    for window in &m.schedule {
        if window.days == 0 || window.days > 0x7f {
            return Err(bad_match("a window of the schedule has no day", "name at least one of Mon to Sun"));
        }
        if window.from >= window.to || window.to > 1_440 {
            return Err(bad_match(
                "a window of the schedule does not end after it begins",
                "end it at 24:00 and begin another window at 00:00 the next day",
            ));
        }
    }
    Ok(())
}

/// All rules of all policies, in order, and the problems met.
pub(crate) fn all<'p>(
    scope: &Scope,
    policies: &'p [Policy],
    problems: &mut Vec<Problem>,
) -> Vec<Accepted<'p>> {
    let mut seen = BTreeSet::new();
    let mut accepted = Vec::new();
    for each in policies {
        if !seen.insert(&each.name) {
            let fault = bad_match("another policy has the same name", "give each policy its own name");
            problems.push(Problem { policy: each.name.clone(), rule: "".into(), fault });
            continue;
        }
        accepted.extend(policy(each, Some(scope), problems));
    }
    accepted
}
