use proptest::prelude::*;

use super::*;

/// A header as a balancer writes it.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

fn four() -> Vec<u8> {
    [&[203, 0, 113, 9], &[10, 0, 0, 1], [0x9c, 0x40].as_slice(), &[0x01, 0xbb]].concat()
}

#[test]
fn the_source_is_taken_and_tlvs_are_not_looked_at() {
    let source = "203.0.113.9".parse().unwrap();
    assert_eq!(parse(&header(PROXY, TCP4, &four())), Ok((Some(source), 28)));
    let with_tlv = [four(), vec![0x03, 0, 4, 1, 2, 3, 4]].concat();
    let mut bytes = header(PROXY, TCP4, &with_tlv);
    bytes.extend_from_slice(b"\x16\x03\x01");
    assert_eq!(parse(&bytes), Ok((Some(source), 35)), "the TLS that follows is left alone");
    let six: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let rest = [&six.octets(), &[0; 16], [0; 4].as_slice()].concat();
    assert_eq!(parse(&header(PROXY, TCP6, &rest)), Ok((Some(six.into()), 52)));
    let mapped: Ipv6Addr = "::ffff:203.0.113.9".parse().unwrap();
    let rest = [&mapped.octets(), &[0; 16], [0; 4].as_slice()].concat();
    assert_eq!(parse(&header(PROXY, TCP6, &rest)), Ok((Some(source), 52)));
}

#[test]
fn a_balancer_may_speak_for_itself() {
    assert_eq!(parse(&header(LOCAL, UNSPECIFIED, &[])), Ok((None, 16)));
    assert_eq!(parse(&header(LOCAL, TCP4, &four())), Ok((None, 28)));
    assert_eq!(parse(&header(PROXY, UNSPECIFIED, &[1, 2])), Ok((None, 18)));
}

#[test]
fn anything_else_is_no_header() {
    let mut other = header(PROXY, TCP4, &four());
    other[0] = b'P';
    for bytes in [
        b"".to_vec(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello".to_vec(),
        other,
        header(0x11, TCP4, &four()),
        header(0x22, TCP4, &four()),
        header(PROXY, 0x12, &four()),
        header(PROXY, 0x31, &[0; 216]),
        header(PROXY, TCP4, &four()[..11]),
        header(PROXY, TCP6, &[0; 35]),
        header(PROXY, TCP4, &vec![0; REST_MAX + 1]),
        header(PROXY, TCP4, &four())[..27].to_vec(),
    ] {
        assert_eq!(parse(&bytes), Err(NoHeader), "{bytes:x?}");
    }
}

#[tokio::test]
async fn reading_stops_where_the_header_ends() {
    let mut bytes = header(PROXY, TCP4, &four());
    bytes.extend_from_slice(b"next");
    let mut input = bytes.as_slice();
    assert_eq!(read(&mut input).await, Ok(Some("203.0.113.9".parse().unwrap())));
    assert_eq!(input, b"next");
    assert_eq!(read(&mut input).await, Err(NoHeader), "the end came first");
}

proptest! {
    #[test]
    fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..80), signed in any::<bool>()) {
        if signed {
            bytes.splice(0..bytes.len().min(12), SIGNATURE);
        }
        if let Ok((_, used)) = parse(&bytes) {
            prop_assert!((FIXED..=bytes.len()).contains(&used));
        }
    }
}
