//! `tidegate-controller`: the controller as a program of its own in a cluster.
//!
//! ```text
//!  settings -> API server -> [wait for the lease] -> lead -> [lease lost] -> wait again
//!                                                      \-> SIGTERM: stop publishing, give the lease back, exit
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::{Api, Client, Config};
use prometheus::Registry;
use tidegate_controller::admin::Pools;
use tidegate_controller::admin::http::Admin;
use tidegate_controller::cluster::lead::{LeadMetrics, Leader};
use tidegate_controller::cluster::lease::{Candidate, Held};
use tidegate_controller::cluster::settings::Settings;
use tidegate_controller::cluster::{client, endpoint};
use tidegate_controller::metrics::Metrics;
use tidegate_core::Code;
use tidegate_store::audit::{AuditLog, Rotation};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

// Many small things of all ages live here; the default allocator would keep twice their room.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The round under way may take this long at the end; the lease outlasts it.
const STOP: Duration = Duration::from_secs(5);
/// The spool of the audit trail: 128 MiB in all, since it lies on the disk of the node.
const SPOOL: Rotation = Rotation { file_bytes: 16 * 1024 * 1024, files: 8 };

/// Reads the cluster's objects, publishes to etcd, and keeps the gateways.
#[derive(Debug, Parser)]
#[command(name = "tidegate-controller", version)]
struct Arguments {
    /// The settings; docs/reference/controller.md explains them.
    #[arg(
        long,
        env = "TIDEGATE_CONFIG",
        value_name = "FILE",
        default_value = "/etc/tidegate/controller.yaml"
    )]
    config: PathBuf,
    /// How the API server is reached; the pod's service account if absent.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The name in the lease; the host's if absent.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    id: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the operating system gives no threads")?;
    let outcome = runtime.block_on(run(arguments));
    // Requests under way need not be waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut signals = Signals::listen()?;
    let settings = Arc::new(Settings::read(&arguments.config)?);
    let (client, namespace) = connect(&arguments, &settings).await?;
    let holder = holder(arguments.id);

    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;
    let lead = LeadMetrics::register(&registry)?;
    let health = Arc::new(watch::Sender::new(Some("the API server has not answered yet".to_owned())));
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("{}: cannot listen on {}", Code::ListenFailed.id(), settings.listen))?;
    let address = listener.local_addr()?;
    let pools = Arc::new(watch::Sender::new(Pools::new()));
    let admin = Arc::new(Admin::new(client.clone(), namespace.clone(), pools.subscribe()));
    let endpoint = tokio::spawn(endpoint::serve(listener, registry, health.subscribe(), admin));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace, holder, %address, "started");

    let audit = audit(&settings)?;
    let leader = Leader {
        client: client.clone(),
        namespace: namespace.clone(),
        settings,
        audit: audit.clone(),
        metrics,
        lead,
        health,
        pools,
    };
    let candidate = Candidate::new(Api::namespaced(client, &namespace), holder);
    Box::pin(take_turns(&leader, &candidate, &mut signals)).await;
    endpoint.abort();
    if let Some(audit) = audit
        && !tokio::time::timeout(STOP, audit.synced()).await.is_ok_and(|synced| synced.is_ok())
    {
        tracing::warn!("the last audit records may be lost");
    }
    tracing::info!("ended");
    Ok(())
}

/// Waits, leads, waits again, until a signal.
async fn take_turns(leader: &Leader, candidate: &Candidate, signals: &mut Signals) {
    loop {
        let troubled = |error: Option<&_>| {
            let said = error.map(ToString::to_string);
            if let Some(said) = &said
                && leader.health.borrow().as_ref() != Some(said)
            {
                tracing::warn!(code = %Code::ClusterFailed.id(), "{said}");
            }
            leader.health.send_replace(said);
        };
        let held = tokio::select! {
            held = candidate.lead(troubled) => held,
            () = signals.ended() => return,
        };
        tracing::info!(transitions = held.transitions(), "leads");
        leader.lead.leader.set(1);
        let ended = Box::pin(lead(leader, held, signals)).await;
        leader.lead.leader.set(0);
        if ended {
            return;
        }
    }
}

/// Leads until the lease is lost or a signal comes; whether it was the signal.
async fn lead(leader: &Leader, mut held: Held, signals: &mut Signals) -> bool {
    let (stop, stopping) = watch::channel(false);
    let leading = leader.lead(stopping);
    tokio::pin!(leading);
    let ended = tokio::select! {
        lost = held.keep() => {
            tracing::warn!("leads no longer: {lost}");
            leader.lead.failures.with_label_values(&["lease"]).inc();
            false
        }
        () = signals.ended() => true,
        () = &mut leading => {
            tracing::error!("leading ended by itself");
            held.release().await;
            return false;
        }
    };
    stop.send_replace(true);
    if tokio::time::timeout(STOP, &mut leading).await.is_err() {
        tracing::warn!("the round under way was not waited for any longer");
    }
    if ended {
        held.release().await;
    }
    ended
}

/// The API server, and the namespace this controller is in.
async fn connect(arguments: &Arguments, settings: &Settings) -> Result<(Client, String)> {
    let config = match &arguments.kubeconfig {
        Some(file) => {
            let kubeconfig =
                Kubeconfig::read_from(file).with_context(|| format!("cannot read {}", file.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => {
            Config::incluster().context("there is no service account; run in a pod, or give --kubeconfig")?
        }
    };
    let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok((client::with_config(config)?, namespace))
}

/// The audit trail, if one is wanted.
fn audit(settings: &Settings) -> Result<Option<AuditLog>> {
    let Some(audit) = &settings.audit else { return Ok(None) };
    let opened = AuditLog::open_printed(&audit.directory, "controller", SPOOL, audit.stdout);
    opened.map(Some).with_context(|| format!("{}: cannot open the audit trail", Code::StateUnusable.id()))
}

/// A name for people, and something that tells a restarted process from the one before.
fn holder(id: Option<String>) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = id.or_else(host).unwrap_or_else(|| "controller".into());
    let name: String = name.trim().chars().take(200).collect();
    format!("{name}_{}", ulid::Ulid::generate())
}

/// The signals that ask for an orderly end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn ended(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
