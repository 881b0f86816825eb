//! TLS records after the handshake, sealed and opened in place.
//!
//! ```text
//!  TLS 1.3:  17 03 03 len | ciphertext(payload, type) tag
//!  TLS 1.2:  17 03 03 len | [nonce 8, AES-GCM only] ciphertext(payload) tag
//! ```
//!
//! rustls makes the handshake and hands over the traffic keys. Its own buffers would copy each byte twice
//! more in either direction and take the memory for each record anew, which is half of the cost of a tunnel.
//! A change of keys inside the connection is not followed: the connection is closed, and the client, which
//! keeps its session, comes back with new ones.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};

/// Bytes of a record's header.
const HEADER: usize = 5;
const TAG: usize = 16;
/// Bytes of a nonce that travels with the record.
const EXPLICIT: usize = 8;
/// Longest body of a record that anybody may send.
const BODY_MAX: usize = 16 * 1024 + 256;
/// Longest whole record.
pub(crate) const RECORD_MAX: usize = HEADER + BODY_MAX;
/// Records sealed or opened with one key; well below what AES-GCM stands.
const RECORDS_MAX: u64 = 1 << 24;

const VERSION: [u8; 2] = [3, 3];
const ALERT: u8 = 21;
const DATA: u8 = 23;

/// The records of a connection cannot be read or written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// One direction of a connection.
struct Direction {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    /// TLS 1.3.
    modern: bool,
    /// Whether part of the nonce travels with the record.
    explicit: bool,
}

/// Seals what is sent.
pub(crate) struct Sealer(Direction);

/// Opens what is received.
pub(crate) struct Opener(Direction);

/// What was in a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// Bytes of the tunnel.
    Data(&'a [u8]),
    /// The other side closes.
    Closed,
}

/// Both directions of a connection whose handshake made `secrets`.
pub(crate) fn directions(
    secrets: ExtractedSecrets,
    version: Option<ProtocolVersion>,
) -> Result<(Opener, Sealer), Broken> {
    let modern = version == Some(ProtocolVersion::TLSv1_3);
    let (receive, send) = (secrets.rx, secrets.tx);
    Ok((Opener(Direction::new(receive, modern)?), Sealer(Direction::new(send, modern)?)))
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets), modern: bool) -> Result<Self, Broken> {
        let (algorithm, key, iv, gcm) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return Err(Broken),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Broken)?;
        let iv = iv.as_ref().try_into().map_err(|_| Broken)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, modern, explicit: gcm && !modern })
    }

    /// The nonce of the next record, and its number.
    fn next(&mut self) -> Result<([u8; NONCE_LEN], u64), Broken> {
        if self.sequence >= RECORDS_MAX {
            return Err(Broken);
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(sequence.to_be_bytes().iter().rev()) {
            *byte ^= number;
        }
        Ok((nonce, sequence))
    }

    /// What is authenticated beside the payload, in 5 or 13 bytes.
    fn associated(&self, header: [u8; HEADER], plain: usize, sequence: u64) -> ([u8; 13], usize) {
        let mut bytes = [0; 13];
        let [kind, high, low, ..] = header;
        if self.modern {
            bytes[..HEADER].copy_from_slice(&header);
            return (bytes, HEADER);
        }
        let length = u16::try_from(plain).unwrap_or(u16::MAX).to_be_bytes();
        bytes[..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&[kind, high, low, length[0], length[1]]);
        (bytes, 13)
    }
}

impl Sealer {
    /// Bytes before and after the payload of every record.
    pub(crate) fn overhead(&self) -> (usize, usize) {
        let Self(own) = self;
        (HEADER + if own.explicit { EXPLICIT } else { 0 }, TAG + usize::from(own.modern))
    }

    /// Seals the payload that lies in `record` between the two overheads.
    pub(crate) fn seal(&mut self, record: &mut [u8]) -> Result<(), Broken> {
        let (before, after) = self.overhead();
        let Self(own) = self;
        let payload = record.len().checked_sub(before + after).ok_or(Broken)?;
        let (nonce, sequence) = own.next()?;
        let length = u16::try_from(record.len() - HEADER).map_err(|_| Broken)?.to_be_bytes();
        let header = [DATA, VERSION[0], VERSION[1], length[0], length[1]];
        let (associated, used) = own.associated(header, payload, sequence);
        let aad = Aad::from(associated.get(..used).ok_or(Broken)?);
        let (head, rest) = record.split_at_mut_checked(before).ok_or(Broken)?;
        let (body, tail) = rest.split_at_mut_checked(payload + usize::from(own.modern)).ok_or(Broken)?;
        head.get_mut(..HEADER).ok_or(Broken)?.copy_from_slice(&header);
        if own.explicit {
            let sent = nonce.get(NONCE_LEN - EXPLICIT..).ok_or(Broken)?;
            head.get_mut(HEADER..).ok_or(Broken)?.copy_from_slice(sent);
        }
        if own.modern {
            *body.last_mut().ok_or(Broken)? = DATA;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = own.key.seal_in_place_separate_tag(nonce, aad, body).map_err(|_| Broken)?;
        tail.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

impl Opener {
    /// The length of the record that begins here; `None` while it is not known.
    pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let Some([_, three, _, high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let body = usize::from(u16::from_be_bytes([*high, *low]));
        if *three != VERSION[0] || body > BODY_MAX { Err(Broken) } else { Ok(Some(HEADER + body)) }
    }

    /// Opens a whole record.
    pub(crate) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Content<'a>, Broken> {
        let Self(own) = self;
        let (header, body) = record.split_first_chunk_mut::<HEADER>().ok_or(Broken)?;
        let (mut nonce, sequence) = own.next()?;
        let skipped = if own.explicit { EXPLICIT } else { 0 };
        let (explicit, body) = body.split_at_mut_checked(skipped).ok_or(Broken)?;
        if own.explicit {
            nonce.get_mut(NONCE_LEN - EXPLICIT..).ok_or(Broken)?.copy_from_slice(explicit);
        }
        let plain = body.len().checked_sub(TAG).ok_or(Broken)?;
        let (associated, used) = own.associated(*header, plain, sequence);
        let aad = Aad::from(associated.get(..used).ok_or(Broken)?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = own.key.open_in_place(nonce, aad, body).map_err(|_| Broken)?;
        let (kind, plain) = if own.modern {
            let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Broken)?;
            let (content, kind) = plain.split_at_checked(end).ok_or(Broken)?;
            (*kind.first().ok_or(Broken)?, content)
        } else {
            let [kind, ..] = *header;
            (kind, &*plain)
        };
        match kind {
            DATA => Ok(Content::Data(plain)),
            // Every alert ends the connection, whatever it says.
            ALERT => Ok(Content::Closed),
            // New keys, or a new handshake: the client comes back with a new connection.
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests;
