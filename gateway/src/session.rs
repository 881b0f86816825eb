//! Who is asking: from a request's cookie to an account that may go on.
//!
//! ```text
//!  cookie -- open (AEAD) --> ticket, seen -- core::session::check --> Live | Ended(reason) | Behind
//!             |                                  ^ snapshot, ended list, staleness
//!             +-- per-shard cache: what was opened and checked under this generation
//! ```
//!
//! No gateway owns a session: any gateway of the pool opens the cookie and comes to the same answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tidegate_core::policy::{Device, Subject};
use tidegate_core::session::{Check, EndReason, Kind, Ticket, check};
use tidegate_core::{Account, Code, Department, Generation, SessionId, Timestamp};
use tidegate_policy_engine::PreparedSubject;
use tidegate_store::View;

use crate::cookie;
use crate::shared::ShardContext;

/// Most sessions a shard keeps opened.
const CACHE_MAX: usize = 4_096;

/// How long a request waits for a snapshot its ticket knows of.
const BEHIND_WAIT: Duration = Duration::from_secs(1);

/// Seconds after which the cookie says anew when its owner was last seen.
pub const RESEAL_S: i64 = 60;

/// A session that was opened and may go on.
pub struct Opened {
    /// What the cookie says.
    pub cookie: cookie::Session,
    /// The account as the snapshot of `generation` has it.
    pub account: Arc<Account>,
    /// The account's department.
    pub department: Arc<Department>,
    /// The first instant at which time alone ends the session.
    pub until: Timestamp,
    /// The same without the idle limit.
    pub absolute: Timestamp,
    /// The subject as the policy engine takes it; `None` when it is too large for any rule to look at.
    pub subject: Option<PreparedSubject>,
    /// Where the computer is.
    pub source: IpAddr,
    generation: Generation,
    /// The version of the ring that opened the cookie.
    ring: u64,
}

impl Opened {
    /// The ticket.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.cookie.ticket
    }

    /// The same session under a newer snapshot.
    pub(crate) fn renewed(
        &self,
        account: Arc<Account>,
        department: Arc<Department>,
        generation: Generation,
        now: Timestamp,
    ) -> Self {
        let subject = PreparedSubject::new(&subject(self.ticket(), &account, self.source)).ok();
        let absolute = absolute(self.ticket(), &account, &department, now);
        let (cookie, until) = (self.cookie.clone(), self.until.min(absolute));
        let (source, ring) = (self.source, self.ring);
        Self { cookie, account, department, until, absolute, subject, source, generation, ring }
    }

    /// The session's name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.cookie.ticket.session
    }
}

/// What became of a request's cookie.
pub enum Auth {
    /// Go on.
    Live(Rc<Opened>),
    /// No cookie (`NoSession`), or one that does not open (`TicketInvalid`).
    Nobody(Code),
    /// The session is over.
    Ended(Ended),
    /// This gateway has not caught up: 503, try again.
    Behind,
}

/// A session that is over, and whose it was.
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// The ticket.
    pub ticket: Ticket,
}

/// Sessions opened lately on one shard, by the end of their cookie: its seal, as good as any hash of it.
#[derive(Default)]
pub struct Cache {
    opened: HashMap<[u8; SEAL], Kept>,
}

/// An opened cookie as it was presented, and to which host.
struct Kept {
    value: Box<str>,
    audience: Box<str>,
    opened: Rc<Opened>,
}

/// Bytes of a cookie's text that its seal fills.
const SEAL: usize = 16;

impl Cache {
    fn get(
        &self,
        value: &str,
        audience: &str,
        source: IpAddr,
        (generation, ring): (Generation, u64),
    ) -> Option<Rc<Opened>> {
        let kept = self.opened.get(value.as_bytes().last_chunk()?)?;
        let opened = &kept.opened;
        let same = *kept.value == *value
            && *kept.audience == *audience
            && opened.source == source
            && opened.generation == generation
            && opened.ring == ring;
        same.then(|| Rc::clone(opened))
    }

    fn put(&mut self, value: &str, audience: &str, opened: &Rc<Opened>) {
        let Some(seal) = value.as_bytes().last_chunk() else { return };
        if self.opened.len() >= CACHE_MAX && !self.opened.contains_key(seal) {
            // Only cookies that opened get here, so a full cache means many people, not an attack:
            // starting over costs each of them one opening.
            self.opened.clear();
        }
        let opened = Rc::clone(opened);
        self.opened.insert(*seal, Kept { value: value.into(), audience: audience.into(), opened });
    }

    /// How many sessions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.opened.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }
}

/// Judges the session cookie in `headers`, presented to `audience` (the portal or a resource host) from
/// `source`.
pub async fn authenticate(ctx: &ShardContext, headers: &HeaderMap, audience: &str, source: IpAddr) -> Auth {
    let Some(value) = cookie::find(headers, cookie::SESSION) else { return Auth::Nobody(Code::NoSession) };
    authenticate_value(ctx, value, audience, source).await
}

/// Judges a sealed session, presented to `audience` from `source`.
pub async fn authenticate_value(ctx: &ShardContext, value: &str, audience: &str, source: IpAddr) -> Auth {
    let first = judge(ctx, &ctx.view(), value, audience, source);
    if !matches!(first, Auth::Behind) {
        return first;
    }
    // Nothing was awaited since: every view from here on is a newer one.
    let mut views = ctx.views();
    let caught_up = async {
        while views.changed().await.is_ok() {
            let again = judge(ctx, &views.borrow_and_update().clone(), value, audience, source);
            if !matches!(again, Auth::Behind) {
                return again;
            }
        }
        Auth::Behind
    };
    tokio::time::timeout(BEHIND_WAIT, caught_up).await.unwrap_or(Auth::Behind)
}

fn judge(ctx: &ShardContext, view: &View, value: &str, audience: &str, source: IpAddr) -> Auth {
    let now = ctx.now();
    let Some(snapshot) = &view.snapshot else { return Auth::Behind };
    let over = |reason, ticket: &Ticket| Auth::Ended(Ended { reason, ticket: ticket.clone() });
    let ring = ctx.ring().version();
    let cached = ctx.sessions().borrow().get(value, audience, source, (snapshot.generation, ring));
    if let Some(opened) = cached {
        let ticket = opened.ticket();
        if let Some(reason) = view.ended.get(&opened.id()) {
            return over(*reason, ticket);
        }
        if now.since(view.fresh_at) >= ctx.end_sessions_s() {
            return over(EndReason::GatewayStale, ticket);
        }
        if now < opened.until {
            return Auth::Live(opened);
        }
        // Time has passed a limit: ask again which one.
    }
    let Ok(cookie) = cookie::Session::open(ctx.ring(), audience, value) else {
        return Auth::Nobody(Code::TicketInvalid);
    };
    let ended = view.ended.get(&cookie.ticket.session).copied();
    let seen = match cookie.ticket.kind {
        Kind::Portal => cookie.seen,
        // A VPN client keeps what it got at login: who comes with it has just been seen, unless it is known here.
        Kind::Tunnel => ctx.tunnels.seen(cookie.ticket.session, now).unwrap_or(now),
    };
    match check(&cookie.ticket, seen, ended, snapshot, now) {
        Check::Ended(reason) => over(reason, &cookie.ticket),
        Check::Behind => Auth::Behind,
        Check::Live { .. } if now.since(view.fresh_at) >= ctx.end_sessions_s() => {
            over(EndReason::GatewayStale, &cookie.ticket)
        }
        Check::Live { account, department, until } => {
            let absolute = absolute(&cookie.ticket, &account, &department, now);
            let subject = PreparedSubject::new(&subject(&cookie.ticket, &account, source)).ok();
            let generation = snapshot.generation;
            let opened =
                Opened { cookie, account, department, until, absolute, subject, source, generation, ring };
            let opened = Rc::new(opened);
            ctx.sessions().borrow_mut().put(value, audience, &opened);
            Auth::Live(opened)
        }
    }
}

/// When time ends a session in any case.
fn absolute(ticket: &Ticket, account: &Account, department: &Department, now: Timestamp) -> Timestamp {
    let promised = ticket.issued.plus(i64::from(department.session.absolute_s));
    ticket.absolute_end.min(promised).min(account.standing(now).holds_until)
}

/// Who asks, as rules see it.
#[must_use]
pub fn subject(ticket: &Ticket, account: &Account, source: IpAddr) -> Subject {
    Subject {
        department: ticket.account.department.clone(),
        name: account.name.clone(),
        uid: account.source.uid.clone(),
        unit: account.person.unit.clone(),
        groups: account.person.groups.clone(),
        attributes: account.person.attributes.clone(),
        device: match ticket.kind {
            Kind::Portal => Device::Browser,
            Kind::Tunnel => Device::Desktop,
        },
        factors: ticket.factors,
        source: source.to_canonical(),
    }
}

/// The cookie to send along with any answer, when the one presented is a minute old.
#[must_use]
pub fn reseal(ctx: &ShardContext, opened: &Opened, audience: &str) -> Option<HeaderValue> {
    let now = ctx.now();
    if now.since(opened.cookie.seen) < RESEAL_S {
        return None;
    }
    let renewed = cookie::Session { seen: now, ..opened.cookie.clone() };
    let value = renewed.seal(ctx.ring(), audience, now).ok()?;
    Some(cookie::set(cookie::SESSION, &value, None))
}
