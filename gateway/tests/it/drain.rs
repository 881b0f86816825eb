//! The orderly end: nobody is sent here any more, nobody who is here is cut off.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::systems::System;
use crate::wire::{Client, read_head, until_closed};
use crate::world::{PAYROLL, SOON, World, until};

#[tokio::test]
async fn whoever_comes_while_it_settles_is_served() {
    let mut world = World::with_limits(|limits| limits.settle_s = 600).await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    until(async || world.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    let draining = world.drain();
    until(async || world.probe("/readyz").await.contains("draining").then_some(())).await;
    assert!(world.probe("/healthz").await.starts_with("HTTP/1.1 200 "));
    let (mut stream, head) = client.begin(&format!("{}\r\n", client.get("/a"))).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
    let mut body = [0; 6];
    stream.read_exact(&mut body).await.expect("a body");
    assert_eq!(&body, b"GET /a");
    draining.abort();
}

#[tokio::test]
async fn a_gateway_that_is_cut_off_is_ready_for_as_long_as_sessions_go_on() {
    let world = World::with_staleness_limits().await;
    let ready = async || world.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(());
    until(ready).await;
    // Nobody may log in any more, but those who are logged in have nowhere else to go.
    world.clock.advance(16 * 60);
    until(ready).await;
    world.clock.advance(60 * 60);
    until(async || world.probe("/readyz").await.contains("cut off for too long").then_some(())).await;
    assert!(world.probe("/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_what_is_idle_is_closed() {
    let mut world = World::start().await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let (mut idle, _) = client.begin(&format!("{}\r\n", client.get("/a"))).await;
    let (sender, two) = client.idle_two().await;
    let head = format!("POST /length HTTP/1.1\r\nHost: {PAYROLL}\r\nCookie: {}\r\n", client.cookie);
    let mut busy = client.connect().await;
    busy.write_all(format!("{head}Content-Length: 9\r\n\r\nhalf").as_bytes()).await.expect("it is sent");
    let flows = "tidegate_flows 1";
    until(async || world.probe("/metrics").await.contains(flows).then_some(())).await;
    let draining = world.drain();
    until_closed(&mut idle).await;
    tokio::time::timeout(SOON, two).await.expect("it is closed soon").expect("it ends");
    assert!(sender.is_closed());
    let address = world.address().0;
    until(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    busy.write_all(b"other").await.expect("it is sent");
    let head = read_head(&mut busy).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close"), "{head}");
    until_closed(&mut busy).await;
    tokio::time::timeout(SOON, draining).await.expect("it ends soon").expect("it ends");
}

#[tokio::test]
async fn websockets_are_closed_one_after_the_other() {
    let mut world = World::start().await;
    let system = System::start().await;
    let client = Client::at(&world, &system).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..3 {
        let (stream, head) = client.begin(&format!("{}{upgrade}", client.get("/ws"))).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        open.push(stream);
    }
    let draining = world.drain();
    for stream in &mut open {
        until_closed(stream).await;
    }
    tokio::time::timeout(SOON, draining).await.expect("it ends soon").expect("it ends");
}
