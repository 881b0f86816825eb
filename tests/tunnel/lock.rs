//! The tunnel as its user has it: systems within reach, the Internet locked, and back after the end.

use std::fs;
use std::time::Duration;

use tidegate_tests::process::Process;
use tidegate_tests::wait;

use crate::client::{Connected, Said, authenticate_in_lab};
use crate::lab::{self, INTERNET, SYSTEM, at, inside_or_skip, leaked, move_to, reaches, reaches_internet};
use crate::served::Served;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// The password of `wangfang` once she has one.
pub(crate) const PASSWORD: &str = "Lantern-7-harbour";

/// The example city in the lab, its Internet host and a web server on the lab's own system.
pub(crate) fn begin() -> (Served, Process) {
    lab::serve_internet();
    let served = Served::start_in_lab();
    let mut web = at("business", "python3");
    web.args(["-m", "http.server", "80", "--bind", SYSTEM]);
    let web = Process::start("web", served.folder(), &mut web).expect("a web server");
    (served, web)
}

/// Logs `wangfang` in for the first time.
pub(crate) fn log_in(served: &Served) -> Said {
    let code = served.code("sbj", "wangfang");
    let said = authenticate_in_lab(served, &["--user=wangfang"], &[&code, PASSWORD, PASSWORD]);
    said.assert_ok();
    said
}

#[test]
fn the_internet_is_closed_while_connected_and_back_after_the_logout() {
    if !inside_or_skip("lock::the_internet_is_closed_while_connected_and_back_after_the_logout") {
        return;
    }
    let (served, _web) = begin();
    assert_eq!(reaches_internet(), [true, true], "before the login");
    let system = format!("http://{SYSTEM}/");
    assert!(!reaches(&system), "nobody reaches a system without the tunnel");
    let login = log_in(&served);
    assert_eq!(reaches_internet(), [true, true], "a login alone closes nothing");
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    let before = leaked();
    assert!(reaches(&system), "a granted system: {}", client.said());
    assert_eq!(reaches_internet(), [false, false], "the Internet during the session: {}", client.said());
    assert!(!reaches("http://10.20.1.10:8080/"), "a web system is no flow of the tunnel");
    assert_eq!(leaked(), before, "packets on the uplink for the Internet host");
    client.signal("-INT");
    client.ended();
    assert_eq!(reaches_internet(), [true, true], "after the logout");
    assert!(!reaches(&system));
}

#[test]
fn the_line_on_the_demos_card_works_as_it_is_typed() {
    if !inside_or_skip("lock::the_line_on_the_demos_card_works_as_it_is_typed") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let tidegate = tidegate_tests::programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
    // On one computer, as whoever tries it has it: the client's.
    let mut demo = at("client", "env");
    demo.arg(format!("TMPDIR={}", folder.path().display())).arg(tidegate).args(["demo", "--port", "0"]);
    let _demo = Process::start("demo", folder.path(), &mut demo).expect("the demo starts");
    let card = wait::until("the demo's card", SOON, || {
        let card = fs::read_to_string(folder.path().join("demo.log")).unwrap_or_default();
        if card.contains("Ctrl-C") { Ok(card) } else { Err(card) }
    });
    let card = card.unwrap_or_else(|error| panic!("{error}"));
    let line = |beginning: &str| {
        let found = card.lines().map(str::trim).find_map(|line| line.strip_prefix(beginning));
        found.unwrap_or_else(|| panic!("no {beginning:?} in {card}")).to_owned()
    };
    let typed = line("sudo openconnect ");
    let system = line("curl ").split(' ').next().unwrap_or_default().to_owned();
    let code =
        card.lines().find(|line| line.contains("wangfang")).and_then(|line| line.split(' ').next_back());
    let resolv = folder.path().join("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a list of name servers");
    let answers = folder.path().join("typed");
    let code = code.unwrap_or_default();
    fs::write(&answers, format!("{code}\n{PASSWORD}\n{PASSWORD}\n")).expect("what is typed");
    let mut client = lab::at_client(&resolv, "setsid");
    client.args(["--wait", "sh", "-c", &format!("exec openconnect {typed} < {}", answers.display())]);
    let client = Process::start("client", folder.path(), &mut client).expect("openconnect starts");
    let answers = || if reaches(&system) { Ok(()) } else { Err(client.log_tail()) };
    wait::until("the system on the card", SOON, answers).unwrap_or_else(|error| panic!("{error}"));
}

/// What happens to the client and the gateway, in an order that was drawn once.
const BLOWS: [Blow; 12] = {
    use Blow::{Crash, Move, Reconnect};
    [
        Reconnect,
        Move(77),
        Crash,
        Reconnect,
        Reconnect,
        Move(31),
        Move(77),
        Crash,
        Move(9),
        Reconnect,
        Crash,
        Reconnect,
    ]
};

enum Blow {
    /// The client drops its connection and comes again.
    Reconnect,
    /// The client's computer gets another address, and comes again.
    Move(u8),
    /// The gateway is killed, and starts again.
    Crash,
}

#[test]
fn nothing_leaves_for_the_internet_over_reconnects_crashes_and_other_addresses() {
    if !inside_or_skip("lock::nothing_leaves_for_the_internet_over_reconnects_crashes_and_other_addresses") {
        return;
    }
    let (mut served, _web) = begin();
    let mut client = Connected::start(&served, &log_in(&served), &[]);
    client.wait();
    let before = leaked();
    // Somebody on the client's computer tries all the time, over both versions.
    let tries: Vec<Process> = INTERNET
        .iter()
        .zip(["four", "six"])
        .map(|(host, name)| {
            let mut ping = client.command("ping");
            ping.args(["-i", "0.2", "-W", "1", host.trim_matches(['[', ']'])]);
            Process::start(name, served.folder(), &mut ping).expect("ping starts")
        })
        .collect();
    for blow in BLOWS {
        let connected = client.said().matches("CSTP connected").count();
        match blow {
            Blow::Reconnect => client.signal("-USR2"),
            Blow::Move(last) => {
                move_to(&format!("192.0.2.{last}"));
                client.signal("-USR2");
            }
            Blow::Crash => served.crash(),
        }
        let again = || match client.said().matches("CSTP connected").count() > connected {
            true => Ok(()),
            false => Err(client.said()),
        };
        wait::until("the client's return", SOON, again).unwrap_or_else(|error| panic!("{error}"));
    }
    let system = format!("http://{SYSTEM}/");
    let answers = || if reaches(&system) { Ok(()) } else { Err(client.said()) };
    wait::until("the system after all that", SOON, answers).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(leaked(), before, "packets on the uplink for the Internet host: {}", client.said());
    drop(tries);
}

/// What the documentation says of clients that are killed: nobody cleans up behind them.
#[test]
fn a_client_that_is_killed_leaves_ipv4_closed_and_ipv6_open() {
    if !inside_or_skip("lock::a_client_that_is_killed_leaves_ipv4_closed_and_ipv6_open") {
        return;
    }
    let (served, _web) = begin();
    let login = log_in(&served);
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    assert_eq!(reaches_internet(), [false, false], "{}", client.said());
    client.signal("-KILL");
    client.ended();
    assert_eq!(reaches_internet(), [false, true]);
    assert!(!reaches(&format!("http://{SYSTEM}/")));
}
