//! The rules of the house: ids, snapshot, account standing, decide order, session machine.
//!
//! This crate cannot do I/O, read a clock or roll dice: everything it knows arrives as a value.
//!
//! ```text
//!  Snapshot --+
//!  Ticket  ---+--> session::check --> Live(account) | Ended(reason) | Behind
//!                                        |
//!  Request ----------------------------> decide (standing, guardrails, member, owner) --> Permit | Denial
//!                                        ^
//!  policies/engine implements Evaluate --+
//! ```
//!
//! Absence means deny: an unknown rule, a missing module, a trap, a stale snapshot each have a reason
//! of their own ([`DenyReason`]), and each reason has one stable code ([`Code`]).

mod account;
mod code;
mod decide;
mod deny;
mod id;
mod localized;
mod names;
mod net;
mod not_yet;
pub mod policy;
mod resource;
pub mod session;
mod snapshot;
mod time;

pub use account::{Account, AccountState, Approval, Credential, Person, Review, Standing};
pub use code::Code;
pub use decide::{Decision, Denial, Permit, Question, decide, decide_flow};
pub use deny::DenyReason;
pub use id::{
    AccountId, AccountName, DepartmentCode, Generation, GroupName, IdError, ResourceId, ResourceName,
    SessionId, Source, Uid,
};
pub use localized::{Lang, Localized};
pub use names::{NamedHost, TunnelNames};
pub use net::{Cidr, CidrError, is_forbidden_target};
pub use not_yet::{CLUSTER_ONLY, NOT_YET_SUPPORTED, NotYet};
pub use resource::{Contact, Endpoint, Network, Resource, UpstreamScheme, UpstreamTls, Web};
pub use snapshot::{
    Department, Hotline, LoginRules, Platform, PolicyModule, PolicyState, RuleName, SessionRules, Snapshot,
};
pub use time::{LocalTime, Timestamp, Weekday, Zone};
