//! What holds for the whole pool, and for a whole department.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use minicbor::{Decode, Encode};
use tidegate_core as model;
use tidegate_core::{Cidr, DepartmentCode, Generation, PolicyState, Timestamp};

use super::common::{Localized, Source, Zone, from_bytes, id, list, text, to_bytes};
use crate::wire::{bounds, unreadable};
use crate::{StoreError, StoreResult};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Platform<'b> {
    #[b(0)]
    title: Localized<'b>,
    #[b(1)]
    zone: Zone<'b>,
    #[n(2)]
    not_before: i64,
    #[n(3)]
    approvals_enforced: bool,
}

/// The bytes of the pool's settings; the guardrails are parts of their own.
#[must_use]
pub fn encode_platform(platform: &model::Platform) -> Vec<u8> {
    to_bytes(&Platform {
        title: (&platform.title).into(),
        zone: (&platform.zone).into(),
        not_before: platform.not_before.0,
        approvals_enforced: platform.approvals_enforced,
    })
}

/// The pool's settings, without guardrails.
///
/// # Errors
/// When the bytes are not settings within [`bounds`].
pub fn decode_platform(bytes: &[u8]) -> StoreResult<model::Platform> {
    let wire: Platform<'_> = from_bytes(bytes, bounds::PART, "platform")?;
    Ok(model::Platform {
        title: wire.title.try_into()?,
        policy: PolicyState::Absent,
        zone: wire.zone.try_into()?,
        not_before: Timestamp(wire.not_before),
        approvals_enforced: wire.approvals_enforced,
    })
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Settings<'b> {
    #[b(0)]
    source: Source<'b>,
    #[b(1)]
    code: &'b str,
    #[b(2)]
    title: Localized<'b>,
    #[b(3)]
    notice: Localized<'b>,
    #[b(4)]
    hotline_phone: &'b str,
    #[b(5)]
    hotline_hours: Localized<'b>,
    #[b(6)]
    zone: Zone<'b>,
    #[n(7)]
    networks: Vec<Network>,
    #[n(8)]
    resolvers: Vec<std::net::SocketAddr>,
    #[n(9)]
    password_max_age_days: u16,
    #[n(10)]
    idle_s: u32,
    #[n(11)]
    absolute_s: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Network {
    #[n(0)]
    address: IpAddr,
    #[n(1)]
    prefix: u8,
}

impl TryFrom<Network> for Cidr {
    type Error = StoreError;

    fn try_from(wire: Network) -> StoreResult<Self> {
        Self::new(wire.address, wire.prefix)
            .filter(|cidr| cidr.address() == wire.address)
            .ok_or_else(|| unreadable("an address range with host bits"))
    }
}

/// The bytes of a department's settings; its people, systems and rules are parts of their own.
#[must_use]
pub fn encode_settings(department: &model::Department) -> Vec<u8> {
    to_bytes(&Settings {
        source: (&department.source).into(),
        code: department.code.as_str(),
        title: (&department.title).into(),
        notice: (&department.notice).into(),
        hotline_phone: &department.hotline.phone,
        hotline_hours: (&department.hotline.hours).into(),
        zone: (&department.zone).into(),
        networks: department
            .networks
            .iter()
            .map(|cidr| Network { address: cidr.address(), prefix: cidr.prefix() })
            .collect(),
        resolvers: department.resolvers.clone(),
        password_max_age_days: department.login.password_max_age_days,
        idle_s: department.session.idle_s,
        absolute_s: department.session.absolute_s,
    })
}

/// A department with its settings and nothing else in it.
///
/// # Errors
/// When the bytes are not settings within [`bounds`].
pub fn decode_settings(bytes: &[u8]) -> StoreResult<model::Department> {
    let wire: Settings<'_> = from_bytes(bytes, bounds::PART, "settings")?;
    let code: DepartmentCode = id(wire.code)?;
    Ok(model::Department {
        source: wire.source.try_into()?,
        generation: Generation::default(),
        code,
        title: wire.title.try_into()?,
        notice: wire.notice.try_into()?,
        hotline: model::Hotline {
            phone: text(wire.hotline_phone, bounds::NAME)?,
            hours: wire.hotline_hours.try_into()?,
        },
        zone: wire.zone.try_into()?,
        networks: list(wire.networks, bounds::LIST, Cidr::try_from)?,
        resolvers: list(wire.resolvers, bounds::LIST, Ok)?,
        login: model::LoginRules { password_max_age_days: wire.password_max_age_days },
        session: model::SessionRules { idle_s: wire.idle_s, absolute_s: wire.absolute_s },
        accounts: HashMap::new(),
        resources: BTreeMap::new(),
        policy: PolicyState::Absent,
    })
}
