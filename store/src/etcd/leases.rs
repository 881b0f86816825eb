//! Leases that many facts share: one per hour of expiry and 2,000 keys, never one per session.

use std::collections::BTreeMap;

use tidegate_core::Timestamp;
use tokio::sync::Mutex;

use super::link::Link;
use crate::{StoreError, StoreResult};

/// Facts that expire within this many seconds of each other share a lease.
const SLOT_S: i64 = 3_600;
/// Keys on one lease: its end removes all of them in one step.
const KEYS: usize = 2_000;
/// Seconds after which anything is forgotten.
const LONGEST_S: i64 = 400 * 24 * 3_600;
/// Seconds for clocks that differ.
const MARGIN_S: i64 = 120;
/// Slots kept in memory.
const SLOTS: usize = 256;

/// The leases this process made.
#[derive(Debug, Default)]
pub(super) struct Leases {
    slots: Mutex<BTreeMap<i64, (i64, usize)>>,
}

impl Leases {
    /// A lease that lasts at least until `until`.
    pub(super) async fn until(&self, link: &Link, until: Timestamp, now: Timestamp) -> StoreResult<i64> {
        let until = until.0.clamp(now.0, now.0.saturating_add(LONGEST_S));
        let slot = until / SLOT_S;
        let mut slots = self.slots.lock().await;
        slots.retain(|slot, _| slot.saturating_add(1).saturating_mul(SLOT_S) > now.0);
        if let Some((lease, keys)) = slots.get_mut(&slot)
            && *keys < KEYS
        {
            *keys += 1;
            return Ok(*lease);
        }
        let ttl = slot.saturating_add(1).saturating_mul(SLOT_S).saturating_sub(now.0) + MARGIN_S;
        let lease = grant(link, ttl).await?;
        if slots.len() >= SLOTS {
            slots.pop_first();
        }
        slots.insert(slot, (lease, 1));
        Ok(lease)
    }

    /// Forgets them all: the store does not know one of them any more.
    pub(super) async fn forget(&self) {
        self.slots.lock().await.clear();
    }
}

/// A new lease. One whose answer is lost runs out by itself.
pub(super) async fn grant(link: &Link, ttl: i64) -> StoreResult<i64> {
    let granted = link.ask(|client| async move { client.lease_client().grant(ttl, None).await }).await?;
    if granted.id() == 0 {
        return Err(StoreError::Unavailable("no lease was granted".into()));
    }
    Ok(granted.id())
}
