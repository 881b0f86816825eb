//! The API server as the administrator, by way of `kubectl proxy`: a request costs a connection, not a process.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::helm::NAMESPACE;
use tidegate_tests::place::free_port;
use tidegate_tests::process::Process;
use tidegate_tests::{programs, wait};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(4);
/// The proxy is there within this.
const READY: Duration = Duration::from_secs(30);

/// The way to the API server.
pub(crate) struct Api {
    port: u16,
    _proxy: Process,
}

impl Api {
    /// Begins to pass requests on.
    pub(crate) fn of(plane: &ControlPlane) -> Self {
        let port = free_port().expect("a port");
        let kubectl = programs::find(&[]).unwrap_or_else(|error| panic!("{error}")).join("kubectl");
        let mut proxy = Command::new(kubectl);
        proxy
            .args(["proxy", &format!("--port={port}")])
            .env("KUBECONFIG", plane.files().join("admin.kubeconfig"));
        let proxy = Process::start("kubectl-proxy", plane.files(), &mut proxy).expect("it starts");
        let this = Self { port, _proxy: proxy };
        let ready = wait::until("the proxy answers", READY, || this.get("/api/v1/namespaces"));
        ready.unwrap_or_else(|error| panic!("{error}"));
        this
    }

    /// An object or a list.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        self.request("GET", path, "", None)
    }

    /// Changes an object by a merge patch.
    pub(crate) fn patch(&self, path: &str, patch: &Value) -> Result<Value, String> {
        self.request("PATCH", path, "application/merge-patch+json", Some(patch))
    }

    /// Makes an object in a collection.
    pub(crate) fn create(&self, collection: &str, object: &Value) -> Result<Value, String> {
        self.request("POST", collection, "application/json", Some(object))
    }

    /// Asks for an object's deletion; its finalizers may keep it for a while.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, String> {
        self.request("DELETE", path, "", None)
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, String> {
        let said = |error: std::io::Error| format!("{method} {path}: {error}");
        let body = body.map(Value::to_string).unwrap_or_default();
        // Nothing of version 1.1 is needed, least of all chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\naccept: application/json\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(said)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).map_err(said)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(said)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: {answer:?}"))?;
        match head.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => {
                serde_json::from_str(body).map_err(|error| format!("{path}: {error}: {body}"))
            }
            _ => Err(format!("{method} {path}: {head}\n{body}")),
        }
    }
}

/// Where the objects of a kind of ours are in a department's namespace; and one of them, if it has a name.
pub(crate) fn path(department: &str, plural: &str, name: &str) -> String {
    let collection = format!("/apis/tidegate.dev/v1alpha1/namespaces/dept-{department}/{plural}");
    if name.is_empty() { collection } else { format!("{collection}/{name}") }
}

/// The pool.
pub(crate) fn pool() -> String {
    format!("/apis/tidegate.dev/v1alpha1/namespaces/{NAMESPACE}/vpngateways/main")
}

/// An account that somebody else has approved already, as a restored one comes.
pub(crate) fn account(name: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser",
        "metadata": {"name": name},
        "spec": {
            "request": {"person": name, "groups": ["sbj/clerks"]},
            "requestedBy": "admin",
            "approval": {"by": "li.qiang", "reference": "faults"},
            "state": "Active",
        },
    })
}

/// What a condition says about the newest form of an object: status and reason.
pub(crate) fn condition(object: &Value, kind: &str) -> Result<(String, String), String> {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let found = found.ok_or_else(|| format!("{kind} is not said: {}", object["status"]))?;
    if found["observedGeneration"] != object["metadata"]["generation"] {
        return Err(format!("{kind} is about an older form: {found}"));
    }
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason")))
}

/// Whether the newest form of an object is in force everywhere.
pub(crate) fn in_force(object: &Value) -> Result<(), String> {
    match condition(object, "Propagated")? {
        (status, _) if status == "True" => Ok(()),
        other => Err(format!("{} {other:?}", object["metadata"]["name"])),
    }
}
