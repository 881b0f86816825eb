//! `/metrics`, `/healthz`, `/readyz` and the admin API, on a port of their own without TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tidegate_store::Etcd;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::admin::http::{Admin, serves};

/// Connections at once; Prometheus and a kubelet need a few.
const CONNECTIONS_MAX: usize = 32;
/// How long one may take to ask.
const PATIENCE: Duration = Duration::from_secs(30);
/// After a failed accept, so that a lack of file descriptors is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Why this replica is not ready; nothing when it is.
pub type Health = watch::Receiver<Option<String>>;

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, registry: Registry, health: Health, admin: Arc<Admin<Etcd>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (registry, health, admin) = (registry.clone(), health.clone(), Arc::clone(&admin));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (registry, health, admin) = (&registry, &health, &admin);
                async move {
                    Ok::<_, Infallible>(if serves(request.uri().path()) {
                        Box::pin(admin.answer(&request)).await
                    } else {
                        answer(&request, registry, health)
                    })
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A broken connection is the asker's business.
            let _ = connection.await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry, health: &Health) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => match &*health.borrow() {
            None => text(StatusCode::OK, "ok\n".into()),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz, /readyz, /v1/...\n".into()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
