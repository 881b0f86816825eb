//! Three gateways, three members of etcd, a real API server, the controller with the rights the chart gives it: one
//! truth for all gateways, and one session at whichever of them somebody arrives.
//!
//! The parts are those of the benches (`tests/bench/pool.py`), in a network of their own. What a test does reads best
//! as the commands of a shell and the requests of a browser, so it is a script beside this file.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_tests::programs::{self, run};
use tidegate_tests::promtool;
use tidegate_tests::tree::root;

/// The page that has every metric.
const METRICS: &str = include_str!("../../docs/reference/metrics.md");

/// Programs of the machine, each with the Debian package that has it.
const PROGRAMS: [(&str, &str); 4] =
    [("haproxy", "haproxy"), ("ip", "iproute2"), ("openssl", "openssl"), ("python3", "python3")];

/// `kubectl apply && kubectl wait --for=condition=Propagated`; one cookie at three gateways; `kubectl patch` to
/// Suspended, and the next request is refused, open downloads and WebSockets are cut, at all three.
#[test]
fn what_is_applied_is_in_force_everywhere_and_what_is_taken_away_is_gone() {
    let Some(ours) = own_programs_or_skip() else { return };
    let seen = script("tests/trio/truth.py", &mut Command::new("python3"), &ours);
    let seen: Value = serde_json::from_str(&seen).expect("a JSON object about it");
    println!("{seen}");
    assert_eq!(seen["cut"], 6, "a download and a WebSocket at each gateway");
}

/// One session ended through the admin API; another key for the pool; an admission policy that is missed; a network that
/// is opened: with three gateways at work. What they export of it is what Prometheus and the page of metrics expect.
#[test]
fn the_platform_team_ends_a_session_changes_keys_and_is_told_of_gaps() {
    let Some(ours) = own_programs_or_skip() else { return };
    let seen = script("tests/trio/platform.py", &mut Command::new("python3"), &ours);
    let seen: Value = serde_json::from_str(&seen).expect("a JSON object about it");
    assert_eq!(seen["kids"], serde_json::json!(["1", "2"]), "the old key opens what it sealed");
    // After all that, there is a value behind nearly every metric.
    let expositions: Vec<&str> =
        seen["expositions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(expositions.len(), 2, "the controller's and a gateway's");
    for exposition in expositions {
        promtool::check_or_skip(exposition).unwrap_or_else(|error| panic!("{error}"));
        for name in exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
            assert!(METRICS.contains(&format!("`{name}`")), "{name} is not in docs/reference/metrics.md");
        }
    }
}

/// The bench, short: in order and with -9, behind a balancer.
#[test]
fn gateways_come_and_go_and_nobody_logs_in_again() {
    let Some(ours) = own_programs_or_skip() else { return };
    let mut command = Command::new("python3");
    command.env("ROUNDS", "1").env("PEOPLE", "4").env("WEBSOCKETS", "4");
    let rows = script("tests/bench/rolling/run", &mut command, &ours);
    println!("{rows}");
    let rows: Vec<Value> =
        rows.lines().map(|row| serde_json::from_str(row).expect("a row is a JSON object")).collect();
    let value = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}"));
        row["value"].as_u64().unwrap_or_else(|| panic!("{row} has no count"))
    };
    for phase in ["drain", "kill"] {
        assert!(value(&format!("{phase}_answers")) > 0, "{phase}: nobody worked");
        assert_eq!(value(&format!("{phase}_relogins")), 0, "{phase}: somebody had to log in again");
        assert_eq!(value(&format!("{phase}_refused")), 0, "{phase}: somebody was refused");
    }
}

/// Runs a script of the tree on our programs; what it prints.
fn script(path: &str, command: &mut Command, ours: &Path) -> String {
    command.arg(root().join(path)).arg(ours);
    run(command).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The directory of our programs, or nothing after having said aloud what is missing; with `CI` set that is a failure.
fn own_programs_or_skip() -> Option<PathBuf> {
    programs::all_or_skip()?;
    match requirements() {
        Ok(()) => {}
        Err(missing) if std::env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            return None;
        }
    }
    let ours = ["tidegate-controller", "tidegate-gateway"].map(programs::own);
    let [controller, _] = ours.map(|found| found.unwrap_or_else(|error| panic!("{error}")));
    controller.parent().map(PathBuf::from)
}

/// What the scripts need of the machine.
fn requirements() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| {
        let mut directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        directories.any(|directory| directory.join(program).exists())
    };
    let missing: Vec<&str> =
        PROGRAMS.into_iter().filter(|(program, _)| !found(program)).map(|(_, package)| package).collect();
    if !missing.is_empty() {
        return Err(format!("{} missing; install with: tests/tools/setup cluster", missing.join(", ")));
    }
    // Root may make a network, and others where the kernel lets them be root of one.
    run(Command::new("unshare").args(["--net", "true"]))
        .or_else(|_| run(Command::new("unshare").args(["--net", "--user", "--map-root-user", "true"])))
        .map(drop)
        .map_err(|error| format!("a network of one's own cannot be made here: {error}"))
}
