//! VpnUser: the account, its dates, and the numbers that only grow.

use serde_json::Value;
use tidegate_core::{
    Account, AccountState, Approval, Code, DepartmentCode, GroupName, Person, Review, Timestamp,
};

use super::text::map;
use super::{Context, Problems, User};
use crate::types::{State, VpnUserSpec};

/// Annotation whose number asks for a new activation code when it grows.
pub const REISSUE_ANNOTATION: &str = "tidegate.dev/reissue-activation";

/// Days an approval without a date counts as a review, from when it was first seen.
pub const APPROVAL_DAYS: i64 = 365;

/// Most days ahead an approval or a review may reach.
pub const REVIEW_DAYS_MAX: i64 = 400;

const DAY: i64 = 86_400;

pub(super) fn reissue(value: &Value, problems: &mut Problems) -> u64 {
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let Some(text) = annotations.and_then(|all| all.get(REISSUE_ANNOTATION)).and_then(Value::as_str) else {
        return 0;
    };
    text.parse().unwrap_or_else(|_| {
        let path = format!("metadata.annotations.{REISSUE_ANNOTATION}");
        let fix = "write a whole number in quotes, one more than before";
        problems.add(path, Code::SchemaViolation, format!("{text:?} is not a number"), fix);
        0
    })
}

pub(super) fn convert(
    name: &str,
    owner: &DepartmentCode,
    spec: &VpnUserSpec,
    reissue: u64,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<User> {
    let request = &spec.request;
    let valid_from = instant(request.valid_from.as_ref(), "spec.request.validFrom", problems);
    let valid_until = instant(request.valid_until.as_ref(), "spec.request.validUntil", problems);
    let approval = spec.approval.as_ref().and_then(|approval| {
        let until = match &approval.until {
            Some(text) => reviewed_until(text, "spec.approval.until", context, problems)?,
            None => context.approved.plus(APPROVAL_DAYS * DAY),
        };
        Some(Approval { by: approval.by.as_str().into(), until })
    });
    let review = spec.review.as_ref().and_then(|review| {
        let until = reviewed_until(&review.until, "spec.review.until", context, problems)?;
        Some(Review { by: review.by.as_str().into(), until })
    });
    let name = problems.take("metadata.name", name.parse(), "choose a name people can type at login")?;
    Some(User {
        account: Account {
            source: context.source.clone(),
            name,
            person: Person {
                display_name: request.person.as_str().into(),
                unit: request.unit.as_str().into(),
                groups: groups(&request.groups, owner, problems),
                attributes: map(&request.attributes),
            },
            state: match spec.state {
                State::Active => AccountState::Active,
                State::Suspended => AccountState::Suspended,
                State::Left => AccountState::Left,
            },
            approval,
            review,
            valid_from,
            valid_until,
            credential: None,
        },
        requested_by: spec.requested_by.as_str().into(),
        kubernetes_user: request.kubernetes_user.as_deref().map(Into::into),
        session_generation: spec.session_generation,
        reissue,
    })
}

/// Groups of the person's own department. A department vouches for its own groups only: one that
/// could claim another's would be let in by that one's rules.
fn groups(texts: &[String], owner: &DepartmentCode, problems: &mut Problems) -> Vec<GroupName> {
    let mut groups = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let path = format!("spec.request.groups[{index}]");
        let fix = format!("write {owner}/<group>");
        match text.parse::<GroupName>() {
            Ok(group) if text.split_once('/').is_some_and(|(code, _)| code == owner.as_str()) => {
                groups.push(group)
            }
            Ok(_) => {
                let message = format!("{text:?} is a group of another department");
                problems.add(path, Code::SchemaViolation, message, fix);
            }
            Err(error) => problems.add(path, Code::SchemaViolation, error.to_string(), fix),
        }
    }
    groups.sort();
    groups.dedup();
    groups
}

fn instant(text: Option<&String>, path: &str, problems: &mut Problems) -> Option<Timestamp> {
    let text = text?;
    let parsed = text.parse::<jiff::Timestamp>().map_err(|_| format!("{text:?} is not an instant"));
    problems.take(path, parsed, "write it like 2027-01-31T16:00:00Z").map(|at| Timestamp(at.as_second()))
}

/// The end of a confirmation, if it is not so far ahead that the yearly review would mean nothing.
fn reviewed_until(
    text: &String,
    path: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let until = instant(Some(text), path, problems)?;
    let limit = context.now.plus(REVIEW_DAYS_MAX * DAY);
    if until <= limit {
        return Some(until);
    }
    let latest =
        jiff::Timestamp::from_second(limit.0).map_or_else(|_| "then".to_owned(), |at| at.to_string());
    let message = format!("{text} is more than {REVIEW_DAYS_MAX} days ahead");
    problems.add(path, Code::ReviewTooFar, message, format!("write {latest} or earlier"));
    None
}
