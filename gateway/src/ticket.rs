//! The session ticket as bytes: bounded, versioned, with nothing to guess.
//!
//! ```text
//!  version 1 | session 16 | department 1+n | name 1+n | uid 1+n | epoch 8 | kind 1 | factors 1
//!            | issued 8 | absolute end 8 | term 8 | sequence 8
//! ```
//!
//! Integers are big-endian. A ticket never travels bare: [`crate::cookie`] and [`crate::handshake`]
//! put it into something sealed.

use tidegate_core::session::{Kind, Ticket};
use tidegate_core::{AccountId, Code, Generation, SessionId, Timestamp};

#[cfg(test)]
mod tests;

/// Longest encoded ticket: the longest ids, and 59 bytes that are always there.
pub const TICKET_BYTES_MAX: usize = 59 + (1 + 15) + (1 + 63) + (1 + 63);

const VERSION: u8 = 1;

/// The ticket as bytes.
#[must_use]
pub fn to_bytes(ticket: &Ticket) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(TICKET_BYTES_MAX));
    out.u8(VERSION);
    out.bytes(&ticket.session.0);
    out.text(ticket.account.department.as_str());
    out.text(ticket.account.name.as_str());
    out.text(ticket.uid.as_str());
    out.u64(ticket.epoch);
    out.u8(ticket.kind as u8);
    out.u8(ticket.factors);
    out.time(ticket.issued);
    out.time(ticket.absolute_end);
    out.u64(ticket.generation.term);
    out.u64(ticket.generation.sequence);
    out.0
}

/// The ticket in `bytes`, which must hold nothing else.
pub fn open_bytes(bytes: &[u8]) -> Result<Ticket, Code> {
    let mut reader = Reader(bytes);
    let ticket = read(&mut reader).ok_or(Code::TicketInvalid)?;
    if reader.is_empty() { Ok(ticket) } else { Err(Code::TicketInvalid) }
}

fn read(reader: &mut Reader<'_>) -> Option<Ticket> {
    if reader.u8()? != VERSION {
        return None;
    }
    Some(Ticket {
        session: SessionId(reader.array()?),
        account: AccountId { department: reader.text()?.parse().ok()?, name: reader.text()?.parse().ok()? },
        uid: reader.text()?.parse().ok()?,
        epoch: reader.u64()?,
        kind: match reader.u8()? {
            0 => Kind::Portal,
            1 => Kind::Tunnel,
            _ => return None,
        },
        factors: reader.u8()?,
        issued: reader.time()?,
        absolute_end: reader.time()?,
        generation: Generation { term: reader.u64()?, sequence: reader.u64()? },
    })
}

/// Appends fields to something about to be sealed.
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn time(&mut self, value: Timestamp) {
        self.bytes(&value.0.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    /// A text of at most 255 bytes, which all ids are.
    pub(crate) fn text(&mut self, value: &str) {
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        self.u8(length);
        self.bytes(value.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }
}

/// Takes fields off something that was opened; every step may fail, none can panic.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        self.array().map(|bytes| Timestamp(i64::from_be_bytes(bytes)))
    }

    pub(crate) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.slice(length)?).ok()
    }
}
