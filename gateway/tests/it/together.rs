//! Two gateways of one pool, and a ring that rotates.

use http::StatusCode;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::login::{login, wait};
use crate::wire::Client;
use crate::world::{PASSWORD, PORTAL, World};

#[tokio::test]
async fn a_cookie_of_one_gateway_is_good_at_another() {
    let world = World::start().await;
    let another = world.another();
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    let mut elsewhere = browser.at(another.address());
    let home = elsewhere.get(PORTAL, "/").await;
    assert!(home.status == StatusCode::OK && home.says("WANGFANG"), "{}", home.body);
}

#[tokio::test]
async fn tls_sessions_are_resumed_at_another_gateway() {
    let world = World::start().await;
    let another = world.another();
    let mut client = Client::of(&world, "wangfang").await;
    // Without early data and with a store of its own, so that the ticket is that of the next connection.
    client.forget_tls();
    let mut first = client.connect().await;
    assert_eq!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    let get = format!("{}\r\n", client.get("/"));
    first.write_all(get.as_bytes()).await.expect("it is sent");
    first.read_u8().await.expect("an answer, and the ticket before it");
    client.go_to(another.address());
    let second = client.connect().await;
    assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_rotation_asks_nobody_to_log_in_and_an_emergency_does() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    let before = browser.cookie(PORTAL, "__Host-tidegate").expect("a session").to_owned();
    world.ring.rotate(&[(1, [1; 32]), (2, [2; 32])], 1).expect("a ring");
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    world.ring.rotate(&[(1, [1; 32]), (2, [2; 32])], 2).expect("a ring");
    world.clock.advance(61);
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    let after = browser.cookie(PORTAL, "__Host-tidegate").expect("a session").to_owned();
    assert_ne!(before, after, "the cookie was sealed anew, with the new key");
    let mut late = world.browser();
    late.set_cookie(PORTAL, "__Host-tidegate", Some(&before));
    assert_eq!(late.get(PORTAL, "/").await.status, StatusCode::OK);
    late.set_cookie(PORTAL, "__Host-tidegate", Some(&before));
    world.ring.rotate(&[(2, [2; 32])], 2).expect("a ring");
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    assert_ne!(late.get(PORTAL, "/").await.status, StatusCode::OK, "nothing opened is remembered");
}
