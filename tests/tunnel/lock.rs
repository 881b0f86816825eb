//! The tunnel as its user has it: systems within reach, the Internet locked, and back after the end.

use tidegate_tests::process::Process;

use crate::client::{Connected, Said, authenticate_in_lab};
use crate::lab::{self, SYSTEM, at, inside_or_skip, leaked, reaches, reaches_internet};
use crate::served::Served;

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
