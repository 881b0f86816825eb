//! A cluster with the chart and one controller, and the means to look at both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube_client::Config as KubeConfig;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use prometheus::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_controller::build::Settings;
use tidegate_controller::cluster::objects::{self, Health, Objects};
use tidegate_controller::cluster::{Keep, client};
use tidegate_controller::metrics::Metrics;
use tidegate_controller::state::{PoolKey, RootKey};
use tidegate_controller::time::now;
use tidegate_controller::{Config, ControllerEvent, Handle, State, start};
use tidegate_core::{Account, AccountId, Localized, Snapshot, Timestamp, Zone};
use tidegate_store::{Ack, Embedded, GatewayId, IntentId, Outcome, Report, Store as _};
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::helm::{self, Helm};
use tidegate_tests::tree::root;

use super::{Line, eventually, text};

/// Nothing a test waits for takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The controller's namespace.
pub(crate) const SYSTEM: &str = helm::NAMESPACE;

/// The controller's user name.
const USER: &str = "system:serviceaccount:tidegate-system:tidegate-controller";

/// The departments of the example.
const DEPARTMENTS: [&str; 3] = ["rsj", "sbj", "xqrsj"];

pub(crate) struct Site {
    plane: ControlPlane,
    kubeconfig: PathBuf,
    url: String,
    files: TempDir,
    term: u64,
    running: Option<Running>,
    gateways: Vec<String>,
}

struct Running {
    handle: Handle,
    state: Arc<State>,
    store: Embedded,
    objects: Objects,
    metrics: Metrics,
    acknowledging: tokio::task::JoinHandle<()>,
}

impl Site {
    pub(crate) fn new(plane: ControlPlane, line: &Line) -> Self {
        let kubeconfig = plane.introduce("controller", USER, None).unwrap();
        let files = tempfile::tempdir().unwrap();
        Self { plane, kubeconfig, url: line.url(), files, term: 0, running: None, gateways: Vec::new() }
    }

    /// The chart as it is, and the bindings that the controller's other half makes.
    pub(crate) fn install(&self, helm: &Helm) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
        self.apply(&namespace.to_string());
        self.apply(&helm.template(&[], &[]).unwrap());
        self.kubectl(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"]);
    }

    /// The example folder, with every approver's yes.
    pub(crate) fn apply_example(&self) {
        let file = |name: &str| format!("--filename={}", root().join("examples/haikou").join(name).display());
        self.kubectl(&["apply", "--server-side", &file("namespaces.yaml")]);
        for code in DEPARTMENTS {
            self.bind(
                code,
                "tidegate-approver",
                &json!({"kind": "Group", "name": format!("{code}-approvers"),
                "apiGroup": "rbac.authorization.k8s.io"}),
            );
            self.bind(
                code,
                "tidegate-controller-department",
                &json!({"kind": "ServiceAccount",
                "name": "tidegate-controller", "namespace": SYSTEM}),
            );
        }
        let others =
            ["departments.yaml", "guardrails.yaml", "people.yaml", "policies.yaml", "resources.yaml"];
        let others: Vec<String> = others.iter().map(|name| file(name)).collect();
        let mut arguments = vec!["apply", "--server-side"];
        arguments.extend(others.iter().map(String::as_str));
        self.kubectl(&arguments);
        // The API server's own view of new rights lags behind by a moment; the script may be run again.
        eventually("the approvals", || self.plane.script("examples/haikou/approve.sh"));
    }

    fn bind(&self, code: &str, role: &str, subject: &Value) {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "metadata": {"name": role, "namespace": format!("dept-{code}")},
        });
        self.apply(&binding.to_string());
    }

    /// Starts a controller and waits until what it read is published.
    pub(crate) async fn start(&mut self) {
        self.term += 1;
        let mut options = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        options.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()).for_each(|cluster| {
            cluster.server = Some(self.url.clone());
        });
        let config =
            KubeConfig::from_custom_kubeconfig(options, &KubeConfigOptions::default()).await.unwrap();
        let client = client::with_config(config).unwrap();
        let keep = Keep::load(client.clone(), SYSTEM, self.term).await.unwrap();
        let pool_key = PoolKey { kid: 1, key: [1; 32] };
        let state = Arc::new(State::in_cluster(keep, self.term, RootKey::from([2; 32]), vec![pool_key]));
        let store = Embedded::open(&self.files.path().join("store.redb"), self.term).unwrap();
        // A cluster's store knows what gateways reported before; this one has to be told.
        for name in &self.gateways {
            report(&store, name).await;
        }
        let objects = tokio::time::timeout(DEADLINE, objects::watch(client, SYSTEM, Arc::default())).await;
        let objects = objects.expect("everything is listed");
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let config = Config {
            settings: Settings {
                title: Localized { zh_cn: Some("业务系统".into()), en: None },
                zone: Zone::utc(),
                not_before: Timestamp(0),
                approvals_enforced: true,
            },
            metrics: metrics.clone(),
            audit: None,
            fleet: None,
            ledger: Some(Arc::clone(&objects.ledger)),
        };
        let mut handle = start(config, Arc::clone(&state), store.clone(), objects.readings.clone()).unwrap();
        let ready = async {
            while let Some(event) = handle.events.recv().await {
                if matches!(event, ControllerEvent::Ready { .. }) {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.expect("the controller is ready");
        let acknowledging = tokio::spawn(acknowledge(store.clone(), self.gateways.clone()));
        self.running = Some(Running { handle, state, store, objects, metrics, acknowledging });
    }

    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.acknowledging.abort();
        running.handle.stop().await;
        running.store.close().await;
        drop(running.state);
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// From now on a gateway of this name has every publication in force at once.
    pub(crate) async fn join(&mut self, name: &str) {
        self.gateways.push(name.to_owned());
        let store = self.store().clone();
        let running = self.running.as_mut().expect("it runs");
        running.acknowledging.abort();
        running.acknowledging = tokio::spawn(acknowledge(store, self.gateways.clone()));
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub(crate) fn store(&self) -> &Embedded {
        &self.running().store
    }

    pub(crate) fn health(&self) -> &Health {
        &self.running().objects.health
    }

    pub(crate) fn write_failures(&self) -> u64 {
        self.running().metrics.write_failures.with_label_values(&["state"]).get()
    }

    /// Waits for a snapshot.
    pub(crate) async fn snapshot(&self, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut views = self.store().subscribe();
        let view = views.wait_for(|view| view.snapshot.as_ref().is_some_and(|snapshot| wanted(snapshot)));
        let view = tokio::time::timeout(DEADLINE, view).await.expect("the snapshot comes").unwrap();
        view.snapshot.clone().unwrap()
    }

    pub(crate) fn newest(&self) -> Arc<Snapshot> {
        self.store().subscribe().borrow().snapshot.clone().unwrap()
    }

    /// Waits until an account looks as wanted.
    pub(crate) async fn account(&self, id: &str, wanted: impl Fn(&Account) -> bool) -> Arc<Account> {
        let id: AccountId = id.parse().unwrap();
        let snapshot =
            self.snapshot(|snapshot| snapshot.account(&id).is_some_and(|account| wanted(account))).await;
        snapshot.account(&id).unwrap().clone()
    }

    pub(crate) async fn outcome(&self, id: IntentId) -> Outcome {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            loop {
                tick.tick().await;
                if let Some(outcome) = self.store().outcome(id).await.unwrap() {
                    return outcome;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the intent is settled")
    }

    pub(crate) fn until<T>(&self, what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
        eventually(what, ask)
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(arguments, "").unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    fn apply(&self, objects: &str) {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        let applied = self.plane.kubectl(&arguments, objects);
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn create(&self, object: &Value) {
        self.try_create(object).unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn try_create(&self, object: &Value) -> Result<(), String> {
        self.plane.kubectl(&["create", "--validate=false", "--filename=-"], &object.to_string()).map(drop)
    }

    pub(crate) fn patch(&self, object: &str, namespace: &str, patch: &str) {
        self.try_patch(object, namespace, patch).unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    pub(crate) fn try_patch(&self, object: &str, namespace: &str, patch: &str) -> Result<(), String> {
        let arguments = ["patch", object, "--type=merge", "--patch", patch, "--namespace", namespace];
        self.plane.kubectl(&arguments, "").map(drop)
    }

    /// Waits until a condition is as wanted: `Type=Status`.
    pub(crate) fn wait_for(&self, object: &str, namespace: &str, condition: &str) {
        eventually(&format!("{object} {condition}"), || {
            let found = self.try_get(object, namespace)?;
            let (wanted, status) = condition.split_once('=').unwrap();
            let generation = &found["metadata"]["generation"];
            let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
            let is = conditions.into_iter().flatten().any(|one| {
                one["type"] == wanted && one["status"] == status && one["observedGeneration"] == *generation
            });
            is.then_some(()).ok_or_else(|| found["status"].to_string())
        });
    }

    /// The reason of a condition.
    pub(crate) fn reason(&self, object: &str, namespace: &str, condition: &str) -> String {
        let found = self.get(object, namespace);
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
        let found = conditions.into_iter().flatten().find(|one| one["type"] == condition);
        found.map_or_else(String::new, |found| text(found, "/reason"))
    }

    pub(crate) fn get(&self, object: &str, namespace: &str) -> Value {
        self.try_get(object, namespace).unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    pub(crate) fn try_get(&self, object: &str, namespace: &str) -> Result<Value, String> {
        let found = self.plane.kubectl(&["get", object, "--output=json", "--namespace", namespace], "")?;
        serde_json::from_str(&found).map_err(|error| error.to_string())
    }

    /// The data of a Secret or ConfigMap.
    pub(crate) fn data(&self, object: &str, namespace: &str) -> Value {
        self.get(object, namespace)["data"].clone()
    }

    /// The activation code laid out for an account.
    pub(crate) fn code(&self, namespace: &str, account: &str) -> String {
        let secret = format!("secret/tidegate-activation-{account}");
        let template = "--output=go-template={{.data.code | base64decode}}";
        let arguments = ["get", &secret, "--namespace", namespace, template];
        eventually("the code", || self.plane.kubectl(&arguments, ""))
    }

    pub(crate) fn names(&self, kind: &str, namespace: &str) -> Vec<String> {
        let list = self.kubectl(&["get", kind, "--namespace", namespace, "--output=name"]);
        list.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name.to_owned()).collect()
    }

    /// The objects of a kind that are neither refused for good nor in force everywhere.
    pub(crate) fn unsaid(&self, kind: &str) -> Vec<String> {
        let list: Value =
            serde_json::from_str(&self.kubectl(&["get", kind, "--all-namespaces", "--output=json"])).unwrap();
        let is = |object: &Value, wanted: &str, status: &str| {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|one| one["type"] == wanted && one["status"] == status)
        };
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let refused = ["stray"];
        items
            .iter()
            .filter(|object| !is(object, "Propagated", "True"))
            .map(|object| format!("{} {}", text(object, "/metadata/name"), object["status"]))
            .filter(|object| !refused.iter().any(|name| object.starts_with(name)))
            .collect()
    }

    /// The version of every object of a kind.
    pub(crate) fn versions(&self, kind: &str) -> Vec<String> {
        let columns = "--output=custom-columns=N:.metadata.name,V:.metadata.resourceVersion";
        let list = self.kubectl(&["get", kind, "--all-namespaces", "--no-headers", columns]);
        list.lines().map(str::to_owned).collect()
    }
}

/// A gateway that reports only when told to.
pub(crate) struct Gateway {
    store: Embedded,
    name: String,
}

impl Gateway {
    /// One that has what is in force now, and hears nothing from now on.
    pub(crate) async fn silent(site: &Site, name: &str) -> Self {
        let gateway = Self { store: site.store().clone(), name: name.to_owned() };
        gateway.catch_up().await;
        gateway
    }

    pub(crate) async fn catch_up(&self) {
        report(&self.store, &self.name).await;
    }
}

async fn report(store: &Embedded, name: &str) {
    let Some(snapshot) = store.subscribe().borrow().snapshot.clone() else { return };
    let ack = Ack {
        gateway: GatewayId(name.to_owned()),
        generation: snapshot.generation,
        broken: BTreeMap::new(),
        evaluators: Vec::new(),
        kids: Vec::new(),
        at: now(),
    };
    store.report(Report { ack, sessions: Vec::new() }).await.unwrap();
}

/// Gateways that have every publication in force at once.
async fn acknowledge(store: Embedded, gateways: Vec<String>) {
    let mut views = store.subscribe();
    loop {
        for name in &gateways {
            report(&store, name).await;
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}
