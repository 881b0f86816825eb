//! The same rules in Cedar and in CEL, everything prepared that can be prepared.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use tidegate_core::policy::{Effect, HostPattern, Rule};

use crate::workload::{NETWORK, PORT, Question, Workload};

/// Cedar with its policies parsed, and entities and request of each question built.
pub struct Cedar {
    policies: PolicySet,
    asked: Vec<(Entities, Request)>,
}

impl Cedar {
    pub fn new(workload: &Workload) -> Self {
        let text: String = workload.policy.rules.iter().map(cedar_rule).collect();
        let policies = text.parse().expect("Cedar policies");
        Self { policies, asked: workload.questions.iter().map(cedar_question).collect() }
    }

    /// Whether a question is allowed.
    pub fn allows(&self, authorizer: &Authorizer, question: usize) -> bool {
        let (entities, request) = &self.asked[question];
        authorizer.is_authorized(request, &self.policies, entities).decision() == Decision::Allow
    }
}

fn uid(kind: &str, name: &str) -> EntityUid {
    format!("{kind}::\"{name}\"").parse().expect("a Cedar id")
}

fn cedar_rule(rule: &Rule) -> String {
    let m = &rule.matches;
    let effect = if rule.effect == Effect::Allow { "permit" } else { "forbid" };
    let mut text = format!(
        "{effect}(principal in Group::\"{}\", action, resource == System::\"{}\") when {{ ",
        m.groups[0], m.resources[0]
    );
    let [HostPattern::Exact(host)] = m.hosts.as_slice() else { panic!("one exact host") };
    let _ = write!(text, "context.host == \"{host}\"");
    for (key, value) in &m.labels {
        let _ = write!(text, " && context.{key} == \"{value}\"");
    }
    let (port, path, window) = (m.ports[0], &m.path_prefixes[0], m.schedule[0]);
    let days: Vec<_> = (0..7).filter(|day| window.days >> day & 1 == 1).map(|day| day.to_string()).collect();
    let _ = write!(
        text,
        " && context.port >= {} && context.port <= {} && [\"{}\"].contains(context.method) \
         && (context.path == \"{path}\" || context.path like \"{path}/*\") \
         && [{}].contains(context.day) && context.minute >= {} && context.minute < {} \
         && context.source.isInRange(ip(\"{NETWORK}\")) }};\n",
        port.from,
        port.to,
        m.methods.join("\", \""),
        days.join(", "),
        window.from,
        window.to
    );
    text
}

fn cedar_question(question: &Question) -> (Entities, Request) {
    let user = uid("User", question.subject.name.as_str());
    let groups: HashSet<_> =
        question.subject.groups.iter().map(|group| uid("Group", group.as_str())).collect();
    let people = groups
        .iter()
        .map(|group| Entity::new_no_attrs(group.clone(), HashSet::new()))
        .chain([Entity::new_no_attrs(user.clone(), groups.clone())]);
    let entities = Entities::from_entities(people, None).expect("Cedar entities");

    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    let number = RestrictedExpression::new_long;
    let mut context: HashMap<String, RestrictedExpression> = HashMap::from([
        ("host".into(), text(&question.host)),
        ("port".into(), number(PORT.into())),
        ("method".into(), text(question.method)),
        ("path".into(), text(&question.path)),
        ("day".into(), number(question.local.weekday as i64)),
        ("minute".into(), number(question.local.minute_of_day.into())),
        ("source".into(), RestrictedExpression::new_ip(question.subject.source.to_string())),
    ]);
    context.extend(question.labels.iter().map(|(key, value)| (key.to_string(), text(value))));
    let context = Context::from_pairs(context).expect("a Cedar context");
    let resource = uid("System", question.resource.as_str());
    let request = Request::new(user, uid("Action", "use"), resource, context, None);
    (entities, request.expect("a Cedar request"))
}

/// CEL: one program for each rule, tried one after the other; deny overrides.
pub struct Cel {
    denies: Vec<cel::Program>,
    allows: Vec<cel::Program>,
    asked: Vec<cel::Context<'static, 'static>>,
}

impl Cel {
    pub fn new(workload: &Workload) -> Self {
        let of = |effect| {
            let rules = workload.policy.rules.iter().filter(move |rule| rule.effect == effect);
            rules.map(|rule| cel::Program::compile(&cel_rule(rule)).expect("a CEL program")).collect()
        };
        let environment = Arc::new(cel::Env::stdlib());
        let asked = workload.questions.iter().map(|question| cel_question(&environment, question)).collect();
        Self { denies: of(Effect::Deny), allows: of(Effect::Allow), asked }
    }

    /// Whether a question is allowed.
    pub fn allows(&self, question: usize) -> bool {
        let context = &self.asked[question];
        let any = |programs: &[cel::Program]| {
            programs.iter().any(|program| program.execute(context) == Ok(cel::Value::Bool(true)))
        };
        !any(&self.denies) && any(&self.allows)
    }
}

fn cel_rule(rule: &Rule) -> String {
    let m = &rule.matches;
    let [HostPattern::Exact(host)] = m.hosts.as_slice() else { panic!("one exact host") };
    let (port, path, window) = (m.ports[0], &m.path_prefixes[0], m.schedule[0]);
    let network = m.source_networks[0];
    let IpAddr::V4(first) = network.address() else { panic!("an IPv4 network") };
    let first = u32::from(first);
    let last = first | u32::MAX >> network.prefix();
    // The most selective test stands first, as an author who knows the engine would write it.
    let mut text =
        format!("resource == '{}' && host == '{host}' && '{}' in groups", m.resources[0], m.groups[0]);
    for (key, value) in &m.labels {
        let _ = write!(text, " && labels['{key}'] == '{value}'");
    }
    let days: Vec<_> = (0..7).filter(|day| window.days >> day & 1 == 1).map(|day| day.to_string()).collect();
    let _ = write!(
        text,
        " && port >= {} && port <= {} && method in ['{}'] \
         && (path == '{path}' || path.startsWith('{path}/')) \
         && day in [{}] && minute >= {} && minute < {} && source >= {first} && source <= {last}",
        port.from,
        port.to,
        m.methods.join("', '"),
        days.join(", "),
        window.from,
        window.to
    );
    text
}

fn cel_question(environment: &Arc<cel::Env>, question: &Question) -> cel::Context<'static, 'static> {
    let mut context = cel::Context::with_env(Arc::clone(environment));
    let groups: Vec<String> = question.subject.groups.iter().map(ToString::to_string).collect();
    let labels: HashMap<String, String> =
        question.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let IpAddr::V4(source) = question.subject.source else { panic!("an IPv4 source") };
    context.add_variable_from_value("groups", groups);
    context.add_variable_from_value("labels", labels);
    context.add_variable_from_value("resource", question.resource.to_string());
    context.add_variable_from_value("host", question.host.clone());
    context.add_variable_from_value("method", question.method.to_owned());
    context.add_variable_from_value("path", question.path.clone());
    context.add_variable_from_value("port", i64::from(PORT));
    context.add_variable_from_value("day", question.local.weekday as i64);
    context.add_variable_from_value("minute", i64::from(question.local.minute_of_day));
    context.add_variable_from_value("source", i64::from(u32::from(source)));
    context
}
