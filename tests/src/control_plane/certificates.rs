//! Certificates and keys that live as long as one test.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;

/// A certificate authority, and the directory that everything it signs is written to.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one; its certificate is `ca.crt`.
    ///
    /// # Errors
    ///
    /// When a key cannot be made or a file cannot be written.
    pub fn create(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let key = KeyPair::generate()?;
        let mut ca = named(&[], "tidegate test CA")?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(directory.join("ca.crt"), ca.self_signed(&key)?.pem())?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(ca, key) })
    }

    /// A certificate as `<file>.crt` and its key as `<file>.key`: for a client, and a server of these names.
    ///
    /// # Errors
    ///
    /// When it cannot be signed or written.
    pub fn sign(
        &self,
        file: &str,
        common_name: &str,
        organisation: Option<&str>,
        names: &[&str],
    ) -> Result<(), Box<dyn Error>> {
        let key = KeyPair::generate()?;
        let mut parameters = named(names, common_name)?;
        if let Some(organisation) = organisation {
            parameters.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !names.is_empty() {
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        fs::write(self.directory.join(format!("{file}.crt")), certificate.pem())?;
        fs::write(self.directory.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// The key pair that service account tokens are signed with: `<file>.pub` and `<file>.key`.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub fn key_pair(&self, file: &str) -> Result<(), Box<dyn Error>> {
        let key = KeyPair::generate()?;
        fs::write(self.directory.join(format!("{file}.pub")), key.public_key_pem())?;
        fs::write(self.directory.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// A kubeconfig as `<file>.kubeconfig`, for the holder of `<file>.crt` and `<file>.key`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn kubeconfig(&self, file: &str, server: &str) -> Result<(), Box<dyn Error>> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": file}}],
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
            "users": [{"name": file, "user": {
                "client-certificate": format!("{file}.crt"), "client-key": format!("{file}.key"),
            }}],
        });
        Ok(fs::write(self.directory.join(format!("{file}.kubeconfig")), config.to_string())?)
    }
}

fn named(names: &[&str], common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    Ok(parameters)
}
