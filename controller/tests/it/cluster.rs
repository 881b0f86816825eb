//! The controller on a real API server, with the rights that the chart gives it and no others.
//!
//! One control plane serves all steps, since starting it is most of the time; each step begins where
//! the one before it ended.

mod line;
mod site;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_controller::activation::digest_of;
use tidegate_controller::time::now;
use tidegate_core::{AccountState, Code, DenyReason};
use tidegate_store::{Intent, IntentAction, IntentId, Outcome, Store as _};
use tidegate_tests::helm::Helm;
use tidegate_tests::{control_plane, wait};

use line::Line;
use site::{DEADLINE, Gateway, SYSTEM, Site};

/// All kinds of the example.
const KINDS: [&str; 6] = ["vu", "dept", "vres", "vpol", "vgw", "cvpol"];

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_on_a_real_api_server() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Some(plane) = control_plane::start_or_skip() else { return };
    let line = Line::to(plane.server()).await;
    let mut site = Site::new(plane, &line);
    site.install(&helm);
    site.start().await;

    objects_become_conditions_and_a_snapshot(&mut site).await;
    what_is_in_force_everywhere_is_said_to_be(&mut site).await;
    a_suspended_account_is_denied(&site).await;
    a_deletion_returns_when_it_is_in_force(&mut site).await;
    one_bad_object_leaves_the_others_alone(&site).await;
    what_no_schema_let_through_is_denied(&site, &helm).await;
    an_activation_becomes_a_stored_credential(&site).await;
    a_removed_secret_comes_back(&site).await;
    a_namespace_without_its_label_counts_for_nothing(&site).await;
    without_the_api_server_nothing_changes(&site, &line).await;
    a_restart_publishes_and_writes_nothing(&mut site).await;
    a_deposed_controller_writes_nothing(&site).await;
    site.stop().await;
}

async fn objects_become_conditions_and_a_snapshot(site: &mut Site) {
    site.apply_example();
    site.wait_for("vu/wangfang", "dept-sbj", "Accepted=True");
    site.wait_for("vu/wangfang", "dept-sbj", "Approved=True");
    site.wait_for("vpol/daily-business", "dept-sbj", "Compiled=True");
    assert_eq!(site.reason("dept/sbj", "", "Propagated"), "NoGateway");

    let denied = site.account("sbj/liuyang", |account| account.standing(now()).denied.is_some()).await;
    assert_eq!(denied.standing(now()).denied, Some(DenyReason::AccountSuspended));
    site.account("sbj/wangfang", |account| account.standing(now()).denied.is_none()).await;
    let code = site.code("dept-sbj", "wangfang");
    assert_eq!(code.len(), 19, "{code}");
    let held = site.get("vu/wangfang", "dept-sbj");
    assert_eq!(held["metadata"]["finalizers"], json!(["tidegate.dev/in-force"]));
    assert_eq!(held["status"]["observedGeneration"], held["metadata"]["generation"]);
    // Nobody else's namespace holds anything of a password.
    let kept = site.names("secrets", SYSTEM);
    assert!(kept.iter().any(|name| name == "tidegate-credentials-sbj-0-0"), "{kept:?}");
    let kept = site.names("configmaps", SYSTEM);
    assert!(kept.iter().any(|name| name == "tidegate-register-0-0"), "{kept:?}");
    assert!(kept.iter().any(|name| name == "tidegate-last-good-0-0"), "{kept:?}");
}

async fn what_is_in_force_everywhere_is_said_to_be(site: &mut Site) {
    site.join("a").await;
    site.wait_for("vu/wangfang", "dept-sbj", "Propagated=True");
    site.wait_for("dept/sbj", "", "Ready=True");
}

async fn a_suspended_account_is_denied(site: &Site) {
    let suspended = r#"{"spec":{"state":"Suspended"}}"#;
    site.patch("vu/zhangwei", "dept-sbj", suspended);
    let account = site.account("sbj/zhangwei", |account| account.standing(now()).denied.is_some()).await;
    assert_eq!(account.standing(now()).denied, Some(DenyReason::AccountSuspended));
    site.wait_for("vu/zhangwei", "dept-sbj", "Propagated=True");
    site.until("the reason", || {
        let reason = site.reason("vu/zhangwei", "dept-sbj", "Ready");
        (reason == "AccountSuspended").then_some(()).ok_or(reason)
    });
}

async fn a_deletion_returns_when_it_is_in_force(site: &mut Site) {
    // A second gateway hears nothing for now.
    let late = Gateway::silent(site, "late").await;
    site.kubectl(&["delete", "vu/zhangwei", "--namespace=dept-sbj", "--wait=false"]);
    site.snapshot(|snapshot| snapshot.account(&"sbj/zhangwei".parse().unwrap()).is_none()).await;
    let waiting = site.get("vu/zhangwei", "dept-sbj");
    assert_eq!(waiting["metadata"]["finalizers"], json!(["tidegate.dev/in-force"]));
    late.catch_up().await;
    site.kubectl(&["wait", "vu/zhangwei", "--namespace=dept-sbj", "--for=delete", "--timeout=30s"]);
    site.join("late").await;
    assert!(site.try_get("secret/tidegate-activation-zhangwei", "dept-sbj").is_err());
}

async fn one_bad_object_leaves_the_others_alone(site: &Site) {
    let bad = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"name": "bad", "namespace": "dept-sbj"},
        "spec": {"target": {"resources": {"names": ["absent"]}}, "rules": [
            {"name": "nonsense", "effect": "Allow", "when": "user.shoeSize > 3"}]},
    });
    let stray = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnGateway",
        "metadata": {"name": "stray", "namespace": "dept-sbj"}, "spec": {},
    });
    // The schema lets through more than an object of ours can keep.
    let rule = |number: u32| {
        let when = format!("user.name != \"{}\"", "x".repeat(4_000));
        json!({"name": format!("rule-{number}"), "effect": "Deny", "when": when})
    };
    let large = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"name": "large", "namespace": "dept-sbj"},
        "spec": {"target": {"resources": {}}, "rules": (0..200).map(rule).collect::<Vec<_>>()},
    });
    site.create(&large);
    site.create(&bad);
    site.create(&stray);
    site.wait_for("vpol/large", "dept-sbj", "Accepted=False");
    assert_eq!(site.write_failures(), 0);
    site.wait_for("vpol/bad", "dept-sbj", "Compiled=False");
    site.wait_for("vgw/stray", "dept-sbj", "Accepted=False");
    assert_eq!(site.reason("vgw/stray", "dept-sbj", "Accepted"), "WrongNamespace");
    assert_eq!(site.reason("vgw/stray", "dept-sbj", "Propagated"), "NotAccepted");
    site.wait_for("vpol/daily-business", "dept-sbj", "Ready=True");
    site.kubectl(&["delete", "vpol/large", "--namespace=dept-sbj", "--timeout=30s"]);
}

async fn what_no_schema_let_through_is_denied(site: &Site, helm: &Helm) {
    // Somebody takes the rules away, admission and schema alike.
    site.kubectl(&["delete", "validatingadmissionpolicybindings", "--all"]);
    let loose = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
    site.kubectl(&["patch", "crd/vpnusers.tidegate.dev", "--type=json", "--patch", &loose.to_string()]);
    let user = |name: &str, spec: Value| {
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser", "spec": spec,
            "metadata": {"name": name, "namespace": "dept-sbj"}})
    };
    let own = json!({"request": {"person": "Eve"}, "requestedBy": "eve", "approval": {"by": "eve"}, "state": "Active"});
    // The API server takes a moment to forget a schema.
    for (name, spec) in [("own", own), ("odd", json!("nonsense"))] {
        site.until("the object is taken", || site.try_create(&user(name, spec.clone())));
    }
    for (name, reason) in [("own", "PolicyBypassed"), ("odd", "SchemaViolation")] {
        let object = format!("vu/{name}");
        site.wait_for(&object, "dept-sbj", "Accepted=False");
        assert_eq!(site.reason(&object, "dept-sbj", "Accepted"), reason);
        site.account(&format!("sbj/{name}"), |account| account.standing(now()).denied.is_some()).await;
    }
    site.patch("vu/liuyang", "dept-sbj", r#"{"spec":{"state":"Active"}}"#);
    site.account("sbj/liuyang", |account| account.state == AccountState::Active).await;
    site.kubectl(&["delete", "vu/own", "vu/odd", "--namespace=dept-sbj", "--timeout=30s"]);
    site.install(helm);
    site.wait_for("vu/liuyang", "dept-sbj", "Propagated=True");
}

async fn an_activation_becomes_a_stored_credential(site: &Site) {
    let before = site.data("secret/tidegate-credentials-sbj-0-0", SYSTEM);
    let account = site.account("sbj/wangfang", |account| account.credential.is_some()).await;
    let version = account.credential.as_ref().unwrap().version;
    let intent = Intent {
        id: IntentId(1),
        account: "sbj/wangfang".parse().unwrap(),
        uid: account.source.uid.clone(),
        replaces: version,
        action: IntentAction::Activate {
            code: digest_of(&site.code("dept-sbj", "wangfang")),
            password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".into(),
        },
        at: now(),
    };
    site.store().offer(intent).await.unwrap();
    let outcome = site.outcome(IntentId(1)).await;
    assert!(matches!(outcome, Outcome::Done { version: done } if done > version), "{outcome:?}");
    assert_ne!(site.data("secret/tidegate-credentials-sbj-0-0", SYSTEM), before);
    site.until("the code goes", || match site.try_get("secret/tidegate-activation-wangfang", "dept-sbj") {
        Ok(_) => Err("it is still there".into()),
        Err(_) => Ok(()),
    });
}

async fn a_removed_secret_comes_back(site: &Site) {
    for object in ["secret/tidegate-credentials-sbj-0-0", "configmap/tidegate-last-good-0-0"] {
        let before = site.data(object, SYSTEM);
        site.kubectl(&["delete", object, "--namespace", SYSTEM]);
        site.until("it comes back", || {
            let found = site.try_get(object, SYSTEM)?;
            (found["data"] == before).then_some(()).ok_or_else(|| "it is another".to_owned())
        });
    }
    // An edit does not last either.
    let before = site.data("secret/tidegate-credentials-sbj-0-0", SYSTEM);
    site.patch("secret/tidegate-credentials-sbj-0-0", SYSTEM, r#"{"data":null}"#);
    site.until("it is as it was", || {
        let found = site.try_get("secret/tidegate-credentials-sbj-0-0", SYSTEM)?;
        (found["data"] == before).then_some(()).ok_or_else(|| "it is another".to_owned())
    });
}

async fn a_namespace_without_its_label_counts_for_nothing(site: &Site) {
    site.kubectl(&["label", "namespace/dept-sbj", "tidegate.dev/department-"]);
    site.wait_for("vu/wangfang", "dept-sbj", "Accepted=False");
    assert_eq!(site.reason("vu/wangfang", "dept-sbj", "Accepted"), "WrongNamespace");
    site.account("sbj/wangfang", |account| account.standing(now()).denied.is_some()).await;
    site.snapshot(|snapshot| snapshot.department("sbj").is_some_and(|sbj| sbj.resources.is_empty())).await;
    site.kubectl(&["label", "namespace/dept-sbj", "tidegate.dev/department=sbj"]);
    site.wait_for("vu/wangfang", "dept-sbj", "Ready=True");
    site.account("sbj/wangfang", |account| account.standing(now()).denied.is_none()).await;
}

async fn without_the_api_server_nothing_changes(site: &Site, line: &Line) {
    let before = site.newest();
    line.cut();
    site.until("the trouble is told", || {
        (!site.health().troubles().is_empty()).then_some(()).ok_or_else(|| "all seems well".to_owned())
    });
    // What a person asks for meanwhile is neither done nor lost.
    let account = site.account("sbj/wangfang", |account| account.credential.is_some()).await;
    let stale = Intent {
        id: IntentId(2),
        account: "sbj/wangfang".parse().unwrap(),
        uid: account.source.uid.clone(),
        replaces: 0,
        action: IntentAction::Activate { code: [0; 32], password: "$argon2id$".into() },
        at: now(),
    };
    site.store().offer(stale).await.unwrap();
    site.patch("vu/wangfang", "dept-sbj", r#"{"spec":{"state":"Suspended"}}"#);
    assert_eq!(site.outcome(IntentId(2)).await, Outcome::Refused(Code::CredentialChanged));
    assert_eq!(
        site.newest().departments.keys().collect::<Vec<_>>(),
        before.departments.keys().collect::<Vec<_>>()
    );
    line.mend();
    site.account("sbj/wangfang", |account| account.standing(now()).denied.is_some()).await;
    site.wait_for("vu/wangfang", "dept-sbj", "Propagated=True");
}

async fn a_restart_publishes_and_writes_nothing(site: &mut Site) {
    let versions =
        |site: &Site| -> Vec<String> { KINDS.iter().flat_map(|kind| site.versions(kind)).collect() };
    // All is said about everything, and nothing is under way any more.
    let mut objects = versions(site);
    site.until("all is said", || {
        let unsaid: Vec<String> = KINDS.iter().flat_map(|kind| site.unsaid(kind)).collect();
        let again = versions(site);
        let same = again == objects;
        objects = again;
        (same && unsaid.is_empty()).then_some(()).ok_or_else(|| format!("waiting for {unsaid:?}"))
    });
    let before = site.newest();
    let credentials = site.data("secret/tidegate-credentials-sbj-0-0", SYSTEM);
    site.restart().await;
    assert_eq!(site.newest().departments, before.departments);
    assert_eq!(site.newest().generation, before.generation);
    site.wait_for("vu/wangfang", "dept-sbj", "Propagated=True");
    assert_eq!(versions(site), objects);
    assert_eq!(site.data("secret/tidegate-credentials-sbj-0-0", SYSTEM), credentials);
}

async fn a_deposed_controller_writes_nothing(site: &Site) {
    // A later controller wrote the credentials.
    let name = "secret/tidegate-credentials-sbj-0-0";
    let later = r#"{"metadata":{"annotations":{"tidegate.dev/term":"99"}},"data":{"later.json":"e30="}}"#;
    site.patch(name, SYSTEM, later);
    let theirs = site.data(name, SYSTEM);
    site.patch("vu/wangfang", "dept-sbj", r#"{"spec":{"sessionGeneration":7}}"#);
    site.until("it is refused", || {
        let failures = site.write_failures();
        (failures > 0).then_some(()).ok_or_else(|| "no write failed".to_owned())
    });
    assert_eq!(site.data(name, SYSTEM), theirs);
}

/// A value of an object, for comparisons.
fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline: Duration = DEADLINE;
    wait::until(what, deadline, ask).unwrap_or_else(|error| panic!("{error}"))
}
