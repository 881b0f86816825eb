//! Rights: the fewest that do, and what the reference says.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_tests::helm::Helm;

use crate::{documents, template};

/// The verbs people decide with.
const DECISIONS: [&str; 5] = ["approve", "review", "publish", "restore", "supervise"];

/// The roles that departments' groups are bound to.
const PEOPLE: [&str; 5] = [
    "tidegate-requester",
    "tidegate-approver",
    "tidegate-reviewer",
    "tidegate-policy-author",
    "tidegate-department-admin",
];

#[test]
fn nobody_may_do_everything_and_nobody_escalates() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    for role in roles(&helm) {
        for rule in role.rules() {
            for field in ["apiGroups", "resources", "verbs"] {
                assert!(!rule.has(field, "*"), "{} has *", role.name);
            }
            for verb in ["escalate", "impersonate"] {
                assert!(!rule.has("verbs", verb), "{} may {verb}", role.name);
            }
        }
    }
}

#[test]
fn the_controller_decides_nothing_and_reads_no_secrets_of_others() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    for role in roles(&helm).iter().filter(|role| role.name.starts_with("tidegate-controller")) {
        for rule in role.rules() {
            for verb in DECISIONS {
                assert!(!rule.has("verbs", verb), "{} {} may {verb}", role.kind, role.name);
            }
            let names: BTreeSet<&str> = rule.list("resourceNames").collect();
            if rule.has("verbs", "bind") {
                let wanted: BTreeSet<&str> =
                    PEOPLE.into_iter().chain(["tidegate-controller-department"]).collect();
                assert_eq!(names, wanted, "what it may bind");
            }
            if role.kind == "ClusterRole" && rule.has("resources", "secrets") {
                let verbs: Vec<&str> = rule.list("verbs").collect();
                assert_eq!(
                    (role.name.as_str(), verbs),
                    ("tidegate-controller-department", vec!["create", "delete"])
                );
            }
        }
    }
}

#[test]
fn only_decisions_of_the_own_trade_are_in_a_role() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let expected: [(&str, &[&str]); 6] = [
        ("tidegate-requester", &[]),
        ("tidegate-approver", &["approve"]),
        ("tidegate-reviewer", &["review"]),
        ("tidegate-policy-author", &["publish"]),
        ("tidegate-department-admin", &["approve", "review", "publish"]),
        ("tidegate-auditor", &[]),
    ];
    let roles = roles(&helm);
    for (name, wanted) in expected {
        let role = roles.iter().find(|role| role.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        let rules = role.rules();
        let held = |verb: &&str| rules.iter().any(|rule| rule.has("verbs", verb));
        let held: BTreeSet<&str> = DECISIONS.into_iter().filter(held).collect();
        assert_eq!(held, wanted.iter().copied().collect(), "{name}");
        for rule in rules.iter().filter(|rule| rule.has("resources", "departments")) {
            let verbs: Vec<&str> = rule.list("verbs").collect();
            assert_eq!(verbs, ["get", "list", "watch"], "{name} writes departments");
        }
    }
}

#[test]
fn pods_are_what_pod_security_calls_restricted() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let all = documents(&template(&helm, &["crds.enabled=false"]));
    let pods: Vec<&Value> = all.iter().filter_map(|object| object.pointer("/spec/template/spec")).collect();
    assert_eq!(pods.len(), 2, "the controller and etcd");
    for pod in pods {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
            let metrics = container["ports"].as_array().into_iter().flatten();
            assert!(metrics.clone().any(|port| port["name"] == "metrics"), "a port for metrics");
        }
    }
}

/// A Role or ClusterRole.
struct Role {
    kind: String,
    name: String,
    value: Value,
}

impl Role {
    fn rules(&self) -> Vec<Rule<'_>> {
        self.value["rules"].as_array().into_iter().flatten().map(Rule).collect()
    }
}

/// One rule of a role.
struct Rule<'a>(&'a Value);

impl<'a> Rule<'a> {
    fn list(&self, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0[field].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    fn has(&self, field: &str, word: &str) -> bool {
        self.list(field).any(|own| own == word)
    }
}

fn roles(helm: &Helm) -> Vec<Role> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = documents(&template(helm, &["crds.enabled=false"])).into_iter();
    let roles = all.filter(|object| object["rules"].is_array() && text(&object["kind"]).ends_with("Role"));
    roles
        .map(|value| Role { kind: text(&value["kind"]), name: text(&value["metadata"]["name"]), value })
        .collect()
}
