//! The name server inside the tunnel: granted names and the gateway's own hosts, nothing else.
//!
//! ```text
//!  question --> Names::find --> Found::Address   A, AAAA with a short life; other types: no data
//!                          \--> Found::Nothing   no such name, whatever the Internet says
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest question that is answered.
const QUESTION_MAX: usize = 512;
/// Seconds a client may keep an answer; what is granted changes.
const TTL_S: u32 = 30;
const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// What a name is for the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A host that may be reached at these addresses.
    Address(Ipv4Addr, Ipv6Addr),
    /// Nothing.
    Nothing,
}

/// The answer to `message`, where `find` knows lower-case names without a dot at the end; `None` for what is
/// no question.
pub(crate) fn answer(message: &[u8], find: impl FnOnce(&str) -> Found) -> Option<Vec<u8>> {
    let header = message.first_chunk::<HEADER>()?;
    let [id_high, id_low, flags, _, questions_high, questions_low, ..] = *header;
    let is_question = flags & 0x80 == 0 && [questions_high, questions_low] == [0, 1];
    if message.len() > QUESTION_MAX || !is_question {
        return None;
    }
    let opcode = flags & 0x78;
    let recursion = flags & 0x01;
    let (name, ends) = name(message)?;
    let ([a, b, c, d], _) = message.get(ends..)?.split_first_chunk::<4>()?;
    let (kind, class) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    let asked = message.get(HEADER..ends + 4)?;
    const NO_SUCH_NAME: u8 = 3;
    const NOT_IMPLEMENTED: u8 = 4;
    const REFUSED: u8 = 5;
    let mut data: Vec<u8> = Vec::new();
    let code = if opcode != 0 {
        NOT_IMPLEMENTED
    } else if class != CLASS_IN {
        REFUSED
    } else {
        match find(&name) {
            Found::Address(four, six) => {
                match kind {
                    TYPE_A => data.extend_from_slice(&four.octets()),
                    TYPE_AAAA => data.extend_from_slice(&six.octets()),
                    _ => {}
                }
                0
            }
            Found::Nothing => NO_SUCH_NAME,
        }
    };
    let mut out = Vec::with_capacity(HEADER + asked.len() + 28);
    // An answer, authoritative, recursion available.
    out.extend_from_slice(&[id_high, id_low, 0x84 | opcode | recursion, 0x80 | code]);
    out.extend_from_slice(&[0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    out.extend_from_slice(asked);
    if !data.is_empty() {
        // The name again, by a pointer to the question.
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        out.extend_from_slice(&TTL_S.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&data);
    }
    Some(out)
}

/// The name that is asked for, and where it ends. Pointers have no place in a question.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((name, at + 1));
        }
        let label = message.get(at + 1..at + 1 + length).filter(|_| length <= 63)?;
        if !name.is_empty() {
            name.push('.');
        }
        // A dot inside a label would make two of one.
        name.extend(label.iter().map(|byte| match byte {
            b'.' => '\u{fffd}',
            byte => char::from(byte.to_ascii_lowercase()),
        }));
        at += 1 + length;
        if at > HEADER + 255 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOUR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 16);

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(u8::try_from(label.len()).expect("a label"));
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        out
    }

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let find = |name: &str| match name {
            "files.example" => Found::Address(FOUR, Ipv6Addr::LOCALHOST),
            _ => Found::Nothing,
        };
        answer(&question(name, kind), find).expect("an answer")
    }

    #[test]
    fn a_granted_name_has_an_address_of_either_kind() {
        let four = ask("Files.Example", TYPE_A);
        assert_eq!(&four[..4], &[0x12, 0x34, 0x85, 0x80]);
        assert_eq!(four[7], 1);
        assert_eq!(&four[four.len() - 4..], &FOUR.octets());
        let six = ask("files.example", TYPE_AAAA);
        assert_eq!(&six[six.len() - 16..], &Ipv6Addr::LOCALHOST.octets());
        let other = ask("files.example", 16);
        assert_eq!((other[3] & 0x0f, other[7]), (0, 0));
    }

    #[test]
    fn any_other_name_does_not_exist() {
        for name in ["example.org", "example", "www.files.example"] {
            let answer = ask(name, TYPE_A);
            assert_eq!((answer[3] & 0x0f, answer[7]), (3, 0), "{name}");
        }
    }

    #[test]
    fn an_answer_is_no_question() {
        let nothing = |_: &str| Found::Nothing;
        assert_eq!(answer(&ask("files.example", TYPE_A), nothing), None);
        assert_eq!(answer(&question("a", 1)[..14], nothing), None);
        assert_eq!(answer(&[], nothing), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(tail in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &tail].concat();
            let _ = answer(&bytes, |_| Found::Address(FOUR, Ipv6Addr::LOCALHOST));
            let _ = answer(&tail, |_| Found::Nothing);
        }
    }
}
