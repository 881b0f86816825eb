//! Every code a person may be shown or may search for.
//!
//! `1xxx` login, `2xxx` session, `3xxx` policy, `4xxx` resource and upstream, `6xxx` operator,
//! `7xxx` authoring. A number is never used again for something else. Each has a page under
//! `docs/reference/codes`.

/// A stable code, printed as `TG-nnnn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Code {
    /// Department, account and password do not belong together.
    LoginFailed = 1001,
    /// Too many failed attempts; wait before the next.
    LoginSlowedDown = 1002,
    /// More people are logging in than the gateway can check at once.
    LoginBusy = 1003,
    /// The new password breaks a rule.
    PasswordTooWeak = 1004,
    /// The activation code is wrong, used or expired.
    ActivationRefused = 1005,
    /// The password was changed meanwhile by somebody else.
    CredentialChanged = 1006,
    /// The change is waiting for the controller.
    ChangePending = 1007,
    /// The gateway has been cut off too long to accept new logins.
    LoginsPaused = 1008,
    /// The form is incomplete or malformed.
    FormInvalid = 1009,
    /// The form came from another site or an old page.
    FormForeign = 1010,
    /// The password must be changed before going on.
    PasswordChangeRequired = 1011,
    /// The user logged out.
    SessionLoggedOut = 2001,
    /// A newer login of the same account took over.
    SessionReplaced = 2002,
    /// The session was idle too long.
    SessionIdle = 2003,
    /// The session reached its longest duration.
    SessionExpired = 2004,
    /// The account's sessions were revoked, or its password changed.
    SessionRevoked = 2005,
    /// The account does not exist any more.
    AccountUnknown = 2006,
    /// The account's object cannot be read.
    AccountInvalid = 2007,
    /// The account's owner has left.
    AccountLeft = 2008,
    /// The account is suspended.
    AccountSuspended = 2009,
    /// The account has not been approved.
    AccountNotApproved = 2010,
    /// The account's first day has not come.
    AccountNotYetValid = 2011,
    /// The account's last day has passed.
    AccountExpired = 2012,
    /// The yearly review of the account is overdue.
    AccountReviewOverdue = 2013,
    /// The account's department does not exist any more.
    DepartmentUnknown = 2014,
    /// An administrator ended the session.
    SessionKicked = 2015,
    /// The session cookie cannot be opened.
    TicketInvalid = 2016,
    /// The gateway has not yet caught up with this session.
    SnapshotBehind = 2017,
    /// The gateway was cut off from the store too long.
    GatewayStale = 2018,
    /// The store was restored; everybody logs in again.
    StoreReset = 2019,
    /// The redirect between portal and system was not completed in time.
    HandshakeInvalid = 2020,
    /// Nobody is logged in.
    NoSession = 2021,
    /// No rule of the owner allows it.
    NoRule = 3001,
    /// A rule of the owner refuses it.
    OwnerDeny = 3002,
    /// The user's own department refuses it.
    MemberVeto = 3003,
    /// A guardrail of the platform refuses it.
    PlatformVeto = 3004,
    /// It is open at other times.
    OutsideSchedule = 3005,
    /// It is open from other networks.
    OutsideNetwork = 3006,
    /// It is open to another kind of client.
    WrongDevice = 3007,
    /// It needs a further factor.
    FactorNeeded = 3008,
    /// It is open for other methods, paths, hosts or ports.
    WrongMethod = 3009,
    /// The department's rules failed while deciding.
    PolicyTrap = 3010,
    /// The department's rules took too long.
    PolicyTimeout = 3011,
    /// The department's rules gave an unusable answer.
    PolicyMalformed = 3012,
    /// The department's rules cannot be loaded.
    PolicyNotLoaded = 3013,
    /// The department's rules rest after repeated failures.
    PolicyQuarantined = 3014,
    /// The request is too large to be decided.
    RequestTooLarge = 3015,
    /// The gateway has no configuration yet.
    NoSnapshot = 3016,
    /// The system does not exist (any more).
    ResourceUnknown = 4001,
    /// The path is ambiguous and is not forwarded.
    PathRefused = 4002,
    /// The host name is not one of this gateway's.
    HostRefused = 4003,
    /// The request's headers are malformed or too large.
    HeadersRefused = 4004,
    /// The form is too large.
    BodyTooLarge = 4005,
    /// The system does not answer.
    UpstreamUnreachable = 4006,
    /// The system's certificate cannot be verified.
    UpstreamUntrusted = 4007,
    /// The system took too long.
    UpstreamTimeout = 4008,
    /// The system gave an unusable answer.
    UpstreamMalformed = 4009,
    /// The system's address lies outside its owner's networks.
    AddressOutsideNetworks = 4010,
    /// The system's address is never reachable through a gateway.
    AddressForbidden = 4011,
    /// The system's host name has no address.
    NameNotResolved = 4012,
    /// A limit on connections was reached.
    TooManyConnections = 4013,
    /// The request was not sent in time.
    RequestTimeout = 4014,
    /// The requested protocol upgrade is not supported.
    UpgradeRefused = 4015,
    /// There is no such page.
    PageUnknown = 4016,
    /// The page does not take this method.
    MethodRefused = 4017,
    /// Access was withdrawn while the connection was open.
    AccessWithdrawn = 4018,
    /// Systems of several departments lie at the same address and port.
    AddressOverlap = 4019,
    /// The gateway's computer does not let it send pings.
    PingUnavailable = 4020,
    /// A field breaks the schema.
    SchemaViolation = 6001,
    /// A field does not exist.
    UnknownField = 6002,
    /// The file is not YAML.
    NotYaml = 6003,
    /// Two documents set the same field of one object.
    FragmentsOverlap = 6004,
    /// The object lies in a namespace where it does not count.
    WrongNamespace = 6005,
    /// The field's feature is not built yet.
    NotYetSupported = 6006,
    /// Requester, approver and subject are not three persons.
    FourEyes = 6007,
    /// An approval or review reaches more than 400 days ahead.
    ReviewTooFar = 6008,
    /// The document is of no known kind.
    UnknownKind = 6009,
    /// An object it refers to does not exist.
    ReferenceMissing = 6010,
    /// A manifest file or folder is too large.
    FileTooLarge = 6011,
    /// The state directory cannot be used.
    StateUnusable = 6012,
    /// Another process uses the state directory.
    StateLocked = 6013,
    /// A file in the state directory cannot be read.
    StateCorrupt = 6014,
    /// Published configuration cannot be decoded.
    WireUnreadable = 6015,
    /// The store refused or failed.
    StoreFailed = 6016,
    /// A field that never changes was changed.
    FieldImmutable = 6017,
    /// The address to listen on cannot be used.
    ListenFailed = 6018,
    /// The object's department does not exist.
    DepartmentMissing = 6019,
    /// The manifest folder cannot be read.
    FolderUnreadable = 6020,
    /// An account that has left cannot come back.
    AccountLeftFinal = 6021,
    /// A change asked for at a gateway was refused.
    IntentRefused = 6022,
    /// The write needs a right that the writer does not hold.
    RightMissing = 6023,
    /// A field names somebody else than the user who writes it.
    NameForged = 6024,
    /// A request was changed under its approval.
    ApprovalOutlived = 6025,
    /// A gateway's configuration file cannot be used.
    GatewayConfigInvalid = 6030,
    /// The pool's key ring cannot be used.
    KeyRingUnusable = 6031,
    /// A certificate or its key cannot be used.
    CertificateUnusable = 6032,
    /// The controller's settings cannot be used.
    ControllerConfigInvalid = 6040,
    /// The Kubernetes API refuses, or does not answer.
    ClusterFailed = 6041,
    /// A rule's expression cannot be parsed.
    RuleSyntax = 7001,
    /// A rule's expression has the wrong type.
    RuleType = 7002,
    /// A rule's expression names something that does not exist.
    RuleName = 7003,
    /// A rule costs more than its budget.
    RuleCost = 7004,
    /// Custom modules are not supported yet.
    ModuleUnsupportedClass = 7005,
    /// A compiled module is not one this gateway may run.
    ModuleRefused = 7006,
    /// The rules compile to more than a gateway loads.
    ModuleTooLarge = 7007,
    /// A policy about users can only deny.
    UsersMayOnlyDeny = 7008,
    /// A guardrail can only deny.
    GuardrailMayOnlyDeny = 7009,
    /// A rule's match field cannot be used as written.
    RuleMatch = 7010,
    /// A department has more rules than a gateway loads.
    TooManyRules = 7011,
}

impl Code {
    /// All codes, ascending.
    pub const ALL: &'static [Self] = &[
        Self::LoginFailed,
        Self::LoginSlowedDown,
        Self::LoginBusy,
        Self::PasswordTooWeak,
        Self::ActivationRefused,
        Self::CredentialChanged,
        Self::ChangePending,
        Self::LoginsPaused,
        Self::FormInvalid,
        Self::FormForeign,
        Self::PasswordChangeRequired,
        Self::SessionLoggedOut,
        Self::SessionReplaced,
        Self::SessionIdle,
        Self::SessionExpired,
        Self::SessionRevoked,
        Self::AccountUnknown,
        Self::AccountInvalid,
        Self::AccountLeft,
        Self::AccountSuspended,
        Self::AccountNotApproved,
        Self::AccountNotYetValid,
        Self::AccountExpired,
        Self::AccountReviewOverdue,
        Self::DepartmentUnknown,
        Self::SessionKicked,
        Self::TicketInvalid,
        Self::SnapshotBehind,
        Self::GatewayStale,
        Self::StoreReset,
        Self::HandshakeInvalid,
        Self::NoSession,
        Self::NoRule,
        Self::OwnerDeny,
        Self::MemberVeto,
        Self::PlatformVeto,
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
        Self::NoSnapshot,
        Self::ResourceUnknown,
        Self::PathRefused,
        Self::HostRefused,
        Self::HeadersRefused,
        Self::BodyTooLarge,
        Self::UpstreamUnreachable,
        Self::UpstreamUntrusted,
        Self::UpstreamTimeout,
        Self::UpstreamMalformed,
        Self::AddressOutsideNetworks,
        Self::AddressForbidden,
        Self::NameNotResolved,
        Self::TooManyConnections,
        Self::RequestTimeout,
        Self::UpgradeRefused,
        Self::PageUnknown,
        Self::MethodRefused,
        Self::AccessWithdrawn,
        Self::AddressOverlap,
        Self::PingUnavailable,
        Self::SchemaViolation,
        Self::UnknownField,
        Self::NotYaml,
        Self::FragmentsOverlap,
        Self::WrongNamespace,
        Self::NotYetSupported,
        Self::FourEyes,
        Self::ReviewTooFar,
        Self::UnknownKind,
        Self::ReferenceMissing,
        Self::FileTooLarge,
        Self::StateUnusable,
        Self::StateLocked,
        Self::StateCorrupt,
        Self::WireUnreadable,
        Self::StoreFailed,
        Self::FieldImmutable,
        Self::ListenFailed,
        Self::DepartmentMissing,
        Self::FolderUnreadable,
        Self::AccountLeftFinal,
        Self::IntentRefused,
        Self::RightMissing,
        Self::NameForged,
        Self::ApprovalOutlived,
        Self::GatewayConfigInvalid,
        Self::KeyRingUnusable,
        Self::CertificateUnusable,
        Self::ControllerConfigInvalid,
        Self::ClusterFailed,
        Self::RuleSyntax,
        Self::RuleType,
        Self::RuleName,
        Self::RuleCost,
        Self::ModuleUnsupportedClass,
        Self::ModuleRefused,
        Self::ModuleTooLarge,
        Self::UsersMayOnlyDeny,
        Self::GuardrailMayOnlyDeny,
        Self::RuleMatch,
        Self::TooManyRules,
    ];

    /// The code as people see it, for example `TG-3001`.
    #[must_use]
    pub fn id(self) -> String {
        format!("TG-{:04}", self as u16)
    }

    /// The stable snake_case name, used in audit records, metrics and text keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoginFailed => "login_failed",
            Self::LoginSlowedDown => "login_slowed_down",
            Self::LoginBusy => "login_busy",
            Self::PasswordTooWeak => "password_too_weak",
            Self::ActivationRefused => "activation_refused",
            Self::CredentialChanged => "credential_changed",
            Self::ChangePending => "change_pending",
            Self::LoginsPaused => "logins_paused",
            Self::FormInvalid => "form_invalid",
            Self::FormForeign => "form_foreign",
            Self::PasswordChangeRequired => "password_change_required",
            Self::SessionLoggedOut => "session_logged_out",
            Self::SessionReplaced => "session_replaced",
            Self::SessionIdle => "session_idle",
            Self::SessionExpired => "session_expired",
            Self::SessionRevoked => "session_revoked",
            Self::AccountUnknown => "account_unknown",
            Self::AccountInvalid => "account_invalid",
            Self::AccountLeft => "account_left",
            Self::AccountSuspended => "account_suspended",
            Self::AccountNotApproved => "account_not_approved",
            Self::AccountNotYetValid => "account_not_yet_valid",
            Self::AccountExpired => "account_expired",
            Self::AccountReviewOverdue => "account_review_overdue",
            Self::DepartmentUnknown => "department_unknown",
            Self::SessionKicked => "session_kicked",
            Self::TicketInvalid => "ticket_invalid",
            Self::SnapshotBehind => "snapshot_behind",
            Self::GatewayStale => "gateway_stale",
            Self::StoreReset => "store_reset",
            Self::HandshakeInvalid => "handshake_invalid",
            Self::NoSession => "no_session",
            Self::NoRule => "no_rule",
            Self::OwnerDeny => "owner_deny",
            Self::MemberVeto => "member_veto",
            Self::PlatformVeto => "platform_veto",
            Self::OutsideSchedule => "outside_schedule",
            Self::OutsideNetwork => "outside_network",
            Self::WrongDevice => "wrong_device",
            Self::FactorNeeded => "factor_needed",
            Self::WrongMethod => "wrong_method",
            Self::PolicyTrap => "policy_trap",
            Self::PolicyTimeout => "policy_timeout",
            Self::PolicyMalformed => "policy_malformed",
            Self::PolicyNotLoaded => "policy_not_loaded",
            Self::PolicyQuarantined => "policy_quarantined",
            Self::RequestTooLarge => "request_too_large",
            Self::NoSnapshot => "no_snapshot",
            Self::ResourceUnknown => "resource_unknown",
            Self::PathRefused => "path_refused",
            Self::HostRefused => "host_refused",
            Self::HeadersRefused => "headers_refused",
            Self::BodyTooLarge => "body_too_large",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamUntrusted => "upstream_untrusted",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::AddressOutsideNetworks => "address_outside_networks",
            Self::AddressForbidden => "address_forbidden",
            Self::NameNotResolved => "name_not_resolved",
            Self::TooManyConnections => "too_many_connections",
            Self::RequestTimeout => "request_timeout",
            Self::UpgradeRefused => "upgrade_refused",
            Self::PageUnknown => "page_unknown",
            Self::MethodRefused => "method_refused",
            Self::AccessWithdrawn => "access_withdrawn",
            Self::AddressOverlap => "address_overlap",
            Self::PingUnavailable => "ping_unavailable",
            Self::SchemaViolation => "schema_violation",
            Self::UnknownField => "unknown_field",
            Self::NotYaml => "not_yaml",
            Self::FragmentsOverlap => "fragments_overlap",
            Self::WrongNamespace => "wrong_namespace",
            Self::NotYetSupported => "not_yet_supported",
            Self::FourEyes => "four_eyes",
            Self::ReviewTooFar => "review_too_far",
            Self::UnknownKind => "unknown_kind",
            Self::ReferenceMissing => "reference_missing",
            Self::FileTooLarge => "file_too_large",
            Self::StateUnusable => "state_unusable",
            Self::StateLocked => "state_locked",
            Self::StateCorrupt => "state_corrupt",
            Self::WireUnreadable => "wire_unreadable",
            Self::StoreFailed => "store_failed",
            Self::FieldImmutable => "field_immutable",
            Self::ListenFailed => "listen_failed",
            Self::DepartmentMissing => "department_missing",
            Self::FolderUnreadable => "folder_unreadable",
            Self::AccountLeftFinal => "account_left_final",
            Self::IntentRefused => "intent_refused",
            Self::RightMissing => "right_missing",
            Self::NameForged => "name_forged",
            Self::ApprovalOutlived => "approval_outlived",
            Self::GatewayConfigInvalid => "gateway_config_invalid",
            Self::KeyRingUnusable => "key_ring_unusable",
            Self::CertificateUnusable => "certificate_unusable",
            Self::ControllerConfigInvalid => "controller_config_invalid",
            Self::ClusterFailed => "cluster_failed",
            Self::RuleSyntax => "rule_syntax",
            Self::RuleType => "rule_type",
            Self::RuleName => "rule_name",
            Self::RuleCost => "rule_cost",
            Self::ModuleUnsupportedClass => "module_unsupported_class",
            Self::ModuleRefused => "module_refused",
            Self::ModuleTooLarge => "module_too_large",
            Self::UsersMayOnlyDeny => "users_may_only_deny",
            Self::GuardrailMayOnlyDeny => "guardrail_may_only_deny",
            Self::RuleMatch => "rule_match",
            Self::TooManyRules => "too_many_rules",
        }
    }

    /// What it means, in one English line without a full stop.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::LoginFailed => "Department, account and password do not belong together",
            Self::LoginSlowedDown => "Too many failed attempts; wait before the next",
            Self::LoginBusy => "More people are logging in than the gateway can check at once",
            Self::PasswordTooWeak => "The new password breaks a rule",
            Self::ActivationRefused => "The activation code is wrong, used or expired",
            Self::CredentialChanged => "The password was changed meanwhile by somebody else",
            Self::ChangePending => "The change is waiting for the controller",
            Self::LoginsPaused => "The gateway has been cut off too long to accept new logins",
            Self::FormInvalid => "The form is incomplete or malformed",
            Self::FormForeign => "The form came from another site or an old page",
            Self::PasswordChangeRequired => "The password must be changed before going on",
            Self::SessionLoggedOut => "The user logged out",
            Self::SessionReplaced => "A newer login of the same account took over",
            Self::SessionIdle => "The session was idle too long",
            Self::SessionExpired => "The session reached its longest duration",
            Self::SessionRevoked => "The account's sessions were revoked, or its password changed",
            Self::AccountUnknown => "The account does not exist any more",
            Self::AccountInvalid => "The account's object cannot be read",
            Self::AccountLeft => "The account's owner has left",
            Self::AccountSuspended => "The account is suspended",
            Self::AccountNotApproved => "The account has not been approved",
            Self::AccountNotYetValid => "The account's first day has not come",
            Self::AccountExpired => "The account's last day has passed",
            Self::AccountReviewOverdue => "The yearly review of the account is overdue",
            Self::DepartmentUnknown => "The account's department does not exist any more",
            Self::SessionKicked => "An administrator ended the session",
            Self::TicketInvalid => "The session cookie cannot be opened",
            Self::SnapshotBehind => "The gateway has not yet caught up with this session",
            Self::GatewayStale => "The gateway was cut off from the store too long",
            Self::StoreReset => "The store was restored; everybody logs in again",
            Self::HandshakeInvalid => "The redirect between portal and system was not completed in time",
            Self::NoSession => "Nobody is logged in",
            Self::NoRule => "No rule of the owner allows it",
            Self::OwnerDeny => "A rule of the owner refuses it",
            Self::MemberVeto => "The user's own department refuses it",
            Self::PlatformVeto => "A guardrail of the platform refuses it",
            Self::OutsideSchedule => "It is open at other times",
            Self::OutsideNetwork => "It is open from other networks",
            Self::WrongDevice => "It is open to another kind of client",
            Self::FactorNeeded => "It needs a further factor",
            Self::WrongMethod => "It is open for other methods, paths, hosts or ports",
            Self::PolicyTrap => "The department's rules failed while deciding",
            Self::PolicyTimeout => "The department's rules took too long",
            Self::PolicyMalformed => "The department's rules gave an unusable answer",
            Self::PolicyNotLoaded => "The department's rules cannot be loaded",
            Self::PolicyQuarantined => "The department's rules rest after repeated failures",
            Self::RequestTooLarge => "The request is too large to be decided",
            Self::NoSnapshot => "The gateway has no configuration yet",
            Self::ResourceUnknown => "The system does not exist (any more)",
            Self::PathRefused => "The path is ambiguous and is not forwarded",
            Self::HostRefused => "The host name is not one of this gateway's",
            Self::HeadersRefused => "The request's headers are malformed or too large",
            Self::BodyTooLarge => "The form is too large",
            Self::UpstreamUnreachable => "The system does not answer",
            Self::UpstreamUntrusted => "The system's certificate cannot be verified",
            Self::UpstreamTimeout => "The system took too long",
            Self::UpstreamMalformed => "The system gave an unusable answer",
            Self::AddressOutsideNetworks => "The system's address lies outside its owner's networks",
            Self::AddressForbidden => "The system's address is never reachable through a gateway",
            Self::NameNotResolved => "The system's host name has no address",
            Self::TooManyConnections => "A limit on connections was reached",
            Self::RequestTimeout => "The request was not sent in time",
            Self::UpgradeRefused => "The requested protocol upgrade is not supported",
            Self::PageUnknown => "There is no such page",
            Self::MethodRefused => "The page does not take this method",
            Self::AccessWithdrawn => "Access was withdrawn while the connection was open",
            Self::AddressOverlap => "Systems of several departments lie at the same address and port",
            Self::PingUnavailable => "The gateway's computer does not let it send pings",
            Self::SchemaViolation => "A field breaks the schema",
            Self::UnknownField => "A field does not exist",
            Self::NotYaml => "The file is not YAML",
            Self::FragmentsOverlap => "Two documents set the same field of one object",
            Self::WrongNamespace => "The object lies in a namespace where it does not count",
            Self::NotYetSupported => "The field's feature is not built yet",
            Self::FourEyes => "Requester, approver and subject are not three persons",
            Self::ReviewTooFar => "An approval or review reaches more than 400 days ahead",
            Self::UnknownKind => "The document is of no known kind",
            Self::ReferenceMissing => "An object it refers to does not exist",
            Self::FileTooLarge => "A manifest file or folder is too large",
            Self::StateUnusable => "The state directory cannot be used",
            Self::StateLocked => "Another process uses the state directory",
            Self::StateCorrupt => "A file in the state directory cannot be read",
            Self::WireUnreadable => "Published configuration cannot be decoded",
            Self::StoreFailed => "The store refused or failed",
            Self::FieldImmutable => "A field that never changes was changed",
            Self::ListenFailed => "The address to listen on cannot be used",
            Self::DepartmentMissing => "The object's department does not exist",
            Self::FolderUnreadable => "The manifest folder cannot be read",
            Self::AccountLeftFinal => "An account that has left cannot come back",
            Self::IntentRefused => "A change asked for at a gateway was refused",
            Self::RightMissing => "The write needs a right that the writer does not hold",
            Self::NameForged => "A field names somebody else than the user who writes it",
            Self::ApprovalOutlived => "A request was changed under its approval",
            Self::GatewayConfigInvalid => "A gateway's configuration file cannot be used",
            Self::KeyRingUnusable => "The pool's key ring cannot be used",
            Self::CertificateUnusable => "A certificate or its key cannot be used",
            Self::ControllerConfigInvalid => "The controller's settings cannot be used",
            Self::ClusterFailed => "The Kubernetes API refuses, or does not answer",
            Self::RuleSyntax => "A rule's expression cannot be parsed",
            Self::RuleType => "A rule's expression has the wrong type",
            Self::RuleName => "A rule's expression names something that does not exist",
            Self::RuleCost => "A rule costs more than its budget",
            Self::ModuleUnsupportedClass => "Custom modules are not supported yet",
            Self::ModuleRefused => "A compiled module is not one this gateway may run",
            Self::ModuleTooLarge => "The rules compile to more than a gateway loads",
            Self::UsersMayOnlyDeny => "A policy about users can only deny",
            Self::GuardrailMayOnlyDeny => "A guardrail can only deny",
            Self::RuleMatch => "A rule's match field cannot be used as written",
            Self::TooManyRules => "A department has more rules than a gateway loads",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TG-{:04}", *self as u16)
    }
}
