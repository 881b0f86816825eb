//! The rules that came near: what each of them wanted.
//!
//! A snapshot has only compiled rules and their names. What they say is read from the last good forms,
//! which are what was compiled.

use std::path::Path;

use serde::Serialize;
use tidegate_core::policy::{Device, Effect, Factor, HostPattern, Policy, Request, Side, Window};
use tidegate_core::{DepartmentCode, PolicyState, Snapshot, Timestamp, Weekday};
use tidegate_policy_compiler::explain::{Outcome, explain};
use tidegate_policy_compiler::reference::{Miss, Reference};
use tidegate_policy_compiler::{Input, Scope};

use super::{Ask, Words, subject};
use crate::form::{Form, Rules, namespace_of};
use crate::intake::{ConfigMaps, reread};
use crate::last_good::LastGood;
use crate::state::StateError;

/// Rules that are named.
const RULES_MAX: usize = 3;

/// Entries of a list that are spelt out.
const ENTRIES_MAX: usize = 8;

/// A rule that would have allowed it, and what it wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    /// The policy object.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// In words.
    pub words: Words,
}

/// The rules in force, as their authors wrote them.
#[derive(Debug)]
pub struct RulesInForce {
    last_good: LastGood,
    now: Timestamp,
}

impl RulesInForce {
    /// Reads them from a state directory, also while a process uses it.
    pub fn read(state: &Path, now: Timestamp) -> Result<Self, StateError> {
        let (last_good, _) = LastGood::peek(state)?;
        Ok(Self { last_good, now })
    }

    fn of(&self, department: &DepartmentCode) -> Vec<Policy> {
        let namespace = namespace_of(department);
        let config_maps = ConfigMaps::new();
        let policy = |(key, good): (&_, &crate::last_good::Good)| match reread(
            key,
            &good.source,
            &good.spec,
            &config_maps,
            self.now,
        ) {
            Ok(Form::AccessPolicy(Rules::Written(policy))) => Some(policy),
            _ => None,
        };
        self.last_good.all().filter(|(key, _)| *key.namespace == *namespace).filter_map(policy).collect()
    }
}

/// The owner's allow rules that came nearest, best first.
pub(super) fn misses(rules: &RulesInForce, snapshot: &Snapshot, ask: &Ask) -> Vec<NearMiss> {
    let Some(account) = snapshot.account(&ask.account) else { return Vec::new() };
    let Some((owner, resource)) = snapshot.resource(&ask.resource) else { return Vec::new() };
    let PolicyState::Module(module) = &owner.policy else { return Vec::new() };
    let policies = rules.of(&owner.code);
    let scope = Scope::Department(owner.code.clone());
    let (reference, _) = Reference::new(&Input { scope, policies: &policies });
    let (host, port) = resource.upstream();
    let request = Request {
        owner: &owner.code,
        resource: &resource.name,
        labels: &resource.labels,
        host,
        port,
        method: &ask.method,
        path: &ask.path,
    };
    let local = owner.zone.local(ask.at);
    let reference = reference.restricted_to(&module.rules);
    let explained = explain(&reference, Side::Owner, &subject(account, ask), &request, local);
    explained
        .rules
        .into_iter()
        .filter(|explained| explained.rule.effect == Effect::Allow)
        .filter_map(|explained| {
            let (zh, en) = wanted(&explained.outcome)?;
            let name = format!("{}/{}", explained.rule.policy, explained.rule.rule);
            Some(NearMiss {
                policy: explained.rule.policy.to_string(),
                rule: explained.rule.rule.to_string(),
                words: Words {
                    zh_cn: format!("规则 {name} 要求{zh}"),
                    en: format!("rule {name} wants {en}"),
                },
            })
        })
        .take(RULES_MAX)
        .collect()
}

/// What a rule wanted; `None` when it is about something else.
fn wanted(outcome: &Outcome) -> Option<(String, String)> {
    let one = |zh: &str, en: &str, list: String| Some((format!("{zh} {list}"), format!("{en} {list}")));
    match outcome {
        Outcome::Matches => None,
        Outcome::WhenFalse(when) => one("条件成立：", "this to hold:", when.to_string()),
        Outcome::WhenFails(when) => one("条件可以判定：", "this to be known:", when.to_string()),
        Outcome::Misses(miss) => match miss {
            // A rule about another system is not near.
            Miss::Resource(_) | Miss::Label(..) => None,
            Miss::Host(hosts) => one("主机为", "the host", list(hosts, host)),
            Miss::Department(codes) => {
                one("人员属于部门", "people of department", list(codes, ToString::to_string))
            }
            Miss::Group(groups) => one("人员属于组", "people of group", list(groups, ToString::to_string)),
            Miss::Port(ranges) => one("端口为", "the port", list(ranges, |r| format!("{}-{}", r.from, r.to))),
            Miss::Method(methods) => one("方法为", "the method", list(methods, ToString::to_string)),
            Miss::Path(paths) => one("路径以此开头：", "a path below", list(paths, ToString::to_string)),
            Miss::Network(networks) => one("来自网络", "the network", list(networks, ToString::to_string)),
            Miss::Device(devices) => one("终端为", "the client", list(devices, |d| device(*d).to_owned())),
            Miss::Factor(factors) => {
                one("身份验证方式为", "the factor", list(factors, |f| factor(*f).to_owned()))
            }
            Miss::Schedule { windows, .. } => one("时间为", "the time", list(windows, window)),
        },
    }
}

fn list<T>(entries: &[T], text: impl Fn(&T) -> String) -> String {
    let mut texts: Vec<String> = entries.iter().take(ENTRIES_MAX).map(text).collect();
    if entries.len() > ENTRIES_MAX {
        texts.push("…".to_owned());
    }
    texts.join(", ")
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
    }
}

fn device(device: Device) -> &'static str {
    match device {
        Device::Browser => "Browser",
        Device::Desktop => "Desktop",
        Device::Mobile => "Mobile",
    }
}

fn factor(factor: Factor) -> &'static str {
    match factor {
        Factor::Password => "Password",
        Factor::Totp => "Totp",
        Factor::Certificate => "Certificate",
    }
}

/// `Mon Tue 08:00-17:30`, as manifests write it.
fn window(window: &Window) -> String {
    let days: Vec<String> = Weekday::ALL
        .into_iter()
        .filter(|day| window.days & day.bit() != 0)
        .map(|day| format!("{day:?}"))
        .collect();
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{} {}-{}", days.join(" "), time(window.from), time(window.to))
}
