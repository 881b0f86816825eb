//! The admin API: what gateways report, and the end of a single session.
//!
//! ```text
//!  tidegate check, curl --HTTP--> http (who asks, may they?) --+--> gateways, sessions, end --> stores
//!  STATE/control.sock (its owner alone) -----------------------+
//! ```
//!
//! Reports are what gateways last said, never an authority; ending a session is the only thing that changes.

pub mod http;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{DepartmentCode, SessionId, Timestamp};
use tidegate_store::{Report, SessionReport, Store, StoreResult};

use crate::time::rfc3339;

/// Sessions in one answer.
pub const SESSIONS_MAX: usize = 10_000;

/// How long after its login an ended session is remembered: the longest any ticket can count.
const TICKET_MAX_S: i64 = 7 * 24 * 3_600;

/// The stores of the pools by name; empty while this process does not publish.
pub type Pools<S> = BTreeMap<String, S>;

/// One gateway as it last spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Its pool.
    pub pool: String,
    /// Its name: the pod's UID, or `--id`.
    pub id: String,
    /// The generation in force on every shard, `term.sequence`.
    pub generation: String,
    /// When it last spoke.
    pub said_at: String,
    /// Seconds since then.
    pub silent_seconds: i64,
    /// Sessions used there lately.
    pub sessions: usize,
    /// Departments it denies since it cannot load what was published, and why.
    pub broken: BTreeMap<String, String>,
}

/// One session as its gateway saw it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its name.
    pub id: String,
    /// Whose it is, `<department>/<name>`.
    pub account: String,
    /// `portal` or `tunnel`.
    pub kind: String,
    /// Where the user's computer is.
    pub source: String,
    /// When it was opened.
    pub since: String,
    /// When it was last used.
    pub seen: String,
    /// The pool that serves it.
    pub pool: String,
    /// The gateway it was used at last.
    pub gateway: String,
    /// What goes through it, if it is a tunnel that is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// What goes through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// What the client calls itself.
    pub client: String,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// Flows that are open.
    pub flows: u32,
}

/// Sessions, and whether there are more than an answer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// The sessions, by account.
    pub sessions: Vec<Session>,
    /// Whether some were left out.
    pub truncated: bool,
}

/// What every known gateway reported last, by pool and name.
pub async fn gateways<S: Store>(pools: &Pools<S>, now: Timestamp) -> StoreResult<Vec<Gateway>> {
    let mut gateways = Vec::new();
    for (pool, store) in pools {
        gateways.extend(store.reports().await?.iter().map(|report| gateway(pool, report, now)));
    }
    gateways.sort_by(|a, b| (&a.pool, &a.id).cmp(&(&b.pool, &b.id)));
    Ok(gateways)
}

/// The sessions of a department, or all of them.
pub async fn sessions<S: Store>(
    pools: &Pools<S>,
    department: Option<&DepartmentCode>,
) -> StoreResult<Sessions> {
    let mut found: BTreeMap<SessionId, (String, String, SessionReport)> = BTreeMap::new();
    for (pool, store) in pools {
        for report in store.reports().await? {
            for session in report.sessions {
                if department.is_some_and(|wanted| *wanted != session.account.department) {
                    continue;
                }
                // No gateway owns a session: the one that saw it last knows most.
                let newer = found.get(&session.session).is_none_or(|(_, _, known)| known.seen < session.seen);
                if newer {
                    let gateway = report.ack.gateway.0.clone();
                    found.insert(session.session, (pool.clone(), gateway, session));
                }
            }
        }
    }
    let mut sessions: Vec<_> = found.into_values().collect();
    sessions.sort_by(|a, b| (&a.2.account, a.2.since).cmp(&(&b.2.account, b.2.since)));
    let truncated = sessions.len() > SESSIONS_MAX;
    sessions.truncate(SESSIONS_MAX);
    let sessions = sessions.iter().map(|(pool, gateway, report)| session(pool, gateway, report)).collect();
    Ok(Sessions { sessions, truncated })
}

/// A session somebody reported, found by its name.
#[derive(Clone, Debug)]
pub struct Found {
    /// The pool that serves it.
    pub pool: String,
    /// What was reported.
    pub session: SessionReport,
}

/// Finds a session by its name.
pub async fn find<S: Store>(pools: &Pools<S>, id: SessionId) -> StoreResult<Option<Found>> {
    for (pool, store) in pools {
        let reports = store.reports().await?;
        let mut sessions = reports.into_iter().flat_map(|report| report.sessions);
        if let Some(session) = sessions.find(|session| session.session == id) {
            return Ok(Some(Found { pool: pool.clone(), session }));
        }
    }
    Ok(None)
}

/// Ends a session everywhere.
pub async fn end<S: Store>(pools: &Pools<S>, found: &Found) -> StoreResult<()> {
    let Some(store) = pools.get(&found.pool) else { return Ok(()) };
    let until = found.session.since.plus(TICKET_MAX_S);
    store.end(found.session.session, EndReason::Kicked, until).await
}

/// Reads the name of a session as it is printed: 32 hexadecimal digits.
#[must_use]
pub fn session_id(text: &str) -> Option<SessionId> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|bits| SessionId(bits.to_be_bytes()))
}

fn gateway(pool: &str, report: &Report, now: Timestamp) -> Gateway {
    let ack = &report.ack;
    Gateway {
        pool: pool.to_owned(),
        id: ack.gateway.0.clone(),
        generation: ack.generation.to_string(),
        said_at: rfc3339(ack.at),
        silent_seconds: now.since(ack.at).max(0),
        sessions: report.sessions.len(),
        broken: ack.broken.iter().map(|(code, why)| (code.to_string(), why.clone())).collect(),
    }
}

fn session(pool: &str, gateway: &str, report: &SessionReport) -> Session {
    Session {
        id: report.session.to_string(),
        account: report.account.to_string(),
        kind: match report.kind {
            Kind::Portal => "portal".to_owned(),
            Kind::Tunnel => "tunnel".to_owned(),
        },
        source: report.source.to_string(),
        since: rfc3339(report.since),
        seen: rfc3339(report.seen),
        pool: pool.to_owned(),
        gateway: gateway.to_owned(),
        tunnel: report.tunnel.as_ref().map(|tunnel| Tunnel {
            client: tunnel.client.to_string(),
            bytes_up: tunnel.up,
            bytes_down: tunnel.down,
            flows: tunnel.flows,
        }),
    }
}

#[cfg(test)]
mod tests;
