//! VpnGateway: what the pool is called, and where its clock hangs.

use tidegate_core::Code;

use super::text::localized;
use super::zone::zone;
use super::{Context, Pool, Problems};
use crate::types::VpnGatewaySpec;

pub(super) fn convert(spec: &VpnGatewaySpec, context: &Context<'_>, problems: &mut Problems) -> Pool {
    let zone = spec.time_zone.as_deref().and_then(|name| {
        let zone = zone(name, context.now);
        if zone.is_none() {
            let fix = "write an IANA name, for example Asia/Shanghai";
            problems.add("spec.timeZone", Code::SchemaViolation, format!("{name:?} is not a time zone"), fix);
        }
        zone
    });
    Pool { title: localized(&spec.names), zone }
}
