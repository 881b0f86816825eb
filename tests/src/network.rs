//! A network and a list of processes of a test's own: addresses nobody else has, and nothing that outlives the test.

use std::env;
use std::process::{Command, Stdio};

/// Set inside: the addresses that are to be had there.
const INSIDE: &str = "TIDEGATE_TEST_ADDRESSES";

/// New namespaces, in which whoever runs the test is root; all processes in them end with the first.
const UNSHARE: [&str; 7] =
    ["--user", "--map-root-user", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"];

/// What happens before the test.
const BEGIN: &str = r#"
set -eu
ip link set lo up
for address in $TIDEGATE_TEST_ADDRESSES; do
    ip address add "$address/32" dev lo
done
exec "$@"
"#;

/// Runs a test of this binary again, inside. True in there, where it is to go on; false outside, after it has passed
/// or was skipped aloud.
///
/// # Panics
///
/// When it fails in there; and with `CI` set also when the machine does not allow it.
#[must_use]
pub fn own_or_skip(test: &str, addresses: &[&str]) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let may = Command::new("unshare").args(UNSHARE).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        let missing = "a network of its own: unprivileged user namespaces, or root";
        assert!(env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return false;
    }
    let own = env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let inside = Command::new("unshare")
        .args(UNSHARE)
        .args(["sh", "-c", BEGIN, "sh"])
        .arg(own)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, addresses.join(" "))
        .stdin(Stdio::null())
        .status();
    let status = inside.unwrap_or_else(|error| panic!("{error}"));
    assert!(status.success(), "{test} failed in its own network ({status}); what it said is above");
    false
}
