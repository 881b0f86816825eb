//! Rules end to end: compiled to tables, asked natively.

use std::collections::BTreeMap;

use tidegate_core::Code;
use tidegate_core::policy::*;
use tidegate_policy_evaluator as evaluator;
use tidegate_policy_evaluator::verdict::{ALLOW, DENY, NOTHING, Verdict};

use crate::{Input, Output, Scope, check_policy, compile, compile_tables};

/// A rule of department `sbj` with nothing but a name.
fn rule(name: &str, effect: Effect) -> Rule {
    Rule { name: name.into(), effect, matches: Match::default(), when: None }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        name: "p".into(),
        target: Target::Resources { names: Vec::new(), match_labels: BTreeMap::new() },
        mode: Mode::Enforce,
        rules,
    }
}

fn sbj() -> Scope {
    Scope::Department("sbj".parse().expect("a code"))
}

/// Asks about GET /archive/1 on resource `his` at 10:00 on a Monday, for a doctor of `sbj`.
fn ask(policies: &[Policy]) -> Verdict {
    ask_as(policies, "sbj", &["sbj/doctors", "sbj/night"])
}

fn ask_as(policies: &[Policy], department: &str, groups: &[&str]) -> Verdict {
    let (tables, _, problems) = compile_tables(&Input { scope: sbj(), policies });
    assert_eq!(problems, []);
    let mut subject = [0; 8_192];
    let mut request = [0; 8_192];
    let parts = evaluator::encode::Subject {
        department,
        name: "wang.fang",
        unit: "医政处",
        groups: groups.iter().copied(),
        attributes: [("title", "chief")],
        device: Device::Desktop as u8,
        factors: Factor::Password.bit(),
        source: std::net::Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets(),
    };
    let subject_len = evaluator::encode::subject(&mut subject, parts).expect("fits");
    let parts = evaluator::encode::Request {
        side: Side::Owner as u8,
        owner: "sbj",
        resource: "his",
        labels: [("class", "core")],
        host: "his.example.org",
        port: 443,
        method: "GET",
        path: "/archive/1",
        utc_minute: 1_000,
        weekday: 0,
        minute_of_day: 600,
    };
    let request_len = evaluator::encode::request(&mut request, parts).expect("fits");
    let mut scratch = vec![0; evaluator::SCRATCH_WORDS];
    evaluator::evaluate(&tables, &subject[..subject_len], &request[..request_len], &mut scratch, &mut ())
        .expect("well-formed")
        .0
}

fn with(change: impl FnOnce(&mut Rule)) -> Policy {
    let mut rule = rule("r", Effect::Allow);
    change(&mut rule);
    policy(vec![rule])
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    assert_eq!(ask(&[]).effect, NOTHING);
}

#[test]
fn a_rule_of_a_group_allows_its_people_of_the_own_department_only() {
    let p = [with(|r| r.matches.groups = vec!["sbj/doctors".parse().unwrap()])];
    assert_eq!(ask(&p).effect, ALLOW);
    assert_eq!(ask_as(&p, "sbj", &["sbj/nurses"]).effect, NOTHING);
    assert_eq!(ask_as(&p, "wjw", &["sbj/doctors"]).effect, NOTHING);
}

#[test]
fn denies_win_and_the_first_is_named() {
    let p = [policy(vec![rule("a", Effect::Allow), rule("b", Effect::Deny), rule("c", Effect::Deny)])];
    let verdict = ask(&p);
    assert_eq!((verdict.effect, verdict.rule), (DENY, 1));
}

#[test]
fn a_closed_schedule_is_hinted_with_its_next_opening() {
    let window = Window { days: 1 << 1, from: 8 * 60, to: 17 * 60 };
    let verdict = ask(&[with(|r| r.matches.schedule = vec![window])]);
    assert_eq!(verdict.effect, NOTHING);
    assert_eq!(verdict.hint, HintKind::Schedule as u8);
    // From Monday 10:00 to Tuesday 08:00.
    assert_eq!(verdict.next_minute, 1_000 + 22 * 60);
    assert_eq!(verdict.valid_until, 1_000 + 22 * 60);
}

#[test]
fn an_open_schedule_bounds_the_permit() {
    let window = Window { days: 0x1f, from: 8 * 60, to: 17 * 60 };
    let verdict = ask(&[with(|r| r.matches.schedule = vec![window])]);
    assert_eq!((verdict.effect, verdict.valid_until), (ALLOW, 1_000 + 7 * 60));
}

#[test]
fn expressions_are_evaluated() {
    for (text, effect) in [
        ("true", ALLOW),
        ("user.unit == \"医政处\"", ALLOW),
        ("user.unit != \"医政处\"", NOTHING),
        ("request.path.startsWith(\"/archive\") && resource.port in [80, 443]", ALLOW),
        ("user.attributes.title == \"chief\" && \"sbj/night\" in user.groups", ALLOW),
        ("user.attributes.missing == \"chief\"", NOTHING),
        ("user.attributes.missing == \"chief\" || device == \"Desktop\"", ALLOW),
        ("size(user.unit) == 3", ALLOW),
        ("time.weekday in [\"Sat\", \"Sun\"] ? false : time.hour >= 9", ALLOW),
        ("\"Totp\" in factors", NOTHING),
        ("(user.unit + \"\") == \"\"", 9),
    ] {
        let p = with(|r| r.when = Some(text.into()));
        if effect == 9 {
            assert_eq!(check_policy(&p).len(), 1, "{text}");
        } else {
            assert_eq!(ask(&[p]).effect, effect, "{text}");
        }
    }
}

#[test]
fn an_error_denies_in_a_deny_rule_and_is_no_match_in_an_allow_rule() {
    let failing = |effect| {
        let mut failing = rule("r", effect);
        failing.when = Some("user.attributes.missing == \"x\"".into());
        [policy(vec![failing])]
    };
    let verdict = ask(&failing(Effect::Deny));
    assert_eq!((verdict.effect, verdict.rule_error), (DENY, true));
    let verdict = ask(&failing(Effect::Allow));
    assert_eq!((verdict.effect, verdict.rule_error), (NOTHING, true));
}

#[test]
fn equal_input_gives_equal_bytes_and_a_valid_module() {
    let p = [with(|r| r.when = Some("request.path.contains(\"x\")".into()))];
    let input = Input { scope: sbj(), policies: &p };
    let Output { wasm, rules, problems } = compile(&input);
    assert_eq!((rules.len(), problems.len()), (1, 0));
    assert_eq!(wasm, compile(&input).wasm);
    wasmparser::validate(&wasm).expect("a valid module");
}

#[test]
fn a_refused_rule_is_left_out_with_its_problem() {
    let mut bad = rule("bad", Effect::Allow);
    bad.when = Some("user.grups == 1".into());
    let p = [policy(vec![bad, rule("good", Effect::Allow)])];
    let output = compile(&Input { scope: sbj(), policies: &p });
    assert_eq!(output.rules.iter().map(|r| &*r.rule).collect::<Vec<_>>(), ["good"]);
    let problem = &output.problems[0];
    assert_eq!((&*problem.rule, problem.fault.code), ("bad", Code::RuleName));
    assert!(problem.fault.fix.contains("`groups`"), "{problem}");
}

#[test]
fn a_policy_about_users_cannot_allow() {
    let mut p = policy(vec![rule("r", Effect::Allow)]);
    p.target = Target::Users { groups: Vec::new() };
    assert_eq!(check_policy(&p)[0].fault.code, Code::UsersMayOnlyDeny);
    p.target = Target::Platform;
    assert_eq!(check_policy(&p)[0].fault.code, Code::GuardrailMayOnlyDeny);
}

#[test]
fn an_explanation_names_the_first_condition_each_rule_misses_nearest_first() {
    use crate::explain::{Outcome, explain};
    use crate::reference::{Miss, Reference};

    let mut elsewhere = rule("elsewhere", Effect::Allow);
    elsewhere.matches.resources = vec!["lis".parse().unwrap()];
    let mut nurses = rule("nurses", Effect::Allow);
    nurses.matches.groups = vec!["sbj/nurses".parse().unwrap()];
    let mut totp = rule("totp", Effect::Allow);
    totp.matches.factors = vec![Factor::Totp];
    let mut unit = rule("unit", Effect::Allow);
    unit.when = Some("user.unit == \"财务处\"".into());
    let p = [policy(vec![elsewhere, nurses, totp, unit])];
    let (reference, problems) = Reference::new(&Input { scope: sbj(), policies: &p });
    assert_eq!(problems, []);

    let owner = "sbj".parse().unwrap();
    let resource = "his".parse().unwrap();
    let labels = BTreeMap::new();
    let request = Request {
        owner: &owner,
        resource: &resource,
        labels: &labels,
        host: "his.example.org",
        port: 443,
        method: "GET",
        path: "/",
    };
    let subject = Subject {
        department: "sbj".parse().unwrap(),
        name: "wang.fang".parse().unwrap(),
        uid: "u".parse().unwrap(),
        unit: "医政处".into(),
        groups: vec!["sbj/doctors".parse().unwrap()],
        attributes: BTreeMap::new(),
        device: Device::Browser,
        factors: Factor::Password.bit(),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let local =
        tidegate_core::LocalTime { utc_minute: 0, weekday: tidegate_core::Weekday::Mon, minute_of_day: 600 };
    let explanation = explain(&reference, Side::Owner, &subject, &request, local);
    assert_eq!(explanation.verdict.hint.kind, HintKind::Factor);
    let outcomes: Vec<_> =
        explanation.rules.iter().map(|each| (&*each.rule.rule, each.index, each.outcome.clone())).collect();
    assert_eq!(
        outcomes,
        [
            ("unit", 3, Outcome::WhenFalse("user.unit == \"财务处\"".into())),
            ("totp", 2, Outcome::Misses(Miss::Factor(vec![Factor::Totp]))),
            ("nurses", 1, Outcome::Misses(Miss::Group(vec!["sbj/nurses".parse().unwrap()]))),
            ("elsewhere", 0, Outcome::Misses(Miss::Resource(vec!["lis".parse().unwrap()]))),
        ]
    );
    let names = [reference.names()[2].clone()];
    assert_eq!(reference.restricted_to(&names).names(), names);
}

#[test]
fn labels_named_twice_with_different_values_never_match() {
    let mut p = with(|r| r.matches.labels = [("class".into(), "core".into())].into());
    assert_eq!(ask(std::slice::from_ref(&p)).effect, ALLOW);
    p.target =
        Target::Resources { names: Vec::new(), match_labels: [("class".into(), "other".into())].into() };
    assert_eq!(ask(&[p]).effect, NOTHING);
}

#[test]
fn what_is_not_enforced_is_judged_but_not_in_force() {
    for mode in [Mode::DryRun, Mode::Disabled] {
        let mut p = with(|_| {});
        p.mode = mode;
        assert_eq!(ask(&[p.clone()]).effect, NOTHING);
        p.rules[0].when = Some("nonsense".into());
        assert_eq!(compile(&Input { scope: sbj(), policies: &[p] }).problems.len(), 1);
    }
}

#[test]
fn a_match_that_cannot_be_meant_is_refused() {
    let changes: [fn(&mut Rule); 8] = [
        |r| r.matches.ports = vec![PortRange { from: 2, to: 1 }],
        |r| r.matches.methods = vec!["get".into()],
        |r| r.matches.path_prefixes = vec!["a".into()],
        |r| r.matches.schedule = vec![Window { days: 0, from: 0, to: 1 }],
        |r| r.matches.schedule = vec![Window { days: 1, from: 60, to: 60 }],
        |r| r.matches.hosts = vec![HostPattern::Exact("*.a".into())],
        |r| r.matches.departments = Departments::Listed(Vec::new()),
        |r| r.matches.groups = vec!["wjw/doctors".parse().unwrap()],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let output = compile(&Input { scope: sbj(), policies: &[with(change)] });
        assert_eq!(output.problems.len(), 1, "change {number}");
        assert_eq!(output.problems[0].fault.code, Code::RuleMatch, "change {number}");
        assert!(output.rules.is_empty());
    }
}
