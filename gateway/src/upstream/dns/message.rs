//! DNS messages: one question out, addresses in. Nothing an answer says can make it loop or panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Largest answer taken over UDP.
pub(super) const UDP_BYTES: usize = 1_232;
/// Records looked at in one answer.
const RECORDS_MAX: usize = 64;
/// Aliases followed from the name asked for.
const ALIASES_MAX: usize = 8;
/// Longest name in an answer, and most jumps inside one.
const NAME_BYTES_MAX: usize = 255;
const JUMPS_MAX: usize = 16;

const HEADER_BYTES: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The addresses of the name, aliases followed.
    pub(super) addresses: Vec<IpAddr>,
    /// Seconds for which all of that holds.
    pub(super) ttl: u32,
    /// Whether there was more than fits.
    pub(super) truncated: bool,
}

/// The question for `host`; `None` when it is no name.
pub(super) fn query(id: u16, host: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question, one additional record.
    out.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > NAME_BYTES_MAX - 2 {
        return None;
    }
    for label in host.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    // EDNS: how much we take over UDP.
    out.push(0);
    out.extend_from_slice(&TYPE_OPT.to_be_bytes());
    out.extend_from_slice(&u16::try_from(UDP_BYTES).ok()?.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    Some(out)
}

/// The answer to that question; `None` when the message is none.
pub(super) fn answer(message: &[u8], id: u16, host: &str, kind: Kind) -> Option<Answer> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut reader = Reader { message, at: 0 };
    let (number, flags) = (reader.u16()?, reader.u16()?);
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    let is_answer = number == id && flags & 0x8000 != 0 && questions == 1;
    if !is_answer {
        return None;
    }
    reader.at = HEADER_BYTES;
    let same = reader.name()?.eq_ignore_ascii_case(host)
        && reader.u16()? == kind.number()
        && reader.u16()? == CLASS_IN;
    if !same {
        return None;
    }
    let truncated = flags & 0x0200 != 0;
    let mut answer = Answer { addresses: Vec::new(), ttl: u32::MAX, truncated };
    // 0: fine; 3: no such name. Anything else is a server that cannot say.
    match flags & 0x000f {
        0 => {}
        3 => return Some(answer),
        _ => return None,
    }
    if truncated {
        return Some(answer);
    }
    let records: Vec<Record> =
        (0..usize::from(answers).min(RECORDS_MAX)).map_while(|_| reader.record()).collect();
    let mut name = host.to_ascii_lowercase();
    for _ in 0..=ALIASES_MAX {
        let of_name = || records.iter().filter(|record| record.name.eq_ignore_ascii_case(&name));
        for record in of_name() {
            if let Data::Address(found_kind, address) = &record.data
                && *found_kind == kind
            {
                answer.addresses.push(*address);
                answer.ttl = answer.ttl.min(record.ttl);
            }
        }
        if !answer.addresses.is_empty() {
            break;
        }
        let Some((alias, ttl)) = of_name().find_map(|record| match &record.data {
            Data::Alias(alias) => Some((alias.clone(), record.ttl)),
            _ => None,
        }) else {
            break;
        };
        answer.ttl = answer.ttl.min(ttl);
        name = alias;
    }
    Some(answer)
}

struct Record {
    name: String,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(Kind, IpAddr),
    Alias(String),
    Other,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.message.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// A name, wherever its rest lies. Jumps lead only backwards, so they end.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut after = None;
        let mut jumps = 0;
        loop {
            let length = *self.message.get(at)?;
            match length >> 6 {
                0 if length == 0 => {
                    self.at = after.unwrap_or(at + 1);
                    return Some(name);
                }
                0 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                    if name.len() > NAME_BYTES_MAX {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                3 => {
                    let low = *self.message.get(at + 1)?;
                    after.get_or_insert(at + 2);
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    jumps += 1;
                    if target >= at || jumps > JUMPS_MAX {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
        }
    }

    fn record(&mut self) -> Option<Record> {
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.bytes()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.message.len())?;
        let data = match (class, kind, length) {
            (CLASS_IN, 1, 4) => Data::Address(Kind::A, IpAddr::V4(Ipv4Addr::from(self.bytes::<4>()?))),
            (CLASS_IN, 28, 16) => Data::Address(Kind::Aaaa, IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?))),
            (CLASS_IN, TYPE_CNAME, _) => Data::Alias(self.name()?),
            _ => Data::Other,
        };
        self.at = end;
        Some(Record { name, ttl, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to the question for `app.example`: an alias and the address of that.
    fn sample(id: u16) -> Vec<u8> {
        let mut message = query(id, "app.example", Kind::A).expect("a question");
        message.truncate(message.len() - 11);
        message[2] = 0x81;
        message[3] = 0x80;
        message[7] = 2;
        message[11] = 0;
        // app.example CNAME web.example (its second label by a jump)
        message.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 3, b'w', b'e', b'b', 0xc0, 16]);
        // web.example A 10.20.0.7
        message
            .extend_from_slice(&[3, b'w', b'e', b'b', 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 20, 0, 7]);
        message
    }

    #[test]
    fn aliases_are_followed() {
        let answer = answer(&sample(7), 7, "App.example.", Kind::A).expect("an answer");
        assert_eq!(answer.addresses, ["10.20.0.7".parse::<IpAddr>().expect("an address")]);
        assert_eq!((answer.ttl, answer.truncated), (30, false));
    }

    #[test]
    fn what_was_not_asked_is_no_answer() {
        let message = sample(7);
        assert_eq!(answer(&message, 8, "app.example", Kind::A), None);
        assert_eq!(answer(&message, 7, "other.example", Kind::A), None);
        assert_eq!(answer(&message, 7, "app.example", Kind::Aaaa), None);
        assert_eq!(
            answer(&query(7, "app.example", Kind::A).expect("a question"), 7, "app.example", Kind::A),
            None
        );
    }

    #[test]
    fn names_that_are_none_are_not_asked_for() {
        for host in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(query(1, host, Kind::A), None, "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            at in 0usize..80, byte in any::<u8>(), cut in 0usize..90, tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut message = sample(7);
            if let Some(changed) = message.get_mut(at) {
                *changed = byte;
            }
            message.truncate(cut);
            message.extend_from_slice(&tail);
            let _ = answer(&message, 7, "app.example", Kind::A);
        }
    }
}
