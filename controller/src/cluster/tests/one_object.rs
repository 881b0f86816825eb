//! One object behind a port of this process, whose answers can be lost as a network loses them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube_client::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster::client;

#[derive(Default)]
pub(crate) struct Server {
    object: Mutex<Option<Value>>,
    /// The next change takes effect, and its answer is lost.
    pub(crate) loses_an_answer: AtomicBool,
}

impl Server {
    pub(crate) fn object(&self) -> Option<Value> {
        self.object.lock().unwrap().clone()
    }

    pub(crate) fn delete(&self) {
        *self.object.lock().unwrap() = None;
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut object = self.object.lock().unwrap();
        let object = object.as_mut().unwrap();
        change(object);
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    }

    fn answer(&self, method: &Method, sent: Value) -> (StatusCode, Value) {
        let status = |code: StatusCode, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "reason": reason,
                "status": if code.is_success() { "Success" } else { "Failure" },
                "message": reason, "code": code.as_u16()});
            (code, status)
        };
        let Some(known) = self.object() else {
            if *method != Method::POST {
                return status(StatusCode::NOT_FOUND, "NotFound");
            }
            let mut object = sent;
            object["metadata"]["resourceVersion"] = json!("1");
            *self.object.lock().unwrap() = Some(object.clone());
            return (StatusCode::CREATED, object);
        };
        let version = &known["metadata"]["resourceVersion"];
        match *method {
            Method::GET => (StatusCode::OK, known),
            Method::PUT if *version == sent["metadata"]["resourceVersion"] => {
                self.edit(|object| *object = sent);
                (StatusCode::OK, self.object().unwrap())
            }
            Method::DELETE
                if [version, &Value::Null].contains(&&sent["preconditions"]["resourceVersion"]) =>
            {
                self.delete();
                status(StatusCode::OK, "")
            }
            _ => status(StatusCode::CONFLICT, "Conflict"),
        }
    }

    /// A way to it, for as long as the test's runtime lives.
    pub(crate) async fn client(self: &Arc<Self>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&server);
                let service = service_fn(move |request| Arc::clone(&server).serve(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        client::with_config(Config::new(url.parse().unwrap())).unwrap()
    }

    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> std::io::Result<Response<Full<Bytes>>> {
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (status, value) = self.answer(&method, serde_json::from_slice(&body).unwrap_or_default());
        if method != Method::GET && self.loses_an_answer.swap(false, Ordering::Relaxed) {
            return Err(std::io::Error::other("lost"));
        }
        let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
        *response.status_mut() = status;
        Ok(response)
    }
}
