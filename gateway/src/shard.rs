//! One shard: a thread with its own runtime, listener, sessions, flows and upstream connections.
//!
//! ```text
//!  views -- apply: view in force, flows judged again --> Applied(generation)
//!  ticks -- flows whose time has come, quiet connections, counts to record
//!  drain -- the listener takes whoever waits and closes; finish, abort what is left
//! ```

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tidegate_policy_engine::Digest;
use tidegate_store::View;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::control::Notice;
use crate::drain;
use crate::gateway::Phase;
use crate::listener::{self, Connections};
use crate::live;
use crate::shared::{ShardContext, Shared};
use crate::tunnel;

/// How often the second is looked at; an answer that time changed is enforced this late at most.
const TICK: Duration = Duration::from_millis(100);
/// Seconds between two reports of sessions.
const REPORT_S: i64 = 5;

/// What shards are told.
#[derive(Clone)]
pub(crate) struct Told {
    /// The view to put into force.
    pub(crate) view: Arc<View>,
    /// The modules it names.
    pub(crate) modules: Arc<[Digest]>,
}

/// What a shard is made of.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) told: watch::Receiver<Told>,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Shard {
    /// Serves until it is drained; for a thread of its own.
    pub(crate) fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a shard has no runtime");
                return;
            }
        };
        LocalSet::new().block_on(&runtime, self.serve());
    }

    async fn serve(mut self) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a shard cannot listen");
                return;
            }
        };
        let told = self.told.borrow_and_update().clone();
        let ctx = Rc::new(ShardContext::new(Arc::clone(&self.shared), told.view));
        let connections = Connections::new();
        let applying =
            tokio::task::spawn_local(apply(Rc::clone(&ctx), self.index, self.told, self.notices.clone()));
        let ticking = tokio::task::spawn_local(tick(
            Rc::clone(&ctx),
            Rc::clone(&connections),
            self.index,
            self.notices,
        ));
        let accepting = tokio::task::spawn_local(listener::accept(
            Rc::clone(&ctx),
            Rc::clone(&connections),
            listener,
            self.tls,
            self.phase.clone(),
        ));
        let taking_over =
            tokio::task::spawn_local(tunnel::take_over(Rc::clone(&ctx), Rc::clone(&connections), self.index));
        // An error means that the gateway is gone, which is an end too.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Draining).await;
        if accepting.await.is_err() {
            tracing::error!("a shard's listener has failed");
        }
        drain::finish(&ctx, &connections).await;
        ctx.tunnels.finish();
        taking_over.abort();
        ticking.abort();
        applying.abort();
        ctx.usage.flush(ctx.now(), &self.shared.recorder);
        self.shared.heartbeats.end(self.index);
    }
}

/// Puts each view into force and says so.
async fn apply(
    ctx: Rc<ShardContext>,
    shard: usize,
    mut told: watch::Receiver<Told>,
    notices: mpsc::Sender<Notice>,
) {
    // The view a shard begins with counts as in force, too.
    let mut first = true;
    loop {
        let Told { view, modules } = told.borrow_and_update().clone();
        let before = ctx.view();
        let generation = view.snapshot.as_ref().map(|snapshot| snapshot.generation);
        let newer = match (&before.snapshot, &view.snapshot) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            _ => true,
        };
        if newer {
            ctx.sites.clear();
        }
        ctx.set_view(view, newer.then_some(&modules));
        live::apply(&ctx, &before, ctx.now());
        tunnel::apply(&ctx, &before, ctx.now());
        if let Some(generation) = generation
            && (newer || std::mem::take(&mut first))
            && notices.send(Notice::Applied { shard, generation }).await.is_err()
        {
            return;
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}

async fn tick(
    ctx: Rc<ShardContext>,
    connections: Rc<Connections>,
    shard: usize,
    notices: mpsc::Sender<Notice>,
) {
    let started = Instant::now();
    let (mut last, mut reported) = ((i64::MIN, 0), 0);
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        ctx.shared().heartbeats.beat(shard);
        let now = ctx.now();
        // The age begins with 1: 0 means "not" where it is kept.
        let age = i64::try_from(started.elapsed().as_secs()).unwrap_or(i64::MAX - 1) + 1;
        if (now.0, age) == last {
            continue;
        }
        last = (now.0, age);
        live::tick(&ctx, now, age);
        tunnel::tick(&ctx, now, age);
        connections.sweep(&ctx, age);
        ctx.pool.sweep(age);
        ctx.usage.sweep(now, &ctx.shared().recorder);
        if age - reported >= REPORT_S {
            reported = age;
            // A full queue: the next report says the same and more.
            let _ = notices.try_send(Notice::Sessions { shard, sessions: ctx.usage.report() });
        }
    }
}
