//! What every part of the gateway shares: one [`Shared`] per process, one [`ShardContext`] per shard.
//!
//! ```text
//!  control thread: store, policy library ---- Arc<View> ----> every shard applies it, then confirms
//!  shard: Rc<ShardContext> = Arc<Shared> + policy worker, opened sessions, flows, upstream connections
//! ```
//!
//! What the data path (`http`, `proxy`) asks of login and pages:
//!
//! | When | What | Gives |
//! |---|---|---|
//! | a request to the portal host | `portal::handle` | a whole answer |
//! | a request to a resource host | `entry::admit` | the session and a cookie to set, or a whole answer |
//! | a refusal on a resource host | `entry::refuse` | the page of a code, for people or for scripts |

use std::cell::{Ref, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{
    AccountId, Decision, Denial, DenyReason, Question, ResourceId, SessionId, Snapshot, Timestamp, decide,
    decide_flow,
};
use tidegate_policy_engine::{Digest, Library, PreparedSubject, Worker};
use tidegate_store::audit::Event;
use tidegate_store::{Intent, IntentId, Outcome, StoreResult, View};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{DialMap, GatewayConfig, Limits};
use crate::control;
use crate::hash::HashQueue;
use crate::health::{Heartbeats, Note};
use crate::http::Numbers;
use crate::identity::Identity;
use crate::keys::{self, Ring};
use crate::live::Flows;
use crate::login::room::Room;
use crate::metrics::Metrics;
use crate::recorder::{Recorder, Usage};
use crate::route::Sites;
use crate::session;
use crate::tunnel::{Homes, Tunnels};
use crate::upstream::Pool;

/// Seconds without news from the store after which it is taken to be away: it is not asked any more, since whoever logs in
/// need not wait for its deadline.
pub(crate) const AWAY_S: i64 = 5;

/// What all shards share. Nothing in it is locked for a request.
pub struct Shared {
    /// The pool's keys.
    pub ring: Ring,
    /// Signs who is asking, for upstreams.
    pub identity: Identity,
    /// The way to the store.
    pub control: control::Handle,
    /// Password hashing.
    pub hash_queue: HashQueue,
    /// Those who wait for it.
    pub room: Room,
    /// Audit trail.
    pub recorder: Recorder,
    /// Figures.
    pub metrics: Metrics,
    /// What keeps the store away.
    pub note: Note,
    /// When each thread last made progress.
    pub heartbeats: Heartbeats,
    /// Loaded policy modules.
    pub library: Arc<Library>,
    /// The time of day.
    pub clock: Clock,
    /// Networks of balancers whose connections begin with a PROXY header.
    pub balancers: Vec<tidegate_core::Cidr>,
    /// Bounds on what clients may use up.
    pub limits: Limits,
    /// Where addresses are dialled instead.
    pub dial_map: Option<DialMap>,
    /// Whom upstreams without `ca` or `pin` must be vouched for by.
    pub upstream_roots: Arc<rustls::RootCertStore>,
    /// The names this gateway answers to.
    pub names: Names,
    /// Which shard has which tunnel.
    pub(crate) homes: Homes,
    /// Where its shards listen.
    pub address: SocketAddr,
    /// Seconds without news from the store after which nobody may log in any more.
    pub new_logins_s: i64,
    /// Seconds without news from the store after which sessions end.
    pub end_sessions_s: i64,
}

/// The names a gateway answers to.
#[derive(Clone, Debug)]
pub struct Names {
    /// The portal's host, lower case, without a port.
    pub portal: String,
    /// The portal's origin, `https://host[:port]`.
    pub origin: String,
    /// `:port` where it is not the usual one.
    port: String,
    /// Whether systems have hosts of their own; not on a bare address.
    pub resources: bool,
}

impl Names {
    /// The names below `host`, reached at `port`.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok();
        let portal = match address {
            Some(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.to_ascii_lowercase(),
        };
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        Self { origin: format!("https://{portal}{port}"), portal, port, resources: address.is_none() }
    }

    /// The port people type.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(443)
    }

    /// The host of a system.
    #[must_use]
    pub fn resource_host(&self, id: &ResourceId) -> String {
        format!("{}-{}.{}", id.name, id.department, self.portal)
    }

    /// The origin of a system.
    #[must_use]
    pub fn resource_origin(&self, id: &ResourceId) -> String {
        format!("https://{}{}", self.resource_host(id), self.port)
    }
}

impl Shared {
    pub(crate) fn new(
        config: GatewayConfig,
        (address, shards): (SocketAddr, usize),
        control: control::Handle,
        parts: (Identity, HashQueue, Recorder, Metrics, Arc<Library>),
    ) -> Self {
        let (identity, hash_queue, recorder, metrics, library) = parts;
        Self {
            address,
            homes: Homes::new(shards),
            names: Names::new(&config.host, config.public_port.unwrap_or(address.port())),
            ring: config.ring,
            identity,
            control,
            hash_queue,
            room: Room::default(),
            recorder,
            metrics,
            // The control thread comes after the shards.
            heartbeats: Heartbeats::new(shards + 1),
            library,
            clock: config.clock,
            balancers: config.balancers,
            note: config.note,
            limits: config.limits,
            dial_map: config.dial_map,
            upstream_roots: config.upstream_roots,
            new_logins_s: config.new_logins_s,
            end_sessions_s: config.end_sessions_s,
        }
    }

    /// Where this process reaches its own listener.
    pub(crate) fn own_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Whether connections from `peer` say whose they are.
    pub(crate) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.iter().any(|network| network.contains(peer))
    }
}

/// What one shard has. It never leaves its thread.
pub struct ShardContext {
    shared: Arc<Shared>,
    view: RefCell<Arc<View>>,
    views: watch::Sender<Arc<View>>,
    worker: RefCell<Worker>,
    sessions: RefCell<session::Cache>,
    pub(crate) usage: Usage,
    pub(crate) flows: Flows,
    pub(crate) sites: Sites,
    pub(crate) pool: Pool,
    pub(crate) tunnels: Tunnels,
    pub(crate) numbers: Numbers,
}

impl ShardContext {
    pub(crate) fn new(shared: Arc<Shared>, view: Arc<View>) -> Self {
        let (views, _) = watch::channel(Arc::clone(&view));
        Self {
            worker: RefCell::new(Worker::new(Arc::clone(&shared.library))),
            view: RefCell::new(view),
            views,
            sessions: RefCell::default(),
            usage: Usage::default(),
            flows: Flows::new(),
            sites: Sites::default(),
            pool: Pool::new(&shared),
            tunnels: Tunnels::default(),
            // Without random numbers nothing can be sealed either; this is not the place to notice it.
            numbers: Numbers::new(keys::random().map_or(0, u64::from_le_bytes)),
            shared,
        }
    }

    /// What all shards share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Whether the store has been silent for so long that this gateway looks after live facts on its own.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.now().since(self.view.borrow().fresh_at) >= AWAY_S
    }

    /// The newest view this shard has applied.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// The same without a count; not to be held over an `await`.
    pub(crate) fn view_ref(&self) -> Ref<'_, Arc<View>> {
        self.view.borrow()
    }

    /// The view and every one after it.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// The snapshot this shard decides from; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.view.borrow().snapshot.clone()
    }

    /// Takes a new view into force for every request from here on; `modules` are all it names, when they
    /// may be others than before.
    pub(crate) fn set_view(&self, view: Arc<View>, modules: Option<&[Digest]>) {
        *self.view.borrow_mut() = Arc::clone(&view);
        if let Some(modules) = modules {
            self.worker.borrow_mut().retain(modules);
        }
        self.views.send_replace(view);
    }

    /// The pool's keys.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.shared.ring
    }

    /// Sessions opened lately on this shard.
    pub(crate) fn sessions(&self) -> &RefCell<session::Cache> {
        &self.sessions
    }

    /// Password hashing.
    #[must_use]
    pub fn hash_queue(&self) -> &HashQueue {
        &self.shared.hash_queue
    }

    /// Those who wait for it.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.shared.room
    }

    /// The portal's host.
    #[must_use]
    pub fn portal_host(&self) -> &str {
        &self.shared.names.portal
    }

    /// The portal's origin.
    #[must_use]
    pub fn portal_origin(&self) -> &str {
        &self.shared.names.origin
    }

    /// The host of a system.
    #[must_use]
    pub fn resource_host(&self, id: &ResourceId) -> String {
        self.shared.names.resource_host(id)
    }

    /// The origin of a system.
    #[must_use]
    pub fn resource_origin(&self, id: &ResourceId) -> String {
        self.shared.names.resource_origin(id)
    }

    /// Seconds without news from the store after which nobody may log in any more.
    #[must_use]
    pub fn new_logins_s(&self) -> i64 {
        self.shared.new_logins_s
    }

    /// Seconds without news from the store after which sessions end.
    #[must_use]
    pub fn end_sessions_s(&self) -> i64 {
        self.shared.end_sessions_s
    }

    /// Decides one question; a subject no rule can look at is refused.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, subject: Option<&PreparedSubject>) -> Decision {
        match subject {
            Some(subject) => decide(question, subject, self.now(), &mut *self.worker.borrow_mut()),
            None => Decision::Deny(Denial::of(DenyReason::RequestTooLarge)),
        }
    }

    /// The same for a flow through the tunnel to a host and port.
    #[must_use]
    pub(crate) fn decide_flow(
        &self,
        question: &Question<'_>,
        endpoint: (&str, u16),
        subject: Option<&PreparedSubject>,
    ) -> Decision {
        match subject {
            Some(subject) => {
                decide_flow(question, endpoint, subject, self.now(), &mut *self.worker.borrow_mut())
            }
            None => Decision::Deny(Denial::of(DenyReason::RequestTooLarge)),
        }
    }

    /// Puts an event into the audit trail, and counts it.
    pub fn record(&self, event: Event) {
        self.shared.metrics.event(&event);
        self.shared.recorder.record(self.now(), event);
    }

    /// Ends one session everywhere.
    pub async fn end(&self, session: SessionId, reason: EndReason, until: Timestamp) -> StoreResult<()> {
        self.shared.control.end(session, reason, until).await
    }

    /// Notes a login and ends the one before it.
    pub async fn login(
        &self,
        account: &AccountId,
        kind: Kind,
        session: SessionId,
        until: Timestamp,
    ) -> StoreResult<Option<SessionId>> {
        self.shared.control.login(account.clone(), kind, session, until).await
    }

    /// Hands over a change for the controller.
    pub async fn offer(&self, intent: Intent) -> StoreResult<()> {
        self.shared.control.offer(intent).await
    }

    /// What became of a change; `None` while it is pending.
    pub async fn outcome(&self, id: IntentId) -> StoreResult<Option<Outcome>> {
        self.shared.control.outcome(id).await
    }

    /// Claims a one-time fact: true for one caller only.
    pub async fn claim_once(&self, key: &str, until: Timestamp) -> StoreResult<bool> {
        self.shared.control.claim_once(key, until).await
    }

    /// Failures counted under `key`, and the time of the last.
    pub async fn failures(&self, key: &str) -> StoreResult<(u32, Timestamp)> {
        self.shared.control.failures(key).await
    }

    /// Counts a failure under `key`; `None` forgets them.
    pub async fn count_failure(&self, key: &str, at: Option<Timestamp>) -> StoreResult<u32> {
        self.shared.control.count_failure(key, at).await
    }
}

/// What [`crate::entry::admit`] makes of a request to a resource host.
pub(crate) enum Admission {
    /// Somebody is logged in; the cookie, if any, goes on the answer.
    Go(std::rc::Rc<session::Opened>, Option<http::HeaderValue>),
    /// This is the answer.
    Answer(crate::portal::Answer),
}
