//! The decision: who may reach what, now.
//!
//! The order is part of the contract: account standing, platform guardrails (veto), the user's own
//! department (veto), the department that owns the resource (must allow; its deny wins), default
//! deny. The session itself is judged before, by [`crate::session::check`].

use std::sync::Arc;

use crate::policy::{Effect, Evaluate, Fault, HintKind, Request, Side, Verdict};
use crate::{
    Account, DenyReason, Department, DepartmentCode, LocalTime, PolicyModule, PolicyState, Resource,
    ResourceId, RuleName, Snapshot, Timestamp, Zone,
};

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The snapshot to decide from.
    pub snapshot: &'a Snapshot,
    /// The user's own department.
    pub member: &'a DepartmentCode,
    /// The user's account in that snapshot.
    pub account: &'a Account,
    /// The resource asked for.
    pub resource: &'a ResourceId,
    /// HTTP method in upper case; empty for a tile.
    pub method: &'a str,
    /// Normalised path; empty for a tile.
    pub path: &'a str,
}

/// The answer. Audit record and metric are built from it, so the three cannot disagree.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Go ahead, for as long as the permit is valid.
    Permit(Permit),
    /// Do not.
    Deny(Denial),
}

/// The only thing a dial accepts; nothing outside this module can make one.
#[derive(Clone, Debug)]
pub struct Permit {
    owner: Arc<Department>,
    resource: Arc<Resource>,
    module: Arc<PolicyModule>,
    rule: u32,
    valid_until: Timestamp,
    rule_error: bool,
}

/// A refusal with all a page, a record and a metric need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// Whose rules said so; `None` for the account, the platform or a missing resource.
    pub department: Option<DepartmentCode>,
    /// The rule that said so, when a rule did.
    pub rule: Option<RuleName>,
    /// When it opens next, if only the time was wrong.
    pub opens_at: Option<Timestamp>,
    /// The first instant at which time alone may change the answer.
    pub valid_until: Timestamp,
    /// Whether the expression of a rule failed and so mattered.
    pub rule_error: bool,
}

impl Permit {
    /// The department whose rule allowed it.
    #[must_use]
    pub fn owner(&self) -> &Arc<Department> {
        &self.owner
    }

    /// The resource that may be reached.
    #[must_use]
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The index of the rule that allowed it.
    #[must_use]
    pub fn rule_index(&self) -> u32 {
        self.rule
    }

    /// The rule that allowed it.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        self.module.rules.get(self.rule as usize)
    }

    /// The first instant at which time alone may change the answer.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// Whether the expression of an allow rule failed on the way.
    #[must_use]
    pub fn rule_error(&self) -> bool {
        self.rule_error
    }
}

impl Denial {
    /// A refusal that only a new snapshot can change.
    #[must_use]
    pub fn of(reason: DenyReason) -> Self {
        Self {
            reason,
            department: None,
            rule: None,
            opens_at: None,
            valid_until: Timestamp::NEVER,
            rule_error: false,
        }
    }
}

/// Decides one question with one evaluator.
pub fn decide<E: Evaluate>(
    question: &Question<'_>,
    subject: &E::Prepared,
    now: Timestamp,
    evaluator: &mut E,
) -> Decision {
    match weigh(question, None, subject, now, evaluator) {
        Ok(permit) => Decision::Permit(permit),
        Err(denial) => Decision::Deny(denial),
    }
}

/// The same for a flow through the tunnel to one host and port of the resource.
pub fn decide_flow<E: Evaluate>(
    question: &Question<'_>,
    endpoint: (&str, u16),
    subject: &E::Prepared,
    now: Timestamp,
    evaluator: &mut E,
) -> Decision {
    match weigh(question, Some(endpoint), subject, now, evaluator) {
        Ok(permit) => Decision::Permit(permit),
        Err(denial) => Decision::Deny(denial),
    }
}

fn weigh<E: Evaluate>(
    question: &Question<'_>,
    endpoint: Option<(&str, u16)>,
    subject: &E::Prepared,
    now: Timestamp,
    evaluator: &mut E,
) -> Result<Permit, Denial> {
    let standing = question.account.standing(now);
    if let Some(reason) = standing.denied {
        return Err(Denial { valid_until: standing.holds_until, ..Denial::of(reason) });
    }
    let snapshot = question.snapshot;
    let member = snapshot
        .department(question.member.as_str())
        .ok_or_else(|| Denial::of(DenyReason::DepartmentUnknown))?;
    let (owner, resource) =
        snapshot.resource(question.resource).ok_or_else(|| Denial::of(DenyReason::ResourceUnknown))?;

    let (host, port) = endpoint.unwrap_or_else(|| resource.upstream());
    let request = Request {
        owner: &owner.code,
        resource: &resource.name,
        labels: &resource.labels,
        host,
        port,
        method: question.method,
        path: question.path,
    };
    let mut valid_until = standing.holds_until;
    let mut ask = |policy: &PolicyState, side, zone: &Zone, code: Option<&DepartmentCode>| {
        let local = zone.local(now);
        let verdict = ask(evaluator, policy, side, subject, &request, local)
            .map_err(|reason| Denial { department: code.cloned(), ..Denial::of(reason) })?;
        // A module counts minutes as if no clock were ever moved; the zone knows when one is.
        valid_until = valid_until.min(minute_start(verdict.valid_until_minute)).min(zone.moved_after(now));
        Ok::<_, Denial>((verdict, valid_until))
    };

    let platform = &snapshot.platform;
    let (verdict, until) = ask(&platform.policy, Side::Platform, &platform.zone, None)?;
    if verdict.effect == Some(Effect::Deny) {
        return Err(denial(DenyReason::PlatformVeto, None, &platform.policy, &verdict, until));
    }
    let (verdict, until) = ask(&member.policy, Side::Member, &member.zone, Some(&member.code))?;
    if verdict.effect == Some(Effect::Deny) {
        return Err(denial(DenyReason::MemberVeto, Some(&member.code), &member.policy, &verdict, until));
    }
    let (verdict, until) = ask(&owner.policy, Side::Owner, &owner.zone, Some(&owner.code))?;
    match (verdict.effect, &owner.policy) {
        (Some(Effect::Allow), PolicyState::Module(module)) => Ok(Permit {
            owner: Arc::clone(owner),
            resource: Arc::clone(resource),
            module: Arc::clone(module),
            rule: verdict.rule,
            valid_until: until,
            rule_error: verdict.rule_error,
        }),
        (Some(Effect::Deny), policy) => {
            Err(denial(DenyReason::OwnerDeny, Some(&owner.code), policy, &verdict, until))
        }
        (Some(Effect::Allow) | None, policy) => {
            let reason = near_miss(verdict.hint.kind);
            let opens_at = (verdict.hint.kind == HintKind::Schedule && verdict.hint.next_minute != i64::MAX)
                .then(|| minute_start(verdict.hint.next_minute));
            let rule_free = Verdict { effect: None, ..verdict };
            Err(Denial { opens_at, ..denial(reason, Some(&owner.code), policy, &rule_free, until) })
        }
    }
}

fn ask<E: Evaluate>(
    evaluator: &mut E,
    policy: &PolicyState,
    side: Side,
    subject: &E::Prepared,
    request: &Request<'_>,
    local: LocalTime,
) -> Result<Verdict, DenyReason> {
    match policy {
        PolicyState::Absent => Ok(Verdict::NOTHING),
        PolicyState::Broken => Err(DenyReason::PolicyNotLoaded),
        PolicyState::Module(module) => {
            evaluator.evaluate(module, side, subject, request, local).map_err(|fault| match fault {
                Fault::Trap => DenyReason::PolicyTrap,
                Fault::Timeout => DenyReason::PolicyTimeout,
                Fault::Malformed => DenyReason::PolicyMalformed,
                Fault::NotLoaded => DenyReason::PolicyNotLoaded,
                Fault::Quarantined => DenyReason::PolicyQuarantined,
                Fault::RequestTooLarge => DenyReason::RequestTooLarge,
            })
        }
    }
}

fn denial(
    reason: DenyReason,
    department: Option<&DepartmentCode>,
    policy: &PolicyState,
    verdict: &Verdict,
    valid_until: Timestamp,
) -> Denial {
    let rule = match (policy, verdict.effect) {
        (PolicyState::Module(module), Some(_)) => module.rules.get(verdict.rule as usize).cloned(),
        _ => None,
    };
    Denial {
        reason,
        department: department.cloned(),
        rule,
        opens_at: None,
        valid_until,
        rule_error: verdict.rule_error,
    }
}

fn near_miss(hint: HintKind) -> DenyReason {
    match hint {
        HintKind::None => DenyReason::NoRule,
        HintKind::Method => DenyReason::WrongMethod,
        HintKind::Network => DenyReason::OutsideNetwork,
        HintKind::Device => DenyReason::WrongDevice,
        HintKind::Factor => DenyReason::FactorNeeded,
        HintKind::Schedule => DenyReason::OutsideSchedule,
    }
}

fn minute_start(minute: i64) -> Timestamp {
    Timestamp(minute.saturating_mul(60))
}
