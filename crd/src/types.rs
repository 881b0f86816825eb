//! The kinds as Rust types; their schema is generated from here.
//!
//! A doc comment is a field's description in `kubectl explain` and in the reference. A validation
//! message starts with its code and says after a semicolon what to write instead; `validate` takes
//! it apart again.

#![expect(unreachable_pub, reason = "the derive copies public structs into functions")]

mod common;
mod department;
mod gateway;
mod policy;
mod recertification;
mod resource;
mod schema;
mod vpn_user;

pub use common::{Condition, KeyRef, Status, Text};
pub use department::{
    Department, DepartmentSpec, Hotline, LockMode, Login, LoginMethod, Quotas, Roles, Session,
};
pub use gateway::{
    Autoscaling, Dns, GatewayStatus, GatewayTls, Staleness, Tunnel, VpnGateway, VpnGatewaySpec,
};
pub use policy::{
    AccessPolicy, AccessPolicySpec, AccessRule, ClusterAccessPolicy, ClusterAccessPolicySpec, Day, Device,
    Effect, Factor, Match, Mode, Module, ResourceSelector, Target, UserSelector, Window,
};
pub use recertification::{OverdueAction, Recertification, RecertificationSpec, RecertificationStatus};
pub use resource::{Contact, Network, Resource, ResourceSpec, Tls, Web};
pub use vpn_user::{Approval, Request, Review, State, VpnUser, VpnUserSpec};
