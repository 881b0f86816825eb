//! `tidegate up`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::client::{Client, parts};
use crate::manifests::{self, DEPARTMENT, person};
use crate::process::{Process, tidegate};

fn up(temporary: &Path) -> Command {
    let mut command = tidegate(temporary);
    command.arg("up").arg(temporary.join("manifests"));
    command.arg("--state").arg(temporary.join("state"));
    command.args(["--listen", "127.0.0.1:0", "-o", "json"]);
    command
}

fn client(serving: &Value) -> (Client, String, u16) {
    let client = Client::trusting(Path::new(serving["ca"].as_str().expect("ca")));
    let (host, port) = parts(serving["address"].as_str().expect("address"));
    (client, host, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_served_and_changes_apply_live() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("manifests");
    manifests::write(&folder);
    let up = Process::start(&mut up(temporary.path()));
    let serving = up.event("serving");
    let (client, host, port) = client(&serving);
    let page = client.get(&host, port, "/sbj").await.expect("the login page");
    assert_eq!(page.status(), 200, "{}", page.body());
    assert!(page.body().contains("社会保险局") || page.body().contains("Social Insurance Bureau"));
    let code = temporary.path().join("state/activation/sbj/wangfang");
    assert!(code.exists(), "an activation code waits");

    // A new system gets its host, and the certificate names it.
    let system = DEPARTMENT.split("---\n").nth(1).expect("the system").replace("pension", "archive");
    std::fs::write(folder.join("archive.yaml"), system).expect("written");
    up.event_with("accepted", |event| event["kind"] == "Resource" && event["name"] == "archive");
    let deadline = tokio::time::Instant::now() + crate::process::DEADLINE;
    while client.get("archive-sbj.localhost", port, "/").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the certificate never names the new system");
        tokio::task::yield_now().await;
    }

    // A mistake is told with its place and does not touch the rest.
    let broken = person("chenmin", "sbj/staff", "Aktive");
    std::fs::write(folder.join("broken.yaml"), broken).expect("written");
    let refused = up.event("refused");
    let origin = refused["origin"].as_str().expect("an origin");
    assert!(origin.contains("broken.yaml:") && origin.split(':').count() == 3, "{refused}");
    assert!(refused["code"].as_str().is_some_and(|code| code.starts_with("TG-")), "{refused}");
    assert!(client.get(&host, port, "/sbj").await.is_ok_and(|page| page.status() == 200));

    // Gone is gone.
    std::fs::remove_file(folder.join("archive.yaml")).expect("removed");
    up.event_with("removed", |event| event["name"] == "archive");

    let metrics = serving["metrics"].as_str().expect("metrics");
    assert!(metrics.starts_with("http://127.0.0.1:"), "{metrics}");
    up.signal("TERM");
    let (status, lines, errors) = up.end();
    assert!(status.success(), "{errors}");
    assert_eq!(lines.last().map(String::as_str), Some(r#"{"event":"stopped"}"#));
    let mut verify = tidegate(temporary.path());
    let verified = verify.args(["audit", "verify"]).arg(temporary.path().join("state/audit")).output();
    let verified = verified.expect("it runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn what_is_wrong_at_the_start_is_told_and_the_rest_served() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("manifests");
    manifests::write(&folder);
    std::fs::write(folder.join("not.yaml"), "{{{").expect("written");
    let up = Process::start(&mut up(temporary.path()));
    let refused = up.event("refused");
    assert!(refused["origin"].as_str().is_some_and(|origin| origin.contains("not.yaml:")), "{refused}");
    up.event("serving");
    up.signal("INT");
    assert!(up.end().0.success());
}

#[test]
fn a_state_has_one_owner_and_lies_outside() {
    let temporary = tempfile::tempdir().expect("a folder");
    manifests::write(&temporary.path().join("manifests"));
    let first = Process::start(&mut up(temporary.path()));
    first.event("serving");
    let second = up(temporary.path()).output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another tidegate process"), "{said}");

    let mut inside = tidegate(temporary.path());
    inside.arg("up").arg(temporary.path().join("manifests"));
    inside.arg("--state").arg(temporary.path().join("manifests/state"));
    let inside = inside.output().expect("it runs");
    assert_eq!(inside.status.code(), Some(1));
    let said = String::from_utf8_lossy(&inside.stderr).into_owned();
    assert!(said.contains("inside the manifest folder"), "{said}");

    first.signal("TERM");
    assert!(first.end().0.success());
    std::fs::write(temporary.path().join("state/store.redb"), "not a store").expect("written");
    let broken = up(temporary.path()).output().expect("it runs");
    assert_eq!(broken.status.code(), Some(1));
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(said.contains("TG-") && said.contains("remove the file"), "{said}");

    let missing = tidegate(temporary.path()).args(["up", "/no/such/folder"]).output().expect("it runs");
    assert_eq!(missing.status.code(), Some(1));
    let usage = tidegate(temporary.path()).arg("up").output().expect("it runs");
    assert_eq!(usage.status.code(), Some(2));
}
