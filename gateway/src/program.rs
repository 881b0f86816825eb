//! The program `tidegate-gateway`: from a configuration file to an orderly end.
//!
//! ```text
//!  file -- read, checked --> secrets (keys, certificates) -- followed every second --> ring, TLS, store
//!                            store: etcd, opened again when its secrets change
//!  SIGTERM --> drain --> sign off --> audit written out --> exit 0
//! ```
//!
//! An etcd that is away is no reason to stop: the gateway tries again, is not ready, and says why.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use tidegate_core::Code;
use tidegate_store::GatewayId;
use tidegate_store::audit::{AuditLog, Rotation};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::file::File;
use crate::config::{GatewayConfig, Limits, system_roots};
use crate::gateway::{Gateway, Running, StartError};
use crate::health::Note;
use crate::keys::Ring;

mod alone;
mod secrets;
mod store;

use secrets::{Certificate, EtcdCertificates, PoolKeys, follow};
use store::{Opened, Reopening};

/// The spool of the audit trail: 128 MiB in all, since it lies in the memory or the disk of the node.
const SPOOL: Rotation = Rotation { file_bytes: 16 * 1024 * 1024, files: 8 };
/// Longest name of an audit stream.
const STREAM_MAX: usize = 32;

/// A gateway of a pool on Kubernetes. It takes its configuration from etcd; the controller writes FILE.
#[derive(Debug, clap::Parser)]
#[command(name = "tidegate-gateway", version)]
pub struct Args {
    /// The configuration file, JSON; docs/reference/gateway.md explains every field.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read FILE and every file it names, say what is wrong, and exit.
    #[arg(long)]
    check: bool,
}

/// Why the program ends before its time.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {why}")]
pub struct Failure {
    code: Code,
    why: String,
}

impl Failure {
    fn new(code: Code, why: impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Listen { .. } => Code::ListenFailed,
            StartError::Identity(_) => Code::KeyRingUnusable,
            StartError::Tls(_) => Code::CertificateUnusable,
            _ => Code::StateUnusable,
        };
        Self::new(code, error)
    }
}

/// Everything the configuration file names, read.
struct Inputs {
    file: File,
    id: String,
    keys: PoolKeys,
    certificate: Certificate,
    certified: Arc<CertifiedKey>,
    etcd: Option<EtcdCertificates>,
    upstream_roots: RootCertStore,
}

/// Runs until it is asked to end.
///
/// # Errors
/// When the configuration or what it names cannot be used, or an address is taken.
pub fn run(args: &Args) -> Result<(), Failure> {
    let inputs = read(args)?;
    if args.check {
        println!("{}: well", args.config.display());
        return Ok(());
    }
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    // An error means that logs are set up already, which is all that is wanted.
    let logs = tracing_subscriber::fmt().json().flatten_event(true);
    let _ = logs.with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::StateUnusable, error))?;
    runtime.block_on(serve(inputs))
}

/// Reads the configuration and everything it names.
fn read(args: &Args) -> Result<Inputs, Failure> {
    let own_id = std::env::var("POD_UID").ok().filter(|id| !id.is_empty());
    let file =
        File::read(&args.config, own_id).map_err(|error| Failure::new(Code::GatewayConfigInvalid, error))?;
    let keys =
        PoolKeys::read(&file.keys_directory).map_err(|error| Failure::new(Code::KeyRingUnusable, error))?;
    let unusable = |error| Failure::new(Code::CertificateUnusable, error);
    let certificate = Certificate::read(&file.tls).map_err(unusable)?;
    let certified = certificate.parse().map_err(unusable)?;
    let etcd = EtcdCertificates::read(&file.etcd).map_err(unusable)?;
    if let Some(etcd) = &etcd {
        etcd.check().map_err(unusable)?;
    }
    let upstream_roots = match &file.upstream_ca_file {
        Some(file) => secrets::roots(file).map_err(unusable)?,
        None => system_roots(),
    };
    // `File::read` refuses a file without a name.
    let id = file.id.clone().unwrap_or_default();
    Ok(Inputs { file, id, keys, certificate, certified, etcd, upstream_roots })
}

async fn serve(inputs: Inputs) -> Result<(), Failure> {
    let Inputs { file, id, keys, certificate, certified, etcd, upstream_roots } = inputs;
    let mut signals = Signals::listen().map_err(|error| Failure::new(Code::StateUnusable, error))?;
    let stream: String = id.chars().filter(char::is_ascii_alphanumeric).take(STREAM_MAX).collect();
    let audit = AuditLog::open_printed(&file.audit.directory, &stream, SPOOL, file.audit.stdout)
        .map_err(|error| Failure::new(Code::StateUnusable, error))?;
    let ring = Ring::sealing_with(&keys.keys, keys.sealing)
        .map_err(|error| Failure::new(Code::KeyRingUnusable, error))?;
    let note = Note::default();
    let (with, secrets) = watch::channel(Opened { keys: keys.in_order(), tls: etcd.clone() });
    let store = Reopening::start(&file, GatewayId(id.clone()), secrets, note.clone());
    let config = config(&file, GatewayId(id), ring.clone(), upstream_roots, note);
    let (newest, certificates) = watch::channel(certified);

    let (for_gateway, registry) = (store.clone(), Registry::new());
    // Loading modules and making keys takes a moment that the other tasks need not wait for.
    let started = tokio::task::spawn_blocking(move || {
        Gateway::start(config, for_gateway, audit, certificates, &registry)
    });
    let gateway = match started.await {
        Ok(started) => started?,
        Err(error) => return Err(Failure::new(Code::StateUnusable, error)),
    };
    tracing::info!(
        pool = file.pool, address = %gateway.address(), metrics = %gateway.metrics_address(),
        origin = gateway.origin(), "the gateway serves"
    );

    let mut following = JoinSet::new();
    following.spawn(follow_keys(file.keys_directory.clone(), keys, ring, with.clone()));
    let files = file.tls.clone();
    following.spawn(follow(
        "the certificate",
        certificate,
        move || Certificate::read(&files),
        move |certificate| {
            newest.send_replace(certificate.parse()?);
            Ok(())
        },
    ));
    let files = file.etcd.clone();
    following.spawn(follow(
        "the certificates for etcd",
        etcd,
        move || EtcdCertificates::read(&files),
        move |etcd| {
            if let Some(etcd) = etcd {
                etcd.check()?;
            }
            with.send_modify(|with| with.tls = etcd.clone());
            Ok(())
        },
    ));
    signals.ended().await;
    drop(following);
    end(gateway, store, signals).await
}

/// The ring follows its folder, for cookies and tickets as for what etcd holds.
async fn follow_keys(folder: PathBuf, keys: PoolKeys, ring: Ring, with: watch::Sender<Opened>) {
    let take = move |keys: &PoolKeys| {
        // First what can be opened: a cookie that is sealed with a new key comes back at once.
        with.send_modify(|with| with.keys = keys.in_order());
        ring.rotate(&keys.keys, keys.sealing).map_err(|error| error.to_string())
    };
    follow("the key ring", keys, move || PoolKeys::read(&folder), take).await;
}

/// The orderly end; a second signal makes it a short one.
async fn end(gateway: Running, store: Reopening, mut signals: Signals) -> Result<(), Failure> {
    tracing::info!("the gateway drains");
    let orderly = async {
        gateway.shutdown().await;
        store.close().await;
    };
    tokio::select! {
        () = orderly => {
            tracing::info!("the gateway has ended");
            Ok(())
        }
        () = signals.ended() => Err(Failure::new(Code::StateUnusable, "told to end at once")),
    }
}

fn config(
    file: &File,
    id: GatewayId,
    ring: Ring,
    upstream_roots: RootCertStore,
    note: Note,
) -> GatewayConfig {
    GatewayConfig {
        metrics_listen: file.metrics_listen,
        public_port: Some(file.public_port),
        shards: file.shards,
        upstream_roots: Arc::new(upstream_roots),
        new_logins_s: i64::from(file.staleness.new_logins_seconds),
        end_sessions_s: i64::from(file.staleness.end_sessions_seconds),
        balancers: file.proxy_protocol.trusted.clone(),
        note,
        limits: Limits {
            settle_s: file.drain.settle_seconds,
            tunnels_s: file.drain.tunnels_seconds,
            drain_s: file.drain.requests_seconds,
            ..Limits::default()
        },
        ..GatewayConfig::new(id, &file.host, file.listen, ring)
    }
}

/// The signals that ask for an orderly end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over from here on.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    async fn ended(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
