use std::sync::Arc;

use serde_json::json;
use tidegate_core::policy::Factor;
use tidegate_core::{Localized, Zone};
use tidegate_policy_engine::{Engine, Library, PreparedSubject, Worker};

use super::*;
use crate::build::{Builder, Settings};
use crate::intake::{ConfigMaps, Found, Reading};
use crate::objects::{ObjectKey, ObjectKind};
use crate::publish::Published;
use crate::state::State;

/// A Monday, 10:00 in Haikou.
const NOW: Timestamp = Timestamp(1_795_399_200);

fn object(kind: ObjectKind, name: &str, spec: serde_json::Value) -> (ObjectKey, Found) {
    let namespace = if kind.namespaced() { "dept-sbj" } else { "" };
    let mut metadata = json!({ "name": name });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": kind.as_str(), "metadata": metadata, "spec": spec,
    });
    (ObjectKey::new(kind, namespace, name), Found::of(value))
}

fn snapshot(state: &State) -> Snapshot {
    let user = |state: &str| {
        json!({
            "request": {"person": "李强", "groups": ["sbj/staff"]},
            "requestedBy": "wang", "approval": {"by": "zhang"}, "state": state,
        })
    };
    let system =
        |en: &str| json!({"names": {"zh-CN": "缴费", "en": en}, "web": {"url": "http://10.20.1.10/"}});
    let found = [
        object(
            ObjectKind::Department,
            "sbj",
            json!({
                "code": "sbj", "names": {"zh-CN": "社保局"}, "networks": ["10.20.0.0/16"], "timeZone": "Asia/Shanghai",
            }),
        ),
        object(ObjectKind::VpnUser, "li", user("Active")),
        object(ObjectKind::VpnUser, "su", user("Suspended")),
        object(ObjectKind::Resource, "fees", system("Fees")),
        object(ObjectKind::Resource, "night", system("Night")),
        object(ObjectKind::Resource, "vault", system("Vault")),
        object(
            ObjectKind::AccessPolicy,
            "office",
            json!({
                "target": {"resources": {}},
                "rules": [
                    {"name": "staff", "effect": "Allow", "match": {"groups": ["staff"], "resources": ["fees"]}},
                    {"name": "late", "effect": "Allow", "match": {
                        "resources": ["night"], "schedule": [{"days": ["Mon"], "from": "20:00", "to": "22:00"}]}},
                    {"name": "keepers", "effect": "Allow", "match": {"resources": ["vault"], "groups": ["keepers"]}},
                ],
            }),
        ),
    ];
    let reading = Reading::of(found, ConfigMaps::new());
    let settings = Settings {
        title: Localized::default(),
        zone: Zone::utc(),
        not_before: Timestamp(0),
        approvals_enforced: false,
    };
    let (mut builder, _) = Builder::load(state, settings).unwrap();
    builder.take(&reading, state, NOW).unwrap();
    assert!(builder.save(state).unwrap().is_empty());
    builder.build(&Published::default(), state).unwrap();
    let refused = |key| builder.tenants().find_map(|(_, kept)| kept.refused(key));
    assert!(reading.objects().all(|(key, _)| refused(key).is_none()));
    let generation = tidegate_core::Generation::default();
    Snapshot { generation, platform: builder.platform().unwrap(), departments: builder.departments() }
}

fn explained(snapshot: &Snapshot, state: &State, account: &str, resource: &str) -> Explanation {
    let ask = Ask {
        account: account.parse().unwrap(),
        resource: resource.parse().unwrap(),
        at: NOW,
        source: [192, 0, 2, 1].into(),
        device: Device::Browser,
        factors: Factor::Password.bit(),
        method: String::new(),
        path: String::new(),
    };
    let library = Library::new(Engine::new().unwrap());
    for department in snapshot.departments.values() {
        if let tidegate_core::PolicyState::Module(module) = &department.policy {
            library.load(&module.digest, &module.wasm).unwrap();
        }
    }
    let mut worker = Worker::new(Arc::new(library));
    let rules = RulesInForce::read(state.root(), NOW).unwrap();
    explain(snapshot, &ask, &mut worker, |subject| PreparedSubject::new(subject).unwrap())
        .near(&rules, snapshot, &ask)
}

#[test]
fn answers_name_rule_reason_and_what_was_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let snapshot = snapshot(&state);
    let explained = |account, resource| explained(&snapshot, &state, account, resource);

    let allowed = explained("sbj/li", "sbj/fees");
    assert!(allowed.allowed);
    assert_eq!(allowed.rule.as_ref().unwrap().rule, "staff");
    assert_eq!(
        allowed.words.en,
        "李强 (sbj/li) may open Fees (sbj/fees), by rule office/staff of department sbj."
    );
    assert_eq!(
        allowed.words.zh_cn,
        "李强（sbj/li）可以打开“缴费”（sbj/fees），依据部门 sbj 的规则 office/staff。"
    );

    let late = explained("sbj/li", "sbj/night");
    assert_eq!((late.allowed, late.reason), (false, Some("outside_schedule")));
    assert_eq!(late.opens_at.as_deref(), Some("2026-11-23T12:00:00Z"));
    assert!(late.words.en.contains("it opens at 2026-11-23 20:00"), "{}", late.words.en);
    assert!(late.words.en.contains("rule office/late wants the time Mon 20:00-22:00"), "{}", late.words.en);

    let keepers = explained("sbj/li", "sbj/vault");
    assert_eq!(keepers.code.as_deref(), Some("TG-3001"));
    assert_eq!(keepers.near.len(), 1);
    assert!(
        keepers.words.zh_cn.contains("规则 office/keepers 要求人员属于组 sbj/keepers"),
        "{}",
        keepers.words.zh_cn
    );

    let suspended = explained("sbj/su", "sbj/fees");
    assert_eq!(suspended.reason, Some("account_suspended"));
    assert!(suspended.near.is_empty());
    for (account, resource, reason) in [
        ("sbj/nobody", "sbj/fees", "account_unknown"),
        ("xx/li", "sbj/fees", "department_unknown"),
        ("sbj/li", "sbj/nothing", "resource_unknown"),
    ] {
        assert_eq!(explained(account, resource).reason, Some(reason));
    }
    let json = serde_json::to_value(&keepers).unwrap();
    assert_eq!(json["near"][0]["rule"], "keepers");
    assert!(json["words"]["zh-CN"].is_string());
}
