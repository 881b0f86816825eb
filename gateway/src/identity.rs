//! Who is asking, signed for upstreams: a JWT (ES256) and the keys to check it with.
//!
//! ```text
//!  pool key -- HKDF --> P-256 key, one per pool key; any gateway of the pool signs alike
//!  X-Tidegate-Jwt = header . {iss, aud, sub, name, department, unit, groups, sid, iat, exp} . signature
//!  upstream: fetches /.well-known/jwks.json from the portal host, checks signature, aud and exp
//! ```

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;
use tidegate_core::{Account, Timestamp};

use tidegate_core::session::Ticket;

use crate::keys::{Purpose, Ring};

/// Path of the public keys on the portal host.
pub const JWKS: &str = "/.well-known/jwks.json";

/// Seconds a token is good for.
const TOKEN_S: i64 = 300;

/// Seconds after which a new one is made; what is left is for slow upstreams and skewed clocks.
const RENEW_S: i64 = 60;

/// Most groups in a token; the header must fit what upstreams take.
const GROUPS_MAX: usize = 64;

/// SEC 1 (RFC 5915) form of a P-256 private key without its public half: what comes before and after the
/// 32 bytes of the number.
const DER_BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
const DER_AFTER: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Signs tokens with the key of the pool that seals, also after a rotation.
pub struct Identity {
    issuer: String,
    random: SystemRandom,
    ring: Ring,
    signer: ArcSwap<Signer>,
}

/// What a ring comes to.
struct Signer {
    version: u64,
    header: String,
    key: EcdsaKeyPair,
    jwks: Bytes,
}

/// The pool's keys give no signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signing key can be derived from the pool's keys")]
pub struct IdentityError;

impl Identity {
    /// The identity of the pool with these keys, whose portal is `origin`.
    pub fn new(ring: &Ring, origin: &str) -> Result<Self, IdentityError> {
        let signer = ArcSwap::from_pointee(Signer::new(ring)?);
        Ok(Self { issuer: origin.to_owned(), random: SystemRandom::new(), ring: ring.clone(), signer })
    }

    /// The signer of the ring as it is now.
    fn signer(&self) -> Arc<Signer> {
        let known = self.signer.load();
        if known.version == self.ring.version() {
            return Arc::clone(&known);
        }
        match Signer::new(&self.ring) {
            Ok(signer) => {
                let signer = Arc::new(signer);
                self.signer.store(Arc::clone(&signer));
                signer
            }
            Err(error) => {
                tracing::error!(%error, "upstreams are told with the key before");
                Arc::clone(&known)
            }
        }
    }

    /// The public keys, as JSON.
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.signer().jwks.clone()
    }

    /// A token for the upstream behind `audience`, and when to make the next.
    pub(crate) fn token(
        &self,
        ticket: &Ticket,
        account: &Account,
        audience: &str,
        now: Timestamp,
    ) -> Option<(HeaderValue, Timestamp)> {
        let person = &account.person;
        let groups: Vec<&str> = person.groups.iter().take(GROUPS_MAX).map(|group| group.as_str()).collect();
        let claims = json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": ticket.account.to_string(),
            "name": person.display_name,
            "department": ticket.account.department.as_str(),
            "unit": person.unit,
            "groups": groups,
            "sid": ticket.session.to_string(),
            "iat": now.0,
            "exp": now.plus(TOKEN_S).0,
        });
        let claims = Base64UrlUnpadded::encode_string(claims.to_string().as_bytes());
        let signer = self.signer();
        let mut token = format!("{}.{claims}", signer.header);
        let signature = signer.key.sign(&self.random, token.as_bytes()).ok()?;
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(signature.as_ref()));
        Some((HeaderValue::try_from(token).ok()?, now.plus(RENEW_S)))
    }
}

impl Signer {
    fn new(ring: &Ring) -> Result<Self, IdentityError> {
        // Read first: a rotation in between makes this one old, and the next is made.
        let version = ring.version();
        let mut public = Vec::new();
        let mut newest = None;
        for (kid, number) in ring.derived_by_kid(Purpose::Identity) {
            let der = [DER_BEFORE.as_slice(), &number, &DER_AFTER].concat();
            // One number in 2^32 is no key; such a pool key is as good as none.
            let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                .map_err(|_| IdentityError)?;
            public.push(jwk(kid, key.public_key().as_ref()).ok_or(IdentityError)?);
            newest = Some((kid, key));
        }
        let (kid, key) = newest.ok_or(IdentityError)?;
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": kid.to_string()}).to_string();
        Ok(Self {
            version,
            header: Base64UrlUnpadded::encode_string(header.as_bytes()),
            key,
            jwks: Bytes::from(json!({ "keys": public }).to_string()),
        })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A public key (an uncompressed point) as JSON.
fn jwk(kid: u32, point: &[u8]) -> Option<serde_json::Value> {
    let (form, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at_checked(32)?;
    (*form == 4 && y.len() == 32).then(|| {
        let text = Base64UrlUnpadded::encode_string;
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid.to_string(),
               "x": text(x), "y": text(y)})
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_gateway_of_a_pool_has_the_same_keys() {
        let identity = |keys: &[(u32, [u8; 32])]| {
            Identity::new(&Ring::new(keys).expect("a ring"), "https://vpn.example").expect("an identity")
        };
        let one = identity(&[(1, [7; 32]), (2, [8; 32])]);
        assert_eq!(one.jwks(), identity(&[(2, [8; 32]), (1, [7; 32])]).jwks());
        assert_ne!(one.jwks(), identity(&[(1, [7; 32]), (2, [9; 32])]).jwks());
        let keys: Value = serde_json::from_slice(&one.jwks()).expect("JSON");
        assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
        // The newest key signs, and the published half of it verifies.
        let newest = &keys["keys"][1];
        assert_eq!(newest["kid"], "2");
        let number =
            |name: &str| Base64UrlUnpadded::decode_vec(newest[name].as_str().expect("text")).expect("base64");
        let point = [vec![4], number("x"), number("y")].concat();
        let signature = one.signer().key.sign(&one.random, b"message").expect("a signature");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(public.verify(b"message", signature.as_ref()).is_ok());
    }

    #[test]
    fn a_rotation_is_followed() {
        let ring = Ring::new(&[(1, [7; 32])]).expect("a ring");
        let identity = Identity::new(&ring, "https://vpn.example").expect("an identity");
        let before = identity.jwks();
        ring.rotate(&[(1, [7; 32]), (2, [8; 32])], 1).expect("a ring");
        assert_ne!(identity.jwks(), before, "upstreams may fetch the next key before it signs");
        assert!(identity.signer().header.len() > 10);
        let first = identity.signer().header.clone();
        ring.rotate(&[(1, [7; 32]), (2, [8; 32])], 2).expect("a ring");
        assert_ne!(identity.signer().header, first);
    }
}
