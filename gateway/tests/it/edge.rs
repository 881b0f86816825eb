//! Requests that are malformed, misdirected, too large or too slow.

use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::systems::System;
use crate::wire::{Client, until_closed};
use crate::world::{PAYROLL, PORTAL, World, until};

async fn status_of(client: &Client, request: &str) -> String {
    let (_, head) = client.begin(request).await;
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn hosts_that_are_not_ours_are_misdirected() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    for host in ["evil.example", "payroll.localhost", "x.payroll-sbj.localhost", ""] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let status = status_of(&client, &request).await;
        assert!(status == "421" || status == "400", "{host}: {status}");
    }
    let twice = format!("GET / HTTP/1.1\r\nHost: {PAYROLL}\r\nHost: {PAYROLL}\r\n\r\n");
    assert_eq!(status_of(&client, &twice).await, "421");
    let request = Request::get("/").header("host", "nothing-sbj.localhost").body(Full::default());
    let response = client.send(request.expect("a request")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "a cookie of another host is none");
}

#[tokio::test]
async fn ambiguous_paths_are_refused_and_others_are_made_plain() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    for path in ["/a%2fb", "/a/../b", "/%2e%2e/b", "/a%5cb", "/a%00b", "/..;/b", "/a%zz"] {
        let (status, text) = client.fetch(path).await;
        assert!(status == StatusCode::BAD_REQUEST && text.contains("TG-4002"), "{path}: {status} {text}");
    }
    assert_eq!(client.fetch("//%61//b").await.1, "GET /a/b");
    for method in ["CONNECT", "TRACE"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: {PAYROLL}\r\n\r\n");
        let status = status_of(&client, &request).await;
        assert!(status == "405" || status == "400", "{method}: {status}");
    }
    let (_, head) =
        client.begin(&format!("{}Connection: upgrade\r\nUpgrade: spdy/3\r\n\r\n", client.get("/"))).await;
    assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
}

#[tokio::test]
async fn headers_have_bounds() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let large = format!("{}X-Large: {}\r\n\r\n", client.get("/"), "x".repeat(80 * 1024));
    // What was not read may reset the connection before the answer arrives.
    let refused = |status: String| assert!(status == "431" || status.is_empty(), "{status}");
    refused(status_of(&client, &large).await);
    let many: String = (0..200).map(|index| format!("X-{index}: 1\r\n")).collect();
    refused(status_of(&client, &format!("{}{many}\r\n", client.get("/"))).await);
    let both = format!(
        "POST /length HTTP/1.1\r\nHost: {PAYROLL}\r\nCookie: {}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        client.cookie
    );
    let (mut stream, head) = client.begin(&both).await;
    let fine = ["HTTP/1.1 200 ", "HTTP/1.1 400 "].iter().any(|start| head.starts_with(start));
    assert!(fine || head.is_empty(), "{head}");
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest).await;
    assert!(!rest.contains("smuggled"), "{rest}");
}

#[tokio::test]
async fn who_is_slow_or_silent_is_closed() {
    let world = World::with_limits(|limits| (limits.header_s, limits.idle_s) = (1, 2)).await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let mut slow = client.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: payroll").await.expect("it is sent");
    until_closed(&mut slow).await;
    until_closed(&mut client.connect().await).await;
}

#[tokio::test]
async fn a_body_that_stops_is_not_waited_for() {
    let world = World::with_limits(|limits| limits.stalled_s = 1).await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let mut stream = client.connect().await;
    let head = format!("POST /length HTTP/1.1\r\nHost: {PAYROLL}\r\nCookie: {}\r\n", client.cookie);
    stream.write_all(format!("{head}Content-Length: 9\r\n\r\nhalf").as_bytes()).await.expect("it is sent");
    until_closed(&mut stream).await;
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up() {
    let world = World::with_limits(|limits| limits.answer_s = 1).await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let (status, text) = client.fetch("/never").await;
    assert!(status == StatusCode::GATEWAY_TIMEOUT && text.contains("TG-4008"), "{status} {text}");
}

#[tokio::test]
async fn one_source_has_its_share_of_connections() {
    let world = World::with_limits(|limits| limits.connections_per_source = 4).await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let mut open = Vec::new();
    let refused = until(async || match client.try_connect().await {
        Ok(stream) => {
            open.push(stream);
            None
        }
        Err(error) => Some(error),
    });
    refused.await;
    // Two shards, four each.
    assert!((4..=8).contains(&open.len()), "{} connections", open.len());
}

#[tokio::test]
async fn a_client_whose_handshake_fails_is_told_why() {
    let world = World::start().await;
    let (address, tls) = world.address();
    let name = PORTAL.try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(tls, name).expect("a client");
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).expect("a hello");
    }
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    stream.write_all(&hello).await.expect("it is sent");
    let mut bytes = vec![0; 16 * 1024];
    while client.is_handshaking() {
        let length = stream.read(&mut bytes).await.expect("the server's flight");
        assert!(length > 0, "it hung up in the middle");
        let mut flight = &bytes[..length];
        while !flight.is_empty() {
            client.read_tls(&mut flight).expect("read");
            client.process_new_packets().expect("a server we trust");
        }
    }
    // In place of its own last word it sends a record that no key sealed.
    stream.write_all(&[&[23, 3, 3, 0, 32], [0; 32].as_slice()].concat()).await.expect("it is sent");
    let mut alert = Vec::new();
    stream.read_to_end(&mut alert).await.expect("everything");
    client.read_tls(&mut alert.as_slice()).expect("read");
    let told = client.process_new_packets().map(drop);
    assert!(matches!(told, Err(rustls::Error::AlertReceived(_))), "{told:?}");
}
