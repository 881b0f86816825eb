//! How long a guesser has to wait.
//!
//! Failures are counted per account and per source network, also for accounts that do not exist. A
//! login that succeeds forgets both counts: a bureau behind one address is not locked out by the
//! typing errors of many, while a guesser without any password of his own soon waits.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::{AccountName, Cidr, DepartmentCode, Timestamp};

/// The failure from which on one has to wait.
const FREE_FAILURES: u32 = 5;

/// The longest wait in minutes.
const WAIT_MIN_MAX: i64 = 15;

/// The key under which the failures of an account, real or not, are counted.
pub(crate) fn account_key(department: &DepartmentCode, user: &str) -> String {
    match user.parse::<AccountName>() {
        Ok(name) => format!("account/{department}/{name}"),
        // What cannot be a name is counted too, under a key of bounded length.
        Err(_) => {
            let sum = digest(&SHA256, user.as_bytes());
            let short: String = sum.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("account/{department}/?{short}")
        }
    }
}

/// The key under which the failures from a network are counted.
pub(crate) fn source_key(source: IpAddr) -> String {
    let source = source.to_canonical();
    let prefix = if source.is_ipv4() { 24 } else { 64 };
    Cidr::new(source, prefix)
        .map_or_else(|| format!("source/{source}"), |network| format!("source/{network}"))
}

/// Until when one has to wait after `failures`, the last of them at `last`.
pub(crate) fn until(failures: u32, last: Timestamp) -> Option<Timestamp> {
    let beyond = failures.checked_sub(FREE_FAILURES)?;
    let minutes = 1_i64.checked_shl(beyond).filter(|minutes| (1..=WAIT_MIN_MAX).contains(minutes));
    Some(last.plus(minutes.unwrap_or(WAIT_MIN_MAX) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let minutes = |failures| until(failures, Timestamp(0)).map(|until| until.0 / 60);
        assert_eq!((0..5).map(minutes).collect::<Vec<_>>(), [None; 5]);
        let waits: Vec<_> = (5..11).filter_map(minutes).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
        assert_eq!(minutes(u32::MAX), Some(15));
    }

    #[test]
    fn every_text_has_a_short_key_of_its_own() {
        let code: DepartmentCode = "sbzx".parse().unwrap();
        assert_eq!(account_key(&code, "wangfang"), "account/sbzx/wangfang");
        let odd =
            [account_key(&code, "王芳"), account_key(&code, &"王".repeat(80)), account_key(&code, "a/b")];
        assert!(odd.iter().all(|key| key.len() < 64));
        assert!(odd[0] != odd[1] && odd[1] != odd[2]);
    }

    #[test]
    fn sources_are_networks() {
        assert_eq!(source_key("203.0.113.77".parse().unwrap()), "source/203.0.113.0/24");
        assert_eq!(source_key("::ffff:203.0.113.9".parse().unwrap()), "source/203.0.113.0/24");
        assert_eq!(source_key("2001:db8:1:2:3::4".parse().unwrap()), "source/2001:db8:1:2::/64");
    }
}
