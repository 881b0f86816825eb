//! The gateway's certificate when nobody brings one: an authority of its own under `STATE/tls`.
//!
//! The authority may only speak for the gateway's own host and the names below it, so that trusting it in a
//! browser does not mean trusting it for anything else. The leaf names every host the gateway answers to,
//! lives in memory, and is issued anew when the systems change; its key stays, for VPN clients pin it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64, Encoding as _};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData as _,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use tidegate_core::Snapshot;

/// Hosts a leaf names at most; the rest of a longer list is reached by nobody's browser and is logged.
const NAMES_MAX: usize = 1_000;
/// Days an authority counts.
const AUTHORITY_DAYS: i64 = 3_650;
/// Days a leaf counts; it is issued at every start and every change.
const LEAF_DAYS: i64 = 397;

/// The authority of one gateway.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaf: KeyPair,
    host: String,
    file: PathBuf,
}

impl Authority {
    /// Opens the authority in `directory`, or makes one; one made for another host is replaced.
    pub(crate) fn open(directory: &Path, host: &str) -> Result<Self> {
        let file = directory.join("ca.pem");
        let key_file = directory.join("ca.key");
        let leaf_file = directory.join("leaf.key");
        let host_file = directory.join("ca.host");
        let known = std::fs::read_to_string(&host_file).is_ok_and(|known| known == host);
        if !known || !file.exists() || !key_file.exists() {
            let (certificate, key) = make_authority(host)?;
            // The host comes last: without it the other two are made again.
            write(&key_file, key.as_bytes(), 0o600)?;
            write(&file, certificate.as_bytes(), 0o644)?;
            write(&host_file, host.as_bytes(), 0o644)?;
        }
        if !leaf_file.exists() {
            write(&leaf_file, generate()?.serialize_pem().as_bytes(), 0o600)?;
        }
        let read = |file: &Path| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        let pem = read(&file)?;
        let unusable = || format!("{} is not the authority made here; remove it", file.display());
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).with_context(unusable)?;
        let key = KeyPair::from_pem(&read(&key_file)?).with_context(unusable)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).with_context(unusable)?;
        let leaf = KeyPair::from_pem(&read(&leaf_file)?)
            .with_context(|| format!("{} is not the key made here; remove it", leaf_file.display()))?;
        Ok(Self { issuer, certificate, leaf, host: host.into(), file })
    }

    /// The certificate to trust, as a file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What VPN clients know the gateway by, as `--servercert` takes it: the digest of its public key.
    pub(crate) fn pin(&self) -> String {
        let digest = digest(&SHA256, &self.leaf.subject_public_key_info());
        format!("pin-sha256:{}", Base64::encode_string(digest.as_ref()))
    }

    /// A leaf that names `names`, with its chain.
    pub(crate) fn issue(&self, names: &[String]) -> Result<Arc<CertifiedKey>> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name(&self.host);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, LEAF_DAYS)?;
        let leaf = params.signed_by(&self.leaf, &self.issuer)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf.serialize_der()));
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone(), self.certificate.clone()], signing)))
    }
}

/// The hosts the gateway answers to: its own, and one for each web system. On a bare address there is only
/// the address.
pub(crate) fn names(host: &str, snapshot: Option<&Snapshot>) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    if host.parse::<IpAddr>().is_ok() {
        return names;
    }
    if host.contains('.') {
        names.push(format!("*.{host}"));
        return names;
    }
    // Browsers take no wildcard directly below `localhost`, so each host is named.
    let departments = snapshot.into_iter().flat_map(|snapshot| snapshot.departments.values());
    let hosts = departments.flat_map(|department| {
        let web = department.resources.values().filter(|resource| resource.web().is_some());
        web.map(move |resource| format!("{}-{}.{host}", resource.name, department.code))
    });
    names.extend(hosts);
    if names.len() > NAMES_MAX {
        tracing::warn!(systems = names.len(), most = NAMES_MAX, "the certificate cannot name every system");
        names.truncate(NAMES_MAX);
    }
    names
}

fn generate() -> Result<KeyPair> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

fn make_authority(host: &str) -> Result<(String, String)> {
    let key = generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Tidegate authority for {host}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let permitted = match host.parse::<IpAddr>() {
        Ok(address) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
            address,
            if address.is_ipv4() { 32 } else { 128 },
        )),
        Err(_) => GeneralSubtree::DnsName(host.into()),
    };
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: vec![permitted], excluded_subtrees: Vec::new() });
    set_validity(&mut params, AUTHORITY_DAYS)?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn name(common: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::OrganizationName, "Tidegate");
    // A common name has at most 64 characters.
    name.push(DnType::CommonName, common.chars().take(64).collect::<String>());
    name
}

/// From yesterday, for clocks that are behind, for `days`.
fn set_validity(params: &mut CertificateParams, days: i64) -> Result<()> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let instant = |date: jiff::civil::Date| -> Result<_> {
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(rcgen::date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = instant(today.yesterday()?)?;
    params.not_after = instant(today.checked_add(jiff::Span::new().try_days(days)?)?)?;
    Ok(())
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(file)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_and_replaced_for_another_host() {
        let directory = tempfile::tempdir().expect("a folder");
        let pem = || std::fs::read(directory.path().join("ca.pem")).expect("there");
        Authority::open(directory.path(), "localhost").expect("made");
        let first = pem();
        let authority = Authority::open(directory.path(), "localhost").expect("opened");
        assert_eq!(pem(), first);
        // Whoever pinned the key once recognises every later leaf.
        let pin = authority.pin();
        assert!(pin.starts_with("pin-sha256:") && pin.ends_with('='), "{pin}");
        assert_eq!(Authority::open(directory.path(), "localhost").expect("opened").pin(), pin);
        let leaf = authority.issue(&["localhost".into(), "pension-sbj.localhost".into()]).expect("a leaf");
        assert_eq!(leaf.cert.len(), 2);
        Authority::open(directory.path(), "vpn.example.org").expect("made");
        assert_ne!(pem(), first);
    }

    #[test]
    fn names_depend_on_the_host() {
        assert_eq!(names("localhost", None), ["localhost"]);
        assert_eq!(names("192.0.2.1", None), ["192.0.2.1"]);
        assert_eq!(names("vpn.example.org", None), ["vpn.example.org", "*.vpn.example.org"]);
    }
}
