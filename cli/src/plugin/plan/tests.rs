//! Each verb on an account in each state.

use super::*;

fn user(change: impl FnOnce(&mut Value)) -> VpnUser {
    let mut value = json!({
        "apiVersion": API_VERSION, "kind": "VpnUser",
        "metadata": {"name": "li-qiang", "namespace": "dept-hr", "resourceVersion": "7"},
        "spec": {"request": {"person": "Li Qiang", "unit": "Payments"}, "requestedBy": "zhou.ke"},
    });
    change(&mut value);
    serde_json::from_value(value).expect("a VpnUser")
}

fn approve() -> Verb {
    Verb::Approve { reference: Some("2026-117".into()), until: None, force: false }
}

fn plan(verb: &Verb, user: &VpnUser) -> Plan {
    Plan::of(verb, user, "he.lin").expect("a plan")
}

#[test]
fn an_approval_is_applied_and_nothing_else() {
    let plan = plan(&approve(), &user(|_| {}));
    let fields: Vec<_> = plan.changes.iter().map(|change| change.field).collect();
    assert_eq!(fields, ["spec.approval.by", "spec.approval.reference"]);
    let [Write::Apply { object, force: false }] = plan.writes.as_slice() else { panic!("{plan:?}") };
    assert_eq!(object["spec"], json!({"approval": {"by": "he.lin", "reference": "2026-117"}}));
    assert_eq!(object["metadata"], json!({"name": "li-qiang", "namespace": "dept-hr"}));
}

#[test]
fn an_approval_brings_a_suspended_account_back_and_takes_the_denial_away() {
    let user = user(|value| {
        value["spec"]["state"] = "Suspended".into();
        value["spec"]["approval"] = json!({"by": "he.lin", "reference": "2026-117"});
        value["metadata"]["annotations"] = json!({DENIED_ANNOTATION: "he.lin: no need shown"});
    });
    let plan = plan(&approve(), &user);
    let expected = json!({
        "spec": {"state": "Active"}, "metadata": {"annotations": {DENIED_ANNOTATION: null}},
    });
    assert_eq!(plan.writes, [Write::Merge(expected)]);
}

#[test]
fn what_is_so_already_is_not_written() {
    let approved = user(|value| value["spec"]["approval"] = json!({"by": "he.lin", "reference": "2026-117"}));
    assert!(plan(&approve(), &approved).writes.is_empty());
    let suspended = user(|value| value["spec"]["state"] = "Suspended".into());
    assert!(plan(&Verb::Suspend, &suspended).writes.is_empty());
}

#[test]
fn a_denial_takes_the_approval_back_stops_the_account_and_says_who_and_why() {
    let approved = user(|value| value["spec"]["approval"] = json!({"by": "ding.hui"}));
    let deny = Verb::Deny { reason: Some("left the project".into()) };
    let expected = json!({
        "spec": {"approval": null, "state": "Suspended"},
        "metadata": {"annotations": {DENIED_ANNOTATION: "he.lin: left the project"}},
    });
    assert_eq!(plan(&deny, &approved).writes, [Write::Merge(expected)]);

    let long = Verb::Deny { reason: Some("x".repeat(REASON_MAX + 1)) };
    assert!(Plan::of(&long, &approved, "he.lin").is_err());
    let two_lines = Verb::Deny { reason: Some("a\nb".into()) };
    assert!(Plan::of(&two_lines, &approved, "he.lin").is_err());
}

#[test]
fn numbers_grow_by_one_from_what_was_seen() {
    let user = user(|value| {
        value["spec"]["sessionGeneration"] = 4.into();
        value["metadata"]["annotations"] = json!({REISSUE_ANNOTATION: "not a number"});
    });
    let expected = json!({"spec": {"sessionGeneration": 5}, "metadata": {"resourceVersion": "7"}});
    assert_eq!(plan(&Verb::Revoke, &user).writes, [Write::Merge(expected)]);
    let expected = json!({"metadata": {"annotations": {REISSUE_ANNOTATION: "1"}, "resourceVersion": "7"}});
    assert_eq!(plan(&Verb::Activate, &user).writes, [Write::Merge(expected)]);
}

#[test]
fn who_has_left_stays_away() {
    let left = user(|value| value["spec"]["state"] = "Left".into());
    for verb in [approve(), Verb::Suspend] {
        assert!(Plan::of(&verb, &left, "he.lin").is_err(), "{verb:?}");
    }
    // Sessions of one that has left can still be ended, in case a gateway is cut off.
    assert!(Plan::of(&Verb::Revoke, &left, "he.lin").is_ok());
}
