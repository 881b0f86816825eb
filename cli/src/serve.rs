//! Controller and gateway in one process, from a folder: what `up` and `demo` share.
//!
//! ```text
//!  DIR --Folder--> controller --publish--> Embedded --subscribe--> gateway
//!                                             \--> certificate (names follow the systems)
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use prometheus::Registry;
use rustls::sign::CertifiedKey;
use tidegate_controller::build::Settings;
use tidegate_controller::folder::{self, Watcher};
use tidegate_controller::intake::Reading;
use tidegate_controller::metrics::Metrics;
use tidegate_controller::{Config, ControllerEvent, Handle, State};
use tidegate_core::{Localized, Snapshot, Timestamp, Zone};
use tidegate_gateway::{DialMap, Gateway, GatewayConfig, Limits, Running, keys::Ring, system_roots};
use tidegate_store::audit::AuditLog;
use tidegate_store::{Embedded, GatewayId, Store as _, StoreError, View};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control;
use crate::temporary::Temporary;
use crate::tls::{self, Authority};

/// The first reading and publication may take this long; then something is wrong.
const READY: Duration = Duration::from_secs(60);
/// An orderly end may take this long.
const STOP: Duration = Duration::from_secs(15);
/// A leaf is issued anew at least this often.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What is to be served, and where.
pub(crate) struct Setup {
    /// The folder of manifests.
    pub(crate) dir: PathBuf,
    /// The state.
    pub(crate) state: PathBuf,
    /// Where people connect to.
    pub(crate) listen: SocketAddr,
    /// Where metrics are read.
    pub(crate) metrics_listen: SocketAddr,
    /// The name people type.
    pub(crate) host: String,
    /// What is dialled in place of what manifests say.
    pub(crate) dial_map: Option<DialMap>,
    /// Seconds that requests under way are waited for at the end.
    pub(crate) drain_s: u32,
}

/// The signals that ask for an orderly end.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over from here on.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub(crate) async fn ended(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The runtime of the command, with logs set up.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that logs are set up already, which is all that is wanted.
    let _ = match std::env::var("TIDEGATE_LOG").as_deref() {
        Ok("json") => logs.json().try_init(),
        _ => logs.try_init(),
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the operating system gives no threads")
}

/// Everything that runs.
pub(crate) struct Serving {
    state: Arc<State>,
    store: Embedded,
    audit: AuditLog,
    controller: Handle,
    gateway: Running,
    authority: PathBuf,
    pin: String,
    host: String,
    tasks: Vec<JoinHandle<()>>,
    // The controller sees no more changes once this is gone.
    _watcher: Watcher,
}

impl Serving {
    /// Starts controller and gateway, and returns when people can log in. Events on the way go to `told`.
    /// What was started before a failure is stopped again.
    pub(crate) async fn start(setup: Setup, told: impl FnMut(&ControllerEvent)) -> Result<Self> {
        State::check_outside(&setup.state, &setup.dir)?;
        let state = Arc::new(State::open(&setup.state)?);
        let audit = AuditLog::open(&state.audit_directory(), "standalone")?;
        let store = open_store(&state)?;
        let started = Self::start_on(setup, Arc::clone(&state), store.clone(), audit, told).await;
        if started.is_err() {
            store.close().await;
        }
        started
    }

    async fn start_on(
        setup: Setup,
        state: Arc<State>,
        store: Embedded,
        audit: AuditLog,
        told: impl FnMut(&ControllerEvent),
    ) -> Result<Self> {
        let registry = Registry::new();
        let config = config(&registry, Some(audit.clone()))?;
        let (watcher, readings) = read(&setup.dir).await?;
        let mut controller = tidegate_controller::start(config, Arc::clone(&state), store.clone(), readings)?;
        let gateway = async {
            ready(&mut controller, told).await?;
            let authority = Authority::open(&state.tls_directory(), &setup.host)?;
            let (file, pin) = (authority.file().to_owned(), authority.pin());
            let (certificate, renewal) = certificate(authority, &setup.host, store.subscribe())?;
            let gateway = start_gateway(&setup, &state, &store, &audit, registry, certificate).await?;
            anyhow::Ok((gateway, file, pin, renewal))
        };
        match gateway.await {
            Ok((gateway, authority, pin, renewal)) => {
                let control = tokio::spawn(control::serve(state.control_socket(), store.clone()));
                let host = setup.host;
                let tasks = vec![renewal, control];
                Ok(Self {
                    state,
                    store,
                    audit,
                    controller,
                    gateway,
                    authority,
                    pin,
                    host,
                    tasks,
                    _watcher: watcher,
                })
            }
            Err(error) => {
                controller.stop().await;
                Err(error)
            }
        }
    }

    /// The newest that was published.
    pub(crate) fn views(&self) -> watch::Receiver<View> {
        self.store.subscribe()
    }

    /// The next event of the controller; `None` when it is gone.
    pub(crate) async fn event(&mut self) -> Option<ControllerEvent> {
        self.controller.events.recv().await
    }

    /// Host and port as they stand in an address.
    pub(crate) fn authority_of_url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.gateway.address().port() {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// Where people log in.
    pub(crate) fn address(&self) -> String {
        format!("https://{}/", self.authority_of_url())
    }

    /// Where the metrics are read.
    pub(crate) fn metrics_address(&self) -> String {
        format!("http://{}/metrics", self.gateway.metrics_address())
    }

    /// The certificate to trust.
    pub(crate) fn ca(&self) -> &Path {
        &self.authority
    }

    /// What VPN clients know the gateway by.
    pub(crate) fn pin(&self) -> &str {
        &self.pin
    }

    /// The state.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Ends in order: no new connections, then no new configuration, then the files.
    pub(crate) async fn stop(self) {
        let stop = async {
            self.gateway.shutdown().await;
            self.controller.stop().await;
            self.tasks.iter().for_each(JoinHandle::abort);
            if self.audit.synced().await.is_err() {
                tracing::warn!("the last audit records may be lost");
            }
            self.store.close().await;
        };
        if tokio::time::timeout(STOP, stop).await.is_err() {
            tracing::warn!("the orderly end took too long and was cut short");
        }
    }
}

/// Opens the store; what cannot be used is never thrown away without being asked.
fn open_store(state: &State) -> Result<Embedded> {
    let file = state.store_file();
    Embedded::open(&file, state.term()).map_err(|error| {
        let fix = match error {
            StoreError::Unreadable(_) | StoreError::Fenced(_) => {
                "; remove the file: it is made anew, and everybody logs in again"
            }
            _ => "",
        };
        anyhow!("{}: cannot use {}: {error}{fix}", error.code(), file.display())
    })
}

/// The controller's settings, standalone: whoever can write the folder is trusted.
fn config(registry: &Registry, audit: Option<AuditLog>) -> Result<Config> {
    let settings = Settings {
        title: Localized { zh_cn: Some("统一接入".into()), en: Some("Tidegate".into()) },
        zone: Zone::utc(),
        not_before: Timestamp(0),
        approvals_enforced: false,
    };
    Ok(Config { settings, metrics: Metrics::register(registry)?, audit, fleet: None, ledger: None })
}

/// Reads a folder and watches it; the first reading blocks, so it has a thread of its own.
async fn read(dir: &Path) -> Result<(Watcher, watch::Receiver<Arc<Reading>>)> {
    let dir = dir.to_owned();
    Ok(tokio::task::spawn_blocking(move || folder::watch(dir)).await??)
}

/// What `up` would publish from a folder now; nothing is left behind. Events on the way go to `told`.
pub(crate) async fn publish_once(dir: &Path, told: impl FnMut(&ControllerEvent)) -> Result<Arc<Snapshot>> {
    let temporary = Temporary::make("explain", false)?;
    let state = Arc::new(State::open(&temporary.path().join("state"))?);
    let store = Embedded::open(&state.store_file(), state.term())?;
    let published = async {
        let (_watcher, readings) = read(dir).await?;
        let config = config(&Registry::new(), None)?;
        let mut controller = tidegate_controller::start(config, Arc::clone(&state), store.clone(), readings)?;
        let outcome = ready(&mut controller, told).await;
        controller.stop().await;
        outcome?;
        store.subscribe().borrow().snapshot.clone().context("nothing was published")
    };
    let published = published.await;
    store.close().await;
    published
}

/// Waits until the newest objects are published.
async fn ready(controller: &mut Handle, mut told: impl FnMut(&ControllerEvent)) -> Result<()> {
    let published = async {
        while let Some(event) = controller.events.recv().await {
            told(&event);
            if matches!(event, ControllerEvent::Ready { .. }) {
                return Ok(());
            }
        }
        bail!("the controller ended")
    };
    tokio::time::timeout(READY, published).await.context("the folder could not be published in time")?
}

/// The gateway's certificate, and the task that issues it anew when the systems change.
fn certificate(
    authority: Authority,
    host: &str,
    mut views: watch::Receiver<View>,
) -> Result<(watch::Receiver<Arc<CertifiedKey>>, JoinHandle<()>)> {
    let host = host.to_owned();
    let mut names = tls::names(&host, views.borrow_and_update().snapshot.as_deref());
    let (newest, certificate) = watch::channel(authority.issue(&names)?);
    let renewal = tokio::spawn(async move {
        loop {
            let due = match tokio::time::timeout(RENEW, views.changed()).await {
                Ok(Ok(())) => false,
                Ok(Err(_)) => return,
                Err(_) => true,
            };
            let wanted = tls::names(&host, views.borrow_and_update().snapshot.as_deref());
            if !due && wanted == names {
                continue;
            }
            match authority.issue(&wanted) {
                Ok(leaf) => {
                    names = wanted;
                    newest.send_replace(leaf);
                }
                Err(error) => tracing::error!(%error, "the certificate cannot be issued anew"),
            }
        }
    });
    Ok((certificate, renewal))
}

/// The second it is.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_second())
}

/// Starts the gateway on what is published.
async fn start_gateway(
    setup: &Setup,
    state: &State,
    store: &Embedded,
    audit: &AuditLog,
    registry: Registry,
    certificate: watch::Receiver<Arc<CertifiedKey>>,
) -> Result<Running> {
    let keys: Vec<_> = state.pool_keys().iter().map(|key| (key.kid, key.key)).collect();
    let id = GatewayId(format!("standalone-{}", state.term()));
    let config = GatewayConfig {
        metrics_listen: setup.metrics_listen,
        dial_map: setup.dial_map,
        upstream_roots: Arc::new(system_roots()),
        limits: Limits { drain_s: setup.drain_s, ..Limits::default() },
        ..GatewayConfig::new(id, &setup.host, setup.listen, Ring::new(&keys)?)
    };
    // Loading modules and making keys takes a moment that the other tasks need not wait for.
    let (store, audit) = (store.clone(), audit.clone());
    let started =
        tokio::task::spawn_blocking(move || Gateway::start(config, store, audit, certificate, &registry));
    Ok(started.await??)
}
