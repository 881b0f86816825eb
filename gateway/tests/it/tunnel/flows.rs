//! What goes through, and what does not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use smoltcp::socket::tcp;
use tidegate_core::policy::Departments;
use tidegate_core::{AccountState, Department};
use tidegate_store::{Change, Publication, Store as _};

use super::computer::{Computer, QUIET, ping, udp};
use super::{Echo, NAME, PLACE, all, computer, in_force, place};
use crate::systems::change_department;
use crate::world::{PAYROLL, PORTAL, World, change_account, compiled, policies, until};

/// Another address of whoever connects.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn the_gateway_answers_ping_at_its_own_addresses() {
    let world = World::start().await;
    let mut computer = computer(&world).await;
    let (four, six) = (computer.four, computer.six);
    for (own, gateway) in [
        (IpAddr::V4(four), "198.18.0.1".parse::<IpAddr>().expect("an address")),
        (IpAddr::V6(six), "fd7a:7467:7464:1::1".parse().expect("an address")),
        (IpAddr::V4(four), "198.18.0.2".parse().expect("an address")),
    ] {
        let packet = ping(own, gateway, b"hello");
        let answer = computer.ask_datagram(&packet).await;
        let begins = if own.is_ipv4() { 20 } else { 40 };
        assert_eq!(answer[begins], if own.is_ipv4() { 0 } else { 129 });
        assert_eq!(&answer[begins + 4..], &packet[begins + 4..]);
    }
}

#[tokio::test]
async fn granted_names_and_own_hosts_resolve_and_nothing_else_does() {
    let world = World::start().await;
    let _echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let address = computer.resolve(NAME).await.expect("an address");
    assert_eq!(address.octets()[..2], [198, 18]);
    assert_eq!(computer.resolve("FILES.example").await, Some(address));
    let own = Some("198.18.0.2".parse().expect("an address"));
    assert_eq!(computer.resolve(PORTAL).await, own);
    assert_eq!(computer.resolve(PAYROLL).await, own);
    for name in ["example.org", "other.example", "localhost.example"] {
        assert_eq!(computer.resolve(name).await, None, "{name}");
    }
    // Who may not use it does not even learn where it is.
    let value = super::sealed(&world, &super::ticket(&world, "liqiang", 2));
    let mut other = Computer::connect(&world, &value).await.expect("it connects");
    assert_eq!(other.resolve(NAME).await, None);
}

#[tokio::test]
async fn a_connection_goes_through_by_address_and_by_name() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let name = computer.resolve(NAME).await.expect("an address");
    let message: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    for target in [place(echo.port), SocketAddr::new(name.into(), echo.port)] {
        let handle = computer.connect_to(target).await.expect("it is let in");
        assert!(computer.exchange(handle, &message).await == message);
        // The end of one side reaches the other, and comes back.
        computer.socket(handle).close();
        computer
            .until(|own| {
                let state = own.socket(handle).state();
                matches!(state, tcp::State::TimeWait | tcp::State::Closed).then_some(())
            })
            .await;
    }
    let audit = until(async || {
        let audit = world.audit();
        (audit.matches("\"flow_end\"").count() == 2).then_some(audit)
    })
    .await;
    for part in [
        "\"access_allowed\"",
        "\"bytes_in\":3000000,\"bytes_out\":3000000",
        NAME,
        "\"protocol_name\":\"tcp\"",
    ] {
        assert!(audit.contains(part), "{part} in {audit}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused_at_once() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    for target in ["10.20.0.1:1", "10.20.0.2:80", "192.0.2.1:443", "198.18.0.1:22", "127.0.0.1:22"] {
        let target: SocketAddr = target.parse().expect("an address");
        assert!(target.port() != echo.port);
        assert_eq!(computer.connect_to(target).await, None, "{target}");
    }
    let outside = "[2001:db8::1]:443".parse().expect("an address");
    assert_eq!(computer.connect_to(outside).await, None);
    let (four, nowhere) = (computer.four.into(), "192.0.2.1".parse().expect("an address"));
    let answer = computer.ask_datagram(&udp((four, 1_000), (nowhere, 123), b"time?")).await;
    assert_eq!((answer[9], answer[20], answer[21]), (1, 3, 13));
    let answer = computer.ask_datagram(&ping(four, nowhere, b"hello")).await;
    assert_eq!((answer[9], answer[20], answer[21]), (1, 3, 13));
    assert!(!world.audit().contains("192.0.2.1"));
}

#[tokio::test]
async fn a_system_that_does_not_listen_refuses() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let port = echo.port;
    drop(echo);
    assert_eq!(computer.connect_to(place(port)).await, None);
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let four = computer.four.into();
    for size in [0, 1, 1_400, 12_000] {
        let payload = vec![7; size];
        let packet = udp((four, 5_000), (PLACE.into(), echo.port), &payload);
        let answer = computer.ask_datagram(&packet).await;
        assert_eq!(&answer[12..16], &PLACE.octets());
        assert_eq!(&answer[28..], &payload, "{size}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let packet = udp((computer.four.into(), 5_000), (PLACE.into(), echo.port), b"hello");
    drop(echo);
    let answer = loop {
        computer.send(&packet).await;
        computer.turn(QUIET).await;
        if let Some(answer) = computer.others.pop_front() {
            break answer;
        }
    };
    assert_eq!((answer[9], answer[20], answer[21]), (1, 3, 3));
}

#[tokio::test]
async fn the_portal_works_through_the_tunnel() {
    let world = World::start().await;
    let mut computer = computer(&world).await;
    portal_answers(&world, &mut computer).await;
}

#[tokio::test]
async fn own_hosts_are_reached_though_a_balancer_is_on_the_same_computer() {
    let world =
        World::with(|config| config.balancers = vec!["127.0.0.1/32".parse().expect("a network")]).await;
    let value = super::sealed(&world, &super::ticket(&world, "wangfang", 1));
    let mut computer = Computer::connect_from(&world, &value, ELSEWHERE).await.expect("it connects");
    portal_answers(&world, &mut computer).await;
}

async fn portal_answers(world: &World, computer: &mut Computer) {
    let own = computer.resolve(PORTAL).await.expect("an address");
    let (address, config) = world.address();
    let handle =
        computer.connect_to(SocketAddr::new(own.into(), address.port())).await.expect("it is let in");
    // A second TLS session inside of the first, over a pair of pipes.
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let asking = async {
        let name = PORTAL.try_into().expect("a name");
        let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, near).await.expect("TLS");
        let head =
            format!("GET /sbj HTTP/1.1\r\nHost: {PORTAL}:{}\r\nConnection: close\r\n\r\n", address.port());
        tokio::io::AsyncWriteExt::write_all(&mut tls, head.as_bytes()).await.expect("it is sent");
        all(&mut tls).await
    };
    let mut asking = std::pin::pin!(asking);
    let text = loop {
        let mut buffer = vec![0; 16 * 1024];
        tokio::select! {
            text = &mut asking => break text,
            read = tokio::io::AsyncReadExt::read(&mut far, &mut buffer) => {
                let count = read.expect("bytes");
                computer.socket(handle).send_slice(&buffer[..count]).expect("room");
                computer.turn(std::time::Duration::ZERO).await;
            }
            _ = computer.turn(QUIET) => {}
        }
        while computer.socket(handle).can_recv() {
            let bytes = computer.socket(handle).recv(|part| (part.len(), part.to_vec())).expect("it stands");
            tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await.expect("room");
        }
    };
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn a_withdrawn_grant_cuts_a_connection() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let handle = computer.connect_to(place(echo.port)).await.expect("it is let in");
    assert_eq!(computer.exchange(handle, b"hello").await, b"hello");
    change_account(&world.store, "wangfang", |account| account.person.unit = "Elsewhere".into()).await;
    assert_eq!(computer.exchange(handle, b"still").await, b"still");
    change_account(&world.store, "wangfang", |account| account.person.groups.clear()).await;
    computer.until(|own| (own.socket(handle).state() == tcp::State::Closed).then_some(())).await;
    assert_eq!(computer.connect_to(place(echo.port)).await, None);
    assert_eq!(computer.resolve(NAME).await, None);
    until(async || world.audit().contains("withdrawn").then_some(())).await;
}

#[tokio::test]
async fn a_client_that_is_somewhere_else_is_judged_anew() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut policies = policies();
    for rule in &mut policies[0].rules {
        rule.matches.source_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    }
    change_department(&world.store, |own| own.policy = compiled(&own.code, &policies)).await;
    in_force(&world).await;
    let mut computer = computer(&world).await;
    let handle = computer.connect_to(place(echo.port)).await.expect("it is let in");
    assert_eq!(computer.exchange(handle, b"hello").await, b"hello");
    let portal = SocketAddr::new("198.18.0.2".parse().expect("an address"), world.address().0.port());
    let own = computer.connect_to(portal).await.expect("it is let in");
    let value = super::sealed(&world, &super::ticket(&world, "wangfang", 1));
    computer.move_to(&world, &value, ELSEWHERE).await;
    // The listener was told the old place: it must not go on with it either.
    for handle in [handle, own] {
        computer.until(|own| (own.socket(handle).state() == tcp::State::Closed).then_some(())).await;
    }
    assert_eq!(computer.connect_to(place(echo.port)).await, None);
    until(async || world.audit().contains("withdrawn").then_some(())).await;
    computer.reconnect(&world, &value).await;
    assert!(computer.connect_to(place(echo.port)).await.is_some());
}

#[tokio::test]
async fn what_one_department_granted_does_not_go_on_by_the_word_of_another() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    let handle = computer.connect_to(place(echo.port)).await.expect("it is let in");
    assert_eq!(computer.exchange(handle, b"hello").await, b"hello");
    let snapshot = world.store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let department = |code: &str| Department::clone(&snapshot.departments[code]);
    let (mut old, mut new) = (department("sbj"), department("ybj"));
    let name = "payroll".parse().expect("a name");
    let resource = old.resources.remove(&name).expect("it is there");
    new.resources.insert(name, resource);
    let mut policies = policies();
    for rule in &mut policies[0].rules {
        rule.matches.departments = Departments::Listed(vec![old.code.clone()]);
    }
    new.policy = compiled(&new.code, &policies);
    let departments = vec![Change::Put(Arc::new(old)), Change::Put(Arc::new(new))];
    world.store.publish(Publication { platform: None, departments }).await.expect("it is published");
    computer.until(|own| (own.socket(handle).state() == tcp::State::Closed).then_some(())).await;
    assert!(computer.connect_to(place(echo.port)).await.is_some(), "a new one may be");
}

#[tokio::test]
async fn a_suspension_ends_the_tunnel_with_its_reason() {
    let world = World::start().await;
    let echo = Echo::start(&world).await;
    let mut computer = computer(&world).await;
    computer.connect_to(place(echo.port)).await.expect("it is let in");
    change_account(&world.store, "wangfang", |account| account.state = AccountState::Suspended).await;
    let farewell = computer.closed().await.expect("a farewell");
    assert_eq!(farewell[0], 0xb0);
    assert!(String::from_utf8_lossy(&farewell[1..]).contains("TG-2009"), "{farewell:?}");
    let value = super::sealed(&world, &super::ticket(&world, "wangfang", 1));
    let refused = Computer::connect(&world, &value).await.err().expect("it is refused");
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("TG-2009"), "{refused}");
}
