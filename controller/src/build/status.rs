//! What is said about each object, all but `Propagated` and `Ready`.

use tidegate_core::{Account, AccountState, Code, DenyReason, Source, Timestamp};

use super::Kept;
use crate::form::Refusal;
use crate::objects::{ObjectKey, ObjectKind};
use crate::rules::Ruling;
use crate::status::{ConditionType, ObjectStatus, Truth};
use crate::time::rfc3339;

pub(super) fn status(
    kept: &Kept,
    key: &ObjectKey,
    source: Source,
    enforced: bool,
    now: Timestamp,
) -> ObjectStatus {
    let mut status = ObjectStatus::new(key.clone(), source);
    let refusal = kept.refusal(key);
    accepted(&mut status, refusal, in_force(kept, key), enforced);
    match key.kind {
        ObjectKind::VpnUser => {
            if let Some(person) = kept.people().of_object(key) {
                account(&mut status, &person.account, now);
            }
        }
        ObjectKind::AccessPolicy | ObjectKind::ClusterAccessPolicy => {
            compiled(&mut status, refusal, kept.ruling(), key);
        }
        ObjectKind::Department
        | ObjectKind::Resource
        | ObjectKind::VpnGateway
        | ObjectKind::Recertification => {}
    }
    status
}

/// The generation of the object that gateways are told, if any.
fn in_force(kept: &Kept, key: &ObjectKey) -> Option<i64> {
    match key.kind {
        ObjectKind::AccessPolicy | ObjectKind::ClusterAccessPolicy => {
            kept.ruling().last_good.get(key).map(|good| good.source.generation)
        }
        _ => kept.parts().generation_in_force(key),
    }
}

fn accepted(status: &mut ObjectStatus, refusal: Option<&Refusal>, in_force: Option<i64>, enforced: bool) {
    let Some(refusal) = refusal else {
        status.set(ConditionType::Accepted, Truth::True, "Accepted", "valid as written");
        return;
    };
    let kept = match (status.key.kind, in_force) {
        (ObjectKind::VpnUser, _) => "the account is denied".to_owned(),
        (_, Some(generation)) => format!("generation {generation} stays in force"),
        (_, None) => "nothing of it is in force".to_owned(),
    };
    let message = format!("{refusal}; {kept}");
    let reason = match refusal.code {
        // Admission would not have let it through.
        Code::FourEyes if enforced => "PolicyBypassed".to_owned(),
        _ => refusal.reason(),
    };
    status.set(ConditionType::Accepted, Truth::False, &reason, message);
}

fn account(status: &mut ObjectStatus, account: &Account, now: Timestamp) {
    match &account.approval {
        Some(approval) => {
            status.set(ConditionType::Approved, Truth::True, "Approved", format!("by {}", approval.by));
            let reviewed =
                account.review.as_ref().map_or(approval.until, |review| review.until.max(approval.until));
            let (truth, reason, message) = if now <= reviewed {
                (Truth::True, "Reviewed", format!("until {}", rfc3339(reviewed)))
            } else {
                let since = rfc3339(reviewed);
                (Truth::False, "AccountReviewOverdue", format!("overdue since {since}; set spec.review"))
            };
            status.set(ConditionType::ReviewCurrent, truth, reason, message);
        }
        None => {
            let message = "nobody entitled has approved it as it stands; set spec.approval";
            status.set(ConditionType::Approved, Truth::False, "AccountNotApproved", message);
            status.set(ConditionType::ReviewCurrent, Truth::False, "AccountNotApproved", message);
        }
    }
    if let Some(denied) = account.standing(now).denied {
        let message = match account.state {
            AccountState::Suspended => "spec.state is Suspended",
            AccountState::Left => "spec.state is Left",
            AccountState::Invalid => "the object cannot be used as written",
            AccountState::Active => denied.code().title(),
        };
        status.says_no = Some((reason(denied), message.to_owned()));
    }
}

fn reason(denied: DenyReason) -> String {
    format!("{denied:?}")
}

fn compiled(status: &mut ObjectStatus, refusal: Option<&Refusal>, ruling: &Ruling, key: &ObjectKey) {
    let in_force = ruling.last_good.get(key).map(|good| good.source.generation);
    if let Some(problem) = ruling.refusals.get(key) {
        let kept = in_force.map_or_else(
            || "nothing of it is in force".to_owned(),
            |generation| format!("generation {generation} stays in force"),
        );
        status.set(ConditionType::Compiled, Truth::False, &reason_of(problem), format!("{problem}; {kept}"));
    } else if refusal.is_some() {
        status.set(ConditionType::Compiled, Truth::False, "NotAccepted", "only accepted rules are compiled");
    } else {
        status.set(ConditionType::Compiled, Truth::True, "Compiled", ruling.note(key));
    }
}

/// The word of the condition's contract where it differs from the code's.
fn reason_of(problem: &Refusal) -> String {
    match problem.code {
        Code::ModuleUnsupportedClass => "UnsupportedClass".to_owned(),
        _ => problem.reason(),
    }
}
