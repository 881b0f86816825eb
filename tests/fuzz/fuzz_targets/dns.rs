//! A question is answered with itself and at most one address; anything else is not answered at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some(answer) = fuzzing::name_answer(bytes) else { return };
    assert!(answer.len() <= bytes.len() + 28);
    assert_eq!(answer[..2], bytes[..2]);
    assert!(answer[2] & 0x80 != 0 && answer[7] <= 1);
    // An answer is never answered, or two gateways could talk for ever.
    assert_eq!(fuzzing::name_answer(&answer), None);
});
