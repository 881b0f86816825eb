//! An account and its standing: whether, right now, it may be used at all.

use std::collections::BTreeMap;

use crate::{AccountName, DenyReason, GroupName, Source, Timestamp};

/// A person's account as the controller publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The VpnUser it came from.
    pub source: Source,
    /// Its login name inside the department.
    pub name: AccountName,
    /// Who it belongs to.
    pub person: Person,
    /// What the unit and the approver last said.
    pub state: AccountState,
    /// The approval, if there is one for the request as it stands.
    pub approval: Option<Approval>,
    /// The latest yearly review, if there was one.
    pub review: Option<Review>,
    /// First instant of use.
    pub valid_from: Option<Timestamp>,
    /// First instant after use.
    pub valid_until: Option<Timestamp>,
    /// Password and epoch; `None` before the controller has made the record.
    pub credential: Option<Credential>,
}

/// The person and where they work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Display name, usually Chinese.
    pub display_name: Box<str>,
    /// Unit below the department, free text.
    pub unit: Box<str>,
    /// Groups, `<code>/<group>`, sorted.
    pub groups: Vec<GroupName>,
    /// Attributes for rules.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
}

/// The state written in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountState {
    /// In use.
    Active,
    /// Stopped, may come back.
    Suspended,
    /// The person left; final.
    Left,
    /// The object could not be read: published as denied.
    Invalid,
}

/// Who approved, and until when that counts as a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The approver.
    pub by: Box<str>,
    /// The approval counts as the first review up to here.
    pub until: Timestamp,
}

/// The yearly confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The reviewer.
    pub by: Box<str>,
    /// Confirmed up to here.
    pub until: Timestamp,
}

/// What the account proves itself with. Hashes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Raised by every change; an intent names the version it replaces.
    pub version: u64,
    /// Tickets below it are void. Only grows.
    pub epoch: u64,
    /// The password's hash in PHC form; `None` before activation.
    pub password: Option<Box<str>>,
    /// Hashes of earlier passwords, newest first, at most [`Credential::HISTORY_MAX`].
    pub history: Vec<Box<str>>,
    /// Whether the next login must set a new password.
    pub must_change: bool,
    /// SHA-256 of the outstanding activation code.
    pub activation: Option<[u8; 32]>,
    /// When that code stops working.
    pub activation_until: Timestamp,
}

impl Credential {
    /// How many earlier passwords may not be used again, the present one included.
    pub const HISTORY_MAX: usize = 5;
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Hashes stay out of logs even when somebody prints a whole account.
        f.debug_struct("Credential")
            .field("version", &self.version)
            .field("epoch", &self.epoch)
            .field("activated", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

/// Whether an account may be used at an instant, and until when that answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `None` when it may be used.
    pub denied: Option<DenyReason>,
    /// The first instant at which time alone may change the answer.
    pub holds_until: Timestamp,
}

impl Account {
    /// The standing at `now`. What the unit wrote comes before what the calendar says.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let forever = |reason| Standing { denied: Some(reason), holds_until: Timestamp::NEVER };
        match self.state {
            AccountState::Invalid => return forever(DenyReason::AccountInvalid),
            AccountState::Left => return forever(DenyReason::AccountLeft),
            AccountState::Suspended => return forever(DenyReason::AccountSuspended),
            AccountState::Active => {}
        }
        let Some(approval) = &self.approval else {
            return forever(DenyReason::AccountNotApproved);
        };
        if let Some(from) = self.valid_from.filter(|from| now < *from) {
            return Standing { denied: Some(DenyReason::AccountNotYetValid), holds_until: from };
        }
        let until = self.valid_until.unwrap_or(Timestamp::NEVER);
        if now >= until {
            return forever(DenyReason::AccountExpired);
        }
        let reviewed = self.review.as_ref().map_or(approval.until, |r| r.until.max(approval.until));
        // A review ends after its last second, an account's validity at its first second outside.
        if now > reviewed {
            return Standing { denied: Some(DenyReason::AccountReviewOverdue), holds_until: until };
        }
        Standing { denied: None, holds_until: until.min(reviewed.plus(1)) }
    }
}
