//! How flows end, and what is recorded of them and of refusals.

use std::rc::Rc;

use tidegate_core::{Code, Generation, ResourceId, Timestamp};
use tidegate_store::audit::{Event, FlowRef, Protocol, RuleRef, Verdict};

use super::super::flow::{Flow, Kind};
use super::super::grant::{Grant, Refused};
use super::super::limits::REFUSALS_MAX;
use super::Session;
use crate::recorder::rule_of;

/// Seconds for which equal refusals are one record.
const FLUSH_S: i64 = 60;

/// Refusals that were recorded once and are counted since.
#[derive(Default)]
pub(super) struct Refusals {
    counted: Vec<Refusal>,
    flushed: i64,
}

struct Refusal {
    resource: ResourceId,
    code: Code,
    rule: Option<RuleRef>,
    generation: Generation,
    count: u32,
}

impl Session {
    /// Counts and records an allowed flow.
    pub(super) fn allowed(&self, grant: &Grant, now: Timestamp) {
        let shared = self.ctx.shared();
        shared.metrics.decided(None);
        let generation = self.generation();
        let allowed = (now, None);
        self.usage.allowed(&grant.permit, &grant.resource, generation, allowed, &shared.recorder);
    }

    fn generation(&self) -> Generation {
        self.ctx.view_ref().snapshot.as_ref().map_or(Generation::default(), |snapshot| snapshot.generation)
    }

    /// Counts a refused flow, and records it: the first of its kind at once.
    pub(super) fn refused(&self, refused: Refused) {
        let Refused { code, resource, denial } = refused;
        let metrics = &self.ctx.shared().metrics;
        metrics.tunnel_refused(code);
        if let Some(denial) = &denial {
            metrics.decided(Some(denial.reason));
        }
        // What belongs to no resource is the Internet, knocking all day; it is counted.
        let Some(resource) = resource else { return };
        let mut refusals = self.refusals.borrow_mut();
        let known =
            refusals.counted.iter_mut().find(|known| known.code == code && known.resource == resource);
        if let Some(known) = known {
            known.count = known.count.saturating_add(1);
            return;
        }
        let rule = denial.as_deref().and_then(rule_of);
        let generation = self.generation();
        if refusals.counted.len() >= REFUSALS_MAX {
            self.write_out(&mut refusals);
        }
        let refusal = Refusal { resource, code, rule, generation, count: 0 };
        self.ctx.record(self.event(&refusal, 1));
        refusals.counted.push(refusal);
    }

    fn event(&self, refusal: &Refusal, count: u32) -> Event {
        Event::Decision {
            actor: self.usage.actor(None),
            resource: refusal.resource.clone(),
            verdict: Verdict::Denied(refusal.code),
            rule: refusal.rule.clone(),
            generation: refusal.generation,
            count,
        }
    }

    fn write_out(&self, refusals: &mut Refusals) {
        for refusal in refusals.counted.drain(..).filter(|refusal| refusal.count > 0) {
            self.ctx.record(self.event(&refusal, refusal.count));
        }
    }

    /// Records what was counted.
    pub(in super::super) fn flush_refusals(&self) {
        self.write_out(&mut self.refusals.borrow_mut());
    }

    pub(super) fn flush_refusals_now_and_then(&self, age: i64) {
        let mut refusals = self.refusals.borrow_mut();
        if age - refusals.flushed >= FLUSH_S {
            refusals.flushed = age;
            self.write_out(&mut refusals);
        }
    }

    /// Ends a flow: the client is told with a reset unless it knows, its task ends, and its bytes are recorded.
    pub(in super::super) fn close_flow(&self, flow: &Rc<Flow>, why: Option<Code>) {
        if flow.closed.replace(true) {
            return;
        }
        if why.is_some() {
            self.reset(flow);
        }
        if let Some(tcp) = flow.tcp() {
            tcp.stack.take();
            self.buffers.borrow_mut().give_back(tcp.share.take());
            tcp.upstream.take();
        }
        if let Some(datagrams) = flow.datagrams() {
            datagrams.socket.take();
        }
        flow.wake.notify_one();
        self.record_end(flow, why);
        let (up, down) = self.moved.get();
        self.moved.set((up + flow.up.get(), down + flow.down.get()));
        self.flows.borrow_mut().remove(&flow.key);
        self.ctx.shared().metrics.tunnel_flows.dec();
        self.ctx.tunnels.flows.set(self.ctx.tunnels.flows.get().saturating_sub(1));
        self.ctx.shared().metrics.tunnel_moved(flow.up.get(), flow.down.get());
    }

    fn record_end(&self, flow: &Flow, reason: Option<Code>) {
        // What goes to the gateway's own hosts is recorded there.
        let Some(grant) = &*flow.grant.borrow() else { return };
        self.ctx.record(Event::FlowEnd {
            actor: self.usage.actor(None),
            resource: grant.resource.clone(),
            flow: FlowRef {
                protocol: match flow.key.protocol {
                    Kind::Tcp => Protocol::Tcp,
                    Kind::Udp => Protocol::Udp,
                    Kind::Ping => Protocol::Icmp,
                },
                host: grant.host.clone(),
                address: flow.address.get(),
                port: flow.key.port,
            },
            up: flow.up.get(),
            down: flow.down.get(),
            seconds: self.ctx.now().since(flow.since),
            reason,
        });
    }

    /// Ends all flows.
    pub(in super::super) fn drop_flows(&self) {
        let all: Vec<_> = self.flows.borrow().values().map(Rc::clone).collect();
        for flow in all {
            self.close_flow(&flow, None);
        }
        self.ready.borrow_mut().clear();
        self.touched.borrow_mut().clear();
    }

    /// Forgets flows nobody uses any more.
    pub(super) fn forget_flows(&self, age: i64) {
        let silent = |flow: &&Rc<Flow>| {
            let idle = flow.patience().is_some_and(|patience| age - flow.active.get() >= patience);
            idle || self.is_half_open(flow, age)
        };
        let forgotten: Vec<_> = self.flows.borrow().values().filter(silent).map(Rc::clone).collect();
        for flow in forgotten {
            let half_open = flow.tcp().is_some();
            self.close_flow(&flow, half_open.then_some(Code::UpstreamTimeout));
        }
    }
}
