//! Authorities and certificates: pure, from names and a day to PEM.
//!
//! Keys are ECDSA P-256. An authority counts for ten years, a leaf for one; what is used is made anew long
//! before ([`Leaf::renew_after`]). Every leaf says in a fingerprint what it was made for, so that one for other names
//! or of another authority is recognised without taking it apart.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::digest::{hex, sha256};

/// Days an authority counts.
const AUTHORITY_DAYS: i64 = 3_650;
/// Days a leaf counts.
const LEAF_DAYS: i64 = 365;
/// Days after which a leaf is made anew: two thirds of its time.
const RENEW_DAYS: i64 = 243;

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, with its chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It proves who a client is.
    Client,
    /// It proves what a server is called.
    Server,
    /// Both: members of etcd are each other's clients.
    Member,
}

/// What a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whose it is.
    pub common_name: String,
    /// The host names and addresses it counts for.
    pub names: Vec<String>,
    /// What it is for.
    pub purpose: Purpose,
}

/// A key or certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate: {0}")]
pub struct PkiError(String);

impl PkiError {
    /// The operating system gives no random numbers.
    #[must_use]
    pub fn no_random() -> Self {
        Self("the operating system gives no random numbers".into())
    }
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<jiff::Error> for PkiError {
    fn from(error: jiff::Error) -> Self {
        Self(error.to_string())
    }
}

/// A new authority of this name.
pub fn authority(name: &str, now: jiff::Timestamp) -> Result<Pair, PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, AUTHORITY_DAYS)?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

impl Leaf {
    /// A new leaf of an authority.
    pub fn issue(&self, authority: &Pair, now: jiff::Timestamp) -> Result<Pair, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = distinguished(&self.common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match self.purpose {
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Purpose::Member => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF_DAYS)?;
        let leaf = params.signed_by(&key, &issuer)?;
        let certificate = format!("{}{}", leaf.pem(), authority.certificate);
        Ok(Pair { certificate, key: key.serialize_pem() })
    }

    /// What a leaf of this authority was made for; a leaf with another fingerprint is not this one.
    #[must_use]
    pub fn fingerprint(&self, authority: &str) -> String {
        let text = format!("{self:?}\n{}", authority.trim());
        hex(&sha256(text.as_bytes())).chars().take(32).collect()
    }

    /// When a leaf that is made now is made anew.
    #[must_use]
    pub fn renew_after(now: jiff::Timestamp) -> jiff::Timestamp {
        now.checked_add(jiff::SignedDuration::from_hours(24 * RENEW_DAYS)).unwrap_or(now)
    }
}

fn distinguished(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // etcd knows users by this, whole: nothing is shortened.
    name.push(DnType::CommonName, common);
    name
}

/// From yesterday, for clocks that are behind, for `days`.
fn valid(params: &mut CertificateParams, now: jiff::Timestamp, days: i64) -> Result<(), PkiError> {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let midnight = |date: jiff::civil::Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = midnight(today.yesterday()?);
    params.not_after = midnight(today.checked_add(jiff::Span::new().try_days(days)?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str) -> Leaf {
        Leaf { common_name: "gw:main".into(), names: vec![name.into()], purpose: Purpose::Client }
    }

    #[test]
    fn a_leaf_comes_with_its_authority() {
        let now = jiff::Timestamp::now();
        let authority = authority("Tidegate etcd", now).expect("an authority");
        let pair = leaf("vpn.example.org").issue(&authority, now).expect("a leaf");
        assert_eq!(pair.certificate.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(pair.certificate.ends_with(&authority.certificate));
        assert!(pair.key.contains("PRIVATE KEY"));
        assert!(!format!("{pair:?}").contains("PRIVATE"), "a key is never printed");
    }

    #[test]
    fn a_fingerprint_tells_names_and_authorities_apart() {
        let one = leaf("a.example.org").fingerprint("ca");
        assert_eq!(one, leaf("a.example.org").fingerprint("ca\n"));
        assert_ne!(one, leaf("b.example.org").fingerprint("ca"));
        assert_ne!(one, leaf("a.example.org").fingerprint("another"));
    }
}
