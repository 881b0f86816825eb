//! The pool's key ring, and everything that is sealed with keys derived from it.
//!
//! ```text
//!  sealed = version 1 | kid 4 | slot 4 | nonce 12 | AES-256-GCM-SIV(plain) + tag 16
//!                key = HKDF-SHA256(pool key[kid], purpose | slot)      slot = hours since 1970
//! ```
//!
//! The header in the clear is authenticated, and so is a context (the host a cookie is for): what was
//! sealed for one purpose, hour or host opens for no other. Any gateway of the pool opens it.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64ct::{Base64UrlUnpadded, Encoding};
use tidegate_core::{Code, Timestamp};

#[cfg(test)]
mod tests;

/// Bytes of a pool key and of every key derived from one.
pub const KEY_BYTES: usize = 32;

/// Most keys a ring holds: the sealing one, the next one and those whose sessions still live.
pub const KEYS_MAX: usize = 16;

/// Longest sealed value that is looked at.
pub const SEALED_BYTES_MAX: usize = 1_536;

/// Seconds for which one derived key seals.
pub const SLOT_S: i64 = 3_600;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + 4 + NONCE_LEN;
const TAG: usize = 16;

/// What a derived key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Session cookies.
    Cookie,
    /// From a resource host to the portal: please vouch for this browser.
    Start,
    /// From the portal to a resource host: this browser is logged in.
    Grant,
    /// Tokens in forms.
    Form,
    /// The right to set a password after it was verified or must be changed.
    Change,
    /// TLS session tickets.
    TlsTicket,
    /// Signing who is asking, for upstreams.
    Identity,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 7] =
        [Self::Cookie, Self::Start, Self::Grant, Self::Form, Self::Change, Self::TlsTicket, Self::Identity];

    fn label(self) -> &'static [u8] {
        match self {
            Self::Cookie => b"cookie",
            Self::Start => b"start",
            Self::Grant => b"grant",
            Self::Form => b"form",
            Self::Change => b"change",
            Self::TlsTicket => b"tls-ticket",
            Self::Identity => b"identity",
        }
    }
}

/// The pool's keys by number: one seals, all of them open. Clones share it, so that a rotation reaches whoever
/// holds one.
#[derive(Clone)]
pub struct Ring(Arc<ArcSwap<Keys>>);

struct Keys {
    /// Counts rotations.
    version: u64,
    /// Sorted by number.
    keys: Vec<(u32, hkdf::Prk)>,
    /// Which of them seals.
    sealing: usize,
    /// What it seals with in this hour, by purpose, so that not every seal derives it anew.
    current: [ArcSwapOption<Hourly>; Purpose::ALL.len()],
}

/// A derived key and the hour it is for.
struct Hourly {
    slot: u32,
    cipher: LessSafeKey,
}

/// A ring without a key that seals, or with too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key ring holds 1 to {KEYS_MAX} keys with different numbers, one of which seals")]
pub struct RingError;

/// The operating system gave no random numbers, or the cipher refused its own output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

impl Ring {
    /// A ring of these keys, the largest number of which seals.
    pub fn new(keys: &[(u32, [u8; KEY_BYTES])]) -> Result<Self, RingError> {
        let largest = keys.iter().map(|(kid, _)| *kid).max().ok_or(RingError)?;
        Self::sealing_with(keys, largest)
    }

    /// A ring of these keys, of which `sealing` seals.
    pub fn sealing_with(keys: &[(u32, [u8; KEY_BYTES])], sealing: u32) -> Result<Self, RingError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Keys::new(keys, sealing)?))))
    }

    /// Takes these keys instead of those it had; what only the old ones open is void from here on.
    pub fn rotate(&self, keys: &[(u32, [u8; KEY_BYTES])], sealing: u32) -> Result<(), RingError> {
        let version = self.version().wrapping_add(1);
        self.0.store(Arc::new(Keys { version, ..Keys::new(keys, sealing)? }));
        Ok(())
    }

    /// The numbers of its keys.
    #[must_use]
    pub fn kids(&self) -> Vec<u32> {
        self.0.load().keys.iter().map(|(kid, _)| *kid).collect()
    }

    /// Another number after every rotation.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.load().version
    }

    /// The key that seals for `purpose` in the hour of `now`, and its number.
    pub fn derived(&self, purpose: Purpose, now: Timestamp) -> Option<(u32, [u8; KEY_BYTES])> {
        let keys = self.0.load();
        let (kid, prk) = keys.sealing()?;
        Some((*kid, derive(prk, purpose, slot(now))?))
    }

    /// The keys for `purpose` that hold in every hour, one for each key of the pool, the sealing one last.
    pub fn derived_by_kid(&self, purpose: Purpose) -> Vec<(u32, [u8; KEY_BYTES])> {
        let keys = self.0.load();
        let (others, sealing): (Vec<_>, Vec<_>) =
            keys.keys.iter().enumerate().partition(|(index, _)| *index != keys.sealing);
        let derived = others.into_iter().chain(sealing);
        derived.filter_map(|(_, (kid, prk))| Some((*kid, derive(prk, purpose, 0)?))).collect()
    }

    /// Seals `plain` so that only `purpose` in `context` opens it.
    pub fn seal(
        &self,
        purpose: Purpose,
        context: &[u8],
        plain: &[u8],
        now: Timestamp,
    ) -> Result<Vec<u8>, SealError> {
        let keys = self.0.load();
        let (kid, _) = keys.sealing().ok_or(SealError)?;
        let slot = slot(now);
        let hourly = keys.hourly(purpose, slot).ok_or(SealError)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError)?;
        let mut header = Vec::with_capacity(HEADER + plain.len() + TAG);
        header.push(VERSION);
        header.extend_from_slice(&kid.to_be_bytes());
        header.extend_from_slice(&slot.to_be_bytes());
        header.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        hourly
            .cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad(&header, context)),
                &mut body,
            )
            .map_err(|_| SealError)?;
        header.append(&mut body);
        Ok(header)
    }

    /// Opens what [`Ring::seal`] made for the same purpose and context.
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Code> {
        const BAD: Code = Code::TicketInvalid;
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(BAD);
        }
        let (header, body) = sealed.split_at_checked(HEADER).ok_or(BAD)?;
        let (version, rest) = header.split_first().ok_or(BAD)?;
        let (kid, rest) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        let (slot, nonce) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        if *version != VERSION {
            return Err(BAD);
        }
        let kid = u32::from_be_bytes(*kid);
        let keys = self.0.load();
        let index = keys.keys.binary_search_by_key(&kid, |(kid, _)| *kid).map_err(|_| BAD)?;
        let slot = u32::from_be_bytes(*slot);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| BAD)?;
        let mut body = body.to_vec();
        let hourly = keys.known(index, purpose, slot).or_else(|| keys.derived(index, purpose, slot));
        let cipher = &hourly.ok_or(BAD)?.cipher;
        let plain =
            cipher.open_in_place(nonce, Aad::from(aad(header, context)), &mut body).map_err(|_| BAD)?.len();
        body.truncate(plain);
        Ok(body)
    }

    /// [`Ring::seal`] as text for cookies, URLs and form fields.
    pub fn seal_text(
        &self,
        purpose: Purpose,
        context: &[u8],
        plain: &[u8],
        now: Timestamp,
    ) -> Result<String, SealError> {
        Ok(Base64UrlUnpadded::encode_string(&self.seal(purpose, context, plain, now)?))
    }

    /// [`Ring::open`] of such a text.
    pub fn open_text(&self, purpose: Purpose, context: &[u8], text: &str) -> Result<Vec<u8>, Code> {
        if text.len() > SEALED_BYTES_MAX.div_ceil(3) * 4 {
            return Err(Code::TicketInvalid);
        }
        let sealed = Base64UrlUnpadded::decode_vec(text).map_err(|_| Code::TicketInvalid)?;
        self.open(purpose, context, &sealed)
    }
}

impl Keys {
    fn new(keys: &[(u32, [u8; KEY_BYTES])], sealing: u32) -> Result<Self, RingError> {
        if keys.len() > KEYS_MAX {
            return Err(RingError);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate pool key v1");
        let mut keys: Vec<_> = keys.iter().map(|(kid, key)| (*kid, salt.extract(key))).collect();
        keys.sort_by_key(|(kid, _)| *kid);
        let distinct = keys.windows(2).all(|pair| matches!(pair, [a, b] if a.0 != b.0));
        let sealing = keys.iter().position(|(kid, _)| *kid == sealing).ok_or(RingError)?;
        let current = Default::default();
        if distinct { Ok(Self { version: 0, keys, sealing, current }) } else { Err(RingError) }
    }

    fn sealing(&self) -> Option<&(u32, hkdf::Prk)> {
        self.keys.get(self.sealing)
    }

    /// What seals for `purpose` in this hour; derived once.
    fn hourly(&self, purpose: Purpose, slot: u32) -> Option<Arc<Hourly>> {
        self.known(self.sealing, purpose, slot).or_else(|| {
            let hourly = self.derived(self.sealing, purpose, slot)?;
            self.current.get(purpose as usize)?.store(Some(Arc::clone(&hourly)));
            Some(hourly)
        })
    }

    fn derived(&self, index: usize, purpose: Purpose, slot: u32) -> Option<Arc<Hourly>> {
        let (_, prk) = self.keys.get(index)?;
        let key = derive(prk, purpose, slot)?;
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &key).ok()?);
        Some(Arc::new(Hourly { slot, cipher }))
    }

    /// The key at `index` for `purpose` and `slot`, if that is what seals now. Opening never changes what is
    /// kept: strangers choose what is opened.
    fn known(&self, index: usize, purpose: Purpose, slot: u32) -> Option<Arc<Hourly>> {
        let hourly = (index == self.sealing).then(|| self.current.get(purpose as usize))??.load_full()?;
        (hourly.slot == slot).then_some(hourly)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<u32> = self.0.load().keys.iter().map(|(kid, _)| *kid).collect();
        f.debug_struct("Ring").field("kids", &kids).finish_non_exhaustive()
    }
}

/// `N` random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| SealError)?;
    Ok(bytes)
}

struct Key256;

impl hkdf::KeyType for Key256 {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn slot(now: Timestamp) -> u32 {
    u32::try_from(now.0.div_euclid(SLOT_S)).unwrap_or(0)
}

fn derive(prk: &hkdf::Prk, purpose: Purpose, slot: u32) -> Option<[u8; KEY_BYTES]> {
    let slot = slot.to_be_bytes();
    // The slot has a fixed length and comes first, so no two pairs give the same text.
    let info = [slot.as_slice(), purpose.label()];
    let mut key = [0; KEY_BYTES];
    prk.expand(&info, Key256).and_then(|okm| okm.fill(&mut key)).ok()?;
    Some(key)
}

fn aad(header: &[u8], context: &[u8]) -> Vec<u8> {
    [header, context].concat()
}
