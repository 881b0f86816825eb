//! Which requests are a VPN client's, on the port that browsers use too.
//!
//! By what browsers never send of their own accord: the headers and names of the OpenConnect family. A name can be
//! chosen by anybody; it opens nothing, it only says in which language the door is answered.

use http::header;
use http::request::Parts;

/// What a client of the family says it is; the longer of two that begin alike comes first.
const AGENTS: [&str; 7] = [
    "AnyConnect-compatible OpenConnect VPN Agent",
    "Open AnyConnect VPN Agent",
    "OpenConnect VPN Agent",
    "Cisco AnyConnect",
    "AnyConnect",
    "AnyLink Secure Client",
    "Clavister OneConnect VPN",
];

/// Paths at which clients log out.
const LOGOUTS: [&str; 3] = ["/+CSCOE+/logout.html", "/+CSCOE+/logout", "/+webvpn+/webvpn_logout.html"];

/// Versions of the client below this one know no element around `auth`.
const WRAPPED_SINCE: u32 = 4;

/// Whether a request to the portal host is a VPN client's.
pub(crate) fn is_client(parts: &Parts) -> bool {
    let has = |name: &str| parts.headers.contains_key(name);
    // A browser names where a request comes from; a page there cannot make it say otherwise.
    if has("sec-fetch-site") || has(header::ORIGIN.as_str()) {
        return false;
    }
    has("x-aggregate-auth")
        || has("x-transcend-version")
        || is_logout(parts.uri.path())
        || agent(parts).is_some_and(|agent| AGENTS.iter().any(|known| agent.starts_with(known)))
}

/// Whether clients log out at this path.
pub(crate) fn is_logout(path: &str) -> bool {
    LOGOUTS.contains(&path)
}

/// Whether the client knows no element around `auth`.
pub(crate) fn is_bare(parts: &Parts) -> bool {
    let version = agent(parts).and_then(|agent| agent.strip_prefix("Open AnyConnect VPN Agent v"));
    let digits = version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|version| version < WRAPPED_SINCE)
}

fn agent(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::USER_AGENT)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str, headers: &[(&'static str, &'static str)]) -> Parts {
        let request = headers
            .iter()
            .fold(http::Request::builder().uri(path), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn clients_are_known_and_browsers_are_not_disturbed() {
        for headers in [
            [("user-agent", "Open AnyConnect VPN Agent v9.01-3")].as_slice(),
            &[("user-agent", "AnyConnect-compatible OpenConnect VPN Agent v9.21")],
            &[("user-agent", "OpenConnect VPN Agent (NetworkManager) v9.01")],
            &[("user-agent", "Something else"), ("x-aggregate-auth", "1")],
            &[("x-transcend-version", "1")],
        ] {
            assert!(is_client(&parts("/", headers)), "{headers:?}");
        }
        assert!(is_client(&parts("/+CSCOE+/logout.html", &[])));
        for headers in [
            [].as_slice(),
            &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")],
            &[("user-agent", "curl/8.5.0")],
            &[("user-agent", "AnyConnect Windows 4.10"), ("sec-fetch-site", "cross-site")],
            &[("x-aggregate-auth", "1"), ("origin", "https://elsewhere.example")],
        ] {
            assert!(!is_client(&parts("/", headers)), "{headers:?}");
        }
    }

    #[test]
    fn only_the_oldest_get_a_bare_form() {
        let bare = |agent: &'static str| is_bare(&parts("/", &[("user-agent", agent)]));
        assert!(bare("Open AnyConnect VPN Agent v3.20"));
        assert!(bare("Open AnyConnect VPN Agent v1"));
        assert!(!bare("Open AnyConnect VPN Agent v9.01-3"));
        assert!(!bare("Open AnyConnect VPN Agent v10.0"));
        assert!(!bare("Open AnyConnect VPN Agent v"));
        assert!(!bare("AnyConnect-compatible OpenConnect VPN Agent v1.0"));
    }
}
