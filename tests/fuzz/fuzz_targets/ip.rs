//! Packets of a client: whatever is written in answer is a packet, to whoever it came from; a connection takes any
//! row of them. Packets stand one after the other, each behind its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while let Some(([high, low], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (packet, after) = after.split_at(length);
        packets.push(packet);
        rest = after;
    }
    for packet in &packets {
        for answer in fuzzing::packet(packet).unwrap_or_default() {
            assert_eq!(answer[0] >> 4, packet[0] >> 4);
            let (from, to, length) = if answer[0] >> 4 == 4 { (12, 16, 4) } else { (8, 24, 16) };
            assert_eq!(answer[to..to + length], packet[from..from + length]);
            assert_eq!(answer[from..from + length], packet[to..to + length]);
        }
    }
    for sent in fuzzing::connection(packets) {
        assert!(fuzzing::packet(&sent).is_some());
    }
});
