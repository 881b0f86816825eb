//! What valid manifests mean, and what no schema could refuse.

use serde_json::{Value, json};
use tidegate_core::policy::{Departments, HostPattern, Match, PortRange, Target, Window};
use tidegate_core::{AccountState, Code, Endpoint, Timestamp, UpstreamScheme};
use tidegate_crd::convert::{Rules, User, zone};
use tidegate_crd::{Form, Kind};

use crate::support::{NOW, accept, form, object, only, valid, with};

#[track_caller]
fn refused(kind: Kind, value: &Value, path: &str, code: Code) {
    let violation = only(accept(kind, value).unwrap_err());
    assert_eq!((violation.path.as_str(), violation.code), (path, code), "{violation}");
    assert!(!violation.fix.is_empty());
}

#[track_caller]
fn user(value: &Value) -> User {
    match accept(Kind::VpnUser, value).unwrap() {
        Form::VpnUser(user) => *user,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn first_match(matches: Value) -> Result<Match, Vec<tidegate_crd::Violation>> {
    let rules = json!([{"name": "r", "effect": "Allow", "match": matches}]);
    accept(Kind::AccessPolicy, &with(Kind::AccessPolicy, "/rules", rules)).map(|form| match form {
        Form::AccessPolicy(Rules::Written(policy)) => policy.rules[0].matches.clone(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_department() {
    let Form::Department(department) = accept(Kind::Department, &valid(Kind::Department)).unwrap() else {
        panic!()
    };
    assert_eq!(department.zone.offset, 8 * 3_600);
    assert!(department.zone.transitions.is_empty());
    assert_eq!((department.session.idle_s, department.session.absolute_s), (1_800, 28_800));
    assert_eq!(department.networks[0].to_string(), "10.20.0.0/16");
    let resolvers = with(Kind::Department, "/resolvers", json!(["10.20.0.53", "[fd00::1]:5353"]));
    let Form::Department(department) = accept(Kind::Department, &resolvers).unwrap() else { panic!() };
    assert_eq!(department.resolvers, ["10.20.0.53:53".parse().unwrap(), "[fd00::1]:5353".parse().unwrap()]);

    let zone = with(Kind::Department, "/timeZone", json!("Asia/Haikou"));
    refused(Kind::Department, &zone, "spec.timeZone", Code::SchemaViolation);
    let host_bits = with(Kind::Department, "/networks", json!(["10.20.0.1/16"]));
    refused(Kind::Department, &host_bits, "spec.networks[0]", Code::SchemaViolation);
    let loopback = with(Kind::Department, "/networks", json!(["127.0.0.0/8"]));
    refused(Kind::Department, &loopback, "spec.networks[0]", Code::AddressForbidden);
}

#[test]
fn zones_are_compiled_for_the_coming_years_and_stay_equal_for_a_year() {
    let berlin = zone("Europe/Berlin", NOW).unwrap();
    assert_eq!(berlin.offset, 3_600);
    assert_eq!(berlin.transitions.len(), 22);
    // 2026-07-01T00:00:00Z.
    assert_eq!(berlin.offset_at(Timestamp(1_782_864_000)), 7_200);
    assert_eq!(zone("Europe/Berlin", NOW.plus(30 * 86_400)).unwrap(), berlin);
    assert_ne!(zone("Europe/Berlin", NOW.plus(60 * 86_400)).unwrap(), berlin);
    assert_eq!(zone("UTC", Timestamp::NEVER), None);
}

#[test]
fn an_account() {
    let plain = user(&valid(Kind::VpnUser));
    assert_eq!(plain.account.state, AccountState::Active);
    assert_eq!((plain.account.approval, plain.account.review), (None, None));
    let mut full = valid(Kind::VpnUser);
    full["metadata"]["annotations"] = json!({"tidegate.dev/reissue-activation": "3"});
    full["spec"]["request"]["groups"] = json!(["sbj/clerks", "sbj/audit"]);
    full["spec"]["request"]["validUntil"] = json!("2027-01-01T08:00:00+08:00");
    full["spec"]["approval"] = json!({"by": "wang", "until": "2027-06-01T00:00:00Z"});
    let full_user = user(&full);
    assert_eq!(full_user.reissue, 3);
    assert_eq!(full_user.account.valid_until, Some(Timestamp(1_798_761_600)));
    assert_eq!(full_user.account.person.groups[0].as_str(), "sbj/audit");

    full["spec"]["request"]["groups"] = json!(["rsj/clerks"]);
    refused(Kind::VpnUser, &full, "spec.request.groups[0]", Code::SchemaViolation);
    full["spec"]["request"]["groups"] = json!([]);
    full["spec"]["approval"]["until"] = json!("2028-01-01T00:00:00Z");
    refused(Kind::VpnUser, &full, "spec.approval.until", Code::ReviewTooFar);
    full["spec"]["approval"].as_object_mut().unwrap().remove("until");
    assert_eq!(user(&full).account.approval.unwrap().until, NOW.plus(365 * 86_400));
    full["metadata"]["annotations"] = json!({"tidegate.dev/reissue-activation": "again"});
    let violation = only(accept(Kind::VpnUser, &full).unwrap_err());
    assert!(violation.path.starts_with("metadata.annotations"), "{violation}");
}

#[test]
fn a_system() {
    let web = |url: &str| match accept(Kind::Resource, &with(Kind::Resource, "/web/url", json!(url)))? {
        Form::Resource(resource) => match resource.endpoint.clone() {
            Endpoint::Web(web) => {
                Ok((web.scheme, web.host.to_string(), web.port, web.start_path.to_string()))
            }
            Endpoint::Network(_) => panic!("it is a web address"),
        },
        other => panic!("{other:?}"),
    };
    let http = UpstreamScheme::Http;
    assert_eq!(web("http://10.20.1.10:8080").unwrap(), (http, "10.20.1.10".to_owned(), 8080, "/".to_owned()));
    assert_eq!(
        web("http://App.Example.org/a/b").unwrap(),
        (http, "app.example.org".to_owned(), 80, "/a/b".to_owned())
    );
    let https = (UpstreamScheme::Https, "fd00::9".to_owned(), 8443, "/".to_owned());
    assert_eq!(web("https://[fd00::9]:8443/").unwrap(), https);
    let code = |url: &str| only(web(url).unwrap_err()).code;
    for url in
        ["http://127.0.0.1", "http://[::1]:80", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/"]
    {
        assert_eq!(code(url), Code::AddressForbidden, "{url}");
    }
    for url in ["http://a/../b", "http://a/b//c", "http://a/b\\c"] {
        assert_eq!(code(url), Code::PathRefused, "{url}");
    }
    for url in [
        "http://a:0",
        "http://a:b",
        "http://a:70000",
        "http://[fd00::9",
        "http://-a",
        "http://10.20.1.300",
        "http://0x7f.1",
    ] {
        assert_eq!(code(url), Code::SchemaViolation, "{url}");
    }
}

#[test]
fn a_network_resource() {
    let network = |network: Value| {
        let mut object = with(Kind::Resource, "/network", network);
        object["spec"].as_object_mut().unwrap().remove("web");
        object
    };
    let object =
        network(json!({"hosts": ["Files.example.org", "::ffff:10.20.3.5"], "ports": [22, "8000-8100"]}));
    let Form::Resource(resource) = accept(Kind::Resource, &object).unwrap() else { panic!() };
    let own = resource.network().expect("a network resource");
    assert_eq!(own.hosts, ["files.example.org".into(), "10.20.3.5".into()]);
    assert!(own.has_port(22) && own.has_port(8_000) && own.has_port(8_100) && !own.has_port(23));
    assert_eq!(resource.upstream(), ("files.example.org", 22));
    for (hosts, ports, path, code) in [
        (json!(["127.0.0.1"]), json!([22]), "spec.network.hosts[0]", Code::AddressForbidden),
        (json!(["a.example", "10.20.1.300"]), json!([22]), "spec.network.hosts[1]", Code::SchemaViolation),
        (json!(["a.example"]), json!(["90-80"]), "spec.network.ports[0]", Code::SchemaViolation),
        (json!(["a.example"]), json!([22, 0]), "spec.network.ports[1]", Code::SchemaViolation),
    ] {
        refused(Kind::Resource, &network(json!({"hosts": hosts, "ports": ports})), path, code);
    }
}

#[test]
fn a_systems_certificate() {
    let tls = |tls: Value| with(Kind::Resource, "/web", json!({"url": "https://a", "tls": tls}));
    let known = tls(
        json!({"caConfigMap": {"name": "ca", "key": "ca.crt"}, "pin": format!("sha256:{}", "ab".repeat(32))}),
    );
    let Form::Resource(resource) = accept(Kind::Resource, &known).unwrap() else { panic!() };
    let web = resource.web().expect("a web address");
    assert_eq!(web.tls.pin, Some([0xab; 32]));
    assert!(web.tls.ca_pem.is_some());
    let unknown = tls(json!({"caConfigMap": {"name": "other", "key": "ca.crt"}}));
    refused(Kind::Resource, &unknown, "spec.web.tls.caConfigMap", Code::ReferenceMissing);
}

#[test]
fn rules() {
    let matches = first_match(json!({
        "groups": ["clerks", "rsj/audit"],
        "departments": ["sbj", "rsj"],
        "hosts": ["*.example.org", "10.20.1.10"],
        "ports": [443, "8000-8100"],
        "pathPrefixes": ["/a/", "/"],
        "schedule": [{"days": ["Mon", "Sun"], "from": "08:00", "to": "17:30"}, {"from": "22:00", "to": "24:00"}],
        "sourceNetworks": ["192.0.2.0/24"],
    }))
    .unwrap();
    assert_eq!(format!("{:?}", matches.groups), r#"["sbj/clerks", "rsj/audit"]"#);
    assert_eq!(
        matches.hosts,
        [HostPattern::Suffix("example.org".into()), HostPattern::Exact("10.20.1.10".into())]
    );
    assert_eq!(matches.ports, [PortRange { from: 443, to: 443 }, PortRange { from: 8000, to: 8100 }]);
    assert_eq!(matches.path_prefixes, ["/a".into(), "/".into()]);
    let windows =
        [Window { days: 0b100_0001, from: 480, to: 1_050 }, Window { days: 127, from: 1_320, to: 1_440 }];
    assert_eq!(matches.schedule, windows);
    assert_eq!(first_match(json!({"departments": ["*"]})).unwrap().departments, Departments::All);
    assert_eq!(first_match(json!({})).unwrap(), Match::default());
}

#[test]
fn rules_that_could_never_match_are_refused() {
    let path = |matches: Value| {
        let violation = only(first_match(matches).unwrap_err());
        assert_eq!(violation.code, Code::RuleMatch, "{violation}");
        violation.path.trim_start_matches("spec.rules[0].match.").to_owned()
    };
    assert_eq!(path(json!({"groups": ["rsj/audit"]})), "groups[0]");
    assert_eq!(path(json!({"groups": ["clerks"], "departments": ["rsj"]})), "groups[0]");
    assert_eq!(path(json!({"departments": ["*", "rsj"]})), "departments");
    assert_eq!(path(json!({"ports": ["8100-8000"]})), "ports[0]");
    assert_eq!(path(json!({"ports": ["99999"]})), "ports[0]");
    assert_eq!(path(json!({"hosts": ["a..b"]})), "hosts[0]");
    assert_eq!(path(json!({"pathPrefixes": ["/a/../b"]})), "pathPrefixes[0]");
    assert_eq!(path(json!({"pathPrefixes": ["/%41"]})), "pathPrefixes[0]");
}

#[test]
fn policies_about_people_and_guardrails() {
    let spec =
        json!({"target": {"users": {"groups": ["interns"]}}, "rules": [{"name": "n", "effect": "Deny"}]});
    let Form::AccessPolicy(Rules::Written(policy)) =
        accept(Kind::AccessPolicy, &object(Kind::AccessPolicy, "p", spec)).unwrap()
    else {
        panic!()
    };
    assert_eq!(policy.target, Target::Users { groups: vec!["sbj/interns".parse().unwrap()] });
    let module = json!({"target": {"resources": {}}, "module": {
        "configMap": {"name": "m", "key": "m.wasm"}, "digest": format!("sha256:{}", "0".repeat(64))}});
    let module = accept(Kind::AccessPolicy, &object(Kind::AccessPolicy, "p", module)).unwrap();
    assert_eq!(module, Form::AccessPolicy(Rules::Module));

    let guardrail = accept(Kind::ClusterAccessPolicy, &valid(Kind::ClusterAccessPolicy)).unwrap();
    let Form::ClusterAccessPolicy(Rules::Written(policy)) = guardrail else { panic!() };
    assert_eq!(policy.target, Target::Platform);
    let bare = json!([{"name": "a", "effect": "Deny", "match": {"groups": ["clerks"]}}]);
    let bare = with(Kind::ClusterAccessPolicy, "/rules", bare);
    refused(Kind::ClusterAccessPolicy, &bare, "spec.rules[0].match.groups[0]", Code::RuleMatch);
}

#[test]
fn whatever_skipped_validation_is_refused_and_never_panics() {
    let values = [
        Value::Null,
        json!([]),
        json!("x"),
        json!(1),
        json!({}),
        json!({"code": 1, "rules": {}, "request": []}),
    ];
    for kind in Kind::ALL {
        for spec in &values {
            let mut value = object(kind, "x", spec.clone());
            if kind != Kind::VpnGateway || !spec.is_object() {
                assert!(form(kind, &value).is_err(), "{kind} {spec}");
            }
            value["metadata"] = json!(null);
            let _ = form(kind, &value);
        }
        assert!(form(kind, &Value::Null).is_err());
    }
}
