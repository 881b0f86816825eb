//! `/metrics`, `/healthz` and `/readyz`, on a port of their own without TLS.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::health::Health;

/// Connections at once; Prometheus needs one or two.
const CONNECTIONS_MAX: usize = 32;
/// How long one may take to ask.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Serves until the task is dropped; for the control thread's local set.
pub(crate) async fn serve(listener: TcpListener, registry: Registry, health: Rc<Health>) {
    let open = Rc::new(());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        if Rc::strong_count(&open) > CONNECTIONS_MAX {
            continue;
        }
        let (open, registry, health) = (Rc::clone(&open), registry.clone(), Rc::clone(&health));
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&request, &registry, &health);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A broken connection is the scraper's business.
            let _ = connection.await;
            drop(open);
        });
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry, health: &Health) -> Response<Full<Bytes>> {
    let text = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    let said = |well: Result<(), String>| match well {
        Ok(()) => text(StatusCode::OK, "ok\n".into()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => {
            health.refresh();
            match TextEncoder::new().encode_to_string(&registry.gather()) {
                Ok(metrics) => text(StatusCode::OK, metrics),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }
        "/healthz" => said(health.alive()),
        "/readyz" => said(health.ready()),
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz, /readyz\n".into()),
    }
}
