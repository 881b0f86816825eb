//! Starting a gateway, and ending it in order.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use rustls::sign::CertifiedKey;
use socket2::{Domain, Protocol, Socket, Type};
use tidegate_policy_engine::{Engine, EngineError, Library};
use tidegate_store::Store;
use tidegate_store::audit::AuditLog;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::GatewayConfig;
use crate::control::modules::Modules;
use crate::control::thread::Control;
use crate::control::{Handle, Notice};
use crate::hash::HashQueue;
use crate::identity::{Identity, IdentityError};
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::shard::Shard;
use crate::shared::{Names, Shared};
use crate::tls;

/// Connections the kernel keeps for a shard that is busy.
const BACKLOG: i32 = 4_096;
/// Notices of shards that may wait.
const NOTICES_MAX: usize = 256;
/// Shards at most.
const SHARDS_MAX: usize = 64;

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody has asked for it.
    Serving,
    /// Not ready any more, so that nobody is sent here; whoever comes is served.
    Settling,
    /// Nothing is accepted, everything is finished.
    Draining,
}

/// A gateway, before it runs.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that serves until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    metrics_address: SocketAddr,
    origin: String,
    phase: watch::Sender<Phase>,
    settle: Duration,
    stop: watch::Sender<bool>,
    shards: Vec<Thread>,
    control: Option<Thread>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Policy modules cannot be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The pool's keys are unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS settings are refused.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The metrics are registered already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

impl Gateway {
    /// Starts to serve. `certificate` may change at any time; `registry` gets the metrics.
    ///
    /// # Errors
    /// When an address is taken, the keys are unusable or the system gives no threads.
    pub fn start<S: Store>(
        config: GatewayConfig,
        store: S,
        audit: AuditLog,
        certificate: watch::Receiver<Arc<CertifiedKey>>,
        registry: &Registry,
    ) -> Result<Running, StartError> {
        let count = config.shards.unwrap_or_else(available).clamp(1, SHARDS_MAX);
        let listeners = listen(config.listen, count)
            .map_err(|error| StartError::Listen { address: config.listen, error })?;
        let address = listeners.first().and_then(|first| first.local_addr().ok()).unwrap_or(config.listen);
        let failed = |error| StartError::Listen { address: config.metrics_listen, error };
        let metrics_listener = listen(config.metrics_listen, 1)
            .and_then(|mut one| one.pop().ok_or_else(|| std::io::ErrorKind::NotFound.into()))
            .map_err(failed)?;
        let metrics_address = metrics_listener.local_addr().map_err(failed)?;

        let origin = Names::new(&config.host, config.public_port.unwrap_or(address.port())).origin;
        let identity = Identity::new(&config.ring, &origin)?;
        let library = Arc::new(Library::new(Engine::new()?));
        let hash_queue = HashQueue::start(available() / 2).map_err(StartError::Thread)?;
        let metrics = Metrics::register(registry)?;
        let (handle, calls) = Handle::new();
        let id = config.id.clone();
        let parts = (identity, hash_queue, Recorder::new(audit), metrics, Arc::clone(&library));
        let settle = Duration::from_secs(u64::from(config.limits.settle_s));
        let shared = Arc::new(Shared::new(config, (address, count), handle, parts));
        let tls = tls::server(&shared, certificate)?;

        let mut views = store.subscribe();
        let mut modules = Modules::new(library);
        let view = views.borrow_and_update().clone();
        let (first, broken) = modules.take(view);
        let (told, _) = watch::channel(first);
        let (notices_in, notices) = mpsc::channel::<Notice>(NOTICES_MAX);
        let (phase, phases) = watch::channel(Phase::Serving);
        let (stop, stopping) = watch::channel(false);

        let mut shards = Vec::with_capacity(count);
        for (index, listener) in listeners.into_iter().enumerate() {
            let shard = Shard {
                index,
                shared: Arc::clone(&shared),
                listener,
                tls: Arc::clone(&tls),
                told: told.subscribe(),
                notices: notices_in.clone(),
                phase: phases.clone(),
            };
            shards.push(Thread::start(format!("shard-{index}"), move || shard.run())?);
        }
        let control = Control {
            shared,
            store,
            id,
            views,
            told,
            modules,
            broken,
            calls,
            notices,
            shards: count,
            metrics: metrics_listener,
            registry: registry.clone(),
            phase: phases,
            stop: stopping,
        };
        let control = Thread::start("control".into(), move || control.run())?;
        Ok(Running { address, metrics_address, origin, phase, settle, stop, shards, control: Some(control) })
    }
}

impl Running {
    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// What people type: `https://host[:port]`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Ends in order: not ready, but accepting, until balancers know; then all shards stop to accept and finish
    /// what is under way; returns when all is written.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Settling);
        tokio::time::sleep(self.settle).await;
        self.phase.send_replace(Phase::Draining);
        for shard in std::mem::take(&mut self.shards) {
            shard.join().await;
        }
        self.stop.send_replace(true);
        if let Some(control) = self.control.take() {
            control.join().await;
        }
    }
}

/// A thread and the news of its end.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Thread {
    fn start(name: String, run: impl FnOnce() + Send + 'static) -> Result<Self, StartError> {
        let (ending, ended) = oneshot::channel();
        let run = move || {
            run();
            // Whoever dropped the gateway does not wait.
            let _ = ending.send(());
        };
        let handle = std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)?;
        Ok(Self { handle, ended })
    }

    /// Waits for its end without blocking a thread of the runtime for it.
    async fn join(self) {
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        if self.ended.await.is_err() || self.handle.join().is_err() {
            tracing::error!(thread = name, "a thread of the gateway has failed");
        }
    }
}

/// Processors this process may use; knows about cgroups.
fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One socket per shard on the same address; the kernel spreads the clients.
fn listen(address: SocketAddr, count: usize) -> std::io::Result<Vec<TcpListener>> {
    let mut at = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // A node without IPv6: everywhere is everywhere there is.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        _ => address,
    };
    if at.port() != 0 {
        // Sockets that share an address would also share it with another program that does the same.
        drop(TcpListener::bind(at)?);
    }
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        at = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}
