//! Frames and packets no stock client sends: each is bounded, counted, and hurts nobody else.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::computer::{Computer, QUIET, ask, dial, ping, syn, udp};
use super::{Echo, PLACE, computer, place, sealed, ticket};
use crate::world::{World, until};

/// The value of a metric; 0 when it is not there yet.
async fn metric(world: &World, name: &str) -> u64 {
    let text = world.probe("/metrics").await;
    let prefix = format!("{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |value| value.parse().expect("a number"))
}

async fn dropped(world: &World, reason: &str) -> u64 {
    metric(world, &format!("tidegate_tunnel_packets_dropped_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn a_question_whether_we_are_there_is_answered_with_what_it_said() {
    let world = World::start().await;
    let mut computer = computer(&world).await;
    for length in [0, 1, 1_400, 16_000] {
        computer.frame(3, &vec![9; length]).await;
        let answer = computer.next(Duration::from_secs(30)).await.expect("open").expect("an answer");
        assert_eq!(answer, (4, vec![9; length]));
    }
}

#[tokio::test]
async fn unknown_frames_are_ignored_and_broken_ones_close() {
    let world = World::start().await;
    let mut other = computer(&world).await;
    let value = sealed(&world, &ticket(&world, "wangfang", 2));
    for kind in [1, 2, 6, 8, 9, 200] {
        other.frame(kind, b"what is that").await;
    }
    for bad in
        [&b"STF\x02\0\0\0\0"[..], b"GET / HTTP/1.1\r\n\r\n", b"STF\x01\xff\xff\0\0", b"\0\0\0\0\0\0\0\0\0"]
    {
        let mut computer = Computer::connect(&world, &value).await.expect("it connects");
        computer.tls.write_all(bad).await.expect("it is sent");
        assert_eq!(computer.closed().await, None);
    }
    assert_eq!(dropped(&world, "frame").await, 4);
    let gateway = "198.18.0.1".parse().expect("an address");
    let packet = ping(other.four.into(), gateway, b"");
    other.ask_datagram(&packet).await;
}

#[tokio::test]
async fn frames_may_be_cut_and_joined() {
    let world = World::start().await;
    let mut computer = computer(&world).await;
    let frame = [&b"STF\x01\0\x05\x03\0"[..], b"hello"].concat();
    for byte in &frame {
        computer.tls.write_all(&[*byte]).await.expect("it is sent");
        computer.tls.flush().await.expect("it is sent");
    }
    computer.tls.write_all(&frame.repeat(2)).await.expect("it is sent");
    for _ in 0..3 {
        let answer = computer.next(Duration::from_secs(30)).await.expect("open").expect("an answer");
        assert_eq!(answer, (4, b"hello".to_vec()));
    }
}

#[tokio::test]
async fn packets_that_are_none_are_counted() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let own = computer.four.into();
    let good = udp((own, 1), (PLACE.into(), echo.port), b"hello");
    let mut fragment = good.clone();
    fragment[6] = 0x20;
    let mut tunnel = good.clone();
    tunnel[9] = 47;
    let foreign = udp(("10.20.0.9".parse().expect("an address"), 1), (PLACE.into(), echo.port), b"hello");
    for packet in [&b""[..], b"\x45", &good[..27], &[0; 40], &[0x60; 39], &fragment, &tunnel, &foreign] {
        computer.send(packet).await;
    }
    until(async || (dropped(&world, "source").await == 1).then_some(())).await;
    assert_eq!(dropped(&world, "fragment").await, 1);
    assert_eq!(dropped(&world, "protocol").await, 1);
    assert_eq!(dropped(&world, "malformed").await, 5);
    assert_eq!(&computer.ask_datagram(&good).await[28..], b"hello");
}

#[tokio::test]
async fn a_flood_of_flows_is_bounded_and_others_go_on() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let value = sealed(&world, &ticket(&world, "wangfang", 2));
    let mut other = Computer::connect(&world, &value).await.expect("it connects");
    let handle = other.connect_to(place(echo.port)).await.expect("it is let in");
    let own = computer.four.into();
    for number in 0..20_000_u16 {
        computer.send(&syn((own, 1_000 + number), (PLACE.into(), echo.port))).await;
        if number % 500 == 0 {
            computer.turn(Duration::ZERO).await;
            assert_eq!(other.exchange(handle, b"hello").await, b"hello");
        }
    }
    computer.turn(QUIET).await;
    let refused = "tidegate_tunnel_flows_refused_total{reason=\"too_many_connections\"}";
    assert!(metric(&world, refused).await > 15_000);
    assert!(metric(&world, "tidegate_tunnel_flows").await <= 1_025);
    assert_eq!(other.exchange(handle, b"hello").await, b"hello");
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_nobody_up() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut deaf = computer(&world).await;
    let value = sealed(&world, &ticket(&world, "wangfang", 2));
    let mut other = Computer::connect(&world, &value).await.expect("it connects");
    let handle = other.connect_to(place(echo.port)).await.expect("it is let in");
    let payload = vec![7; 16_000];
    let mut number = 0;
    while dropped(&world, "full").await == 0 {
        for _ in 0..100 {
            deaf.frame(3, &payload).await;
        }
        assert_eq!(other.exchange(handle, b"hello").await, b"hello");
        number += 1;
        assert!(number < 100, "what is not taken is dropped at last");
    }
}

#[tokio::test]
async fn who_comes_and_vanishes_leaves_nothing_behind() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let value = sealed(&world, &ticket(&world, "wangfang", 1));
    for _ in 0..200 {
        let mut computer = Computer::connect(&world, &value).await.expect("it connects");
        computer.open(place(echo.port));
        computer.turn(Duration::ZERO).await;
    }
    until(async || (metric(&world, "tidegate_connections").await == 0).then_some(())).await;
    let mut computer = Computer::connect(&world, &value).await.expect("it connects");
    // It may have to wait for its turn to dial.
    let handle = loop {
        if let Some(handle) = computer.connect_to(place(echo.port)).await {
            break handle;
        }
    };
    assert_eq!(computer.exchange(handle, b"hello").await, b"hello");
}

#[tokio::test]
async fn heads_that_are_none_are_refused() {
    let world = World::start().await;
    for (head, answer) in [
        ("CONNECT example.org:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n\r\n", "HTTP/1.1 401 "),
        ("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nbroken\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let mut tls = dial(&world).await;
        let said = ask(&mut tls, head).await;
        assert!(said.starts_with(answer), "{said}");
    }
    let mut tls = dial(&world).await;
    let long = format!("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nCookie: webvpn={}", "A".repeat(64 * 1024));
    let _ = tls.write_all(long.as_bytes()).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(30), tls.read_to_end(&mut rest))
        .await
        .expect("it is closed");
    assert_eq!(rest, b"");
}
