//! A small bureau on a real gateway and a real embedded store.
//!
//! `sbj` owns three systems: `payroll` for its clerks, `fund` for finance only, `night` for clerks at hours that
//! never are. Its people are in [`PEOPLE`]. `ybj` has one person and no systems.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tidegate_core::policy::{Effect, Match, Mode, Policy, Rule, Target, Window};
use tidegate_core::{
    Account, AccountName, AccountState, Approval, Contact, Credential, Department, DepartmentCode, Endpoint,
    Generation, Hotline, Localized, LoginRules, Person, Platform, PolicyModule, PolicyState, Resource,
    SessionRules, Source, Timestamp, UpstreamScheme, UpstreamTls, Web, Zone,
};
use tidegate_gateway::clock::Clock;
use tidegate_gateway::keys::Ring;
use tidegate_gateway::{Gateway, GatewayConfig, Limits, Running, hash};
use tidegate_policy_compiler::{Input, Scope, compile};
use tidegate_store::audit::AuditLog;
use tidegate_store::{Change, Embedded, GatewayId, Intent, IntentAction, Outcome, Publication, Store as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::browser::Browser;

/// The portal.
pub(crate) const PORTAL: &str = "localhost";
/// The host of a system of `sbj`.
pub(crate) const PAYROLL: &str = "payroll-sbj.localhost";
pub(crate) const FUND: &str = "fund-sbj.localhost";

/// A good password, and another.
pub(crate) const PASSWORD: &str = "Lantern-7-harbour";
pub(crate) const OTHER_PASSWORD: &str = "Kelp.moss-42-Bridge";
/// The activation code of `new`.
pub(crate) const CODE: &str = "K7QD-M2XA-5FTR-3WHB";

/// Name, groups, state of the people of `sbj`.
const PEOPLE: [(&str, &[&str], AccountState); 5] = [
    ("wangfang", &["sbj/clerks"], AccountState::Active),
    ("liqiang", &["sbj/finance"], AccountState::Active),
    ("gone", &["sbj/clerks"], AccountState::Suspended),
    ("must", &["sbj/clerks"], AccountState::Active),
    ("new", &["sbj/clerks"], AccountState::Active),
];

/// Longest a test waits for something that is to happen.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Between two looks at whether it has.
const PAUSE: Duration = Duration::from_millis(5);

static PASSWORD_HASH: LazyLock<Box<str>> = LazyLock::new(|| hash::hash(PASSWORD).expect("a hash"));

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Self(Arc::new(AtomicI64::new(i64::try_from(now.as_secs()).expect("before the year 292 billion"))))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let own = self.clone();
        Clock::of(move || own.now())
    }
}

/// The bureau, served.
pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) store: Embedded,
    pub(crate) ring: Ring,
    gateway: Option<Running>,
    addresses: (SocketAddr, SocketAddr),
    tls: Arc<ClientConfig>,
    tasks: tokio::task::JoinSet<()>,
    certificate: watch::Sender<Arc<CertifiedKey>>,
    folder: tempfile::TempDir,
}

impl World {
    /// The bureau with a clock that may be moved without the store seeming stale.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The bureau with other settings.
    pub(crate) async fn with(settings: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::start_with(i64::MAX, settings).await
    }

    /// The bureau where time without news counts as in production.
    pub(crate) async fn with_staleness_limits() -> Self {
        Self::start_with(1, |_| {}).await
    }

    /// The bureau with other limits on its clients.
    pub(crate) async fn with_limits(limits: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|config| limits(&mut config.limits)).await
    }

    async fn start_with(patience: i64, settings: impl FnOnce(&mut GatewayConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = TestClock::new();
        let mut tasks = tokio::task::JoinSet::new();
        let upstream = TcpListener::bind("127.20.0.1:0").await.expect("an upstream");
        let upstream_address = upstream.local_addr().expect("its address");
        tasks.spawn(serve_upstream(upstream));
        let store = Embedded::open(&folder.path().join("store.redb"), 1).expect("a store");
        store.publish(publication(clock.now(), upstream_address)).await.expect("it is published");
        let (certificate, tls) = certificate();
        let (sender, certificate) = watch::channel(certificate);
        let ring = Ring::new(&[(1, [1; 32])]).expect("a ring");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let mut config = GatewayConfig::new(GatewayId("test".into()), PORTAL, listen, ring);
        config.clock = clock.clock();
        config.shards = Some(2);
        config.dial_map = Some("10.20.0.0/16=127.20.0.0/16".parse().expect("a map"));
        config.new_logins_s = config.new_logins_s.saturating_mul(patience);
        config.end_sessions_s = config.end_sessions_s.saturating_mul(patience);
        settings(&mut config);
        let ring = config.ring.clone();
        let audit = AuditLog::open(&folder.path().join("audit"), "test").expect("an audit trail");
        let registry = prometheus::Registry::new();
        let gateway =
            Gateway::start(config, store.clone(), audit, certificate, &registry).expect("a gateway");
        let addresses = (gateway.address(), gateway.metrics_address());
        let gateway = Some(gateway);
        Self { clock, store, ring, gateway, addresses, tls, tasks, certificate: sender, folder }
    }

    /// One more gateway of the same pool, with keys of its own that are the same.
    pub(crate) fn another(&self) -> Running {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let ring = Ring::new(&[(1, [1; 32])]).expect("a ring");
        let mut config = GatewayConfig::new(GatewayId("another".into()), PORTAL, listen, ring);
        config.clock = self.clock.clock();
        config.shards = Some(1);
        config.public_port = Some(self.addresses.0.port());
        let audit = AuditLog::open(&self.folder.path().join("audit"), "another").expect("an audit trail");
        let registry = prometheus::Registry::new();
        let certificate = self.certificate.subscribe();
        Gateway::start(config, self.store.clone(), audit, certificate, &registry).expect("a gateway")
    }

    /// Begins the orderly end of the gateway; the task ends with it.
    pub(crate) fn drain(&mut self) -> tokio::task::JoinHandle<()> {
        let gateway = self.gateway.take().expect("it is drained once");
        tokio::spawn(gateway.shutdown())
    }

    /// What an endpoint beside the metrics answers: status and text.
    pub(crate) async fn probe(&self, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.metrics_address()).await.expect("metrics");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }

    /// Where the gateway serves, and whom its clients trust.
    pub(crate) fn address(&self) -> (SocketAddr, Arc<ClientConfig>) {
        (self.addresses.0, Arc::clone(&self.tls))
    }

    /// Where its metrics are.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.addresses.1
    }

    /// A fresh browser.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.addresses.0, Arc::clone(&self.tls))
    }

    /// The audit trail as far as it is written.
    pub(crate) fn audit(&self) -> String {
        let files = std::fs::read_dir(self.folder.path().join("audit")).expect("the trail's folder");
        files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a trail")).collect()
    }

    /// From now on changes asked for at the gateway are made, as the controller would.
    pub(crate) fn settle_intents(&mut self) {
        self.tasks.spawn(settle_intents(self.store.clone()));
    }
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            // What is waited for may need this thread.
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("it happens soon")
}

/// Answers every request with what it was asked.
async fn serve_upstream(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let body = format!("upstream {}", String::from_utf8_lossy(&head));
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// A certificate of all hosts.
pub(crate) fn self_signed() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let hosts = [PORTAL, PAYROLL, FUND].map(str::to_owned);
    rcgen::generate_simple_self_signed(hosts).expect("a certificate")
}

fn certificate() -> (Arc<CertifiedKey>, Arc<ClientConfig>) {
    let made = self_signed();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
    let certificate = made.cert.der().clone();
    let client = trusting(certificate.clone());
    (Arc::new(CertifiedKey::new(vec![certificate], signing)), client)
}

/// A client that trusts this certificate.
pub(crate) fn trusting(certificate: rustls_pki_types::CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(client)
}

fn localized(zh_cn: &str, en: &str) -> Localized {
    Localized { zh_cn: Some(zh_cn.into()), en: Some(en.into()) }
}

fn source(uid: &str) -> Source {
    Source { uid: uid.parse().expect("a uid"), generation: 1 }
}

/// The whole bureau as first published.
pub(crate) fn publication(now: Timestamp, upstream: SocketAddr) -> Publication {
    Publication {
        platform: Some(Arc::new(platform())),
        departments: vec![Change::Put(Arc::new(sbj(now, upstream))), Change::Put(Arc::new(ybj(now)))],
    }
}

fn platform() -> Platform {
    Platform {
        title: localized("业务专网", "Service Network"),
        policy: PolicyState::Absent,
        zone: Zone::utc(),
        not_before: Timestamp(0),
        approvals_enforced: false,
    }
}

fn department(code: &str, title: Localized) -> Department {
    Department {
        source: source(&format!("uid-{code}")),
        generation: Generation::default(),
        code: code.parse().expect("a code"),
        title,
        notice: localized("第一段\n第二段", "First line\nSecond line"),
        hotline: Hotline { phone: "0898-0000 1200".into(), hours: localized("工作日", "Workdays") },
        zone: Zone { name: "Asia/Shanghai".into(), offset: 28_800, transitions: Box::default() },
        networks: vec!["10.20.0.0/16".parse().expect("a range")],
        resolvers: Vec::new(),
        login: LoginRules { password_max_age_days: 0 },
        session: SessionRules::default(),
        accounts: HashMap::new(),
        resources: BTreeMap::new(),
        policy: PolicyState::Absent,
    }
}

/// The department with people and systems.
pub(crate) fn sbj(now: Timestamp, upstream: SocketAddr) -> Department {
    let mut own = department("sbj", localized("市社会保险服务中心", "City Social Insurance Centre"));
    for (name, groups, state) in PEOPLE {
        let account = account(now, name, groups, state);
        own.accounts.insert(account.name.clone(), Arc::new(account));
    }
    for name in ["payroll", "fund", "night"] {
        let resource = resource(name, upstream);
        own.resources.insert(resource.name.clone(), Arc::new(resource));
    }
    own.policy = compiled(&own.code, &policies());
    own
}

/// The rules of a department as gateways take them.
pub(crate) fn compiled(code: &DepartmentCode, policies: &[Policy]) -> PolicyState {
    let output = compile(&Input { scope: Scope::Department(code.clone()), policies });
    assert!(output.problems.is_empty(), "{:?}", output.problems);
    PolicyState::Module(Arc::new(PolicyModule {
        digest: digest(&output.wasm),
        wasm: output.wasm.into(),
        rules: output.rules,
    }))
}

fn ybj(now: Timestamp) -> Department {
    let mut own = department("ybj", localized("市医疗保障局", "City Medical Insurance Bureau"));
    let account = account(now, "zhao", &["ybj/staff"], AccountState::Active);
    own.accounts.insert(account.name.clone(), Arc::new(account));
    own
}

fn account(now: Timestamp, name: &str, groups: &[&str], state: AccountState) -> Account {
    let fresh = name == "new";
    Account {
        source: source(&format!("uid-{name}")),
        name: name.parse().expect("a name"),
        person: Person {
            display_name: name.to_uppercase().into(),
            unit: "Unit".into(),
            groups: groups.iter().map(|group| group.parse().expect("a group")).collect(),
            attributes: BTreeMap::new(),
        },
        state,
        approval: Some(Approval { by: "somebody".into(), until: now.plus(300 * 86_400) }),
        review: None,
        valid_from: None,
        valid_until: None,
        credential: Some(Credential {
            version: 1,
            epoch: 1,
            password: (!fresh).then(|| PASSWORD_HASH.clone()),
            history: Vec::new(),
            must_change: name == "must",
            activation: fresh.then(|| digest(CODE.replace('-', "").as_bytes())),
            activation_until: now.plus(72 * 3_600),
        }),
    }
}

fn resource(name: &str, upstream: SocketAddr) -> Resource {
    Resource {
        source: source(&format!("uid-{name}")),
        name: name.parse().expect("a name"),
        title: localized(&format!("系统 {name}"), &format!("System {name}")),
        description: localized("说明", "What it is for"),
        category: Localized::default(),
        icon: "ledger".into(),
        contact: Contact {
            office: localized("信息科", "IT section"),
            phone: "0898-0000 1310".into(),
            hours: Localized::default(),
        },
        labels: BTreeMap::new(),
        visible: true,
        endpoint: Endpoint::Web(Web {
            scheme: UpstreamScheme::Http,
            host: "10.20.0.1".into(),
            port: upstream.port(),
            start_path: "/start".into(),
            tls: UpstreamTls::default(),
        }),
    }
}

/// What `sbj` grants.
pub(crate) fn policies() -> Vec<Policy> {
    let rule = |system: &str, group: &str, schedule: Vec<Window>| Rule {
        name: system.into(),
        effect: Effect::Allow,
        matches: Match {
            groups: vec![group.parse().expect("a group")],
            resources: vec![system.parse().expect("a name")],
            schedule,
            ..Match::default()
        },
        when: None,
    };
    // One minute of a week that the tests' clock is never in for long.
    let never = vec![Window { days: 1, from: 0, to: 1 }];
    vec![Policy {
        name: "grants".into(),
        target: Target::Resources { names: Vec::new(), match_labels: BTreeMap::new() },
        mode: Mode::Enforce,
        rules: vec![
            rule("payroll", "sbj/clerks", Vec::new()),
            rule("fund", "sbj/finance", Vec::new()),
            rule("night", "sbj/clerks", never),
        ],
    }]
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    sum.as_ref().try_into().expect("32 bytes")
}

/// Publishes a change to one account of `sbj`.
pub(crate) async fn change_account(store: &Embedded, name: &str, change: impl FnOnce(&mut Account)) {
    let snapshot = store.subscribe().borrow().snapshot.clone().expect("a snapshot");
    let code: DepartmentCode = "sbj".parse().expect("a code");
    let mut own = Department::clone(&snapshot.departments[&code]);
    let name: AccountName = name.parse().expect("a name");
    let mut account = Account::clone(&own.accounts[&name]);
    change(&mut account);
    own.accounts.insert(name, Arc::new(account));
    let publication = Publication { platform: None, departments: vec![Change::Put(Arc::new(own))] };
    store.publish(publication).await.expect("it is published");
}

/// Publishes that sessions which began earlier are void.
pub(crate) async fn void_before(store: &Embedded, at: Timestamp) {
    let platform = Platform { not_before: at, ..platform() };
    let publication = Publication { platform: Some(Arc::new(platform)), departments: Vec::new() };
    store.publish(publication).await.expect("it is published");
}

/// Does what the controller does with intents, for as long as the test lasts.
pub(crate) async fn settle_intents(store: Embedded) {
    while let Ok(intent) = store.take().await {
        let outcome = settle(&store, &intent).await;
        store.settle(intent.id, outcome).await.expect("it is settled");
    }
}

async fn settle(store: &Embedded, intent: &Intent) -> Outcome {
    let mut version = 0;
    change_account(store, intent.account.name.as_str(), |account| {
        let credential = account.credential.as_mut().expect("a credential");
        assert_eq!(credential.version, intent.replaces);
        let (IntentAction::Activate { password, .. } | IntentAction::ChangePassword { password }) =
            &intent.action;
        let previous = credential.password.replace(password.clone());
        credential.history.extend(previous);
        credential.activation = None;
        credential.must_change = false;
        credential.epoch += 1;
        credential.version += 1;
        version = credential.version;
    })
    .await;
    Outcome::Done { version }
}
