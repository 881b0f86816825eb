//! `tidegate demo`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{Client, parts};
use crate::process::{Process, tidegate};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_login_page_answers_and_nothing_is_left() {
    let temporary = tempfile::tempdir().expect("a folder");
    let demo = Process::start(tidegate(temporary.path()).args(["demo", "--port", "0", "-o", "json"]));
    let ready = demo.json();

    let users = ready["users"].as_array().expect("users");
    assert!(users.len() >= 6, "{ready}");
    let with_code = users.iter().filter(|user| user["activationCode"].is_string()).count();
    assert!(with_code >= 2 && with_code < users.len(), "{ready}");
    assert!(users.iter().any(|user| user["state"] != "Active"), "{ready}");
    let resources = ready["resources"].as_array().expect("resources");
    assert!(resources.len() >= 5, "{ready}");

    let client = Client::trusting(Path::new(text(&ready, "ca")));
    let (host, port) = parts(text(&ready, "address"));
    let page = client.get(&host, port, "/").await.expect("the login page");
    assert_eq!(page.status(), 200, "{}", page.body());
    assert!(page.body().contains("<title>"), "{}", page.body());
    for resource in resources {
        // Nobody is logged in: each system's own host sends us to the portal.
        let (host, port) = parts(text(resource, "url"));
        let page = client.get(&host, port, "/").await.expect("its certificate names every system");
        assert!(page.status().is_redirection() || page.status().is_client_error(), "{}", page.status());
    }
    let manifests = Path::new(text(&ready, "state")).join("../manifests");
    assert!(!left_in(&manifests).is_empty());

    demo.signal("TERM");
    let (status, lines, errors) = demo.end();
    assert!(status.success(), "{errors}");
    assert_eq!(lines, Vec::<String>::new(), "exactly one object");
    assert_eq!(left_in(temporary.path()), Vec::<PathBuf>::new());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn the_card_fits_and_keep_keeps() {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut command = tidegate(temporary.path());
    let demo = Process::start(command.args(["demo", "--port", "0", "--keep"]));
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.starts_with('─')).count() < 2 {
        lines.push(demo.line());
    }
    let card = lines.join("\n");
    for wanted in ["https://localhost:", "manifests", "Suspended", "激活码", "tidegate explain "] {
        assert!(card.contains(wanted), "{wanted} in\n{card}");
    }
    demo.signal("INT");
    let (status, _, errors) = demo.end();
    assert!(status.success(), "{errors}");
    assert_eq!(left_in(temporary.path()).len(), 1);
}
