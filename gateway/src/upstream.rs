//! Connections to upstreams: found, checked, dialled, verified, kept.
//!
//! ```text
//!  host --(address, or owner's resolvers)--> addresses -- may_dial --> dial map --> TCP --> TLS --> hyper
//!           ^                                                                                       |
//!  Pool: idle connections of this shard by system <-- give_back after the last byte ---- Lease -----+
//! ```
//!
//! The address that is dialled is the address that was checked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tidegate_core::{
    Code, Department, Resource, ResourceId, Timestamp, UpstreamScheme, Web, is_forbidden_target,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy::RequestBody;
use crate::shared::{ShardContext, Shared};

mod dns;
mod trust;

/// Connections of one system that are kept for the next request.
const IDLE_PER_SYSTEM: usize = 64;
/// Connections kept in all.
const IDLE_MAX: usize = 2_048;
/// Connections in all, those in use included.
const OPEN_MAX: usize = 16_384;
/// Seconds a connection is kept; shorter than most servers do.
const IDLE_S: i64 = 30;
/// Systems whose TLS settings are kept ready.
const TRUST_MAX: usize = 4_096;
/// Longest header of an upstream's answer, in bytes.
const HEADER_BYTES_MAX: usize = 128 * 1024;
/// Most header fields of an upstream's answer.
const HEADERS_MAX: usize = 256;
/// What is read from an upstream at once.
const BUFFER_BYTES: usize = 256 * 1024;

type Sender = SendRequest<RequestBody>;

/// TLS settings, and the version of the system they were made for.
type Trust = (Arc<Resource>, Arc<rustls::ClientConfig>);

/// The upstream connections of one shard.
pub(crate) struct Pool {
    inner: Rc<Inner>,
    trust: RefCell<HashMap<ResourceId, Trust>>,
    names: dns::Cache,
}

struct Inner {
    idle: RefCell<HashMap<ResourceId, Vec<Idle>>>,
    kept: Cell<usize>,
    open: Cell<usize>,
    age: Cell<i64>,
    gauge: prometheus::IntGauge,
}

struct Idle {
    sender: Sender,
    to: To,
    since: i64,
}

/// Where a connection leads.
#[derive(Clone)]
struct To {
    resource: Arc<Resource>,
    address: IpAddr,
}

/// A connection in use.
pub(crate) struct Lease {
    pub(crate) sender: Sender,
    to: To,
    id: ResourceId,
    /// Whether it was used before: the upstream may have closed it meanwhile.
    pub(crate) reused: bool,
    pool: Rc<Inner>,
}

/// Whether a department's systems may lie at `address`.
pub(crate) fn may_dial(owner: &Department, address: IpAddr) -> Result<(), Code> {
    if is_forbidden_target(address) {
        return Err(Code::AddressForbidden);
    }
    if owner.networks.iter().any(|network| network.contains(address)) {
        Ok(())
    } else {
        Err(Code::AddressOutsideNetworks)
    }
}

impl Pool {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            inner: Rc::new(Inner {
                idle: RefCell::default(),
                kept: Cell::new(0),
                open: Cell::new(0),
                age: Cell::new(0),
                gauge: shared.metrics.upstream_connections.clone(),
            }),
            trust: RefCell::default(),
            names: dns::Cache::default(),
        }
    }

    /// A connection to the system: one that is kept, unless `fresh`, or a new one.
    pub(crate) async fn connect(
        &self,
        ctx: &ShardContext,
        id: &ResourceId,
        owner: &Department,
        resource: &Arc<Resource>,
        fresh: bool,
    ) -> Result<Lease, Code> {
        if !fresh && let Some(lease) = self.inner.take(id, owner, resource) {
            return Ok(lease);
        }
        if self.inner.open.get() >= OPEN_MAX {
            return Err(Code::TooManyConnections);
        }
        let limit = Duration::from_secs(u64::from(ctx.shared().limits.connect_s));
        match tokio::time::timeout(limit, Box::pin(self.dial(ctx, id, owner, resource))).await {
            Ok(lease) => lease,
            Err(_) => Err(Code::UpstreamTimeout),
        }
    }

    /// The addresses of an owner's host.
    pub(crate) async fn addresses(
        &self,
        owner: &Department,
        host: &str,
        now: Timestamp,
    ) -> Result<Vec<IpAddr>, Code> {
        self.names.resolve(host, &owner.resolvers, now).await
    }

    async fn dial(
        &self,
        ctx: &ShardContext,
        id: &ResourceId,
        owner: &Department,
        resource: &Arc<Resource>,
    ) -> Result<Lease, Code> {
        let web = resource.web().ok_or(Code::ResourceUnknown)?;
        let addresses = self.names.resolve(&web.host, &owner.resolvers, ctx.now()).await?;
        let mut failed = Code::NameNotResolved;
        for address in addresses {
            if let Err(code) = may_dial(owner, address) {
                failed = code;
                continue;
            }
            match self.dial_address(ctx, web, id, resource, address).await {
                Ok(sender) => {
                    let to = To { resource: Arc::clone(resource), address };
                    return Ok(Lease {
                        sender,
                        to,
                        id: id.clone(),
                        reused: false,
                        pool: Rc::clone(&self.inner),
                    });
                }
                Err(code) => failed = code,
            }
        }
        Err(failed)
    }

    async fn dial_address(
        &self,
        ctx: &ShardContext,
        web: &Web,
        id: &ResourceId,
        resource: &Arc<Resource>,
        address: IpAddr,
    ) -> Result<Sender, Code> {
        let shared = ctx.shared();
        let dialled = shared.dial_map.map_or(address, |map| map.apply(address));
        let stream = TcpStream::connect(SocketAddr::new(dialled, web.port))
            .await
            .map_err(|_| Code::UpstreamUnreachable)?;
        let _ = stream.set_nodelay(true);
        match web.scheme {
            UpstreamScheme::Http => self.start(stream).await,
            UpstreamScheme::Https => {
                let name = web.tls.server_name.as_deref().unwrap_or(&web.host).to_owned();
                let name = ServerName::try_from(name).map_err(|_| Code::UpstreamUntrusted)?;
                let connector = TlsConnector::from(self.trust(shared, web, id, resource)?);
                let stream = connector.connect(name, stream).await.map_err(|error| {
                    let untrusted = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                    if untrusted { Code::UpstreamUntrusted } else { Code::UpstreamUnreachable }
                })?;
                self.start(stream).await
            }
        }
    }

    /// The TLS settings of a system; made once for each version of it.
    fn trust(
        &self,
        shared: &Shared,
        web: &Web,
        id: &ResourceId,
        resource: &Arc<Resource>,
    ) -> Result<Arc<rustls::ClientConfig>, Code> {
        let mut ready = self.trust.borrow_mut();
        if let Some((of, config)) = ready.get(id)
            && Arc::ptr_eq(of, resource)
        {
            return Ok(Arc::clone(config));
        }
        let config = trust::client(&web.tls, &shared.upstream_roots).ok_or(Code::UpstreamUntrusted)?;
        if ready.len() >= TRUST_MAX {
            ready.clear();
        }
        ready.insert(id.clone(), (Arc::clone(resource), Arc::clone(&config)));
        Ok(config)
    }

    async fn start<S>(&self, stream: S) -> Result<Sender, Code>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_header_size(HEADER_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Code::UpstreamUnreachable)?;
        let open = Open::new(&self.inner);
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer is told; there is nobody else to tell.
            let _ = connection.with_upgrades().await;
            drop(open);
        });
        Ok(sender)
    }

    /// Closes what was kept too long; called each second.
    pub(crate) fn sweep(&self, age: i64) {
        self.inner.age.set(age);
        let mut kept = 0;
        self.inner.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| age - idle.since < IDLE_S && !idle.sender.is_closed());
            kept += idle.len();
            !idle.is_empty()
        });
        self.inner.kept.set(kept);
    }
}

impl Inner {
    fn take(self: &Rc<Self>, id: &ResourceId, owner: &Department, resource: &Arc<Resource>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(id)?;
        while let Some(Idle { sender, to, .. }) = kept.pop() {
            self.kept.set(self.kept.get().saturating_sub(1));
            let same = Arc::ptr_eq(&to.resource, resource) || to.resource.endpoint == resource.endpoint;
            // The owner's networks may have changed since it was dialled.
            if same && sender.is_ready() && may_dial(owner, to.address).is_ok() {
                let to = To { resource: Arc::clone(resource), ..to };
                return Some(Lease { sender, to, id: id.clone(), reused: true, pool: Rc::clone(self) });
            }
        }
        None
    }
}

impl Lease {
    /// The address as it was checked.
    pub(crate) fn address(&self) -> IpAddr {
        self.to.address
    }

    /// Keeps the connection for the next request to the same system.
    pub(crate) fn give_back(self) {
        let Self { sender, to, id, pool, .. } = self;
        if sender.is_closed() || pool.kept.get() >= IDLE_MAX {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        let kept = match idle.get_mut(&id) {
            Some(kept) => kept,
            None => idle.entry(id).or_default(),
        };
        if kept.len() < IDLE_PER_SYSTEM {
            kept.push(Idle { sender, to, since: pool.age.get() });
            pool.kept.set(pool.kept.get() + 1);
        }
    }
}

/// Counts an open connection until it is closed.
struct Open(Rc<Inner>);

impl Open {
    fn new(inner: &Rc<Inner>) -> Self {
        inner.open.set(inner.open.get() + 1);
        inner.gauge.inc();
        Self(Rc::clone(inner))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.gauge.dec();
    }
}
