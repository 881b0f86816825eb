//! Sealing: whoever reads etcd without the pool's keys learns nothing, and can forge nothing.
//!
//! `version (1) | kid (4) | nonce (12) | AES-256-GCM-SIV`, with the key the value lies under as associated
//! data: a value moved elsewhere cannot be read. Configuration and live facts have keys of their own, so a
//! value of one kind never passes for the other.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};

use crate::wire::unreadable;
use crate::{StoreError, StoreResult};

const VERSION: u8 = 1;
const NONCE: usize = 12;
const HEADER: usize = 1 + 4 + NONCE;

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Manifests and parts.
    Configuration,
    /// What gateways say.
    Live,
    /// The snapshot on a gateway's disk.
    Disk,
}

/// The pool's keys, by kid.
pub(super) struct Sealer {
    ring: Vec<(u32, [LessSafeKey; 3])>,
}

impl Sealer {
    /// Derives the keys of a ring; its last key seals.
    pub(super) fn new(ring: &[(u32, [u8; 32])]) -> StoreResult<Self> {
        let mut derived = Vec::with_capacity(ring.len());
        for (kid, secret) in ring {
            let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate/v1/store").extract(secret);
            let key = |info: &[u8]| {
                let info = [info];
                let expanded = root.expand(&info, &AES_256_GCM_SIV).map_err(|_| refused())?;
                Ok::<_, StoreError>(LessSafeKey::new(UnboundKey::from(expanded)))
            };
            derived.push((*kid, [key(b"configuration")?, key(b"live")?, key(b"disk")?]));
        }
        if derived.is_empty() {
            return Err(StoreError::Refused("the pool has no sealing key".into()));
        }
        Ok(Self { ring: derived })
    }

    /// The kid that seals.
    pub(super) fn kid(&self) -> u32 {
        self.ring.last().map_or(0, |(kid, _)| *kid)
    }

    /// Seals `plain` for the place `key`.
    pub(super) fn seal(&self, purpose: Purpose, key: &str, plain: &[u8]) -> StoreResult<Vec<u8>> {
        let (kid, keys) = self.ring.last().ok_or_else(refused)?;
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).map_err(|_| StoreError::Unavailable("no random numbers".into()))?;
        let mut body = plain.to_vec();
        of(keys, purpose)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(key.as_bytes()),
                &mut body,
            )
            .map_err(|_| refused())?;
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&kid.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what was sealed for the place `key`.
    pub(super) fn open(&self, purpose: Purpose, key: &str, sealed: &[u8]) -> StoreResult<Vec<u8>> {
        let kid = kid_of(sealed)?;
        let (_, keys) = self
            .ring
            .iter()
            .find(|(known, _)| *known == kid)
            .ok_or_else(|| unreadable(format_args!("sealed with key {kid}, which this ring has not")))?;
        let nonce = sealed.get(HEADER - NONCE..HEADER).and_then(|bytes| bytes.try_into().ok());
        let (Some(nonce), Some(body)) = (nonce, sealed.get(HEADER..)) else {
            return Err(unreadable("a sealed value is too short"));
        };
        let mut body = body.to_vec();
        let len = of(keys, purpose)
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut body)
            .map_err(|_| unreadable("a sealed value was changed or belongs elsewhere"))?
            .len();
        body.truncate(len);
        Ok(body)
    }
}

/// The key a value was sealed with.
pub(super) fn kid_of(sealed: &[u8]) -> StoreResult<u32> {
    match sealed {
        [VERSION, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [version, ..] if *version != VERSION => Err(unreadable(format_args!("seal version {version}"))),
        _ => Err(unreadable("a sealed value is too short")),
    }
}

fn of(keys: &[LessSafeKey; 3], purpose: Purpose) -> &LessSafeKey {
    let [configuration, live, disk] = keys;
    match purpose {
        Purpose::Configuration => configuration,
        Purpose::Live => live,
        Purpose::Disk => disk,
    }
}

fn refused() -> StoreError {
    StoreError::Refused("a sealing key cannot be used".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_the_purpose_and_the_ring_open() {
        let old = Sealer::new(&[(1, [1; 32])]).expect("a ring");
        let both = Sealer::new(&[(1, [1; 32]), (2, [2; 32])]).expect("a ring");
        let sealed = old.seal(Purpose::Configuration, "/a", b"plain").expect("sealed");
        assert_eq!(both.open(Purpose::Configuration, "/a", &sealed).expect("open"), b"plain");
        assert!(both.open(Purpose::Configuration, "/b", &sealed).is_err());
        assert!(both.open(Purpose::Live, "/a", &sealed).is_err());
        let newer = both.seal(Purpose::Live, "/a", b"").expect("sealed");
        assert_eq!(kid_of(&newer).expect("a kid"), both.kid());
        assert!(old.open(Purpose::Live, "/a", &newer).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(both.open(Purpose::Configuration, "/a", &changed).is_err(), "byte {at}");
            assert!(both.open(Purpose::Configuration, "/a", &sealed[..at]).is_err(), "length {at}");
        }
        assert!(Sealer::new(&[]).is_err());
    }
}
