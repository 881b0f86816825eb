//! What passes through, and what is changed on the way.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::systems::{System, change_department, change_payroll};
use crate::wire::Client;
use crate::world::{PORTAL, World};

fn json(text: &str) -> Value {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(text).expect("base64")).expect("JSON")
}

#[tokio::test]
async fn the_upstream_learns_who_is_asking_from_us_alone() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let request = Request::get("/headers?x=1")
        .header("x-tidegate-user", "sbj/boss")
        .header("x_tidegate_jwt", "a.b.c")
        .header("x-forwarded-for", "10.1.1.1")
        .header("cookie", "own=1")
        .body(Full::default())
        .expect("a request");
    let response = client.send(request).await;
    let text = String::from_utf8_lossy(response.body()).into_owned();
    let values = |name: &str| -> Vec<String> {
        let prefix = format!("{name}: ");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    };
    assert_eq!(values("x-tidegate-user"), ["sbj/wangfang"], "{text}");
    assert_eq!(values("x-tidegate-department"), ["sbj"]);
    assert_eq!(values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values("cookie"), ["own=1"]);
    assert!(!text.contains("x_tidegate_jwt") && !text.contains("boss"), "{text}");

    let tokens = values("x-tidegate-jwt");
    let [token] = tokens.as_slice() else { panic!("one token: {text}") };
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let keys = world.browser().get(PORTAL, "/.well-known/jwks.json").await;
    let keys: Value = serde_json::from_str(&keys.body).expect("keys");
    let key = &keys["keys"][0];
    assert_eq!(json(header)["kid"], key["kid"]);
    let number =
        |name: &str| Base64UrlUnpadded::decode_vec(key[name].as_str().expect("text")).expect("base64");
    let public =
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], number("x"), number("y")].concat());
    let signature = Base64UrlUnpadded::decode_vec(signature).expect("base64");
    public.verify(format!("{header}.{claims}").as_bytes(), &signature).expect("our signature");
    let claims = json(claims);
    assert_eq!(claims["sub"], "sbj/wangfang");
    assert_eq!(claims["groups"], serde_json::json!(["sbj/clerks"]));
    assert!(claims["aud"].as_str().expect("text").starts_with("https://payroll-sbj.localhost:"));
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());
}

#[tokio::test]
async fn cookies_of_the_upstream_stay_on_its_host() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let response = client.send(Request::get("/cookies").body(Full::default()).expect("a request")).await;
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/"]);
}

#[tokio::test]
async fn bodies_pass_in_both_protocols() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let large = Bytes::from(vec![7; 3 * 1024 * 1024]);
    let request = || Request::post("/echo").body(Full::new(large.clone())).expect("a request");
    for response in [client.send(request()).await, client.send_two(request()).await] {
        assert_eq!(response.status(), StatusCode::OK);
        assert!(*response.body() == large, "{} bytes came back", response.body().len());
    }
    let (mut stream, head) = client
        .begin(&format!(
            "POST /length HTTP/1.1\r\nHost: payroll-sbj.localhost\r\nCookie: {}\r\nTransfer-Encoding: chunked\r\n\
             Expect: 100-continue\r\n\r\n",
            client.cookie
        ))
        .await;
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"5\r\nhello\r\n0\r\n\r\n").await.expect("it is sent");
    let head = crate::wire::read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn connections_to_upstreams_are_kept_and_replaced() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    for _ in 0..8 {
        assert_eq!(client.fetch("/x").await, (StatusCode::OK, "GET /x".to_owned()));
    }
    // Each shard has its own.
    assert!(system.connections() <= 3, "{} connections", system.connections());

    let hasty = System::hasty().await;
    change_payroll(&world.store, |web| web.port = hasty.address.port()).await;
    client.until_there("/x").await;
    crate::world::until(async || {
        let (status, _) = client.fetch("/x").await;
        assert_eq!(status, StatusCode::OK, "a connection closed meanwhile is replaced");
        (hasty.connections() >= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn upstreams_prove_themselves() {
    let world = World::start().await;
    let (system, pem, pin) = System::with_tls("payroll.intern").await;
    let client = Client::of(&world, "wangfang").await;
    let lead = async |change: &dyn Fn(&mut tidegate_core::UpstreamTls)| {
        change_payroll(&world.store, |web| {
            web.scheme = tidegate_core::UpstreamScheme::Https;
            web.port = system.address.port();
            web.tls = tidegate_core::UpstreamTls::default();
            change(&mut web.tls);
        })
        .await;
    };
    let (other, other_pem, other_pin) = System::with_tls("payroll.intern").await;
    drop(other);
    lead(&|_| {}).await;
    client.until_said("/", "TG-4007").await;
    lead(&|tls| tls.pin = Some(pin)).await;
    client.until_there("/").await;
    lead(&|tls| tls.pin = Some(other_pin)).await;
    client.until_said("/", "TG-4007").await;
    lead(&|tls| {
        tls.ca_pem = Some(pem.clone().into());
        tls.server_name = Some("payroll.intern".into());
    })
    .await;
    client.until_there("/").await;
    lead(&|tls| {
        tls.ca_pem = Some(other_pem.clone().into());
        tls.server_name = Some("payroll.intern".into());
    })
    .await;
    client.until_said("/", "TG-4007").await;
    lead(&|tls| {
        tls.ca_pem = Some(pem.clone().into());
        tls.server_name = Some("other.intern".into());
    })
    .await;
    client.until_said("/", "TG-4007").await;
}

#[tokio::test]
async fn only_the_owners_networks_are_dialled() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    client.until_there("/").await;
    for (host, code) in [
        ("127.0.0.1", "TG-4011"),
        ("169.254.169.254", "TG-4011"),
        ("10.21.0.1", "TG-4010"),
        ("no.invalid", "TG-4012"),
    ] {
        change_payroll(&world.store, |web| web.host = host.into()).await;
        client.until_said("/", code).await;
    }
    change_payroll(&world.store, |web| {
        web.host = "10.20.0.1".into();
        web.port = 1;
    })
    .await;
    client.until_said("/", "TG-4006").await;
}

#[tokio::test]
async fn names_are_resolved_by_the_owners_servers() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("an address");
    let answering = tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut buffer).await {
            let answer = dns_answer(&buffer[..length], false);
            let _ = server.send_to(&answer, from).await;
        }
    });
    change_department(&world.store, |own| own.resolvers = vec![address]).await;
    change_payroll(&world.store, |web| web.host = "payroll.intern".into()).await;
    client.until_said("/headers", "host: payroll.intern:").await;
    answering.abort();
}

#[tokio::test]
async fn an_answer_that_was_cut_is_asked_for_again() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("an address");
    let datagrams = tokio::net::UdpSocket::bind(address).await.expect("the same port");
    let cut = tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer).await {
            let _ = datagrams.send_to(&dns_answer(&buffer[..length], true), from).await;
        }
    });
    let whole = tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let length = stream.read_u16().await.expect("a length");
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await.expect("a question");
            let answer = dns_answer(&query, false);
            stream.write_u16(u16::try_from(answer.len()).expect("short")).await.expect("it is sent");
            stream.write_all(&answer).await.expect("it is sent");
        }
    });
    change_department(&world.store, |own| own.resolvers = vec![address]).await;
    change_payroll(&world.store, |web| web.host = "payroll.intern".into()).await;
    client.until_said("/headers", "host: payroll.intern:").await;
    cut.abort();
    whole.abort();
}

/// What a name server says to a question of ours: an IPv4 address, or only that it was too much.
fn dns_answer(query: &[u8], cut: bool) -> Vec<u8> {
    // The question without the additional record.
    let mut answer = query[..query.len() - 11].to_vec();
    let is_v4 = answer[answer.len() - 3] == 1;
    answer[2] = if cut { 0x83 } else { 0x81 };
    answer[3] = 0x80;
    answer[7] = u8::from(is_v4 && !cut);
    answer[11] = 0;
    if is_v4 && !cut {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 20, 0, 1]);
    }
    answer
}
