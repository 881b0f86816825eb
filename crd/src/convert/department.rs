//! Department: settings in core's words, without people, systems or rules.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use tidegate_core::{
    Cidr, Code, Department, Generation, Hotline, LoginRules, PolicyState, SessionRules, is_forbidden_target,
};

use super::text::{boxed, cidrs, localized};
use super::zone::zone;
use super::{Context, Problems};
use crate::types::DepartmentSpec;

/// Port of a name server that names none.
const DNS_PORT: u16 = 53;

pub(super) fn convert(
    spec: &DepartmentSpec,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Department> {
    let code = problems.take("spec.code", spec.code.parse(), "write it like sbj")?;
    let zone = zone(&spec.time_zone, context.now);
    if zone.is_none() {
        let message = format!("{:?} is not a time zone", spec.time_zone);
        problems.add(
            "spec.timeZone",
            Code::SchemaViolation,
            message,
            "write an IANA name, for example Asia/Shanghai",
        );
    }
    let networks = cidrs(&spec.networks, "spec.networks", problems);
    refuse_forbidden(&networks, problems);
    Some(Department {
        source: context.source.clone(),
        generation: Generation::default(),
        code,
        title: localized(&spec.names),
        notice: localized(&spec.notice),
        hotline: Hotline { phone: boxed(spec.hotline.phone.as_ref()), hours: localized(&spec.hotline.hours) },
        zone: zone?,
        networks,
        resolvers: resolvers(&spec.resolvers, problems),
        login: LoginRules { password_max_age_days: spec.login.password_max_age_days },
        session: SessionRules {
            idle_s: spec.session.idle_minutes.saturating_mul(60),
            absolute_s: spec.session.absolute_minutes.saturating_mul(60),
        },
        accounts: HashMap::new(),
        resources: BTreeMap::new(),
        policy: PolicyState::Absent,
    })
}

fn refuse_forbidden(networks: &[Cidr], problems: &mut Problems) {
    for (index, network) in networks.iter().enumerate() {
        if is_forbidden_target(network.address()) {
            let message = format!("{network} is never reachable through a gateway");
            let fix = "write the ranges the department's systems really lie in";
            problems.add(format!("spec.networks[{index}]"), Code::AddressForbidden, message, fix);
        }
    }
}

fn resolvers(texts: &[String], problems: &mut Problems) -> Vec<SocketAddr> {
    let parse = |text: &String| {
        text.parse::<SocketAddr>()
            .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT)))
            .map_err(|_| format!("{text:?} is not the address of a name server"))
    };
    let fix = "write an address and, if it is not 53, the port, for example 10.20.0.53:5353";
    texts
        .iter()
        .enumerate()
        .filter_map(|(index, text)| problems.take(&format!("spec.resolvers[{index}]"), parse(text), fix))
        .collect()
}
