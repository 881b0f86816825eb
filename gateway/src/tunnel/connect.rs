//! The one request of a tunnel, `CONNECT /CSCOSSLC/tunnel`, and its answer, byte for byte.
//!
//! Clients compare the names of the answer's fields with the case they know them in, so it is written by hand.

use std::fmt::Write as _;

use super::address::{GATEWAY_4, GATEWAY_6, Inner};

/// Longest head of the request.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// The first bytes of the request, which no other has.
pub(crate) const BEGINS: &[u8; 8] = b"CONNECT ";

/// Packets of clients that take whatever a record holds.
const MTU_LARGE: u16 = 16_000;
/// Packets of all others.
const MTU_SMALL: u16 = 1_400;
/// What a client may say about its own link.
const LINK: std::ops::RangeInclusive<u16> = 1_280..=1_500;
const LINK_USUAL: u16 = 1_500;

/// Seconds of silence after which a client asks whether we are there; it gives up after twice that.
pub(crate) const DPD_S: u32 = 30;
/// Seconds after which a client without anything to send sends something all the same.
const KEEPALIVE_S: u32 = 20;
/// Seconds after which a client comes anew with new keys, a tenth more or less.
const REKEY_S: u32 = 14_400;

/// Fields that are read at most.
const FIELDS_MAX: usize = 128;

/// What the request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The sealed ticket.
    pub(crate) ticket: String,
    /// The largest packet the client may be given.
    pub(crate) mtu: u16,
    /// What it says of its own link.
    pub(crate) link: u16,
    /// Whether it takes an IPv6 address.
    pub(crate) six: bool,
    /// What it calls itself.
    pub(crate) agent: String,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is no request for a tunnel.
    Malformed,
    /// It names nobody.
    NoTicket,
}

/// Reads a head that ends with an empty line.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Bad> {
    let head = std::str::from_utf8(head).map_err(|_| Bad::Malformed)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let target = (words.next(), words.next(), words.next(), words.next());
    match target {
        (Some("CONNECT"), Some("/CSCOSSLC/tunnel" | "CSCOSSLC/tunnel"), Some("HTTP/1.1"), None) => {}
        _ => return Err(Bad::Malformed),
    }
    let (mut ticket, mut agent, mut link, mut six, mut four_only) = (None, "", LINK_USUAL, false, false);
    for (number, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        let (name, value) = line.split_once(':').filter(|_| number < FIELDS_MAX).ok_or(Bad::Malformed)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "cookie" => {
                let webvpn = value.split(';').find_map(|pair| pair.trim().strip_prefix("webvpn="));
                ticket = ticket.or(webvpn);
            }
            "user-agent" => agent = value,
            "x-cstp-base-mtu" => {
                // A number from outside: out of bounds it counts as the bound, and what is none is not there.
                if let Ok(number) = value.parse::<u32>() {
                    link = u16::try_from(number).unwrap_or(u16::MAX).clamp(*LINK.start(), *LINK.end());
                }
            }
            "x-cstp-full-ipv6-capability" => six = value.eq_ignore_ascii_case("true"),
            "x-cstp-address-type" => four_only = !value.to_ascii_lowercase().contains("ipv6"),
            _ => {}
        }
    }
    let ticket = ticket.filter(|ticket| !ticket.is_empty()).ok_or(Bad::NoTicket)?;
    let mtu = if takes_large(agent) { MTU_LARGE } else { MTU_SMALL };
    let agent = agent.chars().filter(|letter| !letter.is_control()).take(100).collect();
    Ok(Request { ticket: ticket.to_owned(), mtu, link, six: six && !four_only, agent })
}

/// Whether a client takes packets as large as a record: those of the OpenConnect family do.
fn takes_large(agent: &str) -> bool {
    ["Open AnyConnect VPN Agent", "AnyConnect-compatible OpenConnect", "OpenConnect VPN Agent"]
        .iter()
        .any(|known| agent.starts_with(known))
}

/// What a client is granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// Its addresses.
    pub(crate) inner: Inner,
    /// Largest packet.
    pub(crate) mtu: u16,
    /// What it said of its link.
    pub(crate) link: u16,
    /// Seconds without use after which its session ends.
    pub(crate) idle_s: i64,
    /// Seconds after which it ends in any case.
    pub(crate) left_s: i64,
    /// Moves its next coming a little, so that not everybody comes at once.
    pub(crate) spread: u8,
}

/// The answer that begins the tunnel. There is no list of networks in it: everything goes into the tunnel.
pub(crate) fn accepted(granted: &Granted) -> String {
    let Granted { inner, mtu, link, idle_s, left_s, spread } = *granted;
    // 90 % to 110 %.
    let rekey = REKEY_S * 9 / 10 + REKEY_S / 5 * u32::from(spread) / 255;
    let mut out = String::with_capacity(1_024);
    out.push_str("HTTP/1.1 200 CONNECTED\r\nX-CSTP-Version: 1\r\n");
    let _ = write!(out, "X-CSTP-Address: {}\r\nX-CSTP-Netmask: 255.255.255.255\r\n", inner.four);
    let _ = write!(out, "X-CSTP-DNS: {GATEWAY_4}\r\n");
    if let Some(six) = inner.six {
        let _ = write!(out, "X-CSTP-Address-IP6: {six}/128\r\nX-CSTP-DNS-IP6: {GATEWAY_6}\r\n");
    }
    let _ = write!(
        out,
        "X-CSTP-MTU: {mtu}\r\nX-CSTP-Base-MTU: {link}\r\n\
         X-CSTP-DPD: {DPD_S}\r\nX-CSTP-Keepalive: {KEEPALIVE_S}\r\n\
         X-CSTP-Idle-Timeout: {}\r\nX-CSTP-Session-Timeout: {}\r\n\
         X-CSTP-Session-Timeout-Remaining: {}\r\nX-CSTP-Lease-Duration: {}\r\n\
         X-CSTP-Disconnected-Timeout: {}\r\n\
         X-CSTP-Rekey-Method: new-tunnel\r\nX-CSTP-Rekey-Time: {rekey}\r\n",
        idle_s.max(0),
        left_s.max(0),
        left_s.max(0),
        left_s.max(0),
        idle_s.max(0),
    );
    out.push_str(
        "X-CSTP-Tunnel-All-DNS: true\r\nX-CSTP-Client-Bypass-Protocol: false\r\n\
         X-CSTP-License: accept\r\nX-CSTP-Keep: true\r\nX-CSTP-TCP-Keepalive: true\r\n\
         X-CSTP-Smartcard-Removal-Disconnect: true\r\n\r\n",
    );
    out
}

/// An answer that begins nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no request for a tunnel: 400.
    Malformed,
    /// The session is over, for good: 401, after which a client does not come again.
    Over,
    /// Not now: 503, after which a client that had a tunnel comes again.
    Later,
}

/// The answer of a refusal, with its code and a text for the user.
pub(crate) fn refused(refusal: Refusal, reason: &str) -> String {
    let status = match refusal {
        Refusal::Malformed => "400 Bad Request",
        Refusal::Over => "401 Unauthorized",
        Refusal::Later => "503 Service Unavailable",
    };
    let reason: String = reason.chars().filter(|letter| letter.is_ascii() && !letter.is_control()).collect();
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\nX-Reason: {reason}\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::SessionId;

    use super::*;

    const OPENCONNECT: &str = "CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: vpn.example\r\n\
        User-Agent: Open AnyConnect VPN Agent v9.01-3\r\nCookie: other=1; webvpn=abc_-9\r\n\
        X-CSTP-Version: 1\r\nX-CSTP-Hostname: pc\r\nX-CSTP-Accept-Encoding: oc-lz4,lzs\r\n\
        X-CSTP-Base-MTU: 1500\r\nX-CSTP-MTU: 1390\r\nX-CSTP-Address-Type: IPv6,IPv4\r\n\
        X-CSTP-Full-IPv6-Capability: true\r\n\r\n";

    #[test]
    fn what_a_client_says_is_read() {
        let request = parse(OPENCONNECT.as_bytes()).expect("a request");
        assert_eq!(
            request,
            Request {
                ticket: "abc_-9".into(),
                mtu: 16_000,
                link: 1_500,
                six: true,
                agent: "Open AnyConnect VPN Agent v9.01-3".into(),
            }
        );
        let cisco = OPENCONNECT.replace("Open AnyConnect VPN Agent v9.01-3", "AnyConnect Windows 4.10");
        assert_eq!(parse(cisco.as_bytes()).expect("a request").mtu, 1_400);
        let four = OPENCONNECT.replace("IPv6,IPv4", "IPv4");
        assert!(!parse(four.as_bytes()).expect("a request").six);
    }

    #[test]
    fn numbers_are_held_in_bounds() {
        for (said, taken) in
            [("0", 1_280), ("1", 1_280), ("99999", 1_500), ("4294967296", 1_500), ("-1", 1_500)]
        {
            let head = OPENCONNECT.replace("Base-MTU: 1500", &format!("Base-MTU: {said}"));
            assert_eq!(parse(head.as_bytes()).expect("a request").link, taken, "{said}");
        }
    }

    #[test]
    fn other_requests_are_refused() {
        let bad = |head: &str| parse(head.as_bytes()).expect_err("it is refused");
        assert_eq!(bad("CONNECT example.org:443 HTTP/1.1\r\n\r\n"), Bad::Malformed);
        assert_eq!(bad("CONNECT /CSCOSSLC/tunnel HTTP/1.0\r\n\r\n"), Bad::Malformed);
        assert_eq!(bad("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nno field\r\n\r\n"), Bad::Malformed);
        assert_eq!(bad("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n\r\n"), Bad::NoTicket);
        assert_eq!(bad("CONNECT CSCOSSLC/tunnel HTTP/1.1\r\nCookie: webvpn=\r\n\r\n"), Bad::NoTicket);
    }

    #[test]
    fn the_answer_has_the_names_clients_know() {
        let inner = Inner::of(SessionId([7; 16]), true);
        let granted = Granted { inner, mtu: 16_000, link: 1_500, idle_s: 1_800, left_s: 28_800, spread: 128 };
        let answer = accepted(&granted);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"));
        for line in [
            "X-CSTP-MTU: 16000",
            "X-CSTP-Netmask: 255.255.255.255",
            "X-CSTP-Rekey-Method: new-tunnel",
            "X-CSTP-Client-Bypass-Protocol: false",
            &format!("X-CSTP-Address: {}", inner.four),
        ] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        assert!(!answer.contains("Split-Include") && !answer.contains("DTLS") && !answer.contains("DynDNS"));
        let rekey = |spread| {
            let answer = accepted(&Granted { spread, ..granted });
            let line = answer.lines().find_map(|line| line.strip_prefix("X-CSTP-Rekey-Time: ")?.parse().ok());
            line.expect("a time")
        };
        assert_eq!((rekey(0), rekey(255)), (12_960_u32, 15_840));
        assert!(refused(Refusal::Over, "TG-2015\r\nX: y").ends_with("X-Reason: TG-2015X: y\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(tail in "\\PC{0,200}") {
            let _ = parse(format!("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n{tail}\r\n\r\n").as_bytes());
            let _ = parse(tail.as_bytes());
        }
    }
}
