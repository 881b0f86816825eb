//! A session and the connections it has one after the other.

use std::time::Duration;

use tidegate_core::session::EndReason;
use tidegate_store::Store as _;

use super::computer::Computer;
use super::{Echo, computer, place, sealed, ticket};
use crate::world::{World, until};

#[tokio::test]
async fn it_has_the_same_addresses_on_every_gateway() {
    let world = World::start().await;
    let value = sealed(&world, &ticket(&world, "wangfang", 1));
    let first = Computer::connect(&world, &value).await.expect("it connects");
    let again = Computer::connect(&world, &value).await.expect("it connects");
    assert_eq!((first.four, first.six, first.mtu), (again.four, again.six, 16_000));
    let other = World::start().await;
    let value = sealed(&other, &ticket(&other, "wangfang", 1));
    let elsewhere = Computer::connect(&other, &value).await.expect("it connects");
    assert_eq!((first.four, first.six), (elsewhere.four, elsewhere.six));
    let value = sealed(&world, &ticket(&world, "wangfang", 9));
    assert_ne!(Computer::connect(&world, &value).await.expect("it connects").four, first.four);
}

#[tokio::test]
async fn its_flows_outlive_its_connections_whichever_shard_they_reach() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let value = sealed(&world, &ticket(&world, "wangfang", 1));
    let handle = computer.connect_to(place(echo.port)).await.expect("it is let in");
    for number in 0..10_u8 {
        let message = vec![number; 200_000];
        assert_eq!(computer.exchange(handle, &message).await, message);
        computer.reconnect(&world, &value).await;
    }
    assert_eq!(computer.exchange(handle, b"still").await, b"still");
}

#[tokio::test]
async fn a_logout_ends_it_everywhere_and_a_pause_does_not() {
    let world = World::start().await;
    let value = sealed(&world, &ticket(&world, "wangfang", 1));
    for pause in [&b"\x91"[..], b""] {
        let mut computer = Computer::connect(&world, &value).await.expect("it connects");
        computer.frame(5, pause).await;
        assert_eq!(computer.closed().await, None);
    }
    let mut computer = Computer::connect(&world, &value).await.expect("it connects");
    computer.frame(5, b"\xb0Client").await;
    assert_eq!(computer.closed().await, None);
    let refused = until(async || Computer::connect(&world, &value).await.err()).await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("TG-2001"), "{refused}");
}

#[tokio::test]
async fn a_kick_is_told_with_its_reason() {
    let world = World::start().await;
    let mut computer = computer(&world).await;
    let own = ticket(&world, "wangfang", 1);
    world.store.end(own.session, EndReason::Kicked, own.absolute_end).await.expect("it is ended");
    let farewell = computer.closed().await.expect("a farewell");
    assert!(String::from_utf8_lossy(&farewell).contains("TG-2015"));
    let refused = Computer::connect(&world, &sealed(&world, &own)).await.err().expect("it is refused");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
}

#[tokio::test]
async fn it_ends_when_it_is_idle_and_when_its_time_is_over() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let handle = computer.connect_to(place(echo.port)).await.expect("it is let in");
    assert_eq!(computer.exchange(handle, b"hello").await, b"hello");
    world.clock.advance(8 * 3_600);
    let farewell = computer.closed().await.expect("a farewell");
    let text = String::from_utf8_lossy(&farewell).into_owned();
    assert!(text.contains("TG-2004"), "{text}");
}

#[tokio::test]
async fn a_drain_closes_it_without_a_farewell() {
    let mut world = World::start().await;
    let mut computer = computer(&world).await;
    let done = world.drain();
    assert_eq!(computer.closed().await, None);
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("in time").expect("it ends");
}

#[tokio::test]
async fn refusals_that_were_counted_are_recorded_before_the_end() {
    let mut world = World::start().await;
    let echo = Echo::start(&world).await;
    let value = sealed(&world, &ticket(&world, "liqiang", 2));
    let mut computer = Computer::connect(&world, &value).await.expect("it connects");
    for _ in 0..3 {
        assert_eq!(computer.connect_to(place(echo.port)).await, None);
    }
    let done = world.drain();
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("in time").expect("it ends");
    let audit = world.audit();
    let refused: Vec<_> = audit.lines().filter(|line| line.contains("\"access_denied\"")).collect();
    assert!(refused.len() == 2 && refused[1].contains("\"count\":2"), "{refused:?}");
}

#[tokio::test]
async fn other_tickets_open_nothing() {
    let world = World::start().await;
    let own = ticket(&world, "wangfang", 1);
    let now = world.clock.now();
    let portal = tidegate_gateway::cookie::Session::of(own.clone(), now)
        .seal(&world.ring, tidegate_gateway::cookie::PORTAL, now)
        .expect("sealed");
    for value in ["", "abc", &portal, &"A".repeat(600)] {
        let refused = Computer::connect(&world, value).await.err().expect("it is refused");
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    let newer = tidegate_core::Generation { term: 99, sequence: 1 };
    let behind = tidegate_core::session::Ticket { generation: newer, epoch: 2, ..own };
    let later = Computer::connect(&world, &sealed(&world, &behind)).await.err().expect("not now");
    assert!(later.starts_with("HTTP/1.1 503 ") && later.contains("TG-2017"), "{later}");
}
