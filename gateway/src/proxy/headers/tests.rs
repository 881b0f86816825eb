use std::net::Ipv4Addr;

use tidegate_core::UpstreamTls;

use super::*;
use crate::route::{Sites, Target};
use crate::shared::Names;

fn site() -> std::rc::Rc<Site> {
    let names = Names::new("vpn.example", 8443);
    match Sites::default().target(&names, None, "pension-sbj.vpn.example").expect("a host") {
        Target::Site(site) => site,
        Target::Portal => panic!("not the portal"),
    }
}

fn upstream(scheme: UpstreamScheme, port: u16) -> Web {
    Web { scheme, host: "pension.intern".into(), port, start_path: "/".into(), tls: UpstreamTls::default() }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::try_from(*name).expect("a name"),
            HeaderValue::try_from(*value).expect("a value"),
        );
    }
    headers
}

fn sent(pairs: &[(&str, &str)], upgrade: bool) -> HeaderMap {
    let value = HeaderValue::from_static;
    let signed = Signed {
        user: value("sbj/wangfang"),
        department: value("sbj"),
        name: value("%E7%8E%8B"),
        token: value("a.b.c"),
        host: value("pension.intern:8080"),
    };
    let site = site();
    let out = Outgoing {
        web: &upstream(UpstreamScheme::Http, 8080),
        site: &site,
        forwarded: &Forwarded::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), &site.authority),
        signed: &signed,
        request: "1234-5678-9012",
        upgrade,
    };
    outgoing(&headers(pairs), &out)
}

fn get<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn nobody_else_says_who_is_asking() {
    let sent = sent(
        &[
            ("x-tidegate-user", "sbj/boss"),
            ("X-Tidegate-Jwt", "x.y.z"),
            ("x_tidegate_user", "sbj/boss"),
            ("x-tidegate-anything", "1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x_forwarded_host", "evil.example"),
            ("x-forwarded-user", "boss"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("connection", "x-tidegate-user, x-forwarded-for, close"),
        ],
        false,
    );
    assert_eq!(get(&sent, "x-tidegate-user"), ["sbj/wangfang"]);
    assert_eq!(get(&sent, "x-tidegate-department"), ["sbj"]);
    assert_eq!(get(&sent, "x-tidegate-name"), ["%E7%8E%8B"]);
    assert_eq!(get(&sent, "x-tidegate-jwt"), ["a.b.c"]);
    assert_eq!(get(&sent, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(get(&sent, "x-forwarded-host"), ["pension-sbj.vpn.example:8443"]);
    assert_eq!(get(&sent, "x-forwarded-proto"), ["https"]);
    let forwarded = "for=192.0.2.7;host=\"pension-sbj.vpn.example:8443\";proto=https";
    assert_eq!(get(&sent, "forwarded"), [forwarded]);
    assert_eq!(get(&sent, "x-request-id"), ["1234-5678-9012"]);
    for name in
        ["x_tidegate_user", "x-tidegate-anything", "x_forwarded_host", "x-forwarded-user", "x-real-ip"]
    {
        assert!(get(&sent, name).is_empty(), "{name}");
    }
}

#[test]
fn what_speaks_of_one_connection_stays_on_it() {
    let sent = sent(
        &[
            ("connection", "keep-alive, x-local"),
            ("x-local", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eA=="),
            ("authorization", "Basic eA=="),
            ("accept", "text/html"),
        ],
        false,
    );
    for gone in [
        "connection",
        "x-local",
        "keep-alive",
        "te",
        "transfer-encoding",
        "content-length",
        "expect",
        "upgrade",
        "proxy-authorization",
    ] {
        assert!(get(&sent, gone).is_empty(), "{gone}");
    }
    assert_eq!(get(&sent, "authorization"), ["Basic eA=="]);
    assert_eq!(get(&sent, "accept"), ["text/html"]);
    assert_eq!(get(&sent, "host"), ["pension.intern:8080"]);
}

#[test]
fn our_cookies_stay_with_us() {
    let sent = |pairs: &[(&str, &str)]| {
        sent(pairs, false).get("cookie").map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(sent(&[("cookie", "__Host-tidegate=secret")]), None);
    let mixed = "a=1; __Host-tidegate=secret;b=2; __Host-tidegate-nonce=x";
    assert_eq!(sent(&[("cookie", mixed)]).as_deref(), Some("a=1; b=2"));
    let apart = [("cookie", "a=1"), ("cookie", "__Host-tidegate=secret"), ("cookie", "b=2")];
    assert_eq!(sent(&apart).as_deref(), Some("a=1; b=2"));
}

#[test]
fn one_origin_stays_one_origin() {
    let origin = |origin: &str| get(&sent(&[("origin", origin)], false), "origin").join("");
    assert_eq!(origin("https://pension-sbj.vpn.example:8443"), "http://pension.intern:8080");
    assert_eq!(origin("https://evil.example"), "https://evil.example");
    assert_eq!(origin("null"), "null");
}

#[test]
fn only_websockets_are_upgrades() {
    let asked = |version, method: &str, pairs: &[(&str, &str)]| {
        let mut request = http::Request::builder().method(method).version(version).uri("/ws");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        upgrade(&request.body(()).expect("a request").into_parts().0)
    };
    let wanted = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
    assert_eq!(asked(Version::HTTP_11, "GET", &wanted), Ok(true));
    assert_eq!(asked(Version::HTTP_11, "GET", &[]), Ok(false));
    assert_eq!(asked(Version::HTTP_11, "GET", &wanted[1..]), Ok(false));
    assert_eq!(asked(Version::HTTP_2, "GET", &wanted), Ok(false));
    assert_eq!(asked(Version::HTTP_11, "GET", &[wanted[0], ("upgrade", "h2c")]), Ok(false));
    assert_eq!(asked(Version::HTTP_11, "POST", &wanted), Err(Code::UpgradeRefused));
    let other = asked(Version::HTTP_11, "GET", &[wanted[0], ("upgrade", "SPDY/3.1")]);
    assert_eq!(other, Err(Code::UpgradeRefused));
    let upgraded = sent(&[("sec-websocket-key", "k"), wanted[0], wanted[1]], true);
    assert_eq!(get(&upgraded, "connection"), ["Upgrade"]);
    assert_eq!(get(&upgraded, "upgrade"), ["websocket"]);
    assert_eq!(get(&upgraded, "sec-websocket-key"), ["k"]);
}

#[test]
fn cookies_of_upstreams_stay_on_their_host() {
    let mut answer = headers(&[
        ("set-cookie", "a=1; Domain=vpn.example; Path=/; HttpOnly"),
        ("set-cookie", "b=2; domain = .vpn.example"),
        ("set-cookie", "c=domain; Path=/"),
        ("set-cookie", "__Host-tidegate=stolen; Path=/; Secure"),
        ("set-cookie", " __Host-tidegate-nonce=x"),
        ("alt-svc", "h3=\":443\""),
        ("connection", "close"),
    ]);
    incoming(&mut answer, &upstream(UpstreamScheme::Http, 8080), &site(), false);
    assert_eq!(get(&answer, "set-cookie"), ["a=1; Path=/; HttpOnly", "b=2", "c=domain; Path=/"]);
    assert!(get(&answer, "alt-svc").is_empty());
    assert!(get(&answer, "connection").is_empty());
}

#[test]
fn redirects_to_itself_stay_at_the_gateway() {
    let moved = |web: &Web, to: &str| {
        let mut answer = headers(&[("location", to)]);
        incoming(&mut answer, web, &site(), false);
        get(&answer, "location").join("")
    };
    let web = upstream(UpstreamScheme::Http, 8080);
    assert_eq!(moved(&web, "http://pension.intern:8080/login"), "https://pension-sbj.vpn.example:8443/login");
    assert_eq!(moved(&web, "http://pension.intern:8080"), "https://pension-sbj.vpn.example:8443");
    for elsewhere in [
        "/login",
        "http://pension.intern:80800/",
        "http://pension.intern:8080.evil.example/",
        "http://pension.intern:8080@evil.example/",
        "https://other.example/",
    ] {
        assert_eq!(moved(&web, elsewhere), elsewhere);
    }
    let usual = upstream(UpstreamScheme::Https, 443);
    assert_eq!(moved(&usual, "https://pension.intern/x"), "https://pension-sbj.vpn.example:8443/x");
    assert_eq!(moved(&usual, "https://pension.intern:443/x"), "https://pension-sbj.vpn.example:8443/x");
}
