//! etcd, a folder as a pod sees it, and gateways as processes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use tidegate_core::Timestamp;
use tidegate_store::{Etcd, EtcdConfig, EtcdRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::browser::Browser;
use crate::world::{self, until};

/// The second it is.
pub(super) fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(i64::try_from(now.as_secs()).expect("before the year 292 billion"))
}

/// One etcd on loopback, in the clear.
pub(super) struct Member {
    program: PathBuf,
    ports: [u16; 2],
    data: tempfile::TempDir,
    child: Option<Child>,
}

impl Member {
    /// Starts it, or says aloud that the program is missing.
    pub(super) fn start_or_skip() -> Option<Self> {
        let found = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tools/binaries"))
            .arg("--find")
            .stderr(Stdio::inherit())
            .output()
            .expect("the tool runs");
        if !found.status.success() {
            assert!(std::env::var_os("CI").is_none(), "etcd is missing");
            eprintln!("SKIPPED: etcd is missing; `make tools` gets it");
            return None;
        }
        let program = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()).join("etcd");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let ports = [free(), free()].map(|held| held.local_addr().expect("an address").port());
        let data = tempfile::tempdir().expect("a folder");
        let mut this = Self { program, ports, data, child: None };
        this.start();
        Some(this)
    }

    /// Starts it on what it had.
    pub(super) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it on what it had, which is more than it may store.
    pub(super) fn start_full(&mut self) {
        self.start_with(&["--quota-backend-bytes", "4096"]);
    }

    fn start_with(&mut self, more: &[&str]) {
        let peer = format!("http://127.0.0.1:{}", self.ports[1]);
        let child = Command::new(&self.program)
            .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync", "--data-dir"])
            .arg(self.data.path())
            .args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .args(more)
            .spawn();
        self.child = Some(child.expect("etcd runs"));
    }

    /// Puts `count` keys of nobody's below `prefix`.
    pub(super) fn fill(&self, prefix: &str, count: usize) {
        let numbers: Vec<usize> = (0..count).collect();
        // As many as one step may have.
        for some in numbers.chunks(128) {
            let puts: String = some.iter().map(|number| format!("put {prefix}z{number} x\n")).collect();
            self.told(&["txn"], &format!("\n{puts}\n\n"));
        }
    }

    /// Takes them away again.
    pub(super) fn clear(&self, prefix: &str) {
        self.told(&["del", "--prefix", &format!("{prefix}z")], "");
    }

    fn told(&self, words: &[&str], typed: &str) {
        let mut command = Command::new(self.program.with_file_name("etcdctl"));
        command.args(["--endpoints", &self.url()]).args(words).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("etcdctl runs");
        child.stdin.take().expect("its input").write_all(typed.as_bytes()).expect("it is typed");
        assert!(child.wait().expect("its end").success(), "{words:?}");
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Ends it without warning.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a pod of the pool has mounted.
pub(super) struct Folder {
    folder: tempfile::TempDir,
    tls: Arc<ClientConfig>,
    endpoints: Vec<String>,
}

impl Folder {
    pub(super) fn new(endpoints: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let made = world::self_signed();
        std::fs::write(at("tls.crt"), made.cert.pem()).expect("written");
        std::fs::write(at("tls.key"), made.signing_key.serialize_pem()).expect("written");
        std::fs::create_dir(at("keys")).expect("made");
        std::fs::write(at("keys/1"), [1; 32]).expect("written");
        let config = serde_json::json!({
            "pool": "main",
            "host": world::PORTAL,
            "listen": "127.0.0.1:0",
            "metricsListen": "127.0.0.1:0",
            "shards": 1,
            "etcd": {"endpoints": endpoints},
            "keysDirectory": at("keys"),
            "tls": {"certificateFile": at("tls.crt"), "keyFile": at("tls.key")},
            "drain": {"settleSeconds": 0},
            "audit": {"directory": at("audit"), "stdout": false},
        });
        std::fs::write(at("gateway.json"), config.to_string()).expect("written");
        let tls = world::trusting(made.cert.der().clone());
        Self { folder, tls, endpoints: endpoints.iter().map(|url| (*url).to_owned()).collect() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(config: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-gateway"));
        command.arg("--config").arg(config).env("POD_UID", "pod");
        command
    }

    /// What `--check` says, and its exit code.
    pub(super) fn check(&self) -> (Option<i32>, String) {
        let output = Self::command(&self.path("gateway.json")).arg("--check").output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Starts a gateway with this name and a snapshot of its own.
    pub(super) async fn start(&self, id: &str) -> Process {
        let text = std::fs::read_to_string(self.path("gateway.json")).expect("there");
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        config["id"] = id.into();
        config["snapshotFile"] = self.path(&format!("{id}.snapshot")).display().to_string().into();
        let number = std::fs::read_dir(self.folder.path()).expect("there").count();
        config["audit"]["directory"] = self.path(&format!("audit-{number}")).display().to_string().into();
        let file = self.path(&format!("{id}-{number}.json"));
        std::fs::write(&file, config.to_string()).expect("written");
        let log = file.with_extension("log");
        let child = Self::command(&file)
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("it runs");
        let (address, metrics) = until(async || {
            std::fs::read_to_string(&log).expect("a log").lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                let address = |name: &str| line[name].as_str()?.parse::<SocketAddr>().ok();
                Some((address("address")?, address("metrics")?))
            })
        })
        .await;
        Process { child, address, metrics, log }
    }

    /// The controller's end of the store.
    pub(super) async fn controller(&self) -> Etcd {
        let config = || EtcdConfig {
            endpoints: self.endpoints.clone(),
            tls: None,
            pool: "main".into(),
            ring: vec![(1, [1; 32])],
            role: EtcdRole::Controller { term: 1 },
            snapshot_file: None,
        };
        until(async || Etcd::connect(config()).await.ok()).await
    }

    pub(super) fn browser(&self, address: SocketAddr) -> Browser {
        Browser::new(address, Arc::clone(&self.tls))
    }
}

/// A gateway that runs.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
    metrics: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// What it has said.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// What an endpoint beside the metrics answers: status and text.
    pub(super) async fn probe(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.expect("metrics");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }

    /// Ends it; its exit code.
    pub(super) async fn end(mut self, signal: Signal) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).expect("it is told");
        let status = until(async || self.child.try_wait().expect("a status")).await;
        status.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
