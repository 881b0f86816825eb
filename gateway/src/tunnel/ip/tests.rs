use proptest::prelude::*;

use super::*;

fn four(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn six(last: u16) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])
}

#[test]
fn datagrams_are_read_back() {
    for (source, target) in [(four(1), four(2)), (six(1), six(2))] {
        let mut bytes = udp((source, 53), (target, 4_000), b"hello");
        bytes.extend_from_slice(b"behind it");
        let packet = parse(&bytes).expect("a packet");
        assert_eq!((packet.source, packet.target), (source, target));
        let expected = Transport::Udp { source: 53, target: 4_000, payload: b"hello" };
        assert_eq!(packet.transport, expected);
        assert_eq!(packet.bytes.len(), bytes.len() - b"behind it".len());
    }
}

#[test]
fn checksums_add_up() {
    for (source, target) in [(four(1), four(2)), (six(1), six(2))] {
        let bytes = udp((source, 1), (target, 2), b"odd");
        let begins = if source.is_ipv4() { 20 } else { 40 };
        let sum = Sum::pseudo(source, target, UDP, bytes.len() - begins).add(&bytes[begins..]);
        assert_eq!(sum.finish(), [0, 0]);
        if source.is_ipv4() {
            assert_eq!(Sum::default().add(&bytes[..20]).finish(), [0, 0]);
        }
    }
}

/// A segment without a checksum.
fn syn(source: IpAddr, target: IpAddr) -> Vec<u8> {
    let mut bytes = udp((source, 4_000), (target, 22), &[0; 12]);
    let begins = if source.is_ipv4() {
        bytes[9] = TCP;
        20
    } else {
        bytes[6] = TCP;
        40
    };
    bytes[begins + 4..begins + 12].copy_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0]);
    bytes[begins + 12] = 5 << 4;
    bytes[begins + 13] = 0x02;
    bytes
}

#[test]
fn a_segment_of_no_connection_is_answered_with_a_reset() {
    for (source, target) in [(four(1), four(2)), (six(1), six(2))] {
        let bytes = syn(source, target);
        let packet = parse(&bytes).expect("a packet");
        let answer = reset(&packet).expect("an answer");
        let answer = parse(&answer).expect("a packet");
        let Transport::Tcp(segment) = answer.transport else { panic!("a segment") };
        assert_eq!((answer.source, answer.target), (target, source));
        assert_eq!((segment.source, segment.target, segment.acknowledged), (22, 4_000, 8));
        assert!(segment.rst && segment.ack && !segment.syn);
        assert_eq!(reset(&answer), None);
    }
}

#[test]
fn a_whole_segment_gets_its_checksum() {
    for (source, target) in [(four(1), four(2)), (six(1), six(2))] {
        let mut bytes = syn(source, target);
        let begins = if source.is_ipv4() { 20 } else { 40 };
        bytes[begins + 16..begins + 18].fill(0);
        finish_tcp(&mut bytes);
        let sum = Sum::pseudo(source, target, TCP, bytes.len() - begins).add(&bytes[begins..]);
        assert_eq!(sum.finish(), [0, 0]);
    }
}

#[test]
fn fragments_and_other_protocols_are_told_apart() {
    let mut bytes = udp((four(1), 1), (four(2), 2), b"");
    bytes[6] = 0x20;
    assert_eq!(parse(&bytes), Err(Bad::Fragment));
    bytes[6] = 0;
    bytes[7] = 1;
    assert_eq!(parse(&bytes), Err(Bad::Fragment));
    bytes[7] = 0;
    bytes[9] = 47;
    assert_eq!(parse(&bytes), Err(Bad::Protocol));
    let mut bytes = udp((six(1), 1), (six(2), 2), b"");
    bytes[6] = 44;
    assert_eq!(parse(&bytes), Err(Bad::Fragment));
    bytes[6] = 0;
    assert_eq!(parse(&bytes), Err(Bad::Protocol));
}

#[test]
fn a_refusal_quotes_what_it_refuses() {
    let bytes = syn(four(1), four(2));
    let packet = parse(&bytes).expect("a packet");
    let refusal = unreachable(&packet, Why::Prohibited);
    assert_eq!(&refusal[20..22], &[3, 13]);
    assert_eq!(&refusal[28..], &bytes[..]);
    assert_eq!(Sum::default().add(&refusal[20..]).finish(), [0, 0]);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), version in 0u8..2) {
        if let Some(first) = bytes.first_mut() {
            *first = if version == 0 { 0x45 } else { 0x60 };
        }
        if let Ok(packet) = parse(&bytes) {
            let _ = reset(&packet);
            let _ = unreachable(&packet, Why::Port);
        }
        finish_tcp(&mut bytes);
    }
}

#[test]
fn a_ping_goes_on_without_the_options_of_its_packet() {
    let message = [8, 0, 0, 0, 0x12, 0x34, 0, 9, b'h', b'i'];
    let header = [0x46, 0, 0, 34, 0, 0, 0, 0, 64, 1, 0, 0, 198, 19, 0, 1, 10, 0, 0, 1, 1, 1, 1, 0];
    let bytes = [&header[..], &message].concat();
    let Ok(Packet { transport: Transport::Echo { ident, sequence, payload }, .. }) = parse(&bytes) else {
        panic!("a ping");
    };
    assert_eq!(echo_request(true, (ident, sequence), payload), message);
    assert_eq!(echo_request(false, (ident, sequence), payload)[0], 128);
}
