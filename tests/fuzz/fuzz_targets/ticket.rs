//! A ticket opens to something that is written back as the same bytes, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::ticket::{open_bytes, to_bytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ticket) = open_bytes(bytes) {
        assert_eq!(to_bytes(&ticket), bytes);
    }
});
