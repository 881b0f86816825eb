//! What is open right now, and what no longer may be.
//!
//! ```text
//!  request -- decide --> Flow (registered until its last byte) -- Relay, tunnel, pending answer
//!                          ^ cut(code): bodies end in an error, the connection is closed
//!  new View, next second --+ judge again: session, decision, address
//! ```
//!
//! Nothing may be awaited between a decision and [`Flows::open`]: a snapshot that arrives in between
//! would not be applied to the new flow.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Uri};
use http_body::{Body, Frame, SizeHint};
use prometheus::IntGauge;
use slab::Slab;
use tidegate_core::session::{Check, EndReason, check};
use tidegate_core::{
    Code, Decision, DenyReason, Department, Permit, Question, Resource, Snapshot, Timestamp,
};
use tidegate_policy_engine::PreparedSubject;
use tidegate_store::View;
use tidegate_store::audit::{Event, Verdict};

use crate::body::BodyError;
use crate::listener::{Active, Connection};
use crate::recorder::{SessionUse, rule_of};
use crate::route::Site;
use crate::session::{self, Opened};
use crate::shared::ShardContext;
use crate::upstream::{self, Lease};

/// The flows of one shard.
pub(crate) struct Flows {
    registry: Rc<Registry>,
}

struct Registry {
    flows: RefCell<Slab<Weak<Flow>>>,
    /// Seconds this shard has run, at the last tick; no step of the clock makes anybody idle.
    age: Cell<i64>,
}

/// A request, download, upload or upgraded connection that was allowed.
pub(crate) struct Flow {
    opened: Rc<Opened>,
    usage: Rc<SessionUse>,
    site: Rc<Site>,
    method: Method,
    uri: Uri,
    connection: Rc<Connection>,
    permit: RefCell<Permit>,
    address: Cell<Option<IpAddr>>,
    /// The first instant at which time alone may change the answer.
    due: Cell<Timestamp>,
    /// The shard's age when bytes last went by.
    active: Cell<i64>,
    /// The shard's age since which an upstream's answer is awaited; 0 when it is not.
    awaiting: Cell<i64>,
    /// Whether it is a WebSocket, which has no end of its own.
    tunnel: Cell<bool>,
    /// Whether the answer has begun, so that all one can do is break it off.
    answering: Cell<bool>,
    cut: Cell<Option<Code>>,
    wakers: RefCell<Vec<Waker>>,
    gauge: IntGauge,
    registry: Rc<Registry>,
    key: Cell<usize>,
    _active: Active,
}

/// What a flow is for.
pub(crate) struct Purpose {
    pub(crate) opened: Rc<Opened>,
    pub(crate) usage: Rc<SessionUse>,
    pub(crate) site: Rc<Site>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) connection: Rc<Connection>,
}

/// Why a flow may not go on.
enum End {
    Session(EndReason),
    Access(Box<tidegate_core::Denial>),
    Address(Code),
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self { registry: Rc::new(Registry { flows: RefCell::default(), age: Cell::new(1) }) }
    }

    /// Registers what `permit` was given for.
    pub(crate) fn open(&self, ctx: &ShardContext, purpose: Purpose, permit: Permit) -> Rc<Flow> {
        let gauge = ctx.shared().metrics.flows.clone();
        gauge.inc();
        let Purpose { opened, usage, site, method, uri, connection } = purpose;
        let flow = Rc::new(Flow {
            due: Cell::new(permit.valid_until().min(opened.until)),
            _active: connection.active(),
            opened,
            usage,
            site,
            method,
            uri,
            connection,
            permit: RefCell::new(permit),
            address: Cell::new(None),
            active: Cell::new(self.registry.age.get()),
            awaiting: Cell::new(0),
            tunnel: Cell::new(false),
            answering: Cell::new(false),
            cut: Cell::new(None),
            wakers: RefCell::default(),
            gauge,
            registry: Rc::clone(&self.registry),
            key: Cell::new(usize::MAX),
        });
        flow.key.set(self.registry.flows.borrow_mut().insert(Rc::downgrade(&flow)));
        flow
    }

    /// Closes one of `steps` equal parts of the WebSockets that are left.
    pub(crate) fn close_tunnels(&self, steps: usize) {
        let left = self.pick(|flow| flow.tunnel.get());
        for flow in left.iter().take(left.len().div_ceil(steps.max(1))) {
            // A plain close, not a reset: nothing was withdrawn.
            flow.note_cut(Code::AccessWithdrawn);
        }
    }

    /// The flows that `wanted` picks. They are judged outside the borrow: cutting one drops others.
    fn pick(&self, wanted: impl Fn(&Flow) -> bool) -> Vec<Rc<Flow>> {
        let flows = self.registry.flows.borrow();
        let alive = flows.iter().filter_map(|(_, flow)| flow.upgrade());
        alive.filter(|flow| flow.cut.get().is_none() && wanted(flow)).collect()
    }
}

impl Flow {
    /// Whether it was cut; if not, `cx` is woken when it is.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Code> {
        if let Some(code) = self.cut.get() {
            return Poll::Ready(code);
        }
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            // Request, response and the task between them: there are never more than a few that still count.
            if wakers.len() >= 4 {
                wakers.remove(0);
            }
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it is cut.
    pub(crate) async fn cut(&self) -> Code {
        std::future::poll_fn(|cx| self.poll_cut(cx)).await
    }

    /// What was allowed, and whose it is.
    pub(crate) fn permitted(&self) -> (Arc<Department>, Arc<Resource>) {
        let permit = self.permit.borrow();
        (Arc::clone(permit.owner()), Arc::clone(permit.resource()))
    }

    /// Bytes went by.
    pub(crate) fn touch(&self) {
        self.active.set(self.registry.age.get());
    }

    /// Notes where the upstream is.
    pub(crate) fn leads_to(&self, address: IpAddr) {
        self.address.set(Some(address));
    }

    /// Notes that an answer is awaited from now on, or no longer.
    pub(crate) fn awaits(&self, answer: bool) {
        self.awaiting.set(if answer { self.registry.age.get() } else { 0 });
    }

    /// Notes that it is a WebSocket from here on.
    pub(crate) fn tunnels(&self) {
        self.tunnel.set(true);
    }

    /// Notes that the answer begins.
    pub(crate) fn answers(&self) {
        self.answering.set(true);
    }

    /// Why it was cut, if it was.
    pub(crate) fn why_cut(&self) -> Option<Code> {
        self.cut.get()
    }

    /// Ends it. An answer that has begun is broken off, with its connection where that carries nothing else
    /// or `all` of it must go; a request still waiting for one is answered with the reason.
    fn end(&self, code: Code, all: bool) {
        self.note_cut(code);
        if self.answering.get() && (all || !self.connection.is_shared()) {
            self.connection.abort();
        }
    }

    fn note_cut(&self, code: Code) {
        self.cut.set(Some(code));
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    fn seen(&self, now: Timestamp) -> Timestamp {
        // Somebody who waits for a download is not idle.
        let active = now.plus(self.active.get() - self.registry.age.get());
        self.opened.cookie.seen.max(self.usage.seen()).max(active)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.gauge.dec();
        self.registry.flows.borrow_mut().try_remove(self.key.get());
    }
}

/// Judges again what a new view may have changed. `before` is the view that was in force until now.
pub(crate) fn apply(ctx: &ShardContext, before: &View, now: Timestamp) {
    let view = ctx.view();
    let same_ended = Arc::ptr_eq(&before.ended, &view.ended);
    let Some(snapshot) = &view.snapshot else { return };
    let changed = |flow: &Flow| {
        let Some(old) = &before.snapshot else { return true };
        let differs = |code: &str| match (old.department(code), snapshot.department(code)) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            _ => true,
        };
        !Arc::ptr_eq(&old.platform, &snapshot.platform)
            || differs(flow.opened.ticket().account.department.as_str())
            || differs(flow.site.id.department.as_str())
    };
    let all_same = before.snapshot.as_ref().is_some_and(|old| Arc::ptr_eq(old, snapshot));
    let flows = ctx.flows.pick(|flow| {
        (!all_same && changed(flow)) || (!same_ended && view.ended.contains_key(&flow.opened.id()))
    });
    judge_all(ctx, &view, snapshot, flows, now);
}

/// Judges again what the time may have changed; called when the second changes, on a shard that is `age`
/// seconds old.
pub(crate) fn tick(ctx: &ShardContext, now: Timestamp, age: i64) {
    ctx.flows.registry.age.set(age);
    let view = ctx.view();
    let Some(snapshot) = &view.snapshot else { return };
    let stale = now.since(view.fresh_at) >= ctx.end_sessions_s();
    let flows = ctx.flows.pick(|flow| stale || now >= flow.due.get());
    judge_all(ctx, &view, snapshot, flows, now);
    let patience = i64::from(ctx.shared().limits.answer_s);
    // While the request is still being sent, its answer is not late.
    let late = |flow: &Flow| {
        let awaiting = flow.awaiting.get();
        awaiting != 0 && age - awaiting.max(flow.active.get()) >= patience
    };
    for flow in ctx.flows.pick(late) {
        flow.end(Code::UpstreamTimeout, false);
    }
}

fn judge_all(ctx: &ShardContext, view: &View, snapshot: &Snapshot, flows: Vec<Rc<Flow>>, now: Timestamp) {
    let mut withdrawn: BTreeMap<(tidegate_core::SessionId, Code), (Rc<Flow>, End, u32)> = BTreeMap::new();
    for flow in flows {
        let Err(end) = judge(ctx, &flow, view, snapshot, now) else { continue };
        let code = match &end {
            End::Session(reason) => reason.code(),
            End::Access(denial) => denial.reason.code(),
            End::Address(code) => *code,
        };
        ctx.shared().metrics.terminated.with_label_values(&[code.name()]).inc();
        flow.end(code, matches!(end, End::Session(_)));
        let key = (flow.opened.id(), code);
        withdrawn.entry(key).or_insert_with(|| (flow, end, 0)).2 += 1;
    }
    for ((_, code), (flow, end, count)) in withdrawn {
        let rule = match &end {
            End::Session(reason) => {
                if let Some(event) = flow.usage.end(*reason, now, &ctx.shared().recorder) {
                    ctx.record(event);
                }
                None
            }
            End::Access(denial) => rule_of(denial),
            End::Address(_) => None,
        };
        ctx.record(Event::Decision {
            actor: flow.usage.actor(None),
            resource: flow.site.id.clone(),
            verdict: Verdict::Withdrawn(code),
            rule,
            generation: snapshot.generation,
            count,
        });
    }
}

fn judge(
    ctx: &ShardContext,
    flow: &Flow,
    view: &View,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), End> {
    let ticket = flow.opened.ticket();
    let ended = view.ended.get(&ticket.session).copied();
    let (account, until) = match check(ticket, flow.seen(now), ended, snapshot, now) {
        Check::Live { account, until, .. } => (account, until),
        Check::Ended(reason) => return Err(End::Session(reason)),
        // It was live under an older snapshot; the newer one that is on its way will say.
        Check::Behind => return Ok(()),
    };
    if now.since(view.fresh_at) >= ctx.end_sessions_s() {
        return Err(End::Session(EndReason::GatewayStale));
    }
    let renewed;
    let subject = if Arc::ptr_eq(&account, &flow.opened.account) {
        flow.opened.subject.as_ref()
    } else {
        renewed = PreparedSubject::new(&session::subject(ticket, &account, flow.opened.source)).ok();
        renewed.as_ref()
    };
    let question = Question {
        snapshot,
        member: &ticket.account.department,
        account: &account,
        resource: &flow.site.id,
        method: flow.method.as_str(),
        path: flow.uri.path(),
    };
    match ctx.decide(&question, subject) {
        Decision::Permit(permit) => {
            if !Arc::ptr_eq(permit.resource(), flow.permit.borrow().resource())
                && permit.resource().endpoint != flow.permit.borrow().resource().endpoint
            {
                // It leads somewhere else now; what is open still leads to the old place.
                return Err(End::Address(Code::AccessWithdrawn));
            }
            if let Some(address) = flow.address.get() {
                upstream::may_dial(permit.owner(), address).map_err(End::Address)?;
            }
            flow.due.set(permit.valid_until().min(until));
            flow.permit.replace(permit);
            Ok(())
        }
        Decision::Deny(denial) if denial.reason == DenyReason::NoSnapshot => Ok(()),
        Decision::Deny(denial) => Err(End::Access(Box::new(denial))),
    }
}

/// A body on its way through, until it ends or is cut.
pub struct Relay<B: Body> {
    inner: Option<B>,
    flow: Rc<Flow>,
    /// The upstream connection, to be used again after the last byte.
    lease: Option<Lease>,
}

impl<B: Body> Relay<B> {
    pub(crate) fn new(inner: B, flow: Rc<Flow>, lease: Option<Lease>) -> Self {
        Self { inner: Some(inner), flow, lease }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Relay<B>
where
    BodyError: From<B::Error>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.flow.poll_cut(cx).is_ready() {
            this.inner = None;
            this.lease = None;
            return Poll::Ready(Some(Err(BodyError::Withdrawn)));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                this.flow.touch();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.inner = None;
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.inner = None;
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.flow.cut.get().is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Body> Drop for Relay<B> {
    fn drop(&mut self) {
        // A body without bytes, or whose length was known, may never be polled to its end.
        if self.inner.as_ref().is_some_and(Body::is_end_stream)
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}
