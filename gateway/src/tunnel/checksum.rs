//! The Internet checksum, eight bytes at a time: it is computed over every byte that goes to a client.

use std::net::IpAddr;

/// A sum that is not folded yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u128);

impl Sum {
    /// The sum of the pseudo header of TCP, UDP and ICMPv6.
    pub(crate) fn pseudo(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> Self {
        let addresses = match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                Self::default().add(&source.octets()).add(&target.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                Self::default().add(&source.octets()).add(&target.octets())
            }
            // Never built; a packet with such a sum is dropped by whoever gets it.
            _ => Self::default(),
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        addresses.add(&u32::from(protocol).to_be_bytes()).add(&length.to_be_bytes())
    }

    /// Adds bytes that begin at an even place.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        // More words fit before it overflows than there is memory.
        for word in words {
            sum += u128::from(u64::from_ne_bytes(*word));
        }
        let mut last = [0; 8];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        Self(sum + u128::from(u64::from_ne_bytes(last)))
    }

    /// The checksum as it stands in a packet.
    pub(crate) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // One's complement sums come out in the order of bytes they were read in.
        (!u16::try_from(sum).unwrap_or(u16::MAX)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 1071 writes it.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!u16::try_from(sum).expect("folded")).to_be_bytes()
    }

    #[test]
    fn it_is_the_sum_of_the_standard() {
        let bytes: Vec<u8> = (0..65_535u32).map(|at| (at * 31 % 251) as u8).collect();
        for length in [0, 1, 2, 3, 4, 5, 20, 21, 1_399, 16_000, 65_535] {
            assert_eq!(Sum::default().add(&bytes[..length]).finish(), plain(&bytes[..length]), "{length}");
        }
    }
}
