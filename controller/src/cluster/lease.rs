//! Who leads: one Lease of `coordination.k8s.io/v1`, taken, renewed and given back.
//!
//! The lease is for liveness only: two replicas may both believe to lead for a moment, when clocks stop or
//! requests are slow. Safety is the term's ([`super::term`]), which every write to the store compares.
//!
//! Nobody's wall clock is trusted: a lease is abandoned once its record has not changed for [`LEASE`] by the
//! watcher's own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube_client::Api;
use kube_client::api::PostParams;
use tokio::time::Instant;

use super::call::{CallError, call, call_within};

/// The name of the lease.
pub const NAME: &str = "tidegate-controller";
/// A lease whose record did not change for so long may be taken.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a leader renews.
pub const RENEW: Duration = Duration::from_secs(2);
/// A leader that could not renew for so long stops leading, well before anybody else may begin.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How often the others look; a lease that was given back is noticed within this. A failed renewal is tried
/// again as soon.
const LOOK: Duration = Duration::from_millis(500);
/// A request for a renewal that takes longer is made again.
const RENEWAL: Duration = Duration::from_secs(2);

/// One candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    holder: String,
}

/// What a candidate saw of a lease that somebody else holds.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Candidate {
    /// A candidate in the lease's namespace; `holder` is unique to this process.
    #[must_use]
    pub fn new(leases: Api<Lease>, holder: String) -> Self {
        Self { leases, holder }
    }

    /// Waits until this candidate leads; what goes wrong on the way is told to `troubled`.
    pub async fn lead(&self, mut troubled: impl FnMut(Option<&CallError>)) -> Held {
        let mut seen = None;
        loop {
            let asked = Instant::now();
            match self.try_take(&mut seen).await {
                Ok(Some(lease)) => {
                    troubled(None);
                    return Held { candidate: self.clone(), lease, renewed: asked };
                }
                Ok(None) => troubled(None),
                Err(error) if error.is_conflict() => {}
                Err(error) => troubled(Some(&error)),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes the lease if nobody holds it.
    async fn try_take(&self, seen: &mut Option<Seen>) -> Result<Option<Lease>, CallError> {
        let Some(lease) = call(self.leases.get_opt(NAME)).await? else {
            let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.record(None)) };
            return call(self.leases.create(&PostParams::default(), &lease)).await.map(Some);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.holder && !abandoned(seen, &lease, Instant::now()) {
            return Ok(None);
        }
        let next = Lease { spec: Some(self.record(Some(&spec))), ..lease };
        call(self.leases.replace(NAME, &PostParams::default(), &next)).await.map(Some)
    }

    /// The record of a takeover.
    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(jiff::Timestamp::now());
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(before.is_some()))),
            ..LeaseSpec::default()
        }
    }
}

/// Whether the record has not changed for as long as a lease lasts.
fn abandoned(seen: &mut Option<Seen>, lease: &Lease, now: Instant) -> bool {
    let version = &lease.metadata.resource_version;
    match seen {
        Some(seen) if seen.version == *version => now.saturating_duration_since(seen.since) >= LEASE,
        _ => {
            *seen = Some(Seen { version: version.clone(), since: now });
            false
        }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub struct Held {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else holds it.
    #[error("{0} leads now")]
    Taken(String),
    /// It could not be renewed in time.
    #[error("the lease could not be renewed in time: {0}")]
    NotRenewed(CallError),
}

impl Held {
    /// How many times the lease changed hands.
    #[must_use]
    pub fn transitions(&self) -> i32 {
        self.lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
    }

    /// Renews until the lease is lost. Ends early only when dropped.
    pub async fn keep(&mut self) -> Lost {
        let mut last = CallError::Unanswered("nothing in time".into());
        let mut pause = RENEW;
        loop {
            let end = self.renewed + GIVE_UP;
            let renewal = async {
                tokio::time::sleep(pause).await;
                (Instant::now(), self.renew().await)
            };
            // The end of the lease waits for no request under way.
            match tokio::time::timeout_at(end, renewal).await {
                Ok((asked, Ok(()))) => (self.renewed, pause) = (asked, RENEW),
                Ok((_, Err(Renewal::Taken(holder)))) => return Lost::Taken(holder),
                Ok((_, Err(Renewal::Failed(error)))) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    (last, pause) = (error, LOOK);
                }
                Err(_) => return Lost::NotRenewed(last),
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Renewal> {
        self.write(Some(self.candidate.holder.clone())).await
    }

    /// Writes the record anew, on top of whatever happened to it while it was ours.
    async fn write(&mut self, holder: Option<String>) -> Result<(), Renewal> {
        let next = self.lease.clone();
        match self.replace(next, holder.clone()).await {
            // Another version: our own unanswered renewal, an edit of labels, or somebody else's takeover.
            Err(error) if error.is_conflict() => {
                let leases = &self.candidate.leases;
                let next = call_within(RENEWAL, leases.get(NAME)).await.map_err(Renewal::from)?;
                let found = next.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
                if found.as_ref() != Some(&self.candidate.holder) {
                    return Err(Renewal::Taken(found.unwrap_or_else(|| "nobody".into())));
                }
                self.replace(next, holder).await.map_err(Renewal::from)
            }
            outcome => outcome.map_err(Renewal::from),
        }
    }

    async fn replace(&mut self, mut next: Lease, holder: Option<String>) -> Result<(), CallError> {
        if let Some(spec) = &mut next.spec {
            spec.holder_identity = holder;
            spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        }
        let leases = &self.candidate.leases;
        self.lease = call_within(RENEWAL, leases.replace(NAME, &PostParams::default(), &next)).await?;
        Ok(())
    }

    /// Gives the lease back, so that the next candidate need not wait for its end.
    pub async fn release(mut self) {
        let error = match tokio::time::timeout(RENEWAL, self.write(None)).await {
            Ok(Ok(()) | Err(Renewal::Taken(_))) => return,
            Ok(Err(Renewal::Failed(error))) => error,
            Err(_) => CallError::Unanswered(format!("nothing within {} s", RENEWAL.as_secs())),
        };
        // The lease ends by itself.
        tracing::warn!(%error, "the lease could not be given back");
    }
}

/// Why the record was not written.
#[derive(Debug)]
enum Renewal {
    Taken(String),
    Failed(CallError),
}

impl From<CallError> for Renewal {
    fn from(error: CallError) -> Self {
        // Whoever deleted it wants another leader.
        if error.is_missing() { Self::Taken("nobody".into()) } else { Self::Failed(error) }
    }
}

#[cfg(test)]
mod tests;
