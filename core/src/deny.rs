//! Every reason to refuse, in the order of the decision.

use crate::Code;

/// Why something was refused. Closed: page, audit record, metric and docs are made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenyReason {
    /// No snapshot has arrived.
    NoSnapshot,
    /// The account does not exist (any more).
    AccountUnknown,
    /// The account's object could not be read.
    AccountInvalid,
    /// The person left.
    AccountLeft,
    /// The account is suspended.
    AccountSuspended,
    /// The owner of the account has not approved it.
    AccountNotApproved,
    /// The account's first day has not come.
    AccountNotYetValid,
    /// The account's last day has passed.
    AccountExpired,
    /// The yearly review is overdue.
    AccountReviewOverdue,
    /// The department of the account is gone.
    DepartmentUnknown,
    /// The resource does not exist (any more).
    ResourceUnknown,
    /// A platform guardrail refused.
    PlatformVeto,
    /// The user's own department refused.
    MemberVeto,
    /// A deny rule of the owner matched.
    OwnerDeny,
    /// No rule of the owner allows it.
    NoRule,
    /// A rule would allow it at another time.
    OutsideSchedule,
    /// A rule would allow it from another network.
    OutsideNetwork,
    /// A rule would allow it with another kind of client.
    WrongDevice,
    /// A rule would allow it with a further factor.
    FactorNeeded,
    /// A rule would allow another method, path, host or port.
    WrongMethod,
    /// A policy module trapped.
    PolicyTrap,
    /// A policy module used up its CPU budget.
    PolicyTimeout,
    /// A policy module's answer was no verdict.
    PolicyMalformed,
    /// A policy module could not be loaded.
    PolicyNotLoaded,
    /// A policy module rests after repeated traps.
    PolicyQuarantined,
    /// The request is larger than a policy module can be shown.
    RequestTooLarge,
}

impl DenyReason {
    /// All reasons, in the order of the decision.
    pub const ALL: &'static [Self] = &[
        Self::NoSnapshot,
        Self::AccountUnknown,
        Self::AccountInvalid,
        Self::AccountLeft,
        Self::AccountSuspended,
        Self::AccountNotApproved,
        Self::AccountNotYetValid,
        Self::AccountExpired,
        Self::AccountReviewOverdue,
        Self::DepartmentUnknown,
        Self::ResourceUnknown,
        Self::PlatformVeto,
        Self::MemberVeto,
        Self::OwnerDeny,
        Self::NoRule,
        Self::OutsideSchedule,
        Self::OutsideNetwork,
        Self::WrongDevice,
        Self::FactorNeeded,
        Self::WrongMethod,
        Self::PolicyTrap,
        Self::PolicyTimeout,
        Self::PolicyMalformed,
        Self::PolicyNotLoaded,
        Self::PolicyQuarantined,
        Self::RequestTooLarge,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::NoSnapshot => Code::NoSnapshot,
            Self::AccountUnknown => Code::AccountUnknown,
            Self::AccountInvalid => Code::AccountInvalid,
            Self::AccountLeft => Code::AccountLeft,
            Self::AccountSuspended => Code::AccountSuspended,
            Self::AccountNotApproved => Code::AccountNotApproved,
            Self::AccountNotYetValid => Code::AccountNotYetValid,
            Self::AccountExpired => Code::AccountExpired,
            Self::AccountReviewOverdue => Code::AccountReviewOverdue,
            Self::DepartmentUnknown => Code::DepartmentUnknown,
            Self::ResourceUnknown => Code::ResourceUnknown,
            Self::PlatformVeto => Code::PlatformVeto,
            Self::MemberVeto => Code::MemberVeto,
            Self::OwnerDeny => Code::OwnerDeny,
            Self::NoRule => Code::NoRule,
            Self::OutsideSchedule => Code::OutsideSchedule,
            Self::OutsideNetwork => Code::OutsideNetwork,
            Self::WrongDevice => Code::WrongDevice,
            Self::FactorNeeded => Code::FactorNeeded,
            Self::WrongMethod => Code::WrongMethod,
            Self::PolicyTrap => Code::PolicyTrap,
            Self::PolicyTimeout => Code::PolicyTimeout,
            Self::PolicyMalformed => Code::PolicyMalformed,
            Self::PolicyNotLoaded => Code::PolicyNotLoaded,
            Self::PolicyQuarantined => Code::PolicyQuarantined,
            Self::RequestTooLarge => Code::RequestTooLarge,
        }
    }

    /// The stable name in metrics, audit records and text keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.code().name()
    }
}
