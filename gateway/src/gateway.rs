//! Starting a gateway, and ending it in order.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

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

/// A gateway, before it runs.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that serves until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    metrics_address: SocketAddr,
    origin: String,
    drain: watch::Sender<bool>,
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
        let metrics_listener = TcpListener::bind(config.metrics_listen).map_err(failed)?;
        metrics_listener.set_nonblocking(true).map_err(failed)?;
        let metrics_address = metrics_listener.local_addr().map_err(failed)?;

        let origin = Names::new(&config.host, config.public_port.unwrap_or(address.port())).origin;
        let identity = Identity::new(&config.ring, &origin)?;
        let library = Arc::new(Library::new(Engine::new()?));
        let hash_queue = HashQueue::start(available() / 2).map_err(StartError::Thread)?;
        let metrics = Metrics::register(registry)?;
        let (handle, calls) = Handle::new();
        let id = config.id.clone();
        let parts = (identity, hash_queue, Recorder::new(audit), metrics, Arc::clone(&library));
        let shared = Arc::new(Shared::new(config, address, handle, parts));
        let tls = tls::server(&shared, certificate)?;

        let mut views = store.subscribe();
        let mut modules = Modules::new(library);
        let view = views.borrow_and_update().clone();
        let (first, broken) = modules.take(view);
        let (told, _) = watch::channel(first);
        let (notices_in, notices) = mpsc::channel::<Notice>(NOTICES_MAX);
        let (drain, draining) = watch::channel(false);
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
                drain: draining.clone(),
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
            drain: draining,
            stop: stopping,
        };
        let control = Thread::start("control".into(), move || control.run())?;
        Ok(Running { address, metrics_address, origin, drain, stop, shards, control: Some(control) })
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

    /// Stops accepting, lets requests finish for a while, and returns when all is written.
    pub async fn shutdown(mut self) {
        self.drain.send_replace(true);
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
    if address.port() != 0 {
        // Sockets that share an address would also share it with another program that does the same.
        drop(TcpListener::bind(address)?);
    }
    let mut at = address;
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
