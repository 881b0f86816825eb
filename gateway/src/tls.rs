//! TLS towards clients: rustls with aws-lc-rs, AES-128-GCM first, tickets any gateway of the pool opens.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite};
use tidegate_core::Timestamp;
use tokio::sync::watch;

use crate::keys::Purpose;
use crate::shared::Shared;

/// Seconds a session ticket is good for.
const TICKET_S: u32 = 6 * 3_600;

/// The order is ours, not the client's: AES-128-GCM costs half of what clients ask for first.
const SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The cryptography of both directions.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

/// The server's side.
pub(crate) fn server(
    shared: &Arc<Shared>,
    certificate: watch::Receiver<Arc<CertifiedKey>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Newest(certificate)));
    config.ignore_client_order = true;
    // A tunnel seals its records itself.
    config.enable_secret_extraction = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::new(Tickets(Arc::clone(shared)));
    // One ticket per connection: each costs a message, and browsers reuse few.
    config.send_tls13_tickets = 1;
    // Sessions are in the tickets; nothing is kept here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Whatever certificate was issued last.
#[derive(Debug)]
struct Newest(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

/// Tickets sealed with a key of the pool for the hour.
struct Tickets(Arc<Shared>);

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.0.clock.now();
        let dated = [&now.0.to_be_bytes(), plain].concat();
        self.0.ring.seal(Purpose::TlsTicket, b"", &dated, now).ok()
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut dated = self.0.ring.open(Purpose::TlsTicket, b"", cipher).ok()?;
        let issued = Timestamp(i64::from_be_bytes(*dated.first_chunk::<8>()?));
        let fresh = (0..i64::from(TICKET_S)).contains(&self.0.clock.now().since(issued));
        fresh.then(|| dated.split_off(8))
    }
}
