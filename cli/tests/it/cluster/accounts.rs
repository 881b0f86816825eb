//! What `kubectl tidegate` does to accounts, and what it says when somebody may not.

use serde_json::{Value, json};
use tidegate_tests::wait;

use super::setting::{DEADLINE, DEPARTMENT, Setting};

pub(super) fn lifecycle(setting: &Setting) {
    setting.application("li-qiang", |_| {});
    wait_for_rights(setting);

    let until = in_days(200);
    let approve = ["approve", "vu/li-qiang", "--reference", "2026-117", "--until", &until, "--yes"];
    let said = setting.done("he.lin", &approve);
    assert_eq!((&said["changed"], &said["requestedBy"]), (&true.into(), &"zhou.ke".into()), "{said}");
    let stored = setting.stored("li-qiang");
    let approval = json!({"by": "he.lin", "reference": "2026-117", "until": format!("{until}T23:59:59Z")});
    assert_eq!(stored["spec"]["approval"], approval, "he.lin cannot read Departments: the day is UTC's");
    assert_eq!(owner(&stored, "f:approval"), ("tidegate-approve".into(), "Apply".into()));

    let again = setting.done("he.lin", &approve);
    assert_eq!(again["changed"], false, "{again}");

    let said = setting.done("zhou.ke", &["suspend", "li-qiang"]);
    assert_eq!(
        (&said["state"], &setting.stored("li-qiang")["spec"]["state"]),
        (&json!("Suspended"), &json!("Suspended"))
    );

    setting.done("he.lin", &approve);
    assert_eq!(setting.stored("li-qiang")["spec"]["state"], "Active", "an approval brings it back");

    setting.done("he.lin", &["deny", "li-qiang", "--reason", "left the project", "--yes"]);
    let stored = setting.stored("li-qiang");
    assert_eq!((stored["spec"].get("approval"), &stored["spec"]["state"]), (None, &json!("Suspended")));
    assert_eq!(stored["metadata"]["annotations"]["tidegate.dev/denied"], "he.lin: left the project");

    setting.done("he.lin", &approve);
    let stored = setting.stored("li-qiang");
    assert_eq!((&stored["spec"]["approval"], &stored["spec"]["state"]), (&approval, &json!("Active")));
    assert_eq!(stored["metadata"]["annotations"].get("tidegate.dev/denied"), None);

    for number in [1, 2] {
        let said = setting.done("he.lin", &["revoke", "li-qiang"]);
        assert_eq!(said["sessionGeneration"], number, "{said}");
        setting.done("he.lin", &["activate", "li-qiang"]);
        let reissue =
            &setting.stored("li-qiang")["metadata"]["annotations"]["tidegate.dev/reissue-activation"];
        assert_eq!(*reissue, number.to_string());
    }

    let said = setting.through_kubectl(&["revoke", "vu/li-qiang", "--namespace", DEPARTMENT]);
    assert_eq!(
        (said.code, said.out.trim()),
        (Some(0), "vpnuser.tidegate.dev/li-qiang sessions revoked"),
        "{said:?}"
    );
}

pub(super) fn refusals(setting: &Setting) {
    setting.application("ma.chao", |object| object["spec"]["request"]["kubernetesUser"] = "ma.chao".into());
    let words = setting.refused("zhou.ke", &["approve", "ma.chao", "--yes"]);
    assert!(words.contains("TG-6007 the approver also asked for the account"), "{words}");
    let words = setting.refused("bao.ping", &["approve", "ma.chao", "--yes"]);
    assert!(words.contains("TG-6023 bao.ping may not approve accounts in dept-hr"), "{words}");
    assert!(words.contains("docs/reference/codes/TG-6023.md"), "{words}");
    let words = setting.refused("ma.chao", &["approve", "ma.chao", "--yes"]);
    assert!(words.contains("TG-6007") && words.contains("somebody else has to approve"), "{words}");
    assert_eq!(setting.stored("ma.chao")["spec"].get("approval"), None);

    let words = setting.refused("he.lin", &["approve", "ma.chao"]);
    assert!(
        words.contains("asked for by    zhou.ke") && words.contains("decided by      he.lin (you)"),
        "{words}"
    );
    assert!(words.contains("--yes"), "nobody can be asked here: {words}");
    assert_eq!(setting.stored("ma.chao")["spec"].get("approval"), None);

    let words = setting.refused("he.lin", &["approve", "nobody", "--yes"]);
    assert!(words.contains("\"nobody\" not found"), "{words}");
    let words = setting.refused("stranger", &["suspend", "ma.chao"]);
    assert!(words.contains("forbidden") && words.contains("kubectl auth can-i"), "{words}");
    for until in ["yesterday", &in_days(-2), &in_days(500)] {
        let words = setting.refused("he.lin", &["approve", "ma.chao", "--yes", "--until", until]);
        assert!(words.contains("--until"), "{words}");
    }

    // Whoever wrote the approval with another tool owns it.
    setting.application("du-wei", |_| {});
    let fragment = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser",
        "metadata": {"name": "du-wei", "namespace": DEPARTMENT},
        "spec": {"approval": {"by": "he.lin", "reference": "1"}},
    });
    let flags = ["apply", "--server-side", "--field-manager=other", "--as=he.lin", "--filename=-"];
    setting.plane.kubectl(&flags, &fragment.to_string()).unwrap_or_else(|error| panic!("{error}"));
    let words = setting.refused("he.lin", &["approve", "du-wei", "--yes", "--reference", "2"]);
    assert!(words.contains("--force-conflicts") && words.contains("other"), "{words}");
    setting.done("he.lin", &["approve", "du-wei", "--yes", "--reference", "2", "--force-conflicts"]);
    assert_eq!(setting.stored("du-wei")["spec"]["approval"]["reference"], "2");

    let wrong = setting.plugin(&["approve"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

pub(super) fn waiting(setting: &Setting) {
    let words = setting.plugin(&["suspend", "li-qiang", "--wait", "--timeout", "1", "--as", "zhou.ke"]);
    assert_eq!(words.code, Some(1), "no controller takes it up: {words:?}");
    assert!(words.err.contains("not in force everywhere"), "{words:?}");

    let generation = setting.stored("li-qiang")["metadata"]["generation"].clone();
    let condition = json!({"type": "Propagated", "status": "True", "reason": "Propagated",
        "message": "in force on 3 of 3 gateways", "observedGeneration": generation,
        "lastTransitionTime": "2026-11-25T00:00:00Z"});
    let patch = format!("--patch={}", json!({"status": {"conditions": [condition]}}));
    setting.kubectl(&[
        "patch",
        "vu",
        "li-qiang",
        "-n",
        DEPARTMENT,
        "--type=merge",
        "--subresource=status",
        &patch,
    ]);
    let said = setting.done("zhou.ke", &["suspend", "li-qiang", "--wait"]);
    assert_eq!(said["inForce"], true, "{said}");
    assert_eq!(said["message"], "in force on 3 of 3 gateways");
}

/// The API server's own view of new rights lags behind by a moment.
fn wait_for_rights(setting: &Setting) {
    for user in ["he.lin", "ma.chao"] {
        wait::until("approvers may approve", DEADLINE, || {
            let asked = ["auth", "can-i", "approve", "vpnusers.tidegate.dev", "-n", DEPARTMENT, "--as", user];
            setting.plane.kubectl(&asked, "").map(drop)
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The day so many days from now, as people write it.
fn in_days(days: i64) -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    now.saturating_add(jiff::Span::new().days(days)).to_string()
}

/// The manager of a field of the specification, and how it was written.
fn owner(stored: &Value, field: &str) -> (String, String) {
    let managers = stored["metadata"]["managedFields"].as_array().expect("managers");
    let owners = managers.iter().filter(|entry| entry["fieldsV1"]["f:spec"].get(field).is_some());
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    owners.map(|entry| (text(entry, "manager"), text(entry, "operation"))).next().unwrap_or_default()
}
