//! Certificates and keys that live as long as one test.

use std::error::Error;
use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::json;

/// Writes a CA, the API server's certificate, an administrator's kubeconfig and the key of service accounts.
pub(super) fn write(directory: &Path, port: u16) -> Result<(), Box<dyn Error>> {
    let (ca_key, server_key, admin_key) = (KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?);
    let mut ca = named(Vec::new(), "tidegate test CA")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc"];
    let mut server = named(names.map(str::to_owned).to_vec(), "kube-apiserver")?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server: Certificate = server.signed_by(&server_key, &issuer)?;

    let mut admin = named(Vec::new(), "admin")?;
    // The group that RBAC lets do everything.
    admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let admin = admin.signed_by(&admin_key, &issuer)?;

    let accounts = KeyPair::generate()?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": "ca.crt",
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate": "admin.crt", "client-key": "admin.key",
        }}],
    });
    for (name, text) in [
        ("ca.crt", ca_certificate.pem()),
        ("server.crt", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("admin.crt", admin.pem()),
        ("admin.key", admin_key.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        ("accounts.key", accounts.serialize_pem()),
        ("kubeconfig", kubeconfig.to_string()),
    ] {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

fn named(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    Ok(parameters)
}
