//! Live facts of a shared store: the head, what gateways report, what expires.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minicbor::bytes::{ByteArray, ByteSlice};
use minicbor::{Decode, Encode};
use tidegate_core::session::Kind;
use tidegate_core::{Generation, SessionId, Timestamp};

use super::common::{from_bytes, id, list, text, to_bytes};
use crate::wire::{bounds, unreadable};
use crate::{Ack, GatewayId, SessionReport, StoreResult, TunnelReport};

/// The newest publication: its generation, and that of the platform's manifest it goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The generation.
    pub generation: Generation,
    /// When the platform's manifest was published; `None` before the first.
    pub platform: Option<Generation>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireHead {
    #[n(0)]
    generation: (u64, u64),
    #[n(1)]
    platform: Option<(u64, u64)>,
}

fn generation((term, sequence): (u64, u64)) -> Generation {
    Generation { term, sequence }
}

/// The bytes of a head.
#[must_use]
pub fn encode_head(head: Head) -> Vec<u8> {
    to_bytes(&WireHead {
        generation: (head.generation.term, head.generation.sequence),
        platform: head.platform.map(|g| (g.term, g.sequence)),
    })
}

/// A head.
///
/// # Errors
/// When the bytes are not a head.
pub fn decode_head(bytes: &[u8]) -> StoreResult<Head> {
    let wire: WireHead = from_bytes(bytes, bounds::FACT, "head")?;
    Ok(Head { generation: generation(wire.generation), platform: wire.platform.map(generation) })
}

/// A fact with a time: when it is forgotten, or for a failure counter when the last one was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The time.
    pub at: Timestamp,
    /// The fact's own bytes.
    pub fact: Vec<u8>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireTimed<'b> {
    #[n(0)]
    at: i64,
    #[b(1)]
    fact: &'b ByteSlice,
}

/// The bytes of a fact with a time.
#[must_use]
pub fn encode_timed(at: Timestamp, fact: &[u8]) -> Vec<u8> {
    to_bytes(&WireTimed { at: at.0, fact: fact.into() })
}

/// A fact with a time.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_timed(bytes: &[u8]) -> StoreResult<Timed> {
    let wire: WireTimed<'_> = from_bytes(bytes, bounds::FACT, "fact")?;
    Ok(Timed { at: Timestamp(wire.at), fact: wire.fact.to_vec() })
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireAck<'b> {
    #[b(0)]
    gateway: &'b str,
    #[n(1)]
    generation: (u64, u64),
    #[b(2)]
    broken: BTreeMap<&'b str, &'b str>,
    #[n(3)]
    evaluators: Vec<ByteArray<32>>,
    #[n(4)]
    at: i64,
    #[n(5)]
    kids: Option<Vec<u32>>,
}

/// The bytes of what a gateway has in force.
#[must_use]
pub fn encode_ack(ack: &Ack) -> Vec<u8> {
    to_bytes(&WireAck {
        gateway: &ack.gateway.0,
        generation: (ack.generation.term, ack.generation.sequence),
        broken: ack.broken.iter().map(|(code, why)| (code.as_str(), why.as_str())).collect(),
        evaluators: ack.evaluators.iter().map(|digest| ByteArray::from(*digest)).collect(),
        at: ack.at.0,
        kids: (!ack.kids.is_empty()).then(|| ack.kids.clone()),
    })
}

/// What a gateway has in force.
///
/// # Errors
/// When the bytes are not an ack within [`bounds`].
pub fn decode_ack(bytes: &[u8]) -> StoreResult<Ack> {
    let wire: WireAck<'_> = from_bytes(bytes, bounds::MANIFEST, "ack")?;
    let broken = list(wire.broken, bounds::LIST, |(code, why)| {
        Ok((id(code)?, text(why, bounds::TEXT)?.into_string()))
    })?;
    Ok(Ack {
        gateway: GatewayId(text(wire.gateway, bounds::NAME)?.into_string()),
        generation: generation(wire.generation),
        broken: broken.into_iter().collect(),
        evaluators: list(wire.evaluators, bounds::LIST, |digest| Ok(*digest))?,
        // An earlier version says nothing of keys: it counts as one that has none.
        kids: list(wire.kids.unwrap_or_default(), bounds::LIST, Ok)?,
        at: Timestamp(wire.at),
    })
}

#[derive(Encode, Decode)]
struct WireSession<'b> {
    #[n(0)]
    session: ByteArray<16>,
    #[b(1)]
    account: Cow<'b, str>,
    #[n(2)]
    kind: u8,
    #[b(3)]
    source: Cow<'b, str>,
    #[n(4)]
    since: i64,
    #[n(5)]
    seen: i64,
    #[b(6)]
    tunnel: Option<WireTunnel<'b>>,
}

#[derive(Encode, Decode)]
struct WireTunnel<'b> {
    #[b(0)]
    client: Cow<'b, str>,
    #[n(1)]
    up: u64,
    #[n(2)]
    down: u64,
    #[n(3)]
    flows: u32,
}

/// The bytes of some sessions of a gateway.
#[must_use]
pub fn encode_sessions(sessions: &[&SessionReport]) -> Vec<u8> {
    let wire: Vec<WireSession<'_>> = sessions
        .iter()
        .map(|report| WireSession {
            session: report.session.0.into(),
            account: report.account.to_string().into(),
            kind: match report.kind {
                Kind::Portal => 0,
                Kind::Tunnel => 1,
            },
            source: report.source.to_string().into(),
            since: report.since.0,
            seen: report.seen.0,
            tunnel: report.tunnel.as_ref().map(|tunnel| WireTunnel {
                client: (&*tunnel.client).into(),
                up: tunnel.up,
                down: tunnel.down,
                flows: tunnel.flows,
            }),
        })
        .collect();
    to_bytes(&wire)
}

fn tunnel(wire: WireTunnel<'_>) -> StoreResult<TunnelReport> {
    let WireTunnel { client, up, down, flows } = wire;
    Ok(TunnelReport { client: text(&client, bounds::NAME)?, up, down, flows })
}

/// Some sessions of a gateway.
///
/// # Errors
/// When the bytes are not sessions within [`bounds`].
pub fn decode_sessions(bytes: &[u8]) -> StoreResult<Vec<SessionReport>> {
    let wire: Vec<WireSession<'_>> = from_bytes(bytes, bounds::MANIFEST, "sessions")?;
    list(wire, bounds::ACCOUNTS_PER_SHARD, |report| {
        Ok(SessionReport {
            session: SessionId(*report.session),
            account: id(&report.account)?,
            kind: match report.kind {
                0 => Kind::Portal,
                1 => Kind::Tunnel,
                other => return Err(unreadable(format_args!("session kind {other}"))),
            },
            source: id(&report.source)?,
            since: Timestamp(report.since),
            seen: Timestamp(report.seen),
            tunnel: report.tunnel.map(tunnel).transpose()?,
        })
    })
}
