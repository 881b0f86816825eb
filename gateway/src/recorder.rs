//! From decisions to records: every refusal is one, an allow is one per (session, resource, rule) with a
//! count.
//!
//! ```text
//!  shard: Usage{session -> SessionUse{allows: (resource, rule) -> count}} -- first at once, then sums --> audit
//! ```
//!
//! The first use of a rule in a session is recorded when it happens; what follows is counted and
//! recorded by [`Usage::sweep`] each minute, and when the session ends. The counts of all records add up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{
    Account, AccountId, Denial, Generation, Permit, Resource, ResourceId, RuleName, SessionId, Timestamp, Uid,
};
use tidegate_store::audit::{Actor, AuditLog, Event, Record, RuleRef, Verdict};
use tidegate_store::{SessionReport, TunnelReport};

use crate::session::Opened;

/// Sessions a shard keeps counts of.
const SESSIONS_MAX: usize = 100_000;

/// Rules counted for one session; more begin anew.
const ALLOWS_MAX: usize = 256;

/// Systems for which one session's signed identity is kept.
const SIGNED_MAX: usize = 64;

/// Seconds between two records of what was counted.
const FLUSH_S: i64 = 60;

/// Seconds without use after which a session is forgotten here.
const FORGET_S: i64 = 15 * 60;

/// The way into the audit trail.
#[derive(Clone, Debug)]
pub struct Recorder {
    audit: AuditLog,
}

impl Recorder {
    /// Records into `audit`.
    #[must_use]
    pub fn new(audit: AuditLog) -> Self {
        Self { audit }
    }

    /// Records an event. Never waits; what is lost is counted by the trail itself.
    pub fn record(&self, at: Timestamp, event: Event) {
        // The trail keeps the count of what it lost and says so in its next record.
        let _ = self.audit.record(Record { at, event });
    }

    /// Records that could not be kept.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.audit.lost()
    }

    /// Waits until everything recorded is on the disk.
    pub(crate) async fn synced(&self) {
        if self.audit.synced().await.is_err() {
            tracing::error!("the audit trail could not be written out");
        }
    }
}

/// What the sessions of one shard did lately.
#[derive(Default)]
pub(crate) struct Usage {
    sessions: RefCell<HashMap<SessionId, Rc<SessionUse>>>,
    flushed: Cell<i64>,
}

/// One session's doings on one shard.
pub(crate) struct SessionUse {
    session: SessionId,
    account: AccountId,
    uid: Uid,
    kind: Kind,
    since: Timestamp,
    source: Cell<IpAddr>,
    seen: Cell<Timestamp>,
    ended: Cell<bool>,
    allows: RefCell<Vec<Allow>>,
    signed: RefCell<Vec<Kept>>,
    /// What goes through it, while it is a tunnel that is up on this shard.
    tunnel: RefCell<Option<TunnelReport>>,
}

struct Allow {
    resource: ResourceId,
    rule: RuleRef,
    generation: Generation,
    count: u32,
}

struct Kept {
    account: Arc<Account>,
    resource: Arc<Resource>,
    signed: Signed,
    renew: Timestamp,
}

/// Who is asking, in the form an upstream gets.
#[derive(Clone)]
pub(crate) struct Signed {
    /// `<code>/<name>`.
    pub(crate) user: HeaderValue,
    /// The department's code.
    pub(crate) department: HeaderValue,
    /// The display name, percent-encoded.
    pub(crate) name: HeaderValue,
    /// All of that and more, signed.
    pub(crate) token: HeaderValue,
    /// The host the upstream is asked for, which is the same for as long.
    pub(crate) host: HeaderValue,
}

impl Usage {
    /// The doings of this session, which was just used.
    pub(crate) fn of(&self, opened: &Opened, now: Timestamp, recorder: &Recorder) -> Rc<SessionUse> {
        let mut sessions = self.sessions.borrow_mut();
        if let Some(known) = sessions.get(&opened.id()) {
            known.seen.set(now);
            known.source.set(opened.source);
            return Rc::clone(known);
        }
        if sessions.len() >= SESSIONS_MAX {
            // Whoever was counted so far is recorded, then counting begins anew.
            for (_, session) in sessions.drain() {
                session.flush(now, recorder);
            }
        }
        let ticket = opened.ticket();
        let session = Rc::new(SessionUse {
            session: ticket.session,
            account: ticket.account.clone(),
            uid: ticket.uid.clone(),
            kind: ticket.kind,
            since: ticket.issued,
            source: Cell::new(opened.source),
            seen: Cell::new(now),
            ended: Cell::new(false),
            allows: RefCell::default(),
            signed: RefCell::default(),
            tunnel: RefCell::default(),
        });
        sessions.insert(ticket.session, Rc::clone(&session));
        session
    }

    /// Records what was counted, and forgets who has gone; does something once a minute.
    pub(crate) fn sweep(&self, now: Timestamp, recorder: &Recorder) {
        if now.0 - self.flushed.get() < FLUSH_S {
            return;
        }
        self.flushed.set(now.0);
        self.sessions.borrow_mut().retain(|_, session| {
            session.flush(now, recorder);
            // A count above one: a request or a download of it is under way.
            Rc::strong_count(session) > 1 || now.since(session.seen.get()) < FORGET_S
        });
    }

    /// Records what was counted, without waiting for the minute.
    pub(crate) fn flush(&self, now: Timestamp, recorder: &Recorder) {
        for session in self.sessions.borrow().values() {
            session.flush(now, recorder);
        }
    }

    /// The sessions used here lately.
    pub(crate) fn report(&self) -> Vec<SessionReport> {
        let sessions = self.sessions.borrow();
        let report = |session: &Rc<SessionUse>| SessionReport {
            session: session.session,
            account: session.account.clone(),
            kind: session.kind,
            source: session.source.get(),
            since: session.since,
            seen: session.seen.get(),
            tunnel: session.tunnel.borrow().clone(),
        };
        sessions.values().filter(|session| !session.ended.get()).map(report).collect()
    }
}

impl SessionUse {
    /// Who it is, for a record.
    pub(crate) fn actor(&self, request: Option<&str>) -> Actor {
        Actor {
            account: Some(self.account.clone()),
            uid: Some(self.uid.clone()),
            session: Some(self.session),
            source: Some(self.source.get()),
            request: request.map(Into::into),
            alone: false,
        }
    }

    /// Notes what goes through its tunnel; `None` once that is down.
    pub(crate) fn tunnels(&self, report: Option<TunnelReport>) {
        self.tunnel.replace(report);
    }

    /// When its owner last asked for something on this shard.
    pub(crate) fn seen(&self) -> Timestamp {
        self.seen.get()
    }

    /// Counts an allowed request; the first of its kind is recorded at once.
    pub(crate) fn allowed(
        &self,
        permit: &Permit,
        resource: &ResourceId,
        generation: Generation,
        (now, request): (Timestamp, Option<&str>),
        recorder: &Recorder,
    ) {
        let mut allows = self.allows.borrow_mut();
        let rule = permit.rule();
        let known =
            allows.iter_mut().find(|allow| allow.resource == *resource && Some(&allow.rule.rule) == rule);
        if let Some(allow) = known {
            allow.generation = generation;
            allow.count = allow.count.saturating_add(1);
            return;
        }
        let rule = rule.cloned().unwrap_or_else(|| unnamed(permit));
        let rule = RuleRef { department: Some(resource.department.clone()), rule };
        recorder.record(
            now,
            Event::Decision {
                actor: self.actor(request),
                resource: resource.clone(),
                verdict: Verdict::Allowed,
                rule: Some(rule.clone()),
                generation,
                count: 1,
            },
        );
        if allows.len() >= ALLOWS_MAX {
            for mut allow in allows.drain(..) {
                allow.flush(self, now, recorder);
            }
        }
        allows.push(Allow { resource: resource.clone(), rule, generation, count: 0 });
    }

    fn flush(&self, now: Timestamp, recorder: &Recorder) {
        for allow in self.allows.borrow_mut().iter_mut() {
            allow.flush(self, now, recorder);
        }
    }

    /// Records the end of the session, once.
    pub(crate) fn end(&self, reason: EndReason, now: Timestamp, recorder: &Recorder) -> Option<Event> {
        if self.ended.replace(true) {
            return None;
        }
        self.flush(now, recorder);
        Some(Event::SessionEnd { actor: self.actor(None), kind: self.kind, reason })
    }

    /// Who `account` is, signed for `resource`; host and token are made anew by `make` when there is nothing fresh.
    pub(crate) fn signed(
        &self,
        account: &Arc<Account>,
        resource: &Arc<Resource>,
        now: Timestamp,
        make: impl FnOnce() -> Option<(HeaderValue, HeaderValue, Timestamp)>,
    ) -> Option<Signed> {
        let mut kept = self.signed.borrow_mut();
        let known = kept.iter().find(|kept| {
            Arc::ptr_eq(&kept.resource, resource) && Arc::ptr_eq(&kept.account, account) && now < kept.renew
        });
        if let Some(known) = known {
            return Some(known.signed.clone());
        }
        let (host, token, renew) = make()?;
        let text = |text: &str| HeaderValue::try_from(text).ok();
        let signed = Signed {
            user: text(&self.account.to_string())?,
            department: text(self.account.department.as_str())?,
            name: text(&percent_encoded(&account.person.display_name))?,
            token,
            host,
        };
        kept.retain(|kept| now < kept.renew);
        if kept.len() >= SIGNED_MAX {
            kept.clear();
        }
        let (account, resource) = (Arc::clone(account), Arc::clone(resource));
        kept.push(Kept { account, resource, signed: signed.clone(), renew });
        Some(signed)
    }
}

/// A text as a header may carry it: UTF-8, percent-encoded.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl Allow {
    fn flush(&mut self, session: &SessionUse, now: Timestamp, recorder: &Recorder) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        recorder.record(
            now,
            Event::Decision {
                actor: session.actor(None),
                resource: self.resource.clone(),
                verdict: Verdict::Allowed,
                rule: Some(self.rule.clone()),
                generation: self.generation,
                count,
            },
        );
    }
}

/// A refusal as the trail wants its rule.
pub(crate) fn rule_of(denial: &Denial) -> Option<RuleRef> {
    let rule = denial.rule.clone()?;
    Some(RuleRef { department: denial.department.clone(), rule })
}

/// A rule whose name the module does not carry; its index is all there is.
fn unnamed(permit: &Permit) -> RuleName {
    RuleName {
        policy: "".into(),
        rule: permit.rule_index().to_string().into(),
        effect: tidegate_core::policy::Effect::Allow,
    }
}
