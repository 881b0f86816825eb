//! A browser's worth of HTTPS: trusts one authority, finds every host on this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A client that trusts what the gateway printed, and nothing else.
pub(crate) struct Client {
    connector: TlsConnector,
}

impl Client {
    /// Trusts the certificate in `ca`.
    pub(crate) fn trusting(ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Fetches `https://host:port/path` from this machine; an error is the handshake's or the server's.
    pub(crate) async fn get(&self, host: &str, port: u16, path: &str) -> std::io::Result<Response<String>> {
        tokio::time::timeout(Duration::from_secs(30), self.fetch(host, port, path))
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
    }

    async fn fetch(&self, host: &str, port: u16, path: &str) -> std::io::Result<Response<String>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let stream = self.connector.connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::ACCEPT, "text/html")
            .body(Empty::<Bytes>::new())
            .map_err(std::io::Error::other)?;
        let (parts, body) = sender.send_request(request).await.map_err(std::io::Error::other)?.into_parts();
        let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Response::from_parts(parts, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Host and port of an address.
pub(crate) fn parts(address: &str) -> (String, u16) {
    let uri: http::Uri = address.parse().expect("an address");
    (uri.host().expect("a host").to_owned(), uri.port_u16().unwrap_or(443))
}
