//! `tidegate explain`.

use std::path::Path;

use serde_json::Value;

use crate::manifests;
use crate::process::{Process, tidegate};

fn explain(temporary: &Path, user: &str, from: &[&str]) -> (Option<i32>, Value) {
    let mut command = tidegate(temporary);
    let output = command.args(["explain", user, "sbj/pension", "-o", "json"]).args(from).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), value)
}

/// The three people of the city, asked wherever the answer comes from.
fn ask_about_everybody(temporary: &Path, from: &[&str]) {
    let (code, value) = explain(temporary, "sbj/wangfang", from);
    assert_eq!((code, &value["allowed"], &value["rule"]["rule"]), (Some(0), &true.into(), &"staff".into()));
    let (code, value) = explain(temporary, "sbj/guest", from);
    assert_eq!((code, &value["code"]), (Some(3), &"TG-3001".into()), "{value}");
    let (code, value) = explain(temporary, "sbj/zhaolei", from);
    assert_eq!((code, &value["code"]), (Some(3), &"TG-2009".into()), "{value}");
    let (code, value) = explain(temporary, "sbj/nobody", from);
    assert_eq!((code, &value["code"]), (Some(3), &"TG-2006".into()), "{value}");
}

#[test]
fn the_folder_the_running_and_the_last_up_agree() {
    let temporary = tempfile::tempdir().expect("a folder");
    let temporary = temporary.path();
    let folder = temporary.join("manifests");
    manifests::write(&folder);
    let folder = folder.to_str().expect("text");
    ask_about_everybody(temporary, &["--dir", folder]);

    let state = temporary.join("state");
    let state = state.to_str().expect("text");
    let mut up = tidegate(temporary);
    up.args(["up", folder, "--state", state, "--listen", "127.0.0.1:0", "-o", "json"]);
    let up = Process::start(&mut up);
    up.event("serving");
    ask_about_everybody(temporary, &["--state", state]);
    up.signal("TERM");
    assert!(up.end().0.success());
    ask_about_everybody(temporary, &["--state", state]);
}

#[test]
fn the_words_follow_the_locale() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("manifests");
    manifests::write(&folder);
    let words = |locale: &str| {
        let mut command = tidegate(temporary.path());
        command.env("LC_ALL", locale).args(["explain", "sbj/guest", "sbj/pension", "--dir"]).arg(&folder);
        String::from_utf8(command.output().expect("it runs").stdout).expect("text")
    };
    let (zh, en) = (words("zh_CN.UTF-8"), words("C.UTF-8"));
    assert!(zh.chars().any(|letter| ('一'..='鿿').contains(&letter)), "{zh}");
    assert!(!en.is_empty() && zh != en, "{en}");

    let mut wrong = tidegate(temporary.path());
    let wrong = wrong.args(["explain", "guest", "sbj/pension", "--dir"]).arg(&folder).output();
    assert_eq!(wrong.expect("it runs").status.code(), Some(1));
}
