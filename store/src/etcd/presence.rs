//! Which gateways are there, what they have in force, whom they serve.
//!
//! `alive/<id>` and the sessions hang on one lease of ten seconds that is renewed; `ack/<id>` hangs on none,
//! so that a gateway which went away is missed instead of forgotten.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use tokio::sync::Mutex;

use super::keys::{TERM, end_of};
use super::leases::grant;
use super::link::failed;
use super::publish;
use super::seal::Purpose;
use super::{EtcdRole, Shared};
use crate::wire::{Digest, digest_of, v1};
use crate::{Ack, GatewayId, Report, SessionReport, StoreError, StoreResult};

/// Seconds after its last word at which a gateway is gone.
const TTL_S: i64 = 10;
/// Gateways that may report.
const GATEWAYS_MAX: usize = 1_000;
/// Sessions one gateway may report; the rest of a longer list is not kept.
const SESSIONS_PER_REPORT: usize = 100_000;
/// Sessions a key is meant to hold.
const SESSIONS_PER_KEY: usize = 256;
/// Most bits of the number of a key of sessions: 256 keys, far below what a lease may carry.
const KEY_BITS: u32 = 8;
/// Operations and bytes of one transaction.
const OPERATIONS: usize = 100;
const BATCH: usize = 1024 * 1024;

/// What this process says about gateways: about itself, in production.
#[derive(Default)]
pub(super) struct Presence {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lease: Option<i64>,
    gateways: BTreeMap<GatewayId, Said>,
}

/// What was said about a gateway, and what of it lies in the store.
#[derive(Default)]
struct Said {
    report: Option<Report>,
    alive: bool,
    shards: BTreeMap<usize, Digest>,
}

impl Shared {
    /// Lists this gateway as alive from now on.
    pub(super) async fn appear(&self, gateway: &GatewayId) {
        self.presence.state.lock().await.gateways.entry(gateway.clone()).or_default();
    }

    /// Renews the lease. One that was lost is made anew, and everything on it said again.
    pub(super) async fn beat(&self) -> StoreResult<()> {
        let mut state = self.presence.state.lock().await;
        if state.gateways.is_empty() {
            return Ok(());
        }
        if let Some(lease) = state.lease
            && !self.keep_alive(lease).await?
        {
            tracing::warn!("the lease of this gateway ran out; it is made anew");
            state.lease = None;
        }
        self.hold_lease(&mut state).await?;
        let known: Vec<GatewayId> = state.gateways.keys().cloned().collect();
        for gateway in known {
            self.say(&mut state, &gateway).await?;
        }
        Ok(())
    }

    /// Sees to it that there is a lease. Nothing of what was said hangs on a new one.
    async fn hold_lease(&self, state: &mut State) -> StoreResult<()> {
        if state.lease.is_none() {
            state.lease = Some(grant(&self.link, TTL_S).await?);
            for said in state.gateways.values_mut() {
                said.alive = false;
                said.shards.clear();
            }
        }
        Ok(())
    }

    /// Renews a lease; whether it still was there.
    async fn keep_alive(&self, lease: i64) -> StoreResult<bool> {
        let renewed =
            self.link.ask(|client| async move { client.lease_client().keep_alive(lease).await }).await;
        match renewed {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(why)) if why.contains("lease not found") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes a report and says what of it is new.
    pub(super) async fn report(&self, mut report: Report) -> StoreResult<()> {
        report.sessions.truncate(SESSIONS_PER_REPORT);
        let gateway = report.ack.gateway.clone();
        if gateway.0.is_empty() || gateway.0.contains('/') {
            return Err(StoreError::Refused("a gateway's name is empty or has a slash".into()));
        }
        super::live::key(&gateway.0)?;
        let mut state = self.presence.state.lock().await;
        if !state.gateways.contains_key(&gateway)
            && self.link.count(&self.keys.kind("ack")).await? >= GATEWAYS_MAX
        {
            return Err(StoreError::Full { what: "gateways", most: GATEWAYS_MAX });
        }
        let ack = v1::encode_ack(&report.ack);
        v1::decode_ack(&ack)?;
        state.gateways.entry(gateway.clone()).or_default().report = Some(report);
        self.hold_lease(&mut state).await?;
        let key = self.keys.ack(&gateway);
        let value = self.sealer().seal(Purpose::Live, &key, &ack)?;
        let known = Compare::create_revision(key.as_str(), CompareOp::Greater, 0);
        let put = || vec![TxnOp::put(key.as_str(), value.clone(), None)];
        if !self.link.step(vec![known], put(), put()).await?.succeeded
            && let Some(said) = state.gateways.get_mut(&gateway)
        {
            // Its first word; or it was forgotten meanwhile, with all that it had said.
            said.alive = false;
            said.shards.clear();
        }
        let said = self.say(&mut state, &gateway).await;
        if let Err(StoreError::Refused(why)) = &said
            && why.contains("lease not found")
        {
            // The next beat says everything again.
            state.lease = None;
            return Ok(());
        }
        said
    }

    /// Writes what hangs on the lease and is not there yet.
    async fn say(&self, state: &mut State, gateway: &GatewayId) -> StoreResult<()> {
        let Some(lease) = state.lease else { return Ok(()) };
        let Some(said) = state.gateways.get_mut(gateway) else { return Ok(()) };
        let mut operations = Vec::new();
        let put = |key: String, plain: &[u8]| {
            let value = self.sealer().seal(Purpose::Live, &key, plain)?;
            Ok::<_, StoreError>(TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease))))
        };
        if !said.alive {
            operations.push((0, put(self.keys.alive(gateway), &[])?));
        }
        let shards = shards(said.report.as_ref().map_or(&[], |report| &report.sessions));
        let prefix = self.keys.sessions(gateway);
        let mut now = BTreeMap::new();
        for (number, bytes) in &shards {
            let digest = digest_of(bytes);
            if said.shards.get(number) != Some(&digest) {
                operations.push((bytes.len(), put(format!("{prefix}{number}"), bytes)?));
            }
            now.insert(*number, digest);
        }
        let old = said.shards.keys().filter(|number| !now.contains_key(number));
        operations.extend(old.map(|number| (0, TxnOp::delete(format!("{prefix}{number}"), None))));
        let (mut batch, mut size) = (Vec::new(), 0);
        for (bytes, operation) in operations {
            if batch.len() >= OPERATIONS || size + bytes > BATCH {
                self.link.step(Vec::new(), std::mem::take(&mut batch), Vec::new()).await?;
                size = 0;
            }
            size += bytes;
            batch.push(operation);
        }
        if !batch.is_empty() {
            self.link.step(Vec::new(), batch, Vec::new()).await?;
        }
        said.alive = true;
        said.shards = now;
        Ok(())
    }

    /// Everything gateways reported. What cannot be read is left out with a word in the log.
    pub(super) async fn reports(&self) -> StoreResult<Vec<Report>> {
        let (acks, sessions) = (self.keys.kind("ack"), self.keys.kind("sessions"));
        let mut reports = BTreeMap::new();
        for stored in self.link.list(&acks, end_of(&acks), 0, false).await? {
            let opened = self.sealer().open(Purpose::Live, &stored.key, &stored.value);
            match opened.and_then(|bytes| v1::decode_ack(&bytes)) {
                Ok(ack) => {
                    reports.insert(ack.gateway.0.clone(), Report { ack, sessions: Vec::new() });
                }
                Err(error) => tracing::error!(key = stored.key, %error, "a report cannot be read"),
            }
        }
        for stored in self.link.list(&sessions, end_of(&sessions), 0, false).await? {
            let name = stored.key.strip_prefix(&sessions).and_then(|rest| rest.split_once('/'));
            let Some(report) = name.and_then(|(gateway, _)| reports.get_mut(gateway)) else { continue };
            let opened = self.sealer().open(Purpose::Live, &stored.key, &stored.value);
            match opened.and_then(|bytes| v1::decode_sessions(&bytes)) {
                Ok(sessions) => report.sessions.extend(sessions),
                Err(error) => tracing::error!(key = stored.key, %error, "sessions cannot be read"),
            }
        }
        Ok(reports.into_values().collect())
    }

    /// Gateways that reported and whose lease has run out.
    pub(super) async fn gone(&self) -> StoreResult<Vec<GatewayId>> {
        let (acks, alive) = (self.keys.kind("ack"), self.keys.kind("alive"));
        let names = async |prefix: &str| {
            let all = self.link.list(prefix, end_of(prefix), 0, true).await?;
            let names = all.iter().filter_map(|stored| stored.key.strip_prefix(prefix).map(str::to_owned));
            Ok::<_, StoreError>(names.collect::<BTreeSet<String>>())
        };
        // Whoever appears between the two looks is in the second.
        let reported = names(&acks).await?;
        let alive = names(&alive).await?;
        Ok(reported.difference(&alive).cloned().map(GatewayId).collect())
    }

    /// Removes everything a gateway said, if this is still its last word.
    pub(super) async fn forget(&self, ack: &Ack) -> StoreResult<()> {
        let EtcdRole::Controller { term } = self.role else {
            return Err(StoreError::Refused("only the controller forgets a gateway".into()));
        };
        let gateway = &ack.gateway;
        let key = self.keys.ack(gateway);
        let Some(stored) = self.link.get(&key).await? else { return Ok(()) };
        let opened = self.sealer().open(Purpose::Live, &key, &stored.value);
        if opened.and_then(|bytes| v1::decode_ack(&bytes)).is_ok_and(|last| last != *ack) {
            return Ok(());
        }
        self.presence.state.lock().await.gateways.remove(gateway);
        let sessions = self.keys.sessions(gateway);
        let range = etcd_client::DeleteOptions::new().with_range(end_of(&sessions));
        let unchanged = Compare::mod_revision(key.as_str(), CompareOp::Equal, stored.revision);
        let operations = vec![
            TxnOp::delete(key.as_str(), None),
            TxnOp::delete(self.keys.alive(gateway), None),
            TxnOp::delete(sessions, Some(range)),
        ];
        // Whoever speaks between the look and this is there again, and the next look judges its new word.
        let otherwise = vec![TxnOp::get(TERM, None)];
        let answer = self.link.step(vec![publish::fence(term), unchanged], operations, otherwise).await?;
        if answer.succeeded { Ok(()) } else { publish::fenced_off(term, &answer) }
    }

    /// Leaves in order: what hangs on the lease goes at once, and a gateway takes its word back, so that nobody
    /// waits for it.
    pub(super) async fn disappear(&self) {
        let mut state = self.presence.state.lock().await;
        let lease = state.lease.take();
        let known = std::mem::take(&mut state.gateways);
        drop(state);
        if matches!(self.role, EtcdRole::Gateway { .. }) && !known.is_empty() {
            let words = known.keys().map(|gateway| TxnOp::delete(self.keys.ack(gateway), None)).collect();
            let taken_back = self.link.step(Vec::new(), words, Vec::new());
            if let Ok(Err(error)) = tokio::time::timeout(crate::CALL_DEADLINE, taken_back).await {
                tracing::debug!(%error, "the controller finds out by itself that this gateway is gone");
            }
        }
        if let Some(lease) = lease {
            let revoke = async { self.link.client.lease_client().revoke(lease).await };
            if let Ok(Err(error)) = tokio::time::timeout(crate::CALL_DEADLINE, revoke).await {
                tracing::debug!(error = %failed(&error), "the lease runs out by itself");
            }
        }
    }
}

/// Sessions by key: equal ones give equal bytes, so that only keys with news are written.
fn shards(sessions: &[SessionReport]) -> BTreeMap<usize, Vec<u8>> {
    let wanted = sessions.len().div_ceil(SESSIONS_PER_KEY).next_power_of_two();
    let bits = wanted.trailing_zeros().min(KEY_BITS);
    let mut shards: BTreeMap<usize, Vec<&SessionReport>> = BTreeMap::new();
    for report in sessions {
        let [first, ..] = report.session.0;
        shards.entry(usize::from(u16::from(first) >> (8 - bits))).or_default().push(report);
    }
    shards
        .into_iter()
        .map(|(number, mut sessions)| {
            sessions.sort_unstable_by_key(|report| report.session);
            (number, v1::encode_sessions(&sessions))
        })
        .collect()
}
