//! How a shard ends in order: nobody is cut off who can be let finish, and not everybody comes back at once.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::listener::Connections;
use crate::shared::ShardContext;

/// How often it is looked at who is left.
const STEP: Duration = Duration::from_millis(100);

/// Lets requests finish, closes WebSockets one after the other, and aborts what is left at the end.
pub(crate) async fn finish(ctx: &ShardContext, connections: &Rc<Connections>) {
    let limits = &ctx.shared().limits;
    let seconds = |number: u32| Duration::from_secs(u64::from(number));
    let (tunnels, requests) = (seconds(limits.tunnels_s), seconds(limits.drain_s));
    let begun = Instant::now();
    loop {
        // Again each time: whoever was in a handshake is a connection only now.
        connections.finish();
        let elapsed = begun.elapsed();
        let steps = tunnels.saturating_sub(elapsed).as_millis() / STEP.as_millis() + 1;
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        ctx.flows.close_tunnels(steps);
        ctx.tunnels.close(steps);
        if connections.len() == 0 {
            return;
        }
        if elapsed >= requests.max(tunnels) {
            connections.abort();
            // The tasks see it at their next turn.
            tokio::task::yield_now().await;
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}
