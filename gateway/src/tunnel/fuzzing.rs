//! The pure functions on what a client sends into its tunnel, as fuzz targets reach them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::stack::{Outlet, Sent, Stack};
use super::{connect, cstp, dns, ip};

/// The address of the one connection there is.
const TARGET: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 20, 0, 1), 22);
const MTU: usize = 16_000;

/// Packets as they are sent.
#[derive(Default)]
struct Kept {
    written: Vec<u8>,
    packets: Vec<Vec<u8>>,
}

impl Outlet for Kept {
    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        self.written = vec![0; length];
        Some(&mut self.written)
    }

    fn commit(&mut self) {
        self.packets.push(std::mem::take(&mut self.written));
    }
}

pub(crate) fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    match cstp::parse(bytes) {
        cstp::Parsed::Frame(kind, payload, after) => {
            assert_eq!(cstp::parse(&cstp::header(kind, 0)), cstp::Parsed::Frame(kind, &[], &[]));
            Some((payload.len(), bytes.len() - after.len()))
        }
        cstp::Parsed::Partial | cstp::Parsed::Bad => None,
    }
}

pub(crate) fn head(head: &[u8]) -> Option<String> {
    connect::parse(head).ok().map(|request| format!("{request:?}"))
}

pub(crate) fn packet(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let packet = ip::parse(bytes).ok()?;
    Some(
        [Some(ip::unreachable(&packet, ip::Why::Prohibited)), ip::reset(&packet)]
            .into_iter()
            .flatten()
            .collect(),
    )
}

pub(crate) fn connection<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut kept = Kept::default();
    let mut now = Duration::ZERO;
    let Some(mut stack) = Stack::new(SocketAddr::from(TARGET), MTU, (4_096, 4_096), 7, now) else {
        return Vec::new();
    };
    for bytes in packets {
        // Others never get as far as a connection.
        let Ok(packet @ ip::Packet { transport: ip::Transport::Tcp(_), .. }) = ip::parse(bytes) else {
            continue;
        };
        stack.input(packet.bytes, now, &mut kept);
        stack.take(<[u8]>::len);
        stack.give(|room| {
            room.fill(7);
            room.len()
        });
        while stack.output(now, 16, &mut kept) == Sent::Some && kept.packets.len() < 1_000 {}
        now += Duration::from_millis(300);
    }
    kept.packets
}

pub(crate) fn name_answer(message: &[u8]) -> Option<Vec<u8>> {
    dns::answer(message, |name| match name {
        "files.example" => dns::Found::Address(Ipv4Addr::new(198, 18, 0, 16), Ipv6Addr::LOCALHOST),
        _ => dns::Found::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
        let files = std::fs::read_dir(folder).expect("a corpus");
        files.map(|file| std::fs::read(file.expect("a file").path()).expect("bytes")).collect()
    }

    #[test]
    fn what_was_found_once_hurts_no_more() {
        for bytes in corpus("cstp") {
            let _ = (super::frame(&bytes), super::head(&bytes));
        }
        for bytes in corpus("dns") {
            if let Some(answer) = super::name_answer(&bytes) {
                assert_eq!(super::name_answer(&answer), None);
            }
        }
        let mut sent = 0;
        for bytes in corpus("ip") {
            let mut packets = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some(([high, low], after)) = rest.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
                packets.push(&after[..length]);
                rest = &after[length..];
            }
            for packet in &packets {
                assert!(super::packet(packet).is_some());
            }
            let answers = super::connection(packets);
            assert!(answers.iter().all(|answer| super::packet(answer).is_some()));
            sent += answers.len();
        }
        assert!(sent > 3, "{sent}");
    }
}
