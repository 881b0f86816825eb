//! A PROXY header, if there is one, ends within the bytes, and whatever follows it changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((source, used)) = fuzzing::proxy_header(bytes) else { return };
    assert!((16..=bytes.len()).contains(&used));
    assert_eq!(fuzzing::proxy_header(&bytes[..used]), Some((source, used)));
});
