use proptest::prelude::*;
use tidegate_core::session::Kind;
use tidegate_core::{Generation, SessionId};

use super::*;

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
            generation: Generation { term: 1, sequence: 9 },
        },
        seen: NOON.plus(60),
        renewed: NOON,
        view: View { lang: Some(Lang::En), large: true },
        failures: 3,
        last: Some(NOON),
    }
}

#[test]
fn the_longest_session_fits_and_opens_on_its_host_only() {
    let ring = ring();
    let value = session().seal(&ring, "portal.example", NOON).unwrap();
    assert!(value.len() <= SESSION_BYTES_MAX, "{}", value.len());
    assert_eq!(Session::open(&ring, "portal.example", &value), Ok(session()));
    assert_eq!(Session::open(&ring, "shebao-sbzx.example", &value), Err(Code::TicketInvalid));
    assert_eq!(Session::open(&ring, "portal.example", &value[1..]), Err(Code::TicketInvalid));
    assert_eq!(Session::open(&ring, "portal.example", &"A".repeat(9_999)), Err(Code::TicketInvalid));
}

#[test]
fn the_last_login_is_for_its_owner_only() {
    let ring = ring();
    let (own, other): (AccountId, AccountId) = ("sbj/wangfang".parse().unwrap(), "sbj/wang".parse().unwrap());
    let mut headers = HeaderMap::new();
    assert_eq!(last_of(&ring, &headers, &own), None);
    let cookie = last(&ring, &own, NOON).unwrap();
    let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    headers.insert(header::COOKIE, HeaderValue::try_from(pair.clone()).unwrap());
    assert_eq!(last_of(&ring, &headers, &own), Some(NOON));
    assert_eq!(last_of(&ring, &headers, &other), None);
    let value = pair.split_once('=').unwrap().1;
    assert!(Session::open(&ring, PORTAL, value).is_err(), "it is no session");
}

#[test]
fn cookies_are_found_among_others() {
    let mut headers = HeaderMap::new();
    headers.append(header::COOKIE, HeaderValue::from_static("JSESSIONID=1; __Host-tidegate-view=6"));
    headers.append(header::COOKIE, HeaderValue::from_static("a=b;__Host-tidegate=v=w; broken"));
    assert_eq!(find(&headers, SESSION), Some("v=w"));
    assert_eq!(find(&headers, "JSESSIONID"), Some("1"));
    assert_eq!(find(&headers, NONCE), None);
    assert_eq!(View::of(&headers), View { lang: Some(Lang::En), large: true });
    let mut long = HeaderMap::new();
    long.append(header::COOKIE, HeaderValue::try_from(format!("{}; a=b", "x".repeat(20_000))).unwrap());
    assert_eq!(find(&long, "a"), None);
}

#[test]
fn every_cookie_keeps_to_its_host() {
    for cookie in [set(SESSION, "v", None), clear(NONCE), department("sbzx"), View::default().cookie()] {
        let text = cookie.to_str().unwrap();
        assert!(text.starts_with(PREFIX));
        for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
            assert!(text.contains(attribute), "{text}");
        }
        assert!(!text.contains("Domain"));
    }
}

proptest! {
    #[test]
    fn a_view_is_a_byte(byte in any::<u8>()) {
        if let Some(view) = View::from_byte(byte) {
            prop_assert_eq!(view.byte(), byte);
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Session::from_bytes(&bytes);
    }
}
