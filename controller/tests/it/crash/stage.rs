//! Everything a life needs: the API server, an etcd, the controller's program behind its doors, and one gateway.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::{Client, Config};
use serde_json::{Value, json};
use tidegate_controller::cluster::client;
use tidegate_controller::time::now;
use tidegate_store::etcd::EtcdTls;
use tidegate_store::{Ack, Etcd, EtcdConfig, EtcdRole, GatewayId, Report, Store as _};
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::helm::{Helm, NAMESPACE};
use tidegate_tests::place::free_port;
use tidegate_tests::process::Process;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::doors::{self, Papers};
use super::points::Points;

/// Nothing that is waited for takes longer, but for a first start in which the controller is killed at every call.
const DEADLINE: Duration = Duration::from_secs(90);
const FIRST_START: Duration = Duration::from_secs(900);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(40);
/// The account the chart gives its rights to.
const ACCOUNT: &str = "system:serviceaccount:tidegate-system:tidegate-controller";
/// The name of the gateway, which is no pod's.
const GATEWAY: &str = "one";

/// The stage; its programs end with it.
pub(super) struct Stage {
    pub(super) points: Arc<Points>,
    /// What a gateway is told.
    pub(super) store: Etcd,
    admin: Client,
    /// The doors, the gateway, and whoever starts the controller again.
    _tasks: JoinSet<()>,
    _etcd: Process,
    _plane: ControlPlane,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It is not to be started again, and ends before what it depends on.
        self.points.end();
    }
}

impl Stage {
    /// Starts everything and waits until the gateway has the first publication in force.
    pub(super) async fn set(plane: ControlPlane, helm: &Helm, binaries: &Path, points: Arc<Points>) -> Self {
        let run = |arguments: &[&str], input: &str| plane.kubectl(arguments, input).unwrap();
        run(&["create", "namespace", NAMESPACE], "");
        run(&["apply", "--server-side", "--filename=-"], &helm.template(&[], &[]).unwrap());
        run(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"], "");
        let known = plane.introduce("controller", ACCOUNT, Some("system:serviceaccounts")).unwrap();
        let (controller, admin) =
            (client_of(&known).await, client_of(&plane.files().join("admin.kubeconfig")).await);
        let mut tasks = JoinSet::new();

        let (api_door, etcd_door) = (listener().await, listener().await);
        let etcd_port = free_port().unwrap();
        let program = program(
            plane.files(),
            api_door.local_addr().unwrap().port(),
            etcd_door.local_addr().unwrap().port(),
        );
        tasks.spawn(doors::to_api_server(api_door, controller, Arc::clone(&points)));
        tasks.spawn(revive(admin.clone(), plane.files().to_owned(), program, Arc::clone(&points)));

        // It makes what its etcd is started with.
        let server = secret(&plane, "tidegate-etcd-server").await;
        let own = secret(&plane, "tidegate-etcd-client-controller").await;
        let gateway = secret(&plane, "tidegate-gateway-main-etcd").await;
        let ring =
            until("the ring", FIRST_START, async || plane.secret(NAMESPACE, "tidegate-pool-main", "1")).await;
        let etcd = etcd(binaries, plane.files(), etcd_port, &server);
        tasks.spawn(doors::to_etcd(etcd_door, etcd_port, papers(&server, &own), Arc::clone(&points)));

        let config = EtcdConfig {
            endpoints: vec![format!("https://127.0.0.1:{etcd_port}")],
            tls: Some(EtcdTls {
                ca: gateway["ca.crt"].clone(),
                certificate: gateway["tls.crt"].clone(),
                key: gateway["tls.key"].clone(),
            }),
            pool: "main".into(),
            ring: vec![(1, ring.try_into().unwrap())],
            role: EtcdRole::Gateway { id: GatewayId(GATEWAY.into()) },
            snapshot_file: None,
        };
        let store = until("the gateway is let in", FIRST_START, async || {
            Etcd::connect(config.clone()).await.map_err(|error| error.to_string())
        })
        .await;
        tasks.spawn(acknowledge(store.clone()));
        let stage = Self { points, store, admin, _tasks: tasks, _etcd: etcd, _plane: plane };
        let pool = format!("/apis/tidegate.dev/v1alpha1/namespaces/{NAMESPACE}/vpngateways/main");
        until("the gateway counts", FIRST_START, async || {
            let pool = stage.get(&pool).await?;
            let conditions = pool["status"]["conditions"].to_string();
            if conditions.contains("in force on 1 of 1 gateways") { Ok(()) } else { Err(conditions) }
        })
        .await;
        stage
    }

    /// Waits for an answer; a controller that ended by itself is none.
    pub(super) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
        let deaths = || format!("deaths in this life: {:?}", self.points.this_life());
        let asked = until(what, DEADLINE, async || {
            self.points.still_runs().unwrap_or_else(|ended| panic!("{what}: {ended}\n{}", deaths()));
            ask().await.map_err(|error| format!("{error}\n{}", deaths()))
        });
        asked.await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.ask("GET", path, "", None).await
    }

    pub(super) async fn create(&self, collection: &str, object: &Value) {
        let made = self.ask("POST", collection, "application/json", Some(object)).await;
        made.unwrap_or_else(|error| panic!("{collection}: {error}"));
    }

    pub(super) async fn patch(&self, path: &str, patch: &Value) {
        let patched = self.ask("PATCH", path, "application/merge-patch+json", Some(patch)).await;
        patched.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub(super) async fn delete(&self, path: &str) {
        let deleted = self.ask("DELETE", path, "", None).await;
        deleted.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The objects of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        Ok(self.get(path).await?["items"].as_array().cloned().unwrap_or_default())
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(body);
        let answer = self.admin.request::<Value>(request.map_err(|error| error.to_string())?).await;
        answer.map_err(|error| error.to_string())
    }
}

/// Waits for an answer.
async fn until<T>(what: &str, time: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = tokio::time::Instant::now() + time;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) if tokio::time::Instant::now() >= end => panic!("{what}: not in time; last: {last}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn client_of(kubeconfig: &Path) -> Client {
    let options = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(options, &KubeConfigOptions::default()).await.unwrap();
    client::with_config(config).unwrap()
}

async fn secret(plane: &ControlPlane, name: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let mut data = BTreeMap::new();
    for key in ["ca.crt", "tls.crt", "tls.key"] {
        data.insert(key, until(name, FIRST_START, async || plane.secret(NAMESPACE, name, key)).await);
    }
    data
}

/// What the controller is started with: it believes that the doors are what is behind them.
fn program(files: &Path, api_port: u16, etcd_port: u16) -> impl Fn() -> Command + Send + 'static {
    let kubeconfig = files.join("door.kubeconfig");
    let door = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "door",
        "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
        "clusters": [{"name": "door", "cluster": {"server": format!("http://127.0.0.1:{api_port}")}}],
        "users": [{"name": "door", "user": {}}],
    });
    fs::write(&kubeconfig, door.to_string()).unwrap();
    let settings = files.join("door.yaml");
    let said = json!({
        "listen": "127.0.0.1:0",
        "namespace": NAMESPACE,
        "etcd": {"endpoints": [format!("https://127.0.0.1:{etcd_port}")]},
        "gateway": {"image": "tidegate/gateway:test"},
        "main": {"hosts": ["vpn.example.org"], "replicas": 0},
    });
    fs::write(&settings, said.to_string()).unwrap();
    move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-controller"));
        command.arg("--config").arg(&settings).arg("--kubeconfig").arg(&kubeconfig).args(["--id", "one"]);
        command
    }
}

/// Starts the controller, and again whenever it was killed.
async fn revive(
    admin: Client,
    files: PathBuf,
    program: impl Fn() -> Command + Send + 'static,
    points: Arc<Points>,
) {
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/tidegate-controller");
    let mut killed = points.killed();
    loop {
        let number = *killed.borrow_and_update();
        let started = Process::start(&format!("controller-{number}"), &files, &mut program());
        points.runs(started.unwrap());
        if killed.changed().await.is_err() {
            return;
        }
        // It would run out by itself; to wait for that proves nothing.
        let request = Request::delete(&lease).body(Vec::new()).unwrap();
        let _ = admin.request::<Value>(request).await;
    }
}

fn etcd(binaries: &Path, files: &Path, port: u16, papers: &BTreeMap<&str, Vec<u8>>) -> Process {
    let folder = files.join("tidegate-etcd");
    fs::create_dir_all(&folder).unwrap();
    for (key, value) in papers {
        fs::write(folder.join(key), value).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let address = format!("https://127.0.0.1:{port}");
    let mut command = Command::new(binaries.join("etcd"));
    command
        .arg(format!("--data-dir={}", path("data")))
        .arg(format!("--listen-client-urls={address}"))
        .arg(format!("--advertise-client-urls={address}"))
        .args(["--listen-peer-urls=http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level=warn"])
        .args(["--client-cert-auth", &format!("--trusted-ca-file={}", path("ca.crt"))])
        .arg(format!("--cert-file={}", path("tls.crt")))
        .arg(format!("--key-file={}", path("tls.key")));
    Process::start("tidegate-etcd", files, &mut command).unwrap()
}

/// The door to etcd is etcd to the controller, and the controller to etcd.
fn papers(server: &BTreeMap<&str, Vec<u8>>, own: &BTreeMap<&str, Vec<u8>>) -> Papers {
    let chain = |papers: &BTreeMap<&str, Vec<u8>>| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&papers["tls.crt"]).map(Result::unwrap).collect()
    };
    let key = |papers: &BTreeMap<&str, Vec<u8>>| PrivateKeyDer::from_pem_slice(&papers["tls.key"]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut accept = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(server), key(server))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&own["ca.crt"]).map(Result::unwrap));
    let mut connect = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(own), key(own))
        .unwrap();
    accept.alpn_protocols = vec![b"h2".to_vec()];
    connect.alpn_protocols = vec![b"h2".to_vec()];
    Papers { server: TlsAcceptor::from(Arc::new(accept)), client: TlsConnector::from(Arc::new(connect)) }
}

/// A gateway that has every publication in force at once.
async fn acknowledge(store: Etcd) {
    let mut views = store.subscribe();
    loop {
        let snapshot = views.borrow_and_update().snapshot.clone();
        if let Some(snapshot) = snapshot {
            let ack = Ack {
                gateway: GatewayId(GATEWAY.into()),
                generation: snapshot.generation,
                broken: BTreeMap::new(),
                evaluators: Vec::new(),
                kids: vec![1],
                at: now(),
            };
            // What cannot be said now is said with the next one.
            let _ = store.report(Report { ack, sessions: Vec::new() }).await;
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}
