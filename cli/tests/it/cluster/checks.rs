//! `tidegate check` goes from red to green, step by step.

use serde_json::Value;
use tidegate_tests::wait;

use super::setting::{DEADLINE, Setting};

/// The outcomes of all findings of a name.
fn outcomes<'a>(report: &'a Value, name: &str) -> Vec<&'a str> {
    let sections = report["sections"].as_array().expect("sections");
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().expect("findings"));
    findings
        .filter(|finding| finding["name"] == name)
        .map(|finding| {
            let outcome = finding["outcome"].as_str().expect("an outcome");
            assert!(outcome == "ok" || finding["hint"].is_string(), "without a hint: {finding}");
            outcome
        })
        .collect()
}

pub(super) fn nothing_is_installed(setting: &Setting) {
    let said = setting.tidegate(&["check", "-o", "json"]);
    let report = said.json();
    assert_eq!((said.code, &report["outcome"]), (Some(1), &"error".into()), "{said:?}");
    assert_eq!(outcomes(&report, "api-version"), ["ok"]);
    assert_eq!(outcomes(&report, "kind"), ["error"; 7]);
    assert_eq!(outcomes(&report, "admission-policy"), ["error"; 7]);
    assert_eq!(outcomes(&report, "controller-installed"), ["error"]);

    let text = setting.tidegate(&["check"]);
    assert!(text.out.contains("[FAIL] VpnUser is not there"), "{text:?}");
    assert!(text.out.contains("see docs/reference/check.md#kind"), "{text:?}");

    let nobody = setting.tidegate(&["check", "--context", "nowhere"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(1), ""), "{nobody:?}");
    assert!(nobody.err.contains("kubeconfig"), "{nobody:?}");
}

pub(super) fn kinds_and_admission_turn_green(setting: &Setting) {
    let report = wait::until("policies are checked", DEADLINE, || {
        let report = setting.tidegate(&["check", "-o", "json"]).json();
        if outcomes(&report, "admission-policy") == ["ok"; 7] { Ok(report) } else { Err(report.to_string()) }
    });
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcomes(&report, "kind"), ["ok"; 7], "{report}");
    assert_eq!(outcomes(&report, "controller-installed"), ["ok"], "{report}");
    assert_eq!(outcomes(&report, "rights-controller"), ["ok"], "{report}");
    // There are no nodes, so nothing of it can run.
    assert_eq!(outcomes(&report, "controller-ready"), ["error"], "{report}");
    assert_eq!(outcomes(&report, "controller-leads"), ["error"], "{report}");
    assert_eq!(outcomes(&report, "store-version"), ["skipped"], "{report}");

    let narrow = setting.tidegate(&["check", "-o", "json", "--as", "nobody"]);
    let report = narrow.json();
    assert_eq!(outcomes(&report, "kind"), ["skipped"; 7], "who may not look is not told it is well");
}

pub(super) fn a_missing_binding_is_found(setting: &Setting) {
    let name = "approval.vpnusers.tidegate.dev";
    let kind = "validatingadmissionpolicybinding";
    let binding = setting.kubectl(&["get", kind, name, "-o", "json"]);
    setting.kubectl(&["delete", kind, name]);
    let report = setting.tidegate(&["check", "-o", "json"]).json();
    assert_eq!(outcomes(&report, "admission-bound"), ["error"], "{report}");

    setting.kubectl(&[
        "create",
        "clusterrolebinding",
        "oops",
        "--clusterrole=cluster-admin",
        "--serviceaccount=tidegate-system:tidegate-controller",
    ]);
    let report = setting.tidegate(&["check", "-o", "json"]).json();
    assert_eq!(outcomes(&report, "rights-controller"), ["error"], "{report}");
    setting.kubectl(&["delete", "clusterrolebinding", "oops"]);

    let mut binding: Value = serde_json::from_str(&binding).expect("JSON");
    binding["metadata"] = serde_json::json!({"name": name});
    setting.apply(&binding.to_string());
}
