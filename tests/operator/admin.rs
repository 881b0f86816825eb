//! The admin API: who asks is who the API server says, and they may what their rights say.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::{programs, wait};

use crate::DEADLINE;
use crate::cluster::Cluster;

/// A session nobody reports.
const NOBODY: &str = "/v1/sessions/000102030405060708090a0b0c0d0e0f";

/// Asks the leader as somebody without rights, then as an auditor of one department, then as the platform team.
pub(crate) fn check(cluster: &Cluster, address: &str) {
    let ask = |method: &str, path: &str, token: &str| ask(address, method, path, token);
    let refused = ask("GET", "/v1/gateways", "");
    assert_eq!(refused.map(|(status, _)| status), Ok(401));
    assert_eq!(ask("GET", "/v1/gateways", "made-up").map(|(status, _)| status), Ok(401));

    let token = |name: &str| cluster.token("dept-sbj", name);
    let (auditor, platform) = (token("auditor"), token("platform"));
    let own = "/v1/sessions?department=sbj";
    let (status, answer) = ask("GET", own, &auditor).expect("an answer");
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["error"]
            .as_str()
            .unwrap_or_default()
            .contains("may not list sessions.tidegate.dev in dept-sbj")
    );

    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "dept-sbj"});
    let api_group = "rbac.authorization.k8s.io";
    let rights = |kind: &str, name: &str, namespace: Option<&str>, resources: &[&str], verbs: &[&str]| {
        let rule = json!({"apiGroups": ["tidegate.dev"], "resources": resources, "verbs": verbs});
        let metadata = json!({"name": name, "namespace": namespace});
        let api = "rbac.authorization.k8s.io/v1";
        cluster.apply(&json!({"apiVersion": api, "kind": kind, "metadata": metadata, "rules": [rule]}));
        cluster.apply(&json!({
            "apiVersion": api, "kind": format!("{kind}Binding"), "metadata": metadata, "subjects": [account(name)],
            "roleRef": {"apiGroup": api_group, "kind": kind, "name": name},
        }));
    };
    rights("Role", "auditor", Some("dept-sbj"), &["sessions"], &["list"]);
    rights("ClusterRole", "platform", None, &["sessions", "vpngateways"], &["list", "delete"]);

    let answered = |what: &str, method: &str, path: &str, token: &str, wanted: u16| {
        let answer = wait::until(what, DEADLINE, || match ask(method, path, token)? {
            (status, answer) if status == wanted => Ok(answer),
            other => Err(format!("{other:?}")),
        });
        answer.unwrap_or_else(|error| panic!("{error}"))
    };
    let sessions = answered("an auditor sees the department's", "GET", own, &auditor, 200);
    assert_eq!(sessions, json!({"sessions": [], "truncated": false}));
    answered("but nobody else's", "GET", "/v1/sessions", &auditor, 403);
    answered("nor the gateways", "GET", "/v1/gateways", &auditor, 403);
    answered("nor may they end any", "DELETE", NOBODY, &auditor, 403);
    let gateways = answered("the platform team sees gateways", "GET", "/v1/gateways", &platform, 200);
    assert_eq!(gateways, json!({"gateways": []}));
    answered("a session that is not there", "DELETE", NOBODY, &platform, 404);
    answered("a path that is not there", "GET", "/v1/other", &platform, 404);
    by_command(address, &auditor);
    at_the_leader(cluster, address);
}

/// The same as people ask it, at the end of a tunnel that leads here.
fn by_command(address: &str, token: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, token).expect("a token");
    let tidegate = programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&tidegate);
        command.args(arguments).args(["-o", "json", "--admin", &format!("http://{address}"), "--token-file"]);
        programs::run(command.arg(&file))
    };
    let said = run(&["sessions", "--department", "sbj"]).unwrap_or_else(|error| panic!("{error}"));
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(said, json!({"sessions": [], "truncated": false}));
    let refused = run(&["sessions"]).expect_err("an auditor of one department");
    assert!(refused.contains("may not list sessions.tidegate.dev"), "{refused}");
    let refused = run(&["kick", "000102030405060708090a0b0c0d0e0f"]).expect_err("nor may they end any");
    assert!(refused.contains("you may not delete sessions.tidegate.dev"), "{refused}");
    let nobody = run(&["kick", "sbj/wangfang"]).expect_err("nobody is there");
    assert!(nobody.contains("sbj/wangfang has no session"), "{nobody}");
}

fn ask(address: &str, method: &str, path: &str, token: &str) -> Result<(u16, Value), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(said)?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(said)?;
    let rights = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rights}\r\n");
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
    Ok((status.ok_or_else(|| head.to_owned())?, body))
}

/// The leader is found by its lease, and asked with a token made for it. The pods here are processes, so what kubectl
/// would forward to is told in its place.
fn at_the_leader(cluster: &Cluster, address: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (asked, kubectl) = (folder.path().join("asked"), folder.path().join("kubectl"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {}\necho 'Forwarding from {address} -> 9090'\nexec sleep 60\n",
        asked.display()
    );
    std::fs::write(&kubectl, script).expect("a script");
    std::fs::set_permissions(&kubectl, Permissions::from_mode(0o755)).expect("it can be run");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path);
    let path = std::env::join_paths(std::iter::once(folder.path().to_owned()).chain(path)).expect("a PATH");
    let mut command = Command::new(programs::own("tidegate").unwrap_or_else(|error| panic!("{error}")));
    command
        .args(["sessions", "--department", "sbj", "-o", "json", "--service-account", "dept-sbj/auditor"])
        .env("KUBECONFIG", cluster.files().join("admin.kubeconfig"))
        .env("PATH", path);
    let said = programs::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    assert!(said.contains("\"sessions\":[]"), "{said}");
    let asked = std::fs::read_to_string(asked).expect("kubectl was asked");
    assert!(
        asked.starts_with("port-forward pod/first :9090") && asked.contains("tidegate-system"),
        "{asked}"
    );
}
