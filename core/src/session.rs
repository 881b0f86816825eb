//! The session machine: whether a ticket still speaks for its account.
//!
//! A gateway that opened a ticket asks [`check`] before anything else. The answer never depends on
//! which gateway asks, only on the snapshot, the ended list and the time.

use std::sync::Arc;

use crate::{
    Account, AccountId, Code, DenyReason, Department, Generation, SessionId, Snapshot, Timestamp, Uid,
};

/// The two kinds of session; the newest login wins within a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A browser at the portal.
    Portal = 0,
    /// A VPN client.
    Tunnel = 1,
}

/// What a sealed ticket says. Any gateway of the pool can open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// Whose it is, by name.
    pub account: AccountId,
    /// Whose it is, by object: a re-created account does not inherit it.
    pub uid: Uid,
    /// The account's epoch at login.
    pub epoch: u64,
    /// The kind of session.
    pub kind: Kind,
    /// Set of factors used, bit = [`crate::policy::Factor`].
    pub factors: u8,
    /// When the login was.
    pub issued: Timestamp,
    /// When it ends in any case.
    pub absolute_end: Timestamp,
    /// The snapshot the login was decided from.
    pub generation: Generation,
}

/// Why a session ended; the user is shown every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// The user logged out.
    LoggedOut,
    /// A newer login of the same kind took over.
    Replaced,
    /// An administrator ended it.
    Kicked,
    /// Nothing was asked for too long.
    Idle,
    /// Its longest duration is over.
    Expired,
    /// The account's epoch rose above the ticket's.
    Revoked,
    /// The account lost its standing.
    Standing(DenyReason),
    /// This gateway was cut off from the store for too long.
    GatewayStale,
    /// The store was restored or wiped after the login.
    StoreReset,
}

impl EndReason {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::LoggedOut => Code::SessionLoggedOut,
            Self::Replaced => Code::SessionReplaced,
            Self::Kicked => Code::SessionKicked,
            Self::Idle => Code::SessionIdle,
            Self::Expired => Code::SessionExpired,
            Self::Revoked => Code::SessionRevoked,
            Self::Standing(reason) => reason.code(),
            Self::GatewayStale => Code::GatewayStale,
            Self::StoreReset => Code::StoreReset,
        }
    }
}

/// What became of a ticket.
#[derive(Clone, Debug)]
pub enum Check {
    /// The session goes on.
    Live {
        /// The account as this snapshot has it.
        account: Arc<Account>,
        /// The account's department.
        department: Arc<Department>,
        /// The first instant at which time alone ends the session.
        until: Timestamp,
    },
    /// The session is over.
    Ended(EndReason),
    /// The ticket knows of newer configuration than this gateway: wait a little, then ask again.
    Behind,
}

/// Judges `ticket` at `now`. `seen` is when its owner last asked for something; `ended` says what the
/// ended list has for the session.
#[must_use]
pub fn check(
    ticket: &Ticket,
    seen: Timestamp,
    ended: Option<EndReason>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Check {
    if let Some(reason) = ended {
        return Check::Ended(reason);
    }
    if ticket.issued < snapshot.platform.not_before {
        return Check::Ended(EndReason::StoreReset);
    }
    // A gateway behind the ticket cannot tell "not yet" from "no longer".
    let behind = snapshot.generation < ticket.generation;
    let missing = |reason| {
        if behind { Check::Behind } else { Check::Ended(EndReason::Standing(reason)) }
    };
    let Some(department) = snapshot.department(ticket.account.department.as_str()) else {
        return missing(DenyReason::DepartmentUnknown);
    };
    let Some(account) = department.accounts.get(&ticket.account.name) else {
        return missing(DenyReason::AccountUnknown);
    };
    if account.source.uid != ticket.uid {
        return missing(DenyReason::AccountUnknown);
    }
    let standing = account.standing(now);
    if let Some(reason) = standing.denied {
        return Check::Ended(EndReason::Standing(reason));
    }
    let Some(credential) = &account.credential else {
        return missing(DenyReason::AccountUnknown);
    };
    if ticket.epoch < credential.epoch {
        return Check::Ended(EndReason::Revoked);
    }
    if ticket.epoch > credential.epoch {
        return Check::Behind;
    }
    // The shorter of what was promised at login and what the department says today.
    let rules = department.session;
    let absolute = ticket.absolute_end.min(ticket.issued.plus(i64::from(rules.absolute_s)));
    if now >= absolute {
        return Check::Ended(EndReason::Expired);
    }
    let idle = seen.plus(i64::from(rules.idle_s));
    if now >= idle {
        return Check::Ended(EndReason::Idle);
    }
    Check::Live {
        account: Arc::clone(account),
        department: Arc::clone(department),
        until: absolute.min(idle).min(standing.holds_until),
    }
}
