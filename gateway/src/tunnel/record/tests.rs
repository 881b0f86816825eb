use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::*;

/// Both ends of a connection after its handshake.
fn ends(suite: SupportedCipherSuite) -> (ClientConnection, ServerConnection) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let versions = rustls::ALL_VERSIONS;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server");
    server.enable_secret_extraction = true;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("bytes");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("taken");
            server.process_new_packets().expect("a handshake");
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("bytes");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("taken");
            client.process_new_packets().expect("a handshake");
        }
    }
    (client, server)
}

/// What the client sends.
fn sent(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    client.writer().write_all(bytes).expect("taken");
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).expect("bytes");
    }
    out
}

fn suites() -> Vec<SupportedCipherSuite> {
    use rustls::crypto::aws_lc_rs::cipher_suite as suite;
    vec![
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

#[test]
fn records_are_those_of_a_whole_stack() {
    use std::io::Read as _;
    for suite in suites() {
        let (mut client, server) = ends(suite);
        let version = server.protocol_version();
        let secrets = server.dangerous_extract_secrets().expect("secrets");
        let (mut opener, mut sealer) = directions(secrets, version).expect("directions");
        for length in [1, 100, 1_400, 16 * 1024] {
            let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut record = sent(&mut client, &message);
            assert_eq!(Opener::length(&record), Ok(Some(record.len())), "{suite:?}");
            assert_eq!(opener.open(&mut record), Ok(Content::Data(&message)), "{suite:?}");

            let (before, after) = sealer.overhead();
            let mut record = [vec![0; before], message.clone(), vec![0; after]].concat();
            sealer.seal(&mut record).expect("sealed");
            let mut rest = record.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("taken");
                client.process_new_packets().expect("opened");
            }
            let mut read = vec![0; length];
            client.reader().read_exact(&mut read).expect("all of it");
            assert_eq!(read, message, "{suite:?}");
        }
        client.send_close_notify();
        let mut farewell = Vec::new();
        client.write_tls(&mut farewell).expect("bytes");
        assert_eq!(opener.open(&mut farewell), Ok(Content::Closed), "{suite:?}");
    }
}

#[test]
fn what_was_changed_or_comes_twice_is_refused() {
    for suite in suites() {
        let (mut client, server) = ends(suite);
        let version = server.protocol_version();
        let secrets = server.dangerous_extract_secrets().expect("secrets");
        let (mut opener, _) = directions(secrets, version).expect("directions");
        let record = sent(&mut client, b"hello");
        assert_eq!(opener.open(&mut record.clone()), Ok(Content::Data(b"hello")));
        assert_eq!(opener.open(&mut record.clone()), Err(Broken), "{suite:?}");
        for length in 0..30 {
            assert!(opener.open(&mut vec![23; length]).is_err());
        }
    }
}

#[test]
fn lengths_have_a_bound() {
    assert_eq!(Opener::length(b""), Ok(None));
    assert_eq!(Opener::length(&[23, 3, 3, 1]), Ok(None));
    assert_eq!(Opener::length(&[23, 3, 3, 0x41, 0]), Ok(Some(RECORD_MAX)));
    assert_eq!(Opener::length(&[23, 3, 3, 0x41, 1]), Err(Broken));
    assert_eq!(Opener::length(b"GET /"), Err(Broken));
}
