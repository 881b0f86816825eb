//! A real etcd and Kubernetes API server, on loopback or on a node, with certificates of their own, for one test.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::base64;
use crate::place::{Place, free_port};
use crate::process::Process;
use crate::programs;
use crate::tree::root;
use crate::wait;

mod certificates;

pub use certificates::Authority;

/// How long the API server may take to be ready; it needs 4 s on an idle machine.
const READY: Duration = Duration::from_secs(120);

/// How often to try other ports when somebody else took one first.
const TRIES: u32 = 5;

/// The API server's audit log among the control plane's files; one JSON record in a line.
pub const AUDIT_LOG: &str = "audit.log";

/// What is recorded there: who wrote which of our objects, and what admission had to say about it.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"],
    "resources": [{"group": "tidegate.dev"}]}, {"level": "None"}]}"#;

/// A running control plane; dropping it stops both programs and removes what they wrote.
#[derive(Debug)]
pub struct ControlPlane {
    binaries: PathBuf,
    place: Place,
    authority: Authority,
    server: String,
    // Fields drop in this order: the API server goes before its store, and both before their files.
    api: Process,
    etcd: Process,
    files: tempfile::TempDir,
}

/// A control plane, or nothing after having said aloud what is missing.
///
/// # Panics
///
/// When it does not start; and with `CI` set also when its programs are missing, so that a skipped test
/// never looks like a passed one where it counts.
#[must_use]
pub fn start_or_skip() -> Option<ControlPlane> {
    match programs::find(&[]) {
        Ok(binaries) => Some(ControlPlane::start(&binaries).unwrap_or_else(|error| panic!("{error}"))),
        Err(missing) if std::env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

impl ControlPlane {
    /// Starts both programs on loopback and waits until the API server is ready.
    ///
    /// # Errors
    ///
    /// When one does not start or is not ready in time; the message has the end of its log.
    pub fn start(binaries: &Path) -> Result<Self, String> {
        Self::start_in(&Place::loopback(), binaries)
    }

    /// Starts both programs in a place and waits until the API server is ready.
    ///
    /// # Errors
    ///
    /// When one does not start or is not ready in time; the message has the end of its log.
    pub fn start_in(place: &Place, binaries: &Path) -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_start(place, binaries) {
                Err(error) if error.contains("address already in use") => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    fn try_start(place: &Place, binaries: &Path) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let files = place.directory().map_err(said)?;
        let path = |name: &str| files.path().join(name).display().to_string();
        let (store, port) = (free_port().map_err(said)?, free_port().map_err(said)?);
        let address = place.address();
        let server = format!("https://{address}:{port}");
        let authority = identities(files.path(), &address.to_string(), &server)
            .map_err(|error| format!("certificates: {error}"))?;

        let mut etcd = place.command(binaries.join("etcd"));
        etcd.arg(format!("--data-dir={}", path("etcd")))
            .arg(format!("--listen-client-urls=http://127.0.0.1:{store}"))
            .arg(format!("--advertise-client-urls=http://127.0.0.1:{store}"))
            .args(["--listen-peer-urls=http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level=warn"]);
        let etcd = Process::start("etcd", files.path(), &mut etcd).map_err(said)?;

        fs::write(files.path().join("audit.yaml"), AUDIT_POLICY).map_err(said)?;
        let mut api = place.command(binaries.join("kube-apiserver"));
        api.arg(format!("--etcd-servers=http://127.0.0.1:{store}"))
            .arg(format!("--secure-port={port}"))
            .arg(format!("--bind-address={address}"))
            .arg(format!("--advertise-address={address}"))
            .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
            .args(["--service-cluster-ip-range=10.96.0.0/16"])
            .args(["--service-account-issuer=https://kubernetes.default.svc"])
            .arg(format!("--service-account-key-file={}", path("accounts.pub")))
            .arg(format!("--service-account-signing-key-file={}", path("accounts.key")))
            .arg(format!("--client-ca-file={}", path("ca.crt")))
            .arg(format!("--tls-cert-file={}", path("server.crt")))
            .arg(format!("--tls-private-key-file={}", path("server.key")))
            .arg(format!("--kubelet-client-certificate={}", path("admin.crt")))
            .arg(format!("--kubelet-client-key={}", path("admin.key")))
            .args(["--kubelet-preferred-address-types=InternalIP"])
            .arg(format!("--cert-dir={}", path("generated")))
            .arg(format!("--audit-policy-file={}", path("audit.yaml")))
            .arg(format!("--audit-log-path={}", path(AUDIT_LOG)));
        // What it needs to pass requests on to servers of further interfaces, such as that of metrics.
        api.arg(format!("--requestheader-client-ca-file={}", path("ca.crt")))
            .args(["--requestheader-allowed-names=front-proxy"])
            .args(["--requestheader-username-headers=X-Remote-User"])
            .args(["--requestheader-group-headers=X-Remote-Group"])
            .args(["--requestheader-extra-headers-prefix=X-Remote-Extra-"])
            .arg(format!("--proxy-client-cert-file={}", path("front-proxy.crt")))
            .arg(format!("--proxy-client-key-file={}", path("front-proxy.key")));
        if place.is_loopback() {
            // It refuses to tell pods a loopback address as its own; without pods nobody asks.
            api.arg("--endpoint-reconciler-type=none");
        }
        let api = Process::start("kube-apiserver", files.path(), &mut api).map_err(said)?;

        let binaries = binaries.to_owned();
        let mut plane = Self { binaries, place: place.clone(), authority, server, api, etcd, files };
        plane.wait_ready()?;
        Ok(plane)
    }

    /// The directory of its certificates, keys, kubeconfigs and logs.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// The API server's address as a URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Makes somebody known to the API server: the kubeconfig `<file>.kubeconfig` with a certificate of this name,
    /// and of a group.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be signed or written.
    pub fn introduce(&self, file: &str, name: &str, group: Option<&str>) -> Result<PathBuf, String> {
        self.introduce_server(file, name, group, &[])
    }

    /// Like [`introduce`](Self::introduce); its certificate also serves these names.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be signed or written.
    pub fn introduce_server(
        &self,
        file: &str,
        name: &str,
        group: Option<&str>,
        names: &[&str],
    ) -> Result<PathBuf, String> {
        let signed = self.authority.sign(file, name, group, names);
        signed
            .and_then(|()| self.authority.kubeconfig(file, &self.server))
            .map_err(|error| format!("certificate of {name}: {error}"))?;
        Ok(self.files.path().join(format!("{file}.kubeconfig")))
    }

    /// Stops the API server in its tracks, or lets it go on: whoever asks it meanwhile hears nothing.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn freeze_api(&self, frozen: bool) -> Result<(), String> {
        self.api.signal(if frozen { "-STOP" } else { "-CONT" })
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        // A program that ended will never be ready: that is an answer, not a reason to ask again.
        let ready = wait::until("the API server is ready", READY, || {
            if let Err(ended) = self.etcd.still_runs().and_then(|()| self.api.still_runs()) {
                return Ok(Err(ended));
            }
            self.kubectl(&["get", "--raw", "/readyz"], "").map(|_| Ok(()))
        });
        ready.map_err(|error| format!("{error}\n{}", self.api.log_tail()))?
    }

    /// Runs kubectl as the cluster's administrator, with this standard input.
    ///
    /// # Errors
    ///
    /// When it fails, with everything it wrote.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        self.run(self.place.command(self.binaries.join("kubectl")).args(arguments), input)
    }

    /// A value of a Secret.
    ///
    /// # Errors
    ///
    /// When there is no such Secret or key.
    pub fn secret(&self, namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, String> {
        let template = format!("--output=go-template={{{{index .data {key:?}}}}}");
        let text = self.kubectl(&["--namespace", namespace, "get", "secret", name, &template], "")?;
        base64::decode(text.trim()).ok_or_else(|| format!("{name}: {key} is {text:?}"))
    }

    /// Runs a script of the tree that calls kubectl, as the cluster's administrator.
    ///
    /// # Errors
    ///
    /// When it fails, with everything it wrote.
    pub fn script(&self, path: &str) -> Result<String, String> {
        self.run(&mut self.place.command(root().join(path)), "")
    }

    /// Runs a command that finds the real programs in its PATH and is the cluster's administrator.
    ///
    /// # Errors
    ///
    /// When it fails, with everything it wrote.
    pub fn run(&self, command: &mut Command, input: &str) -> Result<String, String> {
        let program = command.get_program().display().to_string();
        let others = std::env::var("PATH").unwrap_or_default();
        let child = command
            .env("PATH", format!("{}:{others}", self.binaries.display()))
            .env("KUBECONFIG", self.files.path().join("admin.kubeconfig"))
            .env("HOME", self.files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("{program}: {error}"))?;
        // It reads all of its input before it writes more than a pipe holds. One that ended early says why below.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        // Some say on standard output what is wrong.
        Err(format!("{}{}", text(&output.stderr), text(&output.stdout)))
    }
}

/// What the API server proves itself with, and the administrator.
fn identities(directory: &Path, address: &str, server: &str) -> Result<Authority, Box<dyn Error>> {
    let authority = Authority::create(directory)?;
    // The first address of the range of services is that of `kubernetes`.
    let names = [address, "127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default.svc"];
    authority.sign("server", "kube-apiserver", None, &names)?;
    // The group that RBAC lets do everything.
    authority.sign("admin", "admin", Some("system:masters"), &[])?;
    authority.kubeconfig("admin", server)?;
    authority.sign("front-proxy", "front-proxy", None, &[])?;
    authority.key_pair("accounts")?;
    Ok(authority)
}
