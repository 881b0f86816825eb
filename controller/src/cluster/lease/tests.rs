//! One lease behind a port of this process, whose answers can be lost as a network loses them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::cluster::client;

#[test]
fn a_lease_is_abandoned_when_its_record_stands_still() {
    let start = Instant::now();
    let lease = |version: &str| {
        let metadata = ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    };
    let mut seen = None;
    let mut abandoned = |version, after| abandoned(&mut seen, &lease(version), start + after);
    assert!(!abandoned("1", Duration::ZERO));
    assert!(!abandoned("1", LEASE / 2));
    assert!(!abandoned("2", LEASE));
    assert!(!abandoned("2", LEASE + LEASE / 2));
    assert!(abandoned("2", LEASE * 2));
}

#[tokio::test]
async fn a_renewal_that_took_effect_unanswered_is_no_takeover() {
    let server = Arc::new(Server::default());
    let leases = serve(&server).await;
    let mut held = candidate(&leases, "one").lead(|_| {}).await;
    held.renew().await.unwrap();

    server.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(matches!(held.renew().await, Err(Renewal::Failed(_))));
    held.renew().await.expect("it is still ours");
    held.renew().await.unwrap();

    // An orderly end gives it back, whatever was answered before.
    server.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(matches!(held.renew().await, Err(Renewal::Failed(_))));
    held.release().await;
    let held = candidate(&leases, "two").lead(|_| {}).await;
    assert_eq!(held.transitions(), 1);
}

#[tokio::test]
async fn a_lease_that_somebody_took_or_deleted_is_lost() {
    let server = Arc::new(Server::default());
    let leases = serve(&server).await;
    let mut one = candidate(&leases, "one").lead(|_| {}).await;
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("two"));
    assert!(matches!(one.renew().await, Err(Renewal::Taken(holder)) if holder == "two"));
    one.release().await;
    assert_eq!(server.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"], "two");

    server.edit(|lease| lease["spec"]["holderIdentity"] = Value::Null);
    let mut three = candidate(&leases, "three").lead(|_| {}).await;
    *server.lease.lock().unwrap() = None;
    assert!(matches!(three.renew().await, Err(Renewal::Taken(_))));
}

fn candidate(leases: &Api<Lease>, holder: &str) -> Candidate {
    Candidate::new(leases.clone(), holder.into())
}

#[derive(Default)]
struct Server {
    lease: Mutex<Option<Value>>,
    /// The next change takes effect, and its answer is lost.
    loses_an_answer: AtomicBool,
}

impl Server {
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut lease = self.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        change(lease);
        let version: u64 = lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        lease["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    }

    fn answer(&self, method: &Method, sent: Value) -> (StatusCode, Value) {
        let refusal = |code: StatusCode, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
                "reason": reason, "message": reason, "code": code.as_u16()});
            (code, status)
        };
        let known = self.lease.lock().unwrap().clone();
        match (known, method == Method::GET, method == Method::POST) {
            (Some(lease), true, _) => (StatusCode::OK, lease),
            (None, _, true) => {
                let mut lease = sent;
                lease["metadata"]["resourceVersion"] = json!("1");
                *self.lease.lock().unwrap() = Some(lease.clone());
                (StatusCode::CREATED, lease)
            }
            (None, ..) => refusal(StatusCode::NOT_FOUND, "NotFound"),
            (Some(known), ..)
                if known["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] =>
            {
                refusal(StatusCode::CONFLICT, "Conflict")
            }
            (Some(_), ..) => {
                self.edit(|lease| *lease = sent);
                (StatusCode::OK, self.lease.lock().unwrap().clone().unwrap())
            }
        }
    }
}

async fn serve(server: &Arc<Server>) -> Api<Lease> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::clone(server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&server);
            let service = service_fn(move |request: Request<Incoming>| {
                let server = Arc::clone(&server);
                async move {
                    let method = request.method().clone();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let (status, value) =
                        server.answer(&method, serde_json::from_slice(&body).unwrap_or_default());
                    if method != Method::GET && server.loses_an_answer.swap(false, Ordering::Relaxed) {
                        return Err(std::io::Error::other("lost"));
                    }
                    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
                    *response.status_mut() = status;
                    Ok(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let client = client::with_config(kube_client::Config::new(url.parse().unwrap())).unwrap();
    Api::namespaced(client, "tidegate-system")
}
