use http::HeaderValue;
use proptest::prelude::*;
use tidegate_core::session::{Kind, Ticket};
use tidegate_core::{AccountId, Generation};

use super::*;
use crate::cookie::View;

const NOON: Timestamp = Timestamp(1_795_000_000);

fn ring() -> Ring {
    Ring::new(&[(1, [1; 32])]).unwrap()
}

fn session() -> Session {
    Session {
        ticket: Ticket {
            session: SessionId([7; 16]),
            account: AccountId {
                department: "a".repeat(15).parse().unwrap(),
                name: "n".repeat(63).parse().unwrap(),
            },
            uid: "u".repeat(63).parse().unwrap(),
            epoch: 3,
            kind: Kind::Portal,
            factors: 1,
            issued: NOON,
            absolute_end: NOON.plus(28_800),
            generation: Generation::default(),
        },
        seen: NOON,
        renewed: NOON,
        view: View::default(),
        failures: 0,
        last: None,
    }
}

fn resource(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn grant(target: &str, nonce: &str) -> Grant {
    Grant {
        resource: resource("sbzx/shebao"),
        target: target.to_owned(),
        nonce: nonce_digest(nonce),
        at: NOON,
        session: session(),
    }
}

#[test]
fn a_grant_is_good_for_its_browser_host_and_half_a_minute() {
    let ring = ring();
    let text = grant("/list?page=2", "nonce").seal(&ring, NOON).unwrap();
    let own = resource("sbzx/shebao");
    let accept = |resource, nonce, now| Grant::accept(&ring, &text, resource, nonce, now);
    assert_eq!(accept(&own, Some("nonce"), NOON), Ok((session(), "/list?page=2".to_owned())));
    assert!(accept(&own, Some("nonce"), NOON.plus(GRANT_S)).is_ok());
    let refused = Err(Code::HandshakeInvalid);
    assert_eq!(accept(&own, Some("nonce"), NOON.plus(GRANT_S + 1)), refused, "too late");
    assert_eq!(accept(&own, Some("nonce"), NOON.plus(-1)), refused, "from the future");
    assert_eq!(accept(&own, Some("other"), NOON), refused, "another browser");
    assert_eq!(accept(&own, None, NOON), refused, "no cookies");
    assert_eq!(accept(&resource("sbzx/dangan"), Some("nonce"), NOON), refused, "another host");
    assert_eq!(Grant::accept(&ring, &text[1..], &own, Some("nonce"), NOON), refused, "cut");
}

#[test]
fn a_start_cannot_be_used_as_a_grant() {
    let ring = ring();
    let start = Start {
        resource: resource("sbzx/shebao"),
        target: "/".to_owned(),
        nonce: [1; 32],
        seen: Some((SessionId([7; 16]), NOON)),
    };
    let text = start.seal(&ring, NOON).unwrap();
    assert_eq!(Start::open(&ring, &text), Ok(start.clone()));
    assert!(Grant::accept(&ring, &text, &start.resource, Some("nonce"), NOON).is_err());
    assert_eq!(Start::open(&ring, "nonsense"), Err(Code::HandshakeInvalid));
}

#[test]
fn a_long_target_starts_at_the_front_door() {
    let ring = ring();
    let text = grant(&format!("/{}", "a".repeat(600)), "n").seal(&ring, NOON).unwrap();
    let (_, target) = Grant::accept(&ring, &text, &resource("sbzx/shebao"), Some("n"), NOON).unwrap();
    assert_eq!(target, "/");
    let fits = format!("/{}", "a".repeat(511));
    let text = grant(&fits, "n").seal(&ring, NOON).unwrap();
    assert_eq!(Grant::accept(&ring, &text, &resource("sbzx/shebao"), Some("n"), NOON).unwrap().1, fits);
}

#[test]
fn targets_stay_on_the_host() {
    for good in ["/", "/a/b?c=d#e", "/%E4%B8%AD"] {
        assert!(is_local(good), "{good}");
    }
    for bad in [
        "",
        "a",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a b",
        "/\r\nSet-Cookie: x",
        ENTER,
        "/中",
    ] {
        assert!(!is_local(bad), "{bad}");
    }
}

#[test]
fn only_going_to_a_page_is_a_navigation() {
    let with = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    };
    let page = with(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]);
    assert!(is_navigation(&Method::GET, &page));
    assert!(!is_navigation(&Method::POST, &page));
    assert!(!is_navigation(&Method::GET, &with(&[("sec-fetch-mode", "cors"), ("accept", "text/html")])));
    assert!(!is_navigation(
        &Method::GET,
        &with(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")])
    ));
    assert!(is_navigation(&Method::GET, &with(&[("accept", "text/html,*/*")])));
    assert!(!is_navigation(&Method::GET, &with(&[("accept", "application/json")])));
    assert!(!is_navigation(&Method::GET, &HeaderMap::new()));
}

#[test]
fn a_nonce_in_use_is_kept_and_nonsense_is_not() {
    let mut headers = HeaderMap::new();
    let (first, new) = nonce(&headers).unwrap();
    assert!(new);
    headers
        .insert(http::header::COOKIE, HeaderValue::try_from(format!("{}={first}", cookie::NONCE)).unwrap());
    assert_eq!(nonce(&headers).unwrap(), (first.clone(), false));
    headers.insert(http::header::COOKIE, HeaderValue::try_from(format!("{}=short", cookie::NONCE)).unwrap());
    let (other, new) = nonce(&headers).unwrap();
    assert!(new && other != first);
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "[A-Za-z0-9_-]{0,2200}") {
        let ring = ring();
        prop_assert!(Start::open(&ring, &text).is_err());
        prop_assert!(Grant::accept(&ring, &text, &resource("sbzx/shebao"), Some("n"), NOON).is_err());
    }
}
