//! Tidegate on a real cluster, as `docs/guide/kubernetes.md` describes it: the page is executed, and between its
//! commands people log in, open systems, are refused, and never have to log in again because gateways come and go.

use std::time::Duration;

mod guide;
mod people;

use guide::Guide;
use people::{Person, serve_systems};
use tidegate_tests::node::{self, Node};
use tidegate_tests::{programs, wait};

/// The namespace of everything that is Tidegate's.
const NAMESPACE: &str = "tidegate-system";

/// How long gateways may take to drain and go; they need a quarter of a minute.
const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn the_guide_on_a_real_cluster() {
    let Some(mut node) = node::start_or_skip() else { return };
    load_images(&node);
    node.start_metrics().unwrap_or_else(|error| panic!("{error}"));
    serve_systems(&mut node);
    let node = &node;
    let guide = Guide::read("docs/guide/kubernetes.md");

    guide.run(node, "Install");
    guide.run(node, "Departments, people, systems, rules");
    guide.run(node, "Approvals");

    let printed = guide.run(node, "The first login");
    let code = printed[0].trim();
    let authority = guide.file("tidegate-ca.crt");
    let person = |department, name| Person::new(node, department, name, &authority, &service_address(node));
    let wangfang = person("sbj", "wangfang");
    wangfang.activate(code);
    allowed_and_denied(&wangfang, &person("sbj", "zhangwei"), &person("xqrsj", "chenjing"), node);

    guide.run_block(node, "A change is in force within a second", 0);
    assert_ne!(wangfang.open("GET", "records-sbj"), "200 records-sbj", "a suspended account opens nothing");
    guide.run_block(node, "A change is in force within a second", 1);
    assert_eq!(wangfang.login(), "200 gateway", "an account that is active again can log in");

    at_work(&wangfang, "gateways come and go", || {
        guide.run(node, "More gateways, and fewer");
        gateways(node, 1);
    });
    at_work(&wangfang, "gateways follow the load", || {
        guide.run(node, "Gateways that follow the load");
    });
    let asked = ["-n", NAMESPACE, "get", "events", "--field-selector=reason=SuccessfulRescale"];
    let rescaled = node.plane().kubectl(&asked, "").unwrap_or_else(|error| panic!("{error}"));
    assert!(rescaled.contains("cpu resource utilization"), "the load was the reason: {rescaled}");
    at_work(&wangfang, "everything is upgraded", || {
        guide.run(node, "Upgrade");
    });

    guide.run(node, "Uninstall, and come back");
    let wangfang = person("sbj", "wangfang");
    assert_eq!(wangfang.login(), "200 gateway", "passwords outlive an installation");
    assert_eq!(wangfang.open("GET", "records-sbj"), "200 records-sbj");

    guide.run(node, "Remove everything");
    let kinds =
        "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,crds";
    let left =
        node.plane().kubectl(&["get", kinds, "--output=name"], "").unwrap_or_else(|error| panic!("{error}"));
    let left: Vec<&str> = left.lines().filter(|name| name.contains("tidegate")).collect();
    assert!(left.is_empty(), "left behind in the cluster: {left:?}");
}

/// Builds what the nodes of a real cluster would pull from a registry, and loads it.
fn load_images(node: &Node) {
    let built = programs::tool("images", &["--profile", "dev"]).unwrap_or_else(|error| panic!("{error}"));
    for archive in built.lines() {
        node.import(archive.as_ref()).unwrap_or_else(|error| panic!("{archive}: {error}"));
    }
}

fn service_address(node: &Node) -> String {
    let asked =
        ["-n", NAMESPACE, "get", "service", "tidegate-gateway-main", "-o", "jsonpath={.spec.clusterIP}"];
    node.plane().kubectl(&asked, "").unwrap_or_else(|error| panic!("{error}"))
}

/// The table of the example, for three people.
fn allowed_and_denied(wangfang: &Person<'_>, zhangwei: &Person<'_>, chenjing: &Person<'_>, node: &Node) {
    zhangwei.activate(&code(node, "sbj", "zhangwei"));
    chenjing.activate(&code(node, "xqrsj", "chenjing"));
    for (person, method, system, answer) in [
        (wangfang, "GET", "records-sbj", "200 records-sbj"),
        (wangfang, "POST", "records-sbj", "200 records-sbj"),
        (wangfang, "DELETE", "records-sbj", "403 gateway"),
        (wangfang, "GET", "archive-sbj", "200 archive-sbj"),
        (wangfang, "GET", "exchange-rsj", "200 exchange-rsj"),
        (wangfang, "GET", "fund-sbj", "403 gateway"),
        (wangfang, "GET", "analysis-rsj", "403 gateway"),
        (zhangwei, "GET", "analysis-rsj", "200 analysis-rsj"),
        (chenjing, "GET", "records-sbj", "200 records-sbj"),
        (chenjing, "POST", "records-sbj", "403 gateway"),
        (chenjing, "GET", "archive-sbj", "403 gateway"),
    ] {
        assert_eq!(person.open(method, system), answer, "{method} {system}");
    }
}

/// Waits until there are so many gateways, those that are on their way out counted.
fn gateways(node: &Node, wanted: usize) {
    wait::until("gateways that are to go have gone", DEADLINE, || {
        let asked = ["-n", NAMESPACE, "get", "pods", "--selector=tidegate.dev/pool=main", "--output=name"];
        let pods = node.plane().kubectl(&asked, "")?.lines().count();
        if pods == wanted { Ok(()) } else { Err(format!("{pods} gateways")) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", node.describe()));
}

/// The activation code that waits for somebody.
fn code(node: &Node, department: &str, name: &str) -> String {
    let secret = format!("tidegate-activation-{name}");
    let namespace = format!("--namespace=dept-{department}");
    let asked = ["get", "secret", &secret, &namespace, "--output=go-template={{.data.code | base64decode}}"];
    node.plane().kubectl(&asked, "").unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody works all the time while something happens, and never has to log in again.
fn at_work(person: &Person<'_>, what: &str, happens: impl FnOnce()) {
    let work = person.work("records-sbj");
    happens();
    let done = work.finish();
    let count = |field: &str| done[field].as_u64().unwrap_or_else(|| panic!("{field} in {done}"));
    println!("{what}: {done}");
    assert!(count("opened") > 0, "{what}: {done}");
    assert_eq!((count("logins"), count("refused")), (0, 0), "{what}: {done}");
}
