//! Keys and certificates from files, as Secret volumes mount them, and their changes.
//!
//! kubelet replaces all files of a volume by swapping one link. They are read again every second, which costs
//! less than knowing how each kind of file system tells of changes; files read on both sides of a swap do not
//! fit together, are refused, and are whole a second later.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_store::EtcdTls;
use tokio::time::MissedTickBehavior;

use crate::config::file::{Etcd, KeyPair};
use crate::keys::{KEY_BYTES, KEYS_MAX};

#[cfg(test)]
mod tests;

/// How often files are read again.
const PERIOD: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 1_000 });
/// Longest PEM file that is read.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// The file that names the key that seals.
const CURRENT: &str = "current";
/// Longest content of that file.
const CURRENT_BYTES_MAX: u64 = 32;

/// The pool's keys as files say.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PoolKeys {
    /// By number.
    pub(super) keys: Vec<(u32, [u8; KEY_BYTES])>,
    /// Which of them seals.
    pub(super) sealing: u32,
}

impl fmt::Debug for PoolKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolKeys").field("sealing", &self.sealing).finish_non_exhaustive()
    }
}

impl PoolKeys {
    /// Reads the keys in `folder`: files `<kid>` of 32 bytes, and perhaps `current`.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
        let mut keys = Vec::new();
        let mut current = None;
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_str().unwrap_or_default();
            let file = folder.join(name);
            if name.starts_with('.') {
                // kubelet's own links.
            } else if name == CURRENT {
                current = Some(number(&file)?);
            } else {
                let wrong = || format!("{}: a key is named by its number; remove the file", file.display());
                let kid = name.parse::<u32>().ok().filter(|kid| kid.to_string() == name).ok_or_else(wrong)?;
                if keys.len() >= KEYS_MAX {
                    return Err(format!("{}: more than {KEYS_MAX} keys", folder.display()));
                }
                let bytes = read(&file, KEY_BYTES as u64)?;
                let wrong =
                    |bytes: Vec<u8>| format!("{}: {} bytes, not {KEY_BYTES}", file.display(), bytes.len());
                keys.push((kid, <[u8; KEY_BYTES]>::try_from(bytes).map_err(wrong)?));
            }
        }
        keys.sort_unstable_by_key(|(kid, _)| *kid);
        let Some((largest, _)) = keys.last() else { return Err(format!("{}: no key", folder.display())) };
        let sealing = current.unwrap_or(*largest);
        if keys.iter().all(|(kid, _)| *kid != sealing) {
            return Err(format!("{}: there is no key {sealing}", folder.join(CURRENT).display()));
        }
        Ok(Self { keys, sealing })
    }

    /// The keys, the sealing one last.
    pub(super) fn in_order(&self) -> Vec<(u32, [u8; KEY_BYTES])> {
        let mut keys = self.keys.clone();
        keys.sort_by_key(|(kid, _)| *kid == self.sealing);
        keys
    }
}

fn number(file: &Path) -> Result<u32, String> {
    let text = String::from_utf8(read(file, CURRENT_BYTES_MAX)?).unwrap_or_default();
    text.trim().parse().map_err(|_| format!("{}: write the number of a key", file.display()))
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    certificate: Vec<u8>,
    key: Vec<u8>,
    name: String,
}

impl Certificate {
    /// Reads both files.
    pub(super) fn read(files: &KeyPair) -> Result<Self, String> {
        Ok(Self {
            certificate: read(&files.certificate_file, PEM_BYTES_MAX)?,
            key: read(&files.key_file, PEM_BYTES_MAX)?,
            name: files.certificate_file.display().to_string(),
        })
    }

    /// The pair in use; refused when the two do not belong together.
    pub(super) fn parse(&self) -> Result<Arc<CertifiedKey>, String> {
        let wrong = |what: &str| format!("{}: {what}", self.name);
        let chain = chain(&self.certificate, &self.name)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| wrong("its key is no PEM key"))?;
        let pair = CertifiedKey::from_der(chain, key, &crate::tls::provider())
            .map_err(|error| wrong(&format!("certificate and key do not belong together: {error}")))?;
        Ok(Arc::new(pair))
    }
}

/// What etcd is reached with, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EtcdCertificates {
    ca: Vec<u8>,
    pair: Certificate,
}

impl EtcdCertificates {
    /// Reads the three files, where there are any.
    pub(super) fn read(files: &Etcd) -> Result<Option<Self>, String> {
        let (Some(ca), Some(certificate_file), Some(key_file)) =
            (&files.ca_file, &files.certificate_file, &files.key_file)
        else {
            return Ok(None);
        };
        let pair = KeyPair { certificate_file: certificate_file.clone(), key_file: key_file.clone() };
        Ok(Some(Self { ca: read(ca, PEM_BYTES_MAX)?, pair: Certificate::read(&pair)? }))
    }

    /// Whether they can be used.
    pub(super) fn check(&self) -> Result<(), String> {
        chain(&self.ca, "the authority of etcd")?;
        self.pair.parse().map(drop)
    }

    /// The same for the store.
    pub(super) fn tls(&self) -> EtcdTls {
        EtcdTls {
            ca: self.ca.clone(),
            certificate: self.pair.certificate.clone(),
            key: self.pair.key.clone(),
        }
    }
}

/// The authorities in a file.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, String> {
    let name = file.display().to_string();
    let mut roots = RootCertStore::empty();
    for certificate in chain(&read(file, PEM_BYTES_MAX)?, &name)? {
        roots.add(certificate).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(roots)
}

fn chain(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("{name}: {error}"))?;
    if certificates.is_empty() { Err(format!("{name}: no certificate in it")) } else { Ok(certificates) }
}

fn read(file: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!("{}: longer than {most} bytes", file.display()));
    }
    Ok(bytes)
}

/// Reads again every second, and takes what is new. What cannot be used is told once and tried again.
pub(super) async fn follow<T: PartialEq>(
    what: &'static str,
    mut known: T,
    mut read: impl FnMut() -> Result<T, String>,
    mut take: impl FnMut(&T) -> Result<(), String>,
) {
    let mut told = String::new();
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let taken = match read() {
            Ok(new) if new == known => Ok(()),
            Ok(new) => take(&new).map(|()| {
                known = new;
                tracing::info!("{what} has changed and is in use");
            }),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => told.clear(),
            Err(error) if error == told => {}
            Err(error) => {
                tracing::error!(error, "{what} cannot be used; the one before stays in use");
                told = error;
            }
        }
    }
}
