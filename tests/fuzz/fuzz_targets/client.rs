//! Any body of a VPN client's login is understood or refused, within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = tidegate_gateway::fuzzing::client_says(body);
});
