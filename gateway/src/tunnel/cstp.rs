//! Frames of the tunnel: a header of eight bytes, then the payload. One frame is one TLS record.
//!
//! ```text
//!  53 54 46 01 | length 2 | type 1 | 00 | payload
//! ```

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 8;
/// Longest payload: a TLS record less the header.
pub(crate) const PAYLOAD_MAX: usize = 16 * 1024 - HEADER;

const MAGIC: [u8; 4] = *b"STF\x01";

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One IP packet.
    Data,
    /// "Are you there?": answered with the same payload.
    Ask,
    /// The answer to that.
    Alive,
    /// Farewell: a reason byte and a text.
    Disconnect,
    /// Keeps address translations open.
    KeepAlive,
    /// Something else; ignored.
    Other(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            3 => Self::Ask,
            4 => Self::Alive,
            5 => Self::Disconnect,
            7 => Self::KeepAlive,
            other => Self::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Ask => 3,
            Self::Alive => 4,
            Self::Disconnect => 5,
            Self::KeepAlive => 7,
            Self::Other(byte) => byte,
        }
    }
}

/// What lies at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A whole frame, and what follows it.
    Frame(Kind, &'a [u8], &'a [u8]),
    /// The beginning of one.
    Partial,
    /// No frame: the connection is of no use any more.
    Bad,
}

/// The first frame in `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let begins = bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
        return if begins { Parsed::Partial } else { Parsed::Bad };
    };
    let [a, b, c, d, high, low, kind, _] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if [a, b, c, d] != MAGIC || length > PAYLOAD_MAX {
        return Parsed::Bad;
    }
    match rest.split_at_checked(length) {
        Some((payload, rest)) => Parsed::Frame(Kind::of(kind), payload, rest),
        None => Parsed::Partial,
    }
}

/// The header of a frame; `length` is at most [`PAYLOAD_MAX`].
pub(crate) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = MAGIC;
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [a, b, c, d, high, low, kind.byte(), 0]
}

/// Why a client takes its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The user has logged out.
    Logout,
    /// It will come back.
    Pause,
}

/// What the payload of a client's [`Kind::Disconnect`] means.
pub(crate) fn leave(payload: &[u8]) -> Leave {
    if payload.first() == Some(&0xb0) { Leave::Logout } else { Leave::Pause }
}

/// The payload of our own farewell, whose text the client shows. Control characters would end up on terminals.
pub(crate) fn farewell(text: &str) -> Vec<u8> {
    let shown = text.bytes().filter(|byte| (0x20..0x7f).contains(byte)).take(200);
    std::iter::once(0xb0).chain(shown).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_read_back() {
        for kind in [0, 3, 4, 5, 7, 8, 9, 255].map(Kind::of) {
            for length in [0, 1, 1_400, PAYLOAD_MAX] {
                let bytes = [&header(kind, length)[..], &vec![7; length], b"STF"].concat();
                assert_eq!(parse(&bytes), Parsed::Frame(kind, &vec![7; length], b"STF"));
                assert_eq!(parse(&bytes[..bytes.len() - 4]), Parsed::Partial);
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(parse(b""), Parsed::Partial);
        assert_eq!(parse(b"ST"), Parsed::Partial);
        assert_eq!(parse(b"GET / HT"), Parsed::Bad);
        assert_eq!(parse(b"G"), Parsed::Bad);
        assert_eq!(parse(b"STF\x02\0\0\0\0"), Parsed::Bad);
        assert_eq!(parse(b"STF\x01\xff\xff\0\0"), Parsed::Bad);
    }

    #[test]
    fn a_farewell_is_text_and_a_logout_is_told_from_a_pause() {
        assert_eq!(farewell("a\x1b[31mb\u{4e2d}"), b"\xb0a[31mb");
        assert_eq!(farewell(&"x".repeat(1_000)).len(), 201);
        assert_eq!(leave(b"\xb0bye"), Leave::Logout);
        assert_eq!(leave(b"\x91"), Leave::Pause);
        assert_eq!(leave(b""), Leave::Pause);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
