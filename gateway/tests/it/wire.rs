//! A client that shows what really comes over the wire.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::login::login;
use crate::systems::{System, change_payroll};
use crate::world::{PASSWORD, PAYROLL, PORTAL, World, until};

/// Somebody logged in to `payroll`.
pub(crate) struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    pub(crate) cookie: String,
}

impl Client {
    /// Wang Fang, and `payroll` on `system`.
    pub(crate) async fn at(world: &World, system: &System) -> Self {
        let port = system.address.port();
        change_payroll(&world.store, |web| web.port = port).await;
        Self::of(world, "wangfang").await
    }

    /// Somebody of `sbj` who may use `payroll`.
    pub(crate) async fn of(world: &World, user: &str) -> Self {
        let mut browser = world.browser();
        login(&mut browser, user, PASSWORD).await;
        // On a busy computer the hashing queue may be long; the waiting page leads on.
        while browser.cookie(PORTAL, "__Host-tidegate").is_none() {
            browser.get(PORTAL, "/wait").await;
        }
        browser.open(PAYROLL, "/").await;
        let value = browser.cookie(PAYROLL, "__Host-tidegate").expect("a session").to_owned();
        let (address, tls) = world.address();
        Self { address, tls, cookie: format!("__Host-tidegate={value}") }
    }

    /// Goes to another gateway from here on.
    pub(crate) fn go_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Remembers no TLS session from before.
    pub(crate) fn forget_tls(&mut self) {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
        self.tls = Arc::new(tls);
    }

    /// A TLS connection.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_with(&[]).await
    }

    /// A TLS connection, if there is one more for this source.
    pub(crate) async fn try_connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.try_connect_with(&[]).await
    }

    async fn connect_with(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_connect_with(alpn).await.expect("TLS")
    }

    async fn try_connect_with(&self, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(PAYROLL).expect("a name");
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    }

    /// Sends a request as it is and reads the head of the answer and whatever came with it.
    pub(crate) async fn begin(&self, request: &str) -> (TlsStream<TcpStream>, String) {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let head = read_head(&mut stream).await;
        (stream, head)
    }

    /// The head of a GET for `path`, with the session.
    pub(crate) fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {PAYROLL}\r\nCookie: {}\r\n", self.cookie)
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        self.try_send(request).await.expect("an answer")
    }

    /// The same, where the answer may be broken off.
    async fn try_send(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        whole(sender.send_request(self.with_cookie(request)).await?).await
    }

    /// One request over HTTP/2.
    pub(crate) async fn send_two(&self, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
        let io = TokioIo::new(self.connect_with(&[b"h2"]).await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let uri = format!("https://{PAYROLL}{}", request.uri());
        *request.uri_mut() = uri.parse().expect("an address");
        request = self.with_cookie(request);
        request.headers_mut().remove(header::HOST);
        let response = sender.send_request(request).await.expect("an answer");
        whole(response).await.expect("the whole answer")
    }

    /// An HTTP/2 connection that has had its answer; the task ends with it.
    pub(crate) async fn idle_two(
        &self,
    ) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
        let io = TokioIo::new(self.connect_with(&[b"h2"]).await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        let ended = tokio::spawn(async { connection.await.expect("an orderly end") });
        let request = Request::get(format!("https://{PAYROLL}/"))
            .header(header::COOKIE, &self.cookie)
            .body(Full::default())
            .expect("a request");
        whole(sender.send_request(request).await.expect("an answer")).await.expect("all of it");
        (sender, ended)
    }

    /// The answer to a GET over HTTP/2, while it comes.
    pub(crate) async fn open_two(&self, path: &str) -> Incoming {
        let io = TokioIo::new(self.connect_with(&[b"h2"]).await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get(format!("https://{PAYROLL}{path}"))
            .header(header::COOKIE, &self.cookie)
            .body(Full::<Bytes>::default())
            .expect("a request");
        sender.send_request(request).await.expect("an answer").into_body()
    }

    fn with_cookie(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        let headers = request.headers_mut();
        headers.entry(header::HOST).or_insert(http::HeaderValue::from_static(PAYROLL));
        headers.append(header::COOKIE, self.cookie.parse().expect("a cookie"));
        request
    }

    /// A GET for `path`.
    pub(crate) async fn fetch(&self, path: &str) -> (StatusCode, String) {
        self.try_fetch(path).await.expect("an answer")
    }

    async fn try_fetch(&self, path: &str) -> hyper::Result<(StatusCode, String)> {
        let request = Request::get(path).body(Full::default()).expect("a request");
        let response = self.try_send(request).await?;
        Ok((response.status(), String::from_utf8_lossy(response.body()).into_owned()))
    }

    /// Asks for `path` until the answer says this; one that a change breaks off on the way is none.
    pub(crate) async fn until_said(&self, path: &str, text: &str) {
        until(async || self.try_fetch(path).await.is_ok_and(|(_, body)| body.contains(text)).then_some(()))
            .await;
    }

    /// Asks for `path` until it is there.
    pub(crate) async fn until_there(&self, path: &str) {
        until(async || {
            self.try_fetch(path).await.is_ok_and(|(status, _)| status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

async fn whole(response: Response<Incoming>) -> hyper::Result<Response<Bytes>> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// The head of an answer, up to the empty line or the end.
pub(crate) async fn read_head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads until the other side has closed or broken the connection.
pub(crate) async fn until_closed(stream: &mut TlsStream<TcpStream>) {
    let mut buffer = vec![0; 64 * 1024];
    until(async || matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)).then_some(())).await;
}
