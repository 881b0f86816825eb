//! Logging in: rows 1 to 7.

use crate::client::{authenticate, installed_or_skip};
use crate::served::Served;

/// A password nobody has yet.
const PASSWORD: &str = "Lantern-7-harbour";
/// Another.
const OTHER: &str = "Kelp.moss-42-Bridge";

/// Sets the first password of `wangfang` as she does it: the code in the place of the password.
fn activate(served: &Served, password: &str) {
    let code = served.code("sbj", "wangfang");
    let (first, again) = (
        format!("--form-entry=new-password:newpw1={password}"),
        format!("--form-entry=new-password:newpw2={password}"),
    );
    let arguments = ["--user=wangfang", "--passwd-on-stdin", &first, &again];
    let said = authenticate(served, "sbj", &arguments, &[&code]);
    said.assert_ok();
    assert!(said.err.contains("激活码正确"), "{}", said.err);
}

#[test]
fn row_01_user_and_password_by_xml() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    activate(&served, PASSWORD);
    let said = authenticate(&served, "sbj", &["--user=wangfang", "--passwd-on-stdin"], &[PASSWORD]);
    said.assert_ok();
    assert_eq!(said.variable("FINGERPRINT"), served.pin, "the pin as it was printed");
    // The notice of the department, and its language.
    assert!(said.err.contains("XML POST enabled") && said.err.contains("不截图、不外传"), "{}", said.err);
    assert!(served.audit().contains("\"logon_type\":\"tunnel\""));
}

#[test]
fn row_02_without_xml() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    activate(&served, PASSWORD);
    let plain = ["--no-xmlpost", "--user=wangfang", "--passwd-on-stdin"];
    let said = authenticate(&served, "sbj", &plain, &[PASSWORD]);
    said.assert_ok();
    assert!(!said.err.contains("XML POST enabled"), "{}", said.err);
    let by_list = [plain.as_slice(), &["--authgroup=sbj"]].concat();
    authenticate(&served, "", &by_list, &[PASSWORD]).assert_ok();
}

#[test]
fn row_03_wrong_password_then_right() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    activate(&served, PASSWORD);
    let said = authenticate(&served, "sbj", &["--user=wangfang"], &["wrong-Password-1", PASSWORD]);
    said.assert_ok();
    assert_eq!(said.err.matches("(TG-1001)").count(), 1, "{}", said.err);
}

#[test]
fn row_04_an_account_that_is_locked_says_so() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    activate(&served, PASSWORD);
    served.suspend("wangfang");
    let arguments = ["--user=wangfang", "--passwd-on-stdin"];
    let said = authenticate(&served, "sbj", &arguments, &[PASSWORD]);
    said.assert_refused("(TG-2009)");
    assert!(said.err.contains("0898-0000 1310"), "whom to call: {}", said.err);
    // A guesser learns nothing of it, and waits after the fifth time.
    for _ in 0..5 {
        authenticate(&served, "sbj", &[&arguments[..], &["--non-inter"]].concat(), &["wrong-Password-1"])
            .assert_refused("(TG-1001)");
    }
    let said = authenticate(&served, "sbj", &[&arguments[..], &["--non-inter"]].concat(), &[PASSWORD]);
    said.assert_refused("(TG-1001)");
}

#[test]
fn row_05_the_group_by_list_by_label_by_path_and_by_name() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    activate(&served, PASSWORD);
    let user = "--user=wangfang";
    for (path, arguments) in [
        ("sbj", [user].as_slice()),
        ("", &[user, "--authgroup=sbj"]),
        ("", &[user, "--authgroup=sbj 市社会保险服务中心"]),
        ("rsj", &["--user=wangfang@sbj"]),
    ] {
        let arguments = [arguments, &["--passwd-on-stdin", "--non-inter"]].concat();
        authenticate(&served, path, &arguments, &[PASSWORD]).assert_ok();
    }
    // Chosen from the list, by whoever is asked.
    let said = authenticate(&served, "", &[user], &["sbj", PASSWORD]);
    said.assert_ok();
    assert!(said.err.contains("rsj 市人力资源和社会保障局|sbj 市社会保险服务中心"), "{}", said.err);
    let said = authenticate(&served, "nowhere", &[user, "--non-inter", "--passwd-on-stdin"], &[PASSWORD]);
    said.assert_refused("(TG-2014)");
}

#[test]
fn row_07_a_forced_change_with_a_mismatch_and_a_retry() {
    if !installed_or_skip() {
        return;
    }
    let served = Served::start();
    let code = served.code("sbj", "wangfang");
    // Two that differ, one that is too weak, and then a good one.
    let typed = [&*code, PASSWORD, OTHER, "short", "short", OTHER, OTHER];
    let said = authenticate(&served, "sbj", &["--user=wangfang"], &typed);
    said.assert_ok();
    assert!(said.err.contains("两次输入的新密码不一样") && said.err.contains("(TG-1004)"), "{}", said.err);
    authenticate(&served, "sbj", &["--user=wangfang", "--passwd-on-stdin"], &[OTHER]).assert_ok();
}
