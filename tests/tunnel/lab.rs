//! A small Internet of a test's own, with a client, a gateway and business systems in it.
//!
//! ```text
//!  client 192.0.2.10 ---- this namespace: the router ---- 198.51.100.10 gateway 10.20.0.1 ---- business systems
//!  2001:db8:1::10         the "Internet" host                                                  10.20.1.x
//!                         203.0.113.9, 2001:db8:9::9
//! ```
//!
//! The test runs again inside, as the first process of new namespaces: names, processes, mounts and addresses are
//! its own, and nothing outlives it. It needs root, for the gateway gives up what root has: it runs as uid 65534,
//! without a capability, and can gain none.

use std::env;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use tidegate_tests::programs;

/// Set inside.
const INSIDE: &str = "TIDEGATE_TEST_LAB";

const UNSHARE: [&str; 6] = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"];

/// What the lab needs of the machine: the program, and the Debian package that has it.
const NEEDS: [(&str, &str); 8] = [
    ("openconnect", "openconnect"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iperf3", "iperf3"),
    ("ping", "iputils-ping"),
    ("setpriv", "util-linux"),
    ("curl", "curl"),
    ("python3", "python3"),
];

/// The "Internet" host.
pub(crate) const INTERNET: [&str; 2] = ["203.0.113.9", "[2001:db8:9::9]"];
/// The gateway as the client reaches it.
pub(crate) const GATEWAY: &str = "198.51.100.10";
/// A business system of the lab's own.
pub(crate) const SYSTEM: &str = "10.20.1.30";
/// The gateway's name.
pub(crate) const HOST: &str = "vpn.test";

/// What happens before the test. Addresses are there at once: nobody asks whether they are free.
const BEGIN: &str = r#"
set -eu
for place in /run/netns /run/vpnc; do # names of networks, and what the client's script keeps
    mkdir -p $place
    mount -t tmpfs tmpfs $place
done
ip link set lo up
for name in client gateway business; do
    ip netns add $name
    ip -n $name link set lo up
done
link() { # here HERE_4 HERE_6 namespace device THERE_4 THERE_6
    ip link add "$1" type veth peer name "$5" netns "$4"
    ip link set "$1" up && ip -n "$4" link set "$5" up
    ip address add "$2" dev "$1" && ip address add "$3" dev "$1" nodad
    ip -n "$4" address add "$6" dev "$5" && ip -n "$4" address add "$7" dev "$5" nodad
    ip -n "$4" route add default via "${2%/*}" && ip -n "$4" -6 route add default via "${3%/*}"
}
link uplink 192.0.2.1/24 2001:db8:1::1/64 client eth0 192.0.2.10/24 2001:db8:1::10/64
link wan 198.51.100.1/24 2001:db8:2::1/64 gateway eth0 198.51.100.10/24 2001:db8:2::10/64
ip address add 203.0.113.9/32 dev lo
ip address add 2001:db8:9::9/128 dev lo
ip -n gateway link add inside type veth peer name eth0 netns business
ip -n gateway link set inside up && ip -n business link set eth0 up
ip -n gateway address add 10.20.0.1/16 dev inside
for host in 10 11 12 20 30; do ip -n business address add 10.20.1.$host/16 dev eth0; done
sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip netns exec client sysctl -q -w net.ipv4.conf.all.promote_secondaries=1
ip netns exec gateway sysctl -q -w net.ipv4.ping_group_range="0 65534"
# What leaves the client for the "Internet" host, by version.
nft -f - <<'END'
table inet lab {
    counter four {}
    counter six {}
    chain arrives {
        type filter hook prerouting priority 0;
        iifname "uplink" ip daddr 203.0.113.9 counter name four
        iifname "uplink" ip6 daddr 2001:db8:9::9 counter name six
    }
}
END
exec "$@"
"#;

/// Runs a test of this binary again, in a lab. True in there, where it is to go on; false outside, after it has
/// passed or was skipped aloud.
///
/// # Panics
///
/// When it fails in there; and with `CI` set also when something is missing.
pub(crate) fn inside_or_skip(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Some(missing) = missing() {
        assert!(env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return false;
    }
    let own = env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let status = Command::new("unshare")
        .args(UNSHARE)
        .args(["sh", "-c", BEGIN, "sh"])
        .arg(own)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status();
    let status = status.unwrap_or_else(|error| panic!("unshare: {error}"));
    assert!(status.success(), "{test} failed in its lab ({status}); what it said is above");
    false
}

fn missing() -> Option<String> {
    for (program, package) in NEEDS {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Some(format!("{program} is not installed (Debian: apt-get install {package})"));
        }
    }
    let may = Command::new("unshare").args(UNSHARE).arg("true").stderr(Stdio::null()).status();
    (!may.is_ok_and(|status| status.success())).then(|| "a lab of namespaces needs root".to_owned())
}

/// A command in one of the namespaces.
pub(crate) fn at(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// A command of the client's computer, whose name servers are in `resolv` and change nothing else's.
pub(crate) fn at_client(resolv: &Path, program: &str) -> Command {
    let mut command = at("client", "sh");
    command
        .args(["-c", "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"", "sh"])
        .arg(resolv)
        .arg(program);
    command
}

/// A command without anything root has, and with no way to it.
pub(crate) fn unprivileged(namespace: &str, program: &Path) -> Command {
    let mut command = at(namespace, "setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"])
        .arg("--no-new-privs")
        .arg(program);
    command
}

/// Runs a command to its end: whether it did well, and everything it said.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.success(), format!("{}{}", text(&stdout), text(&stderr)))
}

/// Answers everybody who comes to the "Internet" host, for as long as the test runs.
pub(crate) fn serve_internet() {
    for host in INTERNET {
        let listener = TcpListener::bind(format!("{host}:80")).expect("the Internet host's own address");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
    }
}

/// Whether the client reaches the "Internet" host over IPv4 and over IPv6.
pub(crate) fn reaches_internet() -> [bool; 2] {
    INTERNET.map(|host| reaches(&format!("http://{host}/")))
}

/// Whether the client gets a connection; what is said on it does not matter.
pub(crate) fn reaches(url: &str) -> bool {
    let mut command = at("client", "curl");
    command.args(["--silent", "--max-time", "10", "--connect-timeout", "5", "--output", "/dev/null", url]);
    command.status().is_ok_and(|status| status.success())
}

/// Packets that left the client for the "Internet" host so far, by version.
pub(crate) fn leaked() -> [u64; 2] {
    ["four", "six"].map(|counter| {
        let listed = programs::run(Command::new("nft").args(["list", "counter", "inet", "lab", counter]))
            .expect("a counter");
        let packets = listed.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        packets.unwrap_or_else(|| panic!("no count in {listed}"))
    })
}

/// Gives the client's computer another address, as another network would; its routes stay.
pub(crate) fn move_to(address: &str) {
    let script = "old=$(ip -n client -4 -o address show dev eth0 | awk '{print $4}') && \
                  ip -n client address add \"$1/24\" dev eth0 && \
                  for one in $old; do ip -n client address del \"$one\" dev eth0; done";
    let (ok, said) = run(Command::new("sh").args(["-c", script, "sh", address]));
    assert!(ok, "{said}");
}
