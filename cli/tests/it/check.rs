//! `tidegate check` on a folder and the state of an `up`.

use std::path::Path;

use serde_json::Value;

use crate::manifests;
use crate::process::{Process, tidegate};

fn check(temporary: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = tidegate(temporary).args(["check", "-o", "json"]).args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

fn outcome<'a>(report: &'a Value, name: &str) -> &'a str {
    let sections = report["sections"].as_array().expect("sections");
    let mut findings = sections.iter().flat_map(|section| section["findings"].as_array().expect("findings"));
    let finding =
        findings.find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    finding["outcome"].as_str().expect("an outcome")
}

#[test]
fn a_folder_and_its_state_before_during_and_after_an_up() {
    let temporary = tempfile::tempdir().expect("a folder");
    let temporary = temporary.path();
    let folder = temporary.join("manifests");
    manifests::write(&folder);
    let folder = folder.to_str().expect("text");
    let state = temporary.join("state");
    let state = state.to_str().expect("text");
    let both = ["--dir", folder, "--state", state];

    let (code, report) = check(temporary, &both);
    assert_eq!((code, outcome(&report, "manifests-readable")), (Some(2), "ok"), "{report}");
    assert_eq!(outcome(&report, "approvals-enforced"), "warning");
    assert_eq!(outcome(&report, "state-exists"), "skipped");

    let mut up = tidegate(temporary);
    up.args(["up", folder, "--state", state, "--listen", "127.0.0.1:0", "-o", "json"]);
    let up = Process::start(&mut up);
    up.event("serving");
    let (code, report) = check(temporary, &both);
    for name in ["state-private", "state-outside", "state-served", "certificate", "audit-chain"] {
        assert_eq!(outcome(&report, name), "ok", "{name}: {report}");
    }
    assert_eq!(code, Some(2), "{report}");
    up.signal("TERM");
    assert!(up.end().0.success());

    let (_, report) = check(temporary, &both);
    assert_eq!(outcome(&report, "state-served"), "skipped");
    assert_eq!(outcome(&report, "audit-chain"), "ok");
}

#[test]
fn what_is_wrong_is_found() {
    let temporary = tempfile::tempdir().expect("a folder");
    let temporary = temporary.path();
    let folder = temporary.join("manifests");
    manifests::write(&folder);
    std::fs::write(folder.join("broken.yaml"), "kind: VpnUser\n").expect("written");
    let state = temporary.join("state");
    std::fs::create_dir(&state).expect("a folder");
    std::fs::write(state.join("audit"), "no folder").expect("written");
    let (folder, state) = (folder.to_str().expect("text"), state.to_str().expect("text"));
    let (code, report) = check(temporary, &["--dir", folder, "--state", state]);
    assert_eq!((code, &report["outcome"]), (Some(1), &"error".into()));
    for name in ["manifests-accepted", "state-private", "audit-chain"] {
        assert_eq!(outcome(&report, name), "error", "{name}: {report}");
    }
}
