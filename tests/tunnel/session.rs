//! A connected client: what it reaches, who sees it, and what ends it. Rows 11, 15 to 17, 21, 22, 24, 26, 28.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::process::Process;
use tidegate_tests::wait;

use crate::client::{Connected, authenticate_in_lab};
use crate::lab::{SYSTEM, at, inside_or_skip, leaked, move_to, reaches, reaches_internet, run};
use crate::lock::{PASSWORD, begin, log_in};
use crate::served::Served;

/// Longer than a report, a reconnect or a cut takes.
const SOON: Duration = Duration::from_secs(60);

/// The only session there is.
fn session(served: &Served) -> Value {
    served.ask(&["sessions", "--department", "sbj"])["sessions"][0].clone()
}

/// Waits until `tidegate sessions` shows a tunnel that `wanted` likes.
fn seen(served: &Served, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = || {
        let session = session(served);
        if wanted(&session["tunnel"]) { Ok(session) } else { Err(session.to_string()) }
    };
    wait::until(what, SOON, look).unwrap_or_else(|error| panic!("{error}"))
}

fn counted(tunnel: &Value, field: &str) -> u64 {
    tunnel[field].as_u64().unwrap_or_default()
}

/// The client's addresses inside the tunnel.
fn addresses() -> String {
    run(Command::new("ip")
        .args(["-n", "client", "-brief", "address", "show", "dev", "tun0", "scope", "global"]))
    .1
}

/// Waits until the system answers.
fn answers(client: &Connected) {
    let ask = || if reaches(&format!("http://{SYSTEM}/")) { Ok(()) } else { Err(client.said()) };
    wait::until("the system behind the tunnel", SOON, ask).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn row_11_authenticate_then_connect_from_another_process_and_address() {
    if !inside_or_skip("session::row_11_authenticate_then_connect_from_another_process_and_address") {
        return;
    }
    let (served, _web) = begin();
    let login = log_in(&served);
    assert_eq!(session(&served), Value::Null, "a login alone is nobody online");
    move_to("192.0.2.77");
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    answers(&client);
    let session = seen(&served, "bytes that were counted", |tunnel| counted(tunnel, "bytesDown") > 0);
    assert_eq!(
        (&session["account"], &session["kind"]),
        (&"sbj/wangfang".into(), &"tunnel".into()),
        "{session}"
    );
    assert_eq!(session["source"], "192.0.2.77", "{session}");
    let tunnel = &session["tunnel"];
    assert!(tunnel["client"].as_str().is_some_and(|client| client.contains("VPN Agent")), "{session}");
    assert!(counted(tunnel, "bytesUp") > 0 && tunnel["flows"].is_u64(), "{session}");
}

#[test]
fn rows_16_and_17_names_and_both_directions_under_load() {
    if !inside_or_skip("session::rows_16_and_17_names_and_both_directions_under_load") {
        return;
    }
    let (served, _web) = begin();
    let mut iperf = at("business", "iperf3");
    iperf.args(["--server", "--bind", SYSTEM]);
    let _iperf = Process::start("iperf", served.folder(), &mut iperf).expect("iperf3");
    let mut client = Connected::start(&served, &log_in(&served), &[]);
    client.wait();
    for direction in [&["--reverse"][..], &[]] {
        let mut load = client.command("iperf3");
        load.args(["--client", SYSTEM, "--time", "2"]).args(direction);
        let (ok, said) = run(&mut load);
        assert!(ok && said.contains("receiver"), "{said}{}", client.said());
    }
    assert!(!client.said().contains("Unexpected packet length"), "{}", client.said());
    // The gateway's own name resolves, and the portal works through the tunnel; other names do not.
    let ca = served.folder().join("ca.pem");
    std::fs::copy(served.folder().join("state/tls/ca.pem"), &ca).expect("the authority");
    let mut portal = client.command("curl");
    portal.args(["--silent", "--show-error", "--location", "--max-time", "20", "--cacert"]).arg(&ca);
    let (ok, said) = run(portal.arg(&served.address));
    assert!(ok && said.contains("<html"), "{said}{}", client.said());
    for name in ["example.org", "intranet.sbj.example"] {
        let (found, said) = run(client.command("getent").args(["ahosts", name]));
        assert!(!found, "{said}");
    }
    let (ok, said) = run(client.command("ping").args(["-c", "3", "-i", "0.2", "-W", "5", SYSTEM]));
    assert!(ok, "{said}");
}

#[test]
fn row_22_a_kick_says_why_and_the_ticket_is_void() {
    if !inside_or_skip("session::row_22_a_kick_says_why_and_the_ticket_is_void") {
        return;
    }
    let (served, _web) = begin();
    let login = log_in(&served);
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    let id = seen(&served, "a tunnel that is reported", Value::is_object)["id"].clone();
    assert_eq!(served.ask(&["kick", "sbj/wangfang"]), serde_json::json!({"ended": [id]}));
    let said = client.ended();
    assert!(said.contains("TG-2015"), "{said}");
    assert_eq!(reaches_internet(), [true, true], "the end is the end of the lock");
    let said = Connected::start(&served, &login, &[]).ended();
    assert!(said.contains("401"), "{said}");
    // They may log in again, unless they are suspended.
    let login = authenticate_in_lab(&served, &["--user=wangfang", "--passwd-on-stdin"], &[PASSWORD]);
    login.assert_ok();
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    served.suspend("wangfang");
    let said = client.ended();
    assert!(said.contains("TG-2009"), "{said}");
}

#[test]
fn rows_21_and_24_reconnects_keep_addresses_session_and_lock() {
    if !inside_or_skip("session::rows_21_and_24_reconnects_keep_addresses_session_and_lock") {
        return;
    }
    let (served, _web) = begin();
    let login = log_in(&served);
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    answers(&client);
    let (inner, before) = (addresses(), leaked());
    for address in ["192.0.2.77", "192.0.2.78", "192.0.2.79"] {
        // Another network under the client's feet, and the connection anew.
        let reconnects = client.said().matches("CSTP connected").count();
        move_to(address);
        client.signal("-USR2");
        let again = || {
            if client.said().matches("CSTP connected").count() > reconnects {
                Ok(())
            } else {
                Err(client.said())
            }
        };
        wait::until("the client's return", SOON, again).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reaches_internet(), [false, false], "{}", client.said());
        answers(&client);
    }
    assert_eq!(addresses(), inner);
    assert_eq!(leaked(), before, "packets on the uplink for the Internet host");
    // Leaving without a word keeps the session, a goodbye ends it.
    client.signal("-HUP");
    client.ended();
    let mut client = Connected::start(&served, &login, &[]);
    client.wait();
    assert_eq!(addresses(), inner);
    client.signal("-INT");
    client.ended();
    let said = Connected::start(&served, &login, &[]).ended();
    assert!(said.contains("401"), "{said}");
}

#[test]
fn rows_26_and_28_an_older_tls_and_the_newest_login_wins() {
    if !inside_or_skip("session::rows_26_and_28_an_older_tls_and_the_newest_login_wins") {
        return;
    }
    let (served, _web) = begin();
    let older = "--gnutls-priority=NORMAL:-VERS-ALL:+VERS-TLS1.2";
    let mut client = Connected::start(&served, &log_in(&served), &[older]);
    client.wait();
    assert!(client.said().contains("TLS1.2"), "{}", client.said());
    answers(&client);
    // Somebody else logs in as her elsewhere; the gateway is reached beside the tunnel.
    let newest = authenticate_in_lab(&served, &["--user=wangfang", "--passwd-on-stdin"], &[PASSWORD]);
    newest.assert_ok();
    let said = client.ended();
    assert!(said.contains("TG-2002"), "{said}");
    let mut client = Connected::start(&served, &newest, &[]);
    client.wait();
    answers(&client);
}

#[test]
fn row_27_a_session_that_is_idle_is_ended_by_the_gateway() {
    if !inside_or_skip("session::row_27_a_session_that_is_idle_is_ended_by_the_gateway") {
        return;
    }
    let (served, _web) = begin();
    served.edit("departments.yaml", "  code: sbj\n", "idleMinutes: 30", "idleMinutes: 1");
    let mut client = Connected::start(&served, &log_in(&served), &[]);
    client.wait();
    answers(&client);
    let said = client.ended_within(3 * SOON);
    assert!(said.contains("TG-2003"), "{said}");
}
