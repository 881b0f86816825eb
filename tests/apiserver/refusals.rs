//! One illegal manifest per kind: the API server refuses it with the schema's own message, and so does a folder.

use serde_json::{Value, json};
use tidegate_crd::{API_VERSION, Kind, validate};
use tidegate_tests::control_plane::ControlPlane;

/// What is wrong, and the words both have to say about it.
struct Case {
    kind: Kind,
    name: &'static str,
    spec: Value,
    words: &'static str,
}

/// Shows each case to both.
pub(crate) fn check(plane: &ControlPlane) {
    let cases = cases();
    for kind in Kind::ALL {
        assert!(cases.iter().any(|case| case.kind == kind), "{kind} has no illegal manifest");
    }
    for Case { kind, name, spec, words } in cases {
        let mut object = json!({
            "apiVersion": API_VERSION, "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec,
        });
        if kind.namespaced() {
            object["metadata"]["namespace"] = "default".into();
        }
        let said: Vec<String> = validate(kind, &object, None).iter().map(ToString::to_string).collect();
        // A folder prints the field between code and message, and knows no campaigns yet.
        let (code, message) = match kind {
            Kind::Recertification => ("TG-6006", "is not built yet"),
            _ => words.split_once(' ').expect("a code and a message"),
        };
        let same = said.iter().any(|line| line.starts_with(code) && line.contains(message));
        assert!(same, "{kind}: a folder says {said:?}");

        match plane.kubectl(&["create", "--dry-run=server", "--filename=-"], &object.to_string()) {
            Ok(_) => panic!("{kind}: the API server takes what a folder refuses: {said:?}"),
            Err(error) => assert!(error.contains(words), "{kind}: the API server says {error}"),
        }
    }
}

fn cases() -> Vec<Case> {
    let case = |kind, name, spec, words| Case { kind, name, spec, words };
    let names = json!({"zh-CN": "考试", "en": "Trial"});
    let rule = |effect: &str| json!({"name": "everyone", "effect": effect});
    vec![
        case(
            Kind::Department,
            "first",
            json!({"code": "second", "names": names, "timeZone": "Asia/Shanghai"}),
            "TG-6001 the name differs from spec.code",
        ),
        case(
            Kind::VpnUser,
            "wang-fang",
            json!({
                "request": {"person": "Wang Fang", "unit": "Payments", "groups": ["sbj/clerks"]},
                "requestedBy": "li-qiang",
                "approval": {"by": "li-qiang", "reference": "2026-17"},
            }),
            "TG-6007 the approver also asked for the account",
        ),
        case(
            Kind::Resource,
            "pension",
            json!({"names": names}),
            "TG-6001 a system is reached either by spec.web or by spec.network",
        ),
        case(
            Kind::AccessPolicy,
            "own-people",
            json!({"target": {"users": {}}, "rules": [rule("Allow")]}),
            "TG-7008 a policy about users can only deny",
        ),
        case(
            Kind::ClusterAccessPolicy,
            "guardrail",
            json!({"rules": [rule("Allow")]}),
            "TG-7009 a guardrail can only deny",
        ),
        case(
            Kind::VpnGateway,
            "main",
            json!({"replicas": 2, "autoscaling": {"min": 1, "max": 3}}),
            "TG-6001 replicas and autoscaling exclude each other",
        ),
        case(
            Kind::Recertification,
            "a-name-longer-than-sixty-three-letters-which-nobody-types-at-login",
            json!({"reviewers": ["sbj-reviewers"], "deadline": "2027-01-31T16:00:00Z"}),
            "TG-6001 the name is longer than 63 letters",
        ),
    ]
}
