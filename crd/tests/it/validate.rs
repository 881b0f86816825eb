//! What a manifest must not say, and what its author is told.

use serde_json::{Value, json};
use tidegate_core::Code;
use tidegate_crd::{Kind, cluster_only, validate};

use crate::support::{object, only, valid, with};

#[track_caller]
fn refused(kind: Kind, pointer: &str, value: Value, path: &str, code: Code, says: &str) {
    let violation = only(validate(kind, &with(kind, pointer, value), None));
    assert_eq!((violation.path.as_str(), violation.code), (path, code), "{violation}");
    assert!(violation.to_string().contains(says), "{violation}");
}

#[test]
fn valid_objects_are_accepted() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Recertification) {
        assert_eq!(validate(kind, &valid(kind), Some(&valid(kind))), [], "{kind}");
    }
}

#[test]
fn the_schema_is_applied_with_advice() {
    let schema = Code::SchemaViolation;
    refused(
        Kind::Resource,
        "/web",
        json!({"ulr": "http://a", "url": "http://a"}),
        "spec.web.ulr",
        Code::UnknownField,
        "did you mean url?",
    );
    refused(
        Kind::Resource,
        "/url",
        json!("http://a"),
        "spec.url",
        Code::UnknownField,
        "did you mean spec.web.url?",
    );
    refused(Kind::Resource, "/visible", json!("no"), "spec.visible", schema, "remove the quotes");
    refused(
        Kind::Resource,
        "/web/url",
        json!("ftp://a"),
        "spec.web.url",
        schema,
        "like http://10.20.1.10:8080/",
    );
    refused(Kind::Resource, "/web/url", json!(8080), "spec.web.url", schema, "put it in quotes");
    refused(Kind::VpnUser, "/state", json!("Suspend"), "spec.state", schema, "did you mean Suspended?");
    refused(
        Kind::VpnUser,
        "/requestedBy",
        Value::Null,
        "spec",
        schema,
        "spec: requestedBy is missing; add requestedBy",
    );
    refused(
        Kind::VpnUser,
        "/request/validFrom",
        json!("tomorrow"),
        "spec.request.validFrom",
        schema,
        "like 2027-01-31",
    );
    refused(
        Kind::VpnUser,
        "/request/validFrom",
        json!("2027-02-31T00:00:00Z"),
        "spec.request.validFrom",
        schema,
        "like",
    );
    refused(Kind::VpnUser, "/sessionGeneration", json!(-1), "spec.sessionGeneration", schema, "at least 0");
    refused(
        Kind::Department,
        "/networks",
        json!("10.0.0.0/8"),
        "spec.networks",
        schema,
        "begins with a hyphen",
    );
    refused(Kind::Department, "/networks", json!([]), "spec.networks", schema, "fill it, or remove it");
    refused(
        Kind::Department,
        "/networks",
        json!(["10.20.0.0/16", "10.20.0.0/16"]),
        "spec.networks[1]",
        schema,
        "there twice",
    );
    let windows = json!([{"from": "8:00", "to": "17:30"}]);
    refused(
        Kind::AccessPolicy,
        "/rules/0/match/schedule",
        windows,
        "spec.rules[0].match.schedule[0].from",
        schema,
        "like 08:00",
    );
    refused(
        Kind::AccessPolicy,
        "/rules/0/match/ports",
        json!([0]),
        "spec.rules[0].match.ports[0]",
        schema,
        "at least 1",
    );
    let long = "x".repeat(129);
    refused(Kind::VpnUser, "/request/person", json!(long), "spec.request.person", schema, "at most 128");
}

#[test]
fn the_rules_are_applied() {
    let schema = Code::SchemaViolation;
    refused(
        Kind::VpnUser,
        "/approval",
        json!({"by": "chen.jie"}),
        "spec.approval.by",
        Code::FourEyes,
        "somebody else has to approve",
    );
    refused(Kind::Resource, "/web", Value::Null, "spec", schema, "exactly one");
    refused(Kind::Resource, "/web/tls", json!({"serverName": "a"}), "spec.web.tls", schema, "https");
    refused(Kind::AccessPolicy, "/target", json!({}), "spec.target", schema, "exactly one");
    refused(
        Kind::AccessPolicy,
        "/target",
        json!({"users": {}}),
        "spec.rules",
        Code::UsersMayOnlyDeny,
        "effect: Deny",
    );
    refused(Kind::AccessPolicy, "/rules", Value::Null, "spec", schema, "either rules or a module");
    let allow = json!([{"name": "a", "effect": "Allow"}]);
    refused(
        Kind::ClusterAccessPolicy,
        "/rules",
        allow,
        "spec.rules",
        Code::GuardrailMayOnlyDeny,
        "let departments grant",
    );
    let named = json!([{"name": "a", "effect": "Deny", "match": {"resources": ["x"]}}]);
    refused(Kind::ClusterAccessPolicy, "/rules", named, "spec.rules", Code::RuleMatch, "by labels");
    let windows = json!([{"from": "17:30", "to": "08:00"}]);
    let path = "spec.rules[0].match.schedule[0].to";
    refused(Kind::AccessPolicy, "/rules/0/match/schedule", windows, path, schema, "never crosses midnight");
    refused(
        Kind::Department,
        "/session",
        json!({"idleMinutes": 600}),
        "spec.session",
        schema,
        "shorter or equal",
    );
    let until =
        json!({"person": "a", "validFrom": "2027-01-01T00:00:00Z", "validUntil": "2026-01-01T00:00:00Z"});
    refused(Kind::VpnUser, "/request", until, "spec.request.validUntil", schema, "correct the year");

    let mut own = with(Kind::VpnUser, "/approval", json!({"by": "li.qiang"}));
    own["spec"]["request"]["kubernetesUser"] = json!("li.qiang");
    assert_eq!(only(validate(Kind::VpnUser, &own, None)).code, Code::FourEyes);
    own["spec"].as_object_mut().unwrap().remove("approval");
    own["spec"]["review"] = json!({"by": "li.qiang", "until": "2027-01-01T00:00:00Z"});
    assert_eq!(only(validate(Kind::VpnUser, &own, None)).code, Code::FourEyes);
}

#[test]
fn some_changes_are_refused() {
    let code =
        object(Kind::Department, "rsj", json!({"code": "rsj", "names": {"en": "R"}, "timeZone": "UTC"}));
    let violation = only(validate(Kind::Department, &code, Some(&valid(Kind::Department))));
    assert_eq!((violation.path.as_str(), violation.code), ("spec.code", Code::FieldImmutable));

    let left = with(Kind::VpnUser, "/state", json!("Left"));
    let violation = only(validate(Kind::VpnUser, &valid(Kind::VpnUser), Some(&left)));
    assert_eq!((violation.path.as_str(), violation.code), ("spec.state", Code::AccountLeftFinal));
    assert_eq!(validate(Kind::VpnUser, &left, Some(&valid(Kind::VpnUser))), []);

    let newer = with(Kind::VpnUser, "/sessionGeneration", json!(2));
    assert_eq!(only(validate(Kind::VpnUser, &valid(Kind::VpnUser), Some(&newer))).code, Code::FieldImmutable);
    let other = with(Kind::VpnUser, "/requestedBy", json!("somebody"));
    assert_eq!(only(validate(Kind::VpnUser, &other, Some(&valid(Kind::VpnUser)))).code, Code::FieldImmutable);
}

#[test]
fn features_that_are_not_built_are_refused() {
    refused(Kind::Department, "/lockMode", json!("Closed"), "spec.lockMode", Code::NotYetSupported, "tunnel");
    refused(
        Kind::VpnGateway,
        "/dns",
        json!({"virtualPrefixes": ["100.64.0.0/16"]}),
        "spec.dns",
        Code::NotYetSupported,
        "tunnel",
    );
    let violation = only(validate(Kind::Recertification, &valid(Kind::Recertification), None));
    assert_eq!(violation.code, Code::NotYetSupported);
}

#[test]
fn what_only_a_cluster_has_is_refused_by_a_folder_alone() {
    let object = with(Kind::VpnGateway, "/replicas", json!(3));
    assert_eq!(validate(Kind::VpnGateway, &object, None), []);
    let violation = only(cluster_only(Kind::VpnGateway, &object));
    assert_eq!((violation.path.as_str(), violation.code), ("spec.replicas", Code::NotYetSupported));
}

#[test]
fn metadata_is_checked() {
    let mut department = valid(Kind::Department);
    department["metadata"]["name"] = json!("other");
    assert!(
        only(validate(Kind::Department, &department, None)).to_string().contains("write the same in both")
    );
    department["metadata"]["namespace"] = json!("dept-sbj");
    assert_eq!(only(validate(Kind::Department, &department, None)).code, Code::WrongNamespace);

    let mut user = valid(Kind::VpnUser);
    user["metadata"].as_object_mut().unwrap().remove("namespace");
    assert_eq!(only(validate(Kind::VpnUser, &user, None)).code, Code::WrongNamespace);
    user = valid(Kind::VpnUser);
    user["metadata"]["name"] = json!("Li Qiang");
    assert_eq!(only(validate(Kind::VpnUser, &user, None)).path, "metadata.name");
    user = valid(Kind::VpnUser);
    user["metadata"]["lables"] = json!({});
    assert!(only(validate(Kind::VpnUser, &user, None)).fix.contains("labels"));
    user["metadata"] = json!("x");
    user["apiVersion"] = json!("v1");
    assert_eq!(validate(Kind::VpnUser, &user, None).len(), 2);
    assert_eq!(only(validate(Kind::VpnUser, &json!([1]), None)).path, "");

    let mut resource = valid(Kind::Resource);
    resource["metadata"]["name"] = json!("a.b");
    assert_eq!(only(validate(Kind::Resource, &resource, None)).code, Code::SchemaViolation);
}

#[test]
fn violations_are_bounded() {
    let mut user = valid(Kind::VpnUser);
    for index in 0..1_000 {
        user["spec"][format!("field{index}")] = json!(1);
    }
    assert_eq!(validate(Kind::VpnUser, &user, None).len(), 32);
}

#[test]
fn a_code_is_no_page_of_the_portal() {
    for code in ["alive", "departments", "go", "help", "logout", "password", "status", "wait"] {
        let mut department = valid(Kind::Department);
        department["metadata"]["name"] = json!(code);
        department["spec"]["code"] = json!(code);
        let violation = only(validate(Kind::Department, &department, None));
        assert!(violation.to_string().contains("choose another code"), "{violation}");
    }
}
