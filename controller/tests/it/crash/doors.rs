//! The two doors through which every call of the controller goes: to the API server, and to etcd.
//!
//! The controller is a process that knows nothing of this: it is told other addresses. A call that comes when it is to
//! die is not passed on, or its answer is kept back; either way the process is gone before anything else happens.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2 as upstream;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube_client::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::points::{Points, Side};

type Bytestream = UnsyncBoxBody<Bytes, Gone>;
type Answer = Result<Response<Bytestream>, Gone>;

/// The one who called is dead, or whom it called does not answer.
#[derive(Debug)]
pub(super) struct Gone(String);

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Gone {}

fn gone(error: impl std::fmt::Display) -> Gone {
    Gone(error.to_string())
}

fn dead() -> Gone {
    Gone("the controller was killed here".into())
}

fn boxed<B>(body: B) -> Bytestream
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    body.map_err(gone).boxed_unsync()
}

/// Passes what arrives on to the API server, under the name of whoever `client` is.
pub(super) async fn to_api_server(listener: TcpListener, client: Client, points: Arc<Points>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (client, points) = (client.clone(), Arc::clone(&points));
        let answer = move |request| pass_to_api_server(request, client.clone(), Arc::clone(&points));
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .with_upgrades();
        tokio::spawn(async move { _ = serving.await });
    }
}

async fn pass_to_api_server(request: Request<Incoming>, client: Client, points: Arc<Points>) -> Answer {
    let run = points.run();
    let call = call_of_api(request.method().as_str(), request.uri());
    let (mut head, body) = request.into_parts();
    // The connection behind the door is another one.
    for own in [HOST, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(own);
    }
    let body = body.collect().await.map_err(gone)?.to_bytes();
    if points.is_fatal(run, &call, Side::Before) {
        return Err(dead());
    }
    let answer = client.send(Request::from_parts(head, body.into())).await.map_err(gone)?;
    let (mut head, body) = answer.into_parts();
    for own in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(own);
    }
    let watches = call.ends_with(WATCH);
    let body =
        if watches { boxed(body) } else { boxed(Full::new(body.collect().await.map_err(gone)?.to_bytes())) };
    if points.is_fatal(run, &call, Side::After) {
        return Err(dead());
    }
    Ok(Response::from_parts(head, body))
}

const WATCH: &str = " watch";

/// A call of the API server: method, path, and who writes.
fn call_of_api(method: &str, uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let manager = query.split('&').find_map(|part| part.strip_prefix("fieldManager=")).unwrap_or_default();
    let watches = query.split('&').any(|part| part == "watch=true" || part == "watch=1");
    let call = format!("{method} {} {manager}", plain(uri.path()));
    format!("{}{}", call.trim_end(), if watches { WATCH } else { "" })
}

/// A path without what differs between lives: the department's code, and numbers after it.
fn plain(path: &str) -> String {
    let mut rest = path;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once(super::life::CODE) {
        plain.push_str(before);
        plain.push_str("<code>");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    plain + rest
}

/// What the etcd door proves itself with, on both sides.
#[derive(Clone)]
pub(super) struct Papers {
    pub(super) server: TlsAcceptor,
    pub(super) client: TlsConnector,
}

/// Passes what arrives on to etcd.
pub(super) async fn to_etcd(listener: TcpListener, port: u16, papers: Papers, points: Arc<Points>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (papers, points) = (papers.clone(), Arc::clone(&points));
        tokio::spawn(async move { _ = carry(stream, port, papers, points).await });
    }
}

/// One connection, and one of its own to etcd.
async fn carry(near: TcpStream, port: u16, papers: Papers, points: Arc<Points>) -> io::Result<()> {
    let near = papers.server.accept(near).await?;
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let far = papers.client.connect(name, far).await?;
    let (sender, connection) =
        upstream::handshake(TokioExecutor::new(), TokioIo::new(far)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = move |request| pass_to_etcd(request, sender.clone(), Arc::clone(&points));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let served = server.serve_connection(TokioIo::new(near), service_fn(answer)).await;
    connection.abort();
    served.map_err(io::Error::other)
}

async fn pass_to_etcd(
    request: Request<Incoming>,
    mut etcd: upstream::SendRequest<Bytestream>,
    points: Arc<Points>,
) -> Answer {
    let run = points.run();
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    // The two whose ends stay open.
    let streams = path.ends_with("/Watch") || path.ends_with("/LeaseKeepAlive");
    let (call, body) = if streams {
        (path, boxed(body))
    } else {
        let body = body.collect().await.map_err(gone)?;
        let whole = body.to_bytes();
        (format!("{path}{}", keys_in(&whole)), boxed(Full::new(whole)))
    };
    if points.is_fatal(run, &call, Side::Before) {
        return Err(dead());
    }
    let answer = etcd.send_request(Request::from_parts(head, body)).await.map_err(gone)?;
    let (head, body) = answer.into_parts();
    // With its trailers, which hold the outcome.
    let body = if streams { boxed(body) } else { boxed(body.collect().await.map_err(gone)?) };
    if points.is_fatal(run, &call, Side::After) {
        return Err(dead());
    }
    Ok(Response::from_parts(head, body))
}

/// The sorts of keys a request is about.
fn keys_in(request: &[u8]) -> String {
    const ROOT: &str = "/tidegate/v1/";
    const SORTS: [&str; 13] = [
        "term",
        "clock",
        "head",
        "platform",
        "departments",
        "blobs",
        "live/alive",
        "live/ack",
        "live/sessions",
        "live/intents",
        "live/outcomes",
        "live/ended",
        "live/logins",
    ];
    let text = String::from_utf8_lossy(request);
    let found = SORTS.iter().filter(|sort| {
        text.contains(&format!("{ROOT}{sort}")) || text.contains(&format!("{ROOT}pools/main/{sort}"))
    });
    found.map(|sort| format!(" {sort}")).collect()
}
