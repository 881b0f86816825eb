//! What can be recorded.

use std::net::IpAddr;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{
    AccountId, Code, DepartmentCode, Generation, ResourceId, RuleName, SessionId, Timestamp, Uid,
};

use crate::{IntentId, Outcome};

/// One record, before it has its place in the chain.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Who acted, as far as is known.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The account meant; `None` when what was typed is not even a name.
    pub account: Option<AccountId>,
    /// The account's object, once it is known to exist.
    pub uid: Option<Uid>,
    /// The session, once there is one.
    pub session: Option<SessionId>,
    /// Where the user's computer is.
    pub source: Option<IpAddr>,
    /// The request's id, as the page shows it.
    pub request: Option<Box<str>>,
    /// Whether the store was away, so that only this gateway knew of logins, failures and one-time facts.
    pub alone: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody used an activation code.
    Activation {
        /// Who.
        actor: Actor,
        /// Why it was refused; `None` when it was not.
        refused: Option<Code>,
    },
    /// Somebody changed their password.
    PasswordChange {
        /// Who.
        actor: Actor,
        /// Why it was refused; `None` when it was not.
        refused: Option<Code>,
    },
    /// Somebody logged in, or tried to.
    Login {
        /// Who.
        actor: Actor,
        /// The kind of session.
        kind: Kind,
        /// Why it was refused; `None` when it was not.
        refused: Option<Code>,
    },
    /// A session is over; a logout is one of the reasons.
    SessionEnd {
        /// Whose.
        actor: Actor,
        /// The kind of session.
        kind: Kind,
        /// Why.
        reason: EndReason,
    },
    /// Access was allowed, refused or withdrawn.
    Decision {
        /// For whom.
        actor: Actor,
        /// To what.
        resource: ResourceId,
        /// Which.
        verdict: Verdict,
        /// The rule that said so, if a rule did.
        rule: Option<RuleRef>,
        /// The snapshot it was decided from.
        generation: Generation,
        /// How many equal decisions this record stands for.
        count: u32,
    },
    /// A flow through a tunnel is over.
    FlowEnd {
        /// Whose.
        actor: Actor,
        /// To what.
        resource: ResourceId,
        /// Which.
        flow: FlowRef,
        /// Bytes from the client.
        up: u64,
        /// Bytes to the client.
        down: u64,
        /// How long it was open.
        seconds: i64,
        /// Why it was ended; `None` when one of its ends did.
        reason: Option<Code>,
    },
    /// An object was taken into force, or refused.
    Object {
        /// Which.
        object: ObjectRef,
        /// Why it was refused, with the message for its author; `None` when it was accepted.
        refused: Option<(Code, Box<str>)>,
    },
    /// The truth was changed on a user's behalf, or not.
    IntentSettled {
        /// Which intent.
        intent: IntentId,
        /// Whose account.
        account: AccountId,
        /// How it went.
        outcome: Outcome,
    },
}

/// A flow through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRef {
    /// Its protocol.
    pub protocol: Protocol,
    /// The host as its owner named it.
    pub host: Box<str>,
    /// Where that was found; `None` when it came to nothing.
    pub address: Option<IpAddr>,
    /// The port; 0 for pings.
    pub port: u16,
}

/// What a flow is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A TCP connection.
    Tcp,
    /// UDP datagrams.
    Udp,
    /// Pings.
    Icmp,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed.
    Allowed,
    /// Refused, and why.
    Denied(Code),
    /// Was open and has been cut, and why.
    Withdrawn(Code),
}

/// A rule and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// The department whose rule it is; `None` for a guardrail of the platform.
    pub department: Option<DepartmentCode>,
    /// The rule.
    pub rule: RuleName,
}

/// An object as its author knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its kind, for example `AccessPolicy`.
    pub kind: Box<str>,
    /// Its namespace; empty for a cluster object.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its metadata.generation, 0 where it has none.
    pub generation: i64,
    /// Where it was read, `file:line:column`; empty where there is no file.
    pub origin: Box<str>,
}
