//! Address ranges and the addresses that stay closed.

use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tidegate_core::{Cidr, is_forbidden_target};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ranges_parse_strictly() {
    for text in ["10.20.0.0/16", "0.0.0.0/0", "192.0.2.1/32", "::/0", "fd00:20::/32"] {
        assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
    }
    for text in
        ["10.20.0.1/16", "10.20.0.0", "10.20.0.0/33", "10.20.0.0/+8", "10.20.0.0/", "fd00::/129", "x/8"]
    {
        assert!(text.parse::<Cidr>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn a_mapped_address_counts_as_what_it_maps() {
    let range: Cidr = "10.20.0.0/16".parse().unwrap();
    assert!(range.contains(ip("::ffff:10.20.3.4")));
    assert!(!range.contains(ip("::ffff:10.21.3.4")));
    assert!(is_forbidden_target(ip("::ffff:127.0.0.1")));
}

#[test]
fn addresses_that_no_manifest_opens() {
    for text in
        ["127.0.0.1", "127.20.1.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "0.0.0.0", "0.1.2.3"]
    {
        assert!(is_forbidden_target(ip(text)), "{text} is open");
    }
    for text in ["::1", "::", "fe80::1", "ff02::1"] {
        assert!(is_forbidden_target(ip(text)), "{text} is open");
    }
    for text in ["10.20.1.10", "192.168.1.1", "203.0.113.7", "fd00:20::1"] {
        assert!(!is_forbidden_target(ip(text)), "{text} is closed");
    }
}

proptest! {
    #[test]
    fn containment_is_equality_of_the_leading_bits(a: u32, b: u32, prefix in 0_u8..=32) {
        let range = Cidr::new(IpAddr::V4(Ipv4Addr::from(a)), prefix).unwrap();
        let shift = 32 - u32::from(prefix);
        let same = u64::from(a) >> shift == u64::from(b) >> shift;
        prop_assert_eq!(range.contains(IpAddr::V4(Ipv4Addr::from(b))), same);
    }

    #[test]
    fn the_same_for_ipv6(a: u128, flip in 0_u32..128, prefix in 0_u8..=128) {
        let range = Cidr::new(IpAddr::V6(Ipv6Addr::from(a)), prefix).unwrap();
        let other = IpAddr::V6(Ipv6Addr::from(a ^ (1 << (127 - flip))));
        prop_assume!(other.to_canonical().is_ipv6() && range.address().to_canonical().is_ipv6());
        prop_assert_eq!(range.contains(other), flip >= u32::from(prefix));
    }
}
