//! A frame ends within the bytes, and what follows it changes nothing; a head says what it says or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::tunnel_head(bytes);
    let Some((payload, used)) = fuzzing::frame(bytes) else { return };
    assert!(payload + 8 == used && used <= bytes.len());
    assert_eq!(fuzzing::frame(&bytes[..used]), Some((payload, used)));
    assert_eq!(fuzzing::frame(&bytes[..used - 1]), None);
});
