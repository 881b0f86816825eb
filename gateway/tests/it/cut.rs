//! What is open ends when it may no longer be.

use http::StatusCode;
use http_body_util::BodyExt as _;
use tidegate_core::AccountState;
use tidegate_core::session::EndReason;
use tidegate_store::Store as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::systems::{System, change_department};
use crate::wire::{Client, until_closed};
use crate::world::{World, change_account, until};

/// The value of a metric with exactly these labels; 0 when it is not there yet.
async fn metric(world: &World, name: &str) -> u64 {
    let mut stream = tokio::net::TcpStream::connect(world.metrics_address()).await.expect("metrics");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("metrics");
    let prefix = format!("{name} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .map_or(0, |value| value.parse().expect("a number"))
}

async fn download(client: &Client) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let (mut stream, head) = client.begin(&format!("{}\r\n", client.get("/endless"))).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut buffer = vec![0; 256 * 1024];
    stream.read_exact(&mut buffer).await.expect("it flows");
    stream
}

#[tokio::test]
async fn a_suspension_cuts_a_download() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let mut stream = download(&client).await;
    assert_eq!(metric(&world, "tidegate_flows").await, 1);
    change_account(&world.store, "wangfang", |account| account.state = AccountState::Suspended).await;
    until_closed(&mut stream).await;
    let counted = "tidegate_terminated_total{reason=\"account_suspended\"}";
    assert_eq!(metric(&world, counted).await, 1);
    until(async || (metric(&world, "tidegate_flows").await == 0).then_some(())).await;
    assert_eq!(client.fetch("/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_suspension_cuts_what_http_2_carries() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let mut body = client.open_two("/endless").await;
    for _ in 0..16 {
        body.frame().await.expect("it flows").expect("it flows");
    }
    assert_eq!(metric(&world, "tidegate_flows").await, 1);
    change_account(&world.store, "wangfang", |account| account.state = AccountState::Suspended).await;
    until(async || matches!(body.frame().await, None | Some(Err(_))).then_some(())).await;
    until(async || (metric(&world, "tidegate_connections").await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_too() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let stream = download(&client).await;
    change_account(&world.store, "wangfang", |account| account.state = AccountState::Suspended).await;
    until(async || (metric(&world, "tidegate_flows").await == 0).then_some(())).await;
    until(async || (metric(&world, "tidegate_upstream_connections").await <= 2).then_some(())).await;
    drop(stream);
}

#[tokio::test]
async fn a_logout_elsewhere_cuts_a_websocket() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut stream, head) = client.begin(&format!("{}{upgrade}", client.get("/ws"))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"hello").await.expect("it is sent");
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.expect("an echo");
    assert_eq!(&echo, b"hello");
    let reports = until(async || {
        let reports = world.store.reports().await.expect("reports");
        reports.into_iter().find(|report| !report.sessions.is_empty())
    });
    world.clock.advance(10);
    let report = reports.await;
    let session = report.sessions[0].session;
    world.store.end(session, EndReason::Kicked, world.clock.now().plus(3_600)).await.expect("it is ended");
    until_closed(&mut stream).await;
    let (status, text) = client.fetch("/").await;
    assert!(status == StatusCode::UNAUTHORIZED && text.contains("TG-2015"), "{text}");
    assert_eq!(metric(&world, "tidegate_terminated_total{reason=\"session_kicked\"}").await, 1);
}

#[tokio::test]
async fn the_clock_cuts_what_it_ends() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let until_then = world.clock.now().plus(600);
    change_account(&world.store, "wangfang", |account| account.valid_until = Some(until_then)).await;
    let mut stream = download(&client).await;
    world.clock.advance(599);
    let mut buffer = vec![0; 1024 * 1024];
    stream.read_exact(&mut buffer).await.expect("it still flows");
    world.clock.advance(1);
    until_closed(&mut stream).await;
    assert_eq!(metric(&world, "tidegate_terminated_total{reason=\"account_expired\"}").await, 1);
}

#[tokio::test]
async fn a_withdrawn_grant_cuts_and_another_change_does_not() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let mut stream = download(&client).await;
    change_account(&world.store, "liqiang", |account| account.state = AccountState::Left).await;
    change_account(&world.store, "wangfang", |account| account.person.unit = "Elsewhere".into()).await;
    let mut buffer = vec![0; 4 * 1024 * 1024];
    stream.read_exact(&mut buffer).await.expect("it still flows");
    change_account(&world.store, "wangfang", |account| account.person.groups.clear()).await;
    until_closed(&mut stream).await;
    assert_eq!(metric(&world, "tidegate_terminated_total{reason=\"no_rule\"}").await, 1);
    assert!(client.fetch("/").await.1.contains("TG-3001"));
}

#[tokio::test]
async fn networks_that_shrink_cut_too() {
    let (world, system) = (World::start().await, System::start().await);
    let client = Client::at(&world, &system).await;
    let mut stream = download(&client).await;
    change_department(&world.store, |own| own.networks.clear()).await;
    until_closed(&mut stream).await;
    assert!(client.fetch("/").await.1.contains("TG-4010"));
}
