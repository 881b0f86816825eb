//! AccessPolicy and ClusterAccessPolicy: rules in core's words, every group written in full.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tidegate_core::policy::{
    Departments, Device, Effect, Factor, HostPattern, Match, Mode, Policy, PortRange, Rule, Target, Window,
};
use tidegate_core::{Code, DepartmentCode, GroupName, ResourceName, Weekday};

use super::resource::is_host_name;
use super::text::{cidrs, map};
use super::{Problems, Rules};
use crate::types::{self, AccessPolicySpec, ClusterAccessPolicySpec, Day};

pub(super) fn convert(
    name: &str,
    owner: &DepartmentCode,
    spec: &AccessPolicySpec,
    problems: &mut Problems,
) -> Option<Rules> {
    if spec.module.is_some() {
        return Some(Rules::Module);
    }
    let target = if let Some(users) = &spec.target.users {
        let own = Departments::Own;
        Target::Users {
            groups: groups(&users.groups, Some(owner), &own, "spec.target.users.groups", problems),
        }
    } else {
        let selector = spec.target.resources.clone().unwrap_or_default();
        Target::Resources {
            names: resource_names(&selector.names, "spec.target.resources.names", problems),
            match_labels: map(&selector.match_labels),
        }
    };
    let rules = spec.rules.as_deref().unwrap_or_default();
    let rules = rules.iter().enumerate().map(|(index, rule)| self::rule(index, rule, Some(owner), problems));
    let rules = rules.collect();
    Some(Rules::Written(Policy { name: name.into(), target, mode: mode(spec.mode), rules }))
}

pub(super) fn convert_guardrail(
    name: &str,
    spec: &ClusterAccessPolicySpec,
    problems: &mut Problems,
) -> Policy {
    let rules = spec.rules.iter().enumerate().map(|(index, rule)| self::rule(index, rule, None, problems));
    let rules = rules.collect();
    Policy { name: name.into(), target: Target::Platform, mode: mode(spec.mode), rules }
}

fn mode(mode: types::Mode) -> Mode {
    match mode {
        types::Mode::Enforce => Mode::Enforce,
        types::Mode::DryRun => Mode::DryRun,
        types::Mode::Disabled => Mode::Disabled,
    }
}

/// `owner` is `None` in a guardrail.
fn rule(
    index: usize,
    rule: &types::AccessRule,
    owner: Option<&DepartmentCode>,
    problems: &mut Problems,
) -> Rule {
    let path = format!("spec.rules[{index}].match");
    Rule {
        name: rule.name.as_str().into(),
        effect: match rule.effect {
            types::Effect::Allow => Effect::Allow,
            types::Effect::Deny => Effect::Deny,
        },
        matches: rule
            .matches
            .as_ref()
            .map(|matches| self::matches(matches, owner, &path, problems))
            .unwrap_or_default(),
        when: rule.when.as_deref().map(Into::into),
    }
}

fn matches(
    matches: &types::Match,
    owner: Option<&DepartmentCode>,
    path: &str,
    problems: &mut Problems,
) -> Match {
    let at = |field: &str| format!("{path}.{field}");
    let departments = departments(&matches.departments, &at("departments"), problems);
    Match {
        groups: groups(&matches.groups, owner, &departments, &at("groups"), problems),
        departments,
        resources: resource_names(&matches.resources, &at("resources"), problems),
        labels: map(&matches.labels),
        hosts: hosts(&matches.hosts, &at("hosts"), problems),
        ports: ports(&matches.ports, &at("ports"), Code::RuleMatch, problems),
        methods: matches.methods.iter().map(|method| method.as_str().into()).collect(),
        path_prefixes: path_prefixes(&matches.path_prefixes, &at("pathPrefixes"), problems),
        schedule: schedule(&matches.schedule, &at("schedule"), problems),
        source_networks: cidrs(&matches.source_networks, &at("sourceNetworks"), problems),
        devices: matches.devices.iter().map(|device| self::device(*device)).collect(),
        factors: matches.factors.iter().map(|factor| self::factor(*factor)).collect(),
    }
}

fn departments(codes: &[String], path: &str, problems: &mut Problems) -> Departments {
    if codes.is_empty() {
        return Departments::Own;
    }
    if codes.iter().any(|code| code == "*") {
        if codes.len() > 1 {
            let fix = "write [\"*\"] alone, or name the departments";
            problems.add(path, Code::RuleMatch, "* stands beside other departments", fix);
        }
        return Departments::All;
    }
    let parse = |(index, code): (usize, &String)| {
        problems.take(
            &format!("{path}[{index}]"),
            code.parse::<DepartmentCode>(),
            "write a department's code, or *",
        )
    };
    Departments::Listed(codes.iter().enumerate().filter_map(parse).collect())
}

/// Groups in full. Whoever writes a group its `departments` leave out wrote a rule that never matches.
fn groups(
    texts: &[String],
    owner: Option<&DepartmentCode>,
    departments: &Departments,
    path: &str,
    problems: &mut Problems,
) -> Vec<GroupName> {
    let speaks_about = |code: &str| match departments {
        Departments::Own => owner.is_none_or(|owner| owner.as_str() == code),
        Departments::All => true,
        Departments::Listed(listed) => listed.iter().any(|listed| listed.as_str() == code),
    };
    let mut groups = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let full = match (text.split_once('/'), owner) {
            (Some(_), _) => text.clone(),
            (None, Some(owner)) => format!("{owner}/{text}"),
            (None, None) => {
                let message = format!("a guardrail has no department whose group {text:?} could be");
                problems.add(path, Code::RuleMatch, message, format!("write <code>/{text}"));
                continue;
            }
        };
        let code = full.split_once('/').map(|(code, _)| code).unwrap_or_default();
        if !speaks_about(code) {
            let message = format!("{full} can never match: the rule does not speak about people of {code}");
            problems.add(
                path,
                Code::RuleMatch,
                message,
                format!("add {code} to departments, or remove the group"),
            );
            continue;
        }
        let fix = "write a group, or <code>/<group>";
        groups.extend(problems.take(&path, full.parse::<GroupName>(), fix));
    }
    groups
}

fn resource_names(names: &[String], path: &str, problems: &mut Problems) -> Vec<ResourceName> {
    let parse = |(index, name): (usize, &String)| {
        problems.take(&format!("{path}[{index}]"), name.parse(), "write the metadata.name of a Resource")
    };
    names.iter().enumerate().filter_map(parse).collect()
}

fn hosts(texts: &[String], path: &str, problems: &mut Problems) -> Vec<HostPattern> {
    let parse = |(index, text): (usize, &String)| {
        let pattern = match text.strip_prefix("*.") {
            Some(suffix) if is_host_name(suffix) => Some(HostPattern::Suffix(suffix.into())),
            None if is_host_name(text) || text.parse::<std::net::IpAddr>().is_ok() => {
                Some(HostPattern::Exact(text.as_str().into()))
            }
            _ => None,
        };
        if pattern.is_none() {
            let fix = "write a lower-case host name or address, or *.example.org for everything below it";
            problems.add(format!("{path}[{index}]"), Code::RuleMatch, format!("{text:?} is not a host"), fix);
        }
        pattern
    };
    texts.iter().enumerate().filter_map(parse).collect()
}

pub(super) fn ports(
    ports: &[IntOrString],
    path: &str,
    code: Code,
    problems: &mut Problems,
) -> Vec<PortRange> {
    let parse = |(index, port): (usize, &IntOrString)| {
        let text = match port {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text.clone(),
        };
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        let range = from
            .parse::<u16>()
            .ok()
            .zip(to.parse::<u16>().ok())
            .filter(|(from, to)| (1..=*to).contains(from));
        if range.is_none() {
            let fix = "write a port from 1 to 65535, or a range such as 8000-8100";
            problems.add(format!("{path}[{index}]"), code, format!("{text:?} is not a port"), fix);
        }
        range.map(|(from, to)| PortRange { from, to })
    };
    ports.iter().enumerate().filter_map(parse).collect()
}

fn path_prefixes(texts: &[String], path: &str, problems: &mut Problems) -> Vec<Box<str>> {
    let parse = |(index, text): (usize, &String)| {
        // Paths are compared as the gateway normalised them, in which none of these can occur.
        let odd = text.split('/').any(|segment| matches!(segment, "." | ".."))
            || text.contains("//")
            || text.contains(|c: char| c.is_control() || matches!(c, '\\' | '?' | '#' | '%'));
        if odd || !text.starts_with('/') {
            let message = format!("{text:?} can never be the beginning of a normalised path");
            let fix = "write it decoded, beginning with a slash, without dots, double slashes or a query";
            problems.add(format!("{path}[{index}]"), Code::RuleMatch, message, fix);
            return None;
        }
        let trimmed = text.trim_end_matches('/');
        Some(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
    };
    texts.iter().enumerate().filter_map(parse).collect()
}

fn schedule(windows: &[types::Window], path: &str, problems: &mut Problems) -> Vec<Window> {
    let parse = |(index, window): (usize, &types::Window)| {
        let days = if window.days.is_empty() {
            Weekday::ALL.iter().fold(0, |days, day| days | day.bit())
        } else {
            window.days.iter().fold(0, |days, day| days | weekday(*day).bit())
        };
        let times = minute(&window.from).zip(minute(&window.to)).filter(|(from, to)| from < to);
        if times.is_none() {
            let message = format!("{:?} to {:?} is not a stretch of one day", window.from, window.to);
            let fix = "write times like \"08:00\" and \"17:30\", the later one in to";
            problems.add(format!("{path}[{index}]"), Code::RuleMatch, message, fix);
        }
        times.map(|(from, to)| Window { days, from, to })
    };
    windows.iter().enumerate().filter_map(parse).collect()
}

/// Minutes since midnight of `HH:MM`; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hours, minutes): (u16, u16) = (digits(hours)?, digits(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 1_440).then_some(hours * 60 + minutes)
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Mon,
        Day::Tue => Weekday::Tue,
        Day::Wed => Weekday::Wed,
        Day::Thu => Weekday::Thu,
        Day::Fri => Weekday::Fri,
        Day::Sat => Weekday::Sat,
        Day::Sun => Weekday::Sun,
    }
}

fn device(device: types::Device) -> Device {
    match device {
        types::Device::Browser => Device::Browser,
        types::Device::Desktop => Device::Desktop,
        types::Device::Mobile => Device::Mobile,
    }
}

fn factor(factor: types::Factor) -> Factor {
    match factor {
        types::Factor::Password => Factor::Password,
        types::Factor::Totp => Factor::Totp,
        types::Factor::Certificate => Factor::Certificate,
    }
}
