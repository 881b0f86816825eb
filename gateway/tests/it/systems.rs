//! Upstreams for the tests of the proxy: what they got, endless bodies, WebSockets, TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tidegate_core::{Department, DepartmentCode, Resource, Web};
use tidegate_store::{Change, Embedded, Publication, Store as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Bytes of one piece of the endless body.
const PIECE: &[u8] = &[b'x'; 4_096];

/// An upstream that runs until it is dropped.
pub(crate) struct System {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl System {
    /// One in the clear.
    pub(crate) async fn start() -> Self {
        Self::serve(None, false).await
    }

    /// One that closes each connection after its answer, without saying so.
    pub(crate) async fn hasty() -> Self {
        Self::serve(None, true).await
    }

    /// One with TLS; also the PEM of its certificate and the SHA-256 of its public key.
    pub(crate) async fn with_tls(name: &str) -> (Self, String, [u8; 32]) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .expect("a server");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&made.signing_key);
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
        let pin = sum.as_ref().try_into().expect("32 bytes");
        (Self::serve(Some(Arc::new(config)), false).await, made.cert.pem(), pin)
    }

    async fn serve(tls: Option<Arc<ServerConfig>>, hasty: bool) -> Self {
        let listener = TcpListener::bind("127.20.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let tls = tls.clone();
                open.spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                connection(TokioIo::new(stream), false).await;
                            }
                        }
                        None => connection(TokioIo::new(stream), hasty).await,
                    }
                });
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn connection<I>(io: I, hasty: bool)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let builder = hyper::server::conn::http1::Builder::new();
    if hasty {
        let mut connection = std::pin::pin!(builder.serve_connection(io, service_fn(answer)));
        // After the first answer nothing more is read, and the connection goes.
        let served = std::future::poll_fn(|cx| connection.as_mut().poll(cx));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(300), served).await;
        return;
    }
    let _ = builder.serve_connection(io, service_fn(answer)).with_upgrades().await;
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let full = |text: String| Full::new(Bytes::from(text)).boxed();
    let response = match request.uri().path() {
        "/headers" => {
            let lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
                .collect();
            Response::new(full(lines.join("\n")))
        }
        "/cookies" => {
            let mut response = Response::new(full(String::new()));
            for cookie in ["a=1; Domain=localhost; Path=/", "__Host-tidegate=evil; Path=/; Secure"] {
                response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
            }
            response
        }
        "/endless" => Response::new(Endless.boxed()),
        "/length" => {
            let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            Response::new(full(length.to_string()))
        }
        "/echo" => {
            let body =
                request.into_body().collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            Response::new(Full::new(body).boxed())
        }
        "/never" => std::future::pending().await,
        "/ws" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let mut response = Response::new(full(String::new()));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response
        }
        path => Response::new(full(format!("{} {path}", request.method()))),
    };
    Ok(response)
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }
}

/// Publishes a change to the department `sbj`.
pub(crate) async fn change_department(store: &Embedded, change: impl FnOnce(&mut Department)) {
    let snapshot = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let code: DepartmentCode = "sbj".parse().expect("a code");
    let mut own = Department::clone(&snapshot.departments[&code]);
    change(&mut own);
    let publication = Publication { platform: None, departments: vec![Change::Put(Arc::new(own))] };
    store.publish(publication).await.expect("it is published");
}

/// Publishes a change to where `payroll` leads.
pub(crate) async fn change_payroll(store: &Embedded, change: impl FnOnce(&mut Web)) {
    change_department(store, |own| {
        let name = "payroll".parse().expect("a name");
        let mut resource = Resource::clone(&own.resources[&name]);
        let tidegate_core::Endpoint::Web(web) = &mut resource.endpoint else { panic!("a web address") };
        change(web);
        own.resources.insert(name, Arc::new(resource));
    })
    .await;
}
