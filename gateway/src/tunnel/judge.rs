//! Deciding again: every session and every flow, when a snapshot, an ended session or the time may have changed
//! the answer.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tidegate_core::session::{Check, EndReason, check};
use tidegate_core::{Code, Denial, Snapshot, Timestamp};
use tidegate_store::View;
use tidegate_store::audit::{Event, Verdict};

use super::flow::{Flow, Kind};
use super::grant;
use super::state::Session;
use crate::recorder::rule_of;
use crate::session::Opened;
use crate::shared::ShardContext;
use crate::upstream;

/// The first flow that was cut for a reason, the decision behind it, and how many there were.
type Withdrawn = (Rc<Flow>, Option<Box<Denial>>, u32);

/// Judges what a new view may have changed.
pub(super) fn apply(ctx: &ShardContext, before: &View, now: Timestamp) {
    let view = ctx.view();
    let Some(snapshot) = &view.snapshot else { return };
    let same = before.snapshot.as_ref().is_some_and(|old| Arc::ptr_eq(old, snapshot));
    if same && Arc::ptr_eq(&before.ended, &view.ended) {
        return;
    }
    for session in ctx.tunnels.all() {
        judge(ctx, &session, &view, snapshot, now, !same);
    }
}

/// Judges what the time may have changed.
pub(super) fn tick(ctx: &ShardContext, now: Timestamp) {
    let view = ctx.view();
    let Some(snapshot) = &view.snapshot else { return };
    for session in ctx.tunnels.all() {
        judge(ctx, &session, &view, snapshot, now, false);
    }
}

/// Judges all flows of a session whose client is somewhere else now: rules may ask where it is.
pub(super) fn moved(ctx: &ShardContext, session: &Rc<Session>, now: Timestamp) {
    let flows: Vec<_> = session.flows.borrow().values().map(Rc::clone).collect();
    for flow in flows.iter().filter(|flow| flow.grant.borrow().is_none()) {
        // The listener was told the old place when this connection to the gateway's own hosts began.
        session.cut(flow, Code::AccessWithdrawn);
    }
    let view = ctx.view();
    if let Some(snapshot) = &view.snapshot {
        judge(ctx, session, &view, snapshot, now, true);
    }
}

fn judge(
    ctx: &ShardContext,
    session: &Rc<Session>,
    view: &View,
    snapshot: &Arc<Snapshot>,
    now: Timestamp,
    all: bool,
) {
    if session.is_over() {
        return;
    }
    let opened = Rc::clone(&session.opened.borrow());
    let ticket = opened.ticket();
    let ended = view.ended.get(&ticket.session).copied();
    let stale = now.since(view.fresh_at) >= ctx.end_sessions_s();
    match check(ticket, session.seen(now), ended, snapshot, now) {
        // Here nothing can be withdrawn any more. Another gateway may know better: the client is sent on, not away.
        Check::Live { .. } if stale => return session.cut_off(),
        Check::Ended(reason) => return end(ctx, session, &opened, reason),
        Check::Live { account, department, .. } => {
            if !Arc::ptr_eq(&account, &opened.account) || !Arc::ptr_eq(&department, &opened.department) {
                session.opened.replace(Rc::new(opened.renewed(
                    account,
                    department,
                    snapshot.generation,
                    now,
                )));
            }
        }
        // It was live under an older snapshot; the newer one that is on its way will say.
        Check::Behind => return,
    }
    let opened = Rc::clone(&session.opened.borrow());
    let due: Vec<_> = {
        let flows = session.flows.borrow();
        flows.values().filter(|flow| all || now >= flow.due.get()).map(Rc::clone).collect()
    };
    let mut withdrawn: BTreeMap<Code, Withdrawn> = BTreeMap::new();
    for flow in due {
        if let Err((code, denial)) = again(ctx, &opened, &flow) {
            ctx.shared().metrics.terminated.with_label_values(&[code.name()]).inc();
            session.cut(&flow, code);
            withdrawn.entry(code).or_insert_with(|| (flow, denial, 0)).2 += 1;
        }
    }
    for (code, (flow, denial, count)) in withdrawn {
        let Some(grant) = &*flow.grant.borrow() else { continue };
        ctx.record(Event::Decision {
            actor: session.usage.actor(None),
            resource: grant.resource.clone(),
            verdict: Verdict::Withdrawn(code),
            rule: denial.as_deref().and_then(rule_of),
            generation: snapshot.generation,
            count,
        });
    }
}

fn end(ctx: &ShardContext, session: &Rc<Session>, opened: &Opened, reason: EndReason) {
    let open = u64::try_from(session.flows.borrow().len()).unwrap_or(u64::MAX);
    ctx.shared().metrics.terminated.with_label_values(&[reason.code().name()]).inc_by(open);
    session.end(reason);
    if reason == EndReason::Idle && session.is_connected() {
        // The ticket itself does not say that nobody used it: the others have to be told.
        let (session, until) = (Rc::clone(session), opened.ticket().absolute_end);
        tokio::task::spawn_local(async move { session.tell(reason, until).await });
    }
}

/// Whether a flow may go on.
fn again(ctx: &ShardContext, opened: &Opened, flow: &Flow) -> Result<(), (Code, Option<Box<Denial>>)> {
    let Some(before) = flow.grant.borrow().clone() else { return Ok(()) };
    let port = (flow.key.protocol != Kind::Ping).then_some(flow.key.port);
    let grant = grant::decide(ctx, opened, flow.key.target, port)
        .map_err(|refused| (withdrawn(refused.code), refused.denial))?;
    if !grant.leads_where(&before) {
        // The address stands for something else now; what is open still leads to the old place.
        return Err((Code::AccessWithdrawn, None));
    }
    if let Some(address) = flow.address.get() {
        upstream::may_dial(grant.permit.owner(), address).map_err(|code| (code, None))?;
    }
    flow.due.set(grant.permit.valid_until());
    flow.grant.replace(Some(grant));
    Ok(())
}

/// A resource that is gone was there when the flow began.
fn withdrawn(code: Code) -> Code {
    if code == Code::ResourceUnknown { Code::AccessWithdrawn } else { code }
}
