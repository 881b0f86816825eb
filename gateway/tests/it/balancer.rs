//! Behind a balancer: whose connection it is, and who may say so.

use tidegate_store::Store as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::login::{login, wait};
use crate::world::{PASSWORD, World, until};

/// What a balancer says of a client at `203.0.113.<last>`.
fn header(last: u8) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let addresses = [&[203, 0, 113, last], &[10, 0, 0, 1], [0x9c, 0x40].as_slice(), &[0x01, 0xbb]].concat();
    [signature.as_slice(), &[0x21, 0x11, 0, 12], &addresses].concat()
}

async fn behind_a_balancer() -> World {
    World::with(|config| config.balancers = vec!["127.0.0.0/8".parse().expect("a network")]).await
}

#[tokio::test]
async fn people_are_who_the_balancer_says() {
    let world = behind_a_balancer().await;
    let mut browser = world.browser();
    browser.introduction = header(9);
    let page = login(&mut browser, "wangfang", "wrong-Password-1").await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-1001");
    let (count, _) = world.store.failures("source/203.0.113.0/24").await.expect("a count");
    assert_eq!(count, 1, "their network waits, not the balancer's");
    assert_eq!(world.store.failures("source/127.0.0.0/24").await.expect("a count").0, 0);
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.status, http::StatusCode::SEE_OTHER);
    until(async || world.audit().contains("203.0.113.9").then_some(())).await;
    assert!(!world.audit().contains("127.0.0.1"), "the balancer is nobody's computer");
}

#[tokio::test]
async fn a_balancer_that_says_nothing_is_refused() {
    let world = behind_a_balancer().await;
    let mut stream = TcpStream::connect(world.address().0).await.expect("a connection");
    // As long as a header, and the beginning of TLS.
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 0123").await.expect("it is sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:x?}");
    let counted = "tidegate_clients_refused_total{reason=\"no_proxy_header\"} 1";
    until(async || world.probe("/metrics").await.contains(counted).then_some(())).await;
}

#[tokio::test]
async fn nobody_else_may_say_who_they_are() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address().0).await.expect("a connection");
    stream.write_all(&header(9)).await.expect("it is sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let counted = "tidegate_clients_refused_total{reason=\"handshake\"} 1";
    until(async || world.probe("/metrics").await.contains(counted).then_some(())).await;
}
