//! Real members of etcd on loopback, with certificates of their own, for one test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tidegate_store::EtcdTls;

/// How long members may take to answer.
const READY: Duration = Duration::from_secs(60);
/// How often to try other ports when somebody else took one first.
const TRIES: usize = 5;

/// Some members; dropping it stops them and removes what they wrote.
pub(crate) struct Members {
    binaries: PathBuf,
    files: TempDir,
    ca: String,
    issuer: Issuer<'static, KeyPair>,
    members: Vec<Member>,
    /// Most bytes a member stores; etcd's own limit without.
    quota: Option<u64>,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

impl Members {
    /// Starts `count` members; `None` after having said aloud that the program is missing.
    pub(crate) fn start_or_skip(count: usize) -> Option<Self> {
        let found = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tools/binaries"))
            .arg("--find")
            .output()
            .expect("the script runs");
        if !found.status.success() {
            let why = String::from_utf8_lossy(&found.stderr).into_owned();
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let binaries = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        for _ in 0..TRIES {
            let mut members = Self::make(&binaries, count);
            if members.start_all() {
                return Some(members);
            }
        }
        panic!("etcd does not start");
    }

    fn make(binaries: &Path, count: usize) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "store test CA");
        let ca = parameters.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(parameters, key);
        let members =
            (0..count).map(|_| Member { client: free_port(), peer: free_port(), child: None }).collect();
        let this = Self { binaries: binaries.to_owned(), files, ca, issuer, members, quota: None };
        let (certificate, key) = this.sign("etcd", &["127.0.0.1"]);
        fs::write(this.path("ca.crt"), &this.ca).expect("written");
        fs::write(this.path("server.crt"), certificate).expect("written");
        fs::write(this.path("server.key"), key).expect("written");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn sign(&self, name: &str, addresses: &[&str]) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(addresses).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// A client certificate in this name.
    pub(crate) fn tls(&self, name: &str) -> EtcdTls {
        let (certificate, key) = self.sign(name, &[]);
        EtcdTls { ca: self.ca.clone().into(), certificate: certificate.into(), key: key.into() }
    }

    /// The addresses of all members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("https://127.0.0.1:{}", member.client)).collect()
    }

    /// Starts every member that is not running; whether they are ready.
    pub(crate) fn start_all(&mut self) -> bool {
        let cluster: Vec<String> = (0..)
            .zip(&self.members)
            .map(|(number, member)| format!("m{number}=http://127.0.0.1:{}", member.peer))
            .collect();
        let cluster = cluster.join(",");
        for number in 0..self.members.len() {
            if self.members[number].child.is_none() {
                self.start(number, &cluster);
            }
        }
        let end = Instant::now() + READY;
        while Instant::now() < end {
            let ended = |member: &mut Member| {
                member.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|s| s.is_some()))
            };
            if self.members.iter_mut().any(ended) {
                return false;
            }
            // It waits by itself, for seconds, before it says no.
            if self.etcdctl(&["endpoint", "health"]).is_ok() {
                return true;
            }
        }
        false
    }

    fn start(&mut self, number: usize, cluster: &str) {
        let log = File::options().create(true).append(true).open(self.path("etcd.log")).expect("a log");
        let member = &self.members[number];
        let client = format!("https://127.0.0.1:{}", member.client);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let child = Command::new(self.binaries.join("etcd"))
            .arg(format!("--name=m{number}"))
            .arg(format!("--data-dir={}", self.path(&format!("m{number}")).display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={cluster}"))
            .arg(format!("--trusted-ca-file={}", self.path("ca.crt").display()))
            .arg(format!("--cert-file={}", self.path("server.crt").display()))
            .arg(format!("--key-file={}", self.path("server.key").display()))
            .args(["--client-cert-auth", "--unsafe-no-fsync", "--log-level=warn"])
            .args(self.quota.map(|bytes| format!("--quota-backend-bytes={bytes}")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        self.members[number].child = Some(child);
    }

    /// Runs etcdctl as the controller against all members.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let (certificate, key) = (self.path("ctl.crt"), self.path("ctl.key"));
        if !key.exists() {
            let (c, k) = self.sign("controller", &[]);
            fs::write(&certificate, c).expect("written");
            fs::write(&key, k).expect("written");
        }
        let output = Command::new(self.binaries.join("etcdctl"))
            .arg(format!("--endpoints={}", self.endpoints().join(",")))
            .arg(format!("--cacert={}", self.path("ca.crt").display()))
            .arg(format!("--cert={}", certificate.display()))
            .arg(format!("--key={}", key.display()))
            .args(["--dial-timeout=2s", "--command-timeout=5s"])
            .args(arguments)
            .output()
            .expect("etcdctl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The number of the member that leads.
    pub(crate) fn leader(&self) -> usize {
        let status = self.etcdctl(&["endpoint", "status"]).expect("a status");
        let line = status.lines().find(|line| line.split(", ").any(|field| field == "true"));
        let line = line.expect("a leader");
        let is = |member: &Member| line.contains(&format!("127.0.0.1:{},", member.client));
        self.members.iter().position(is).expect("one of ours")
    }

    /// Sends a signal to a member.
    pub(crate) fn signal(&self, number: usize, signal: &str) {
        let id = self.members[number].child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Kills a member at once.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills all members.
    pub(crate) fn kill_all(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
    }

    /// Starts all members again, so that they store this much at most.
    pub(crate) fn limit(&mut self, quota: Option<u64>) {
        self.kill_all();
        self.quota = quota;
        assert!(self.start_all());
    }

    /// Removes what all members have stored.
    pub(crate) fn wipe(&self) {
        for number in 0..self.members.len() {
            fs::remove_dir_all(self.path(&format!("m{number}"))).expect("removed");
        }
    }

    /// Copies what a lone member has stored aside, or back.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let to = self.path(to);
        if to.exists() {
            fs::remove_dir_all(&to).expect("removed");
        }
        let copied = Command::new("cp").arg("-a").arg(self.path(from)).arg(to).status().expect("cp runs");
        assert!(copied.success());
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// A port nobody listens on at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
